"""How the client comes back, when it gives up, and how it is stopped."""

from __future__ import annotations

import asyncio

import pytest
from browser import scripted_pages
from browser.scripted_pages import QUESTION, WAYS, Stage
from browser.scripted_server import ANSWER, CUT, HOLD, MUTE, Log, Reply, error, event, refusal, start, text

pytestmark = pytest.mark.browser

stage = scripted_pages.stage

LOG = Log("Hello, ", "world")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["unavailable", "draining"])
async def test_a_server_that_says_when_to_come_back_is_asked_then(stage: Stage, way: str, name: str) -> None:
    stage.server.script(event({"code": "overloaded", "retryable": True, "retryAfter": 40}, name=name), HOLD)
    stage.server.tell(LOG)
    answer = await (await stage.ask(way)).whole(LOG)
    delay = answer.said["states"][0]["delay"]
    assert 40_000 <= delay <= 50_000
    first, second = stage.server.asked
    assert first.parameters["continuity_id"] == second.parameters["continuity_id"], "and nothing is paid twice"


@pytest.mark.parametrize("way", WAYS)
async def test_a_lasting_refusal_is_told_in_the_servers_words(stage: Stage, way: str) -> None:
    stage.server.then = lambda asked: [refusal(401, "unauthenticated")]
    answer = await (await stage.ask(way)).ended("error")
    told = {"message": "No: unauthenticated.", "code": "unauthenticated", "retryable": False, "isOwn": True}
    assert answer.said["error"] == told
    assert all(answer.said["over"][-2:]), "by then it is over"
    assert len(stage.server.asked) <= 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_passing_refusal_is_waited_out(stage: Stage, way: str, status: int) -> None:
    for _ in range(3):
        stage.server.script(Reply(status, "<h1>Bad Gateway</h1>"))
    stage.server.tell(LOG)
    await (await stage.ask(way)).whole(LOG)
    assert len(stage.server.asked) == 4


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_no_stream_and_no_refusal_is_an_error(stage: Stage, way: str) -> None:
    stage.server.then = lambda asked: [Reply(404, "<h1>Not here</h1>")]
    answer = await (await stage.ask(way)).ended("error")
    assert answer.said["error"]["code"] == "unexpected_response"
    assert "404" in answer.said["error"]["message"]


@pytest.mark.parametrize("way", WAYS)
async def test_delays_grow_with_jitter_and_a_server_that_never_answers_is_given_up(stage: Stage, way: str) -> None:
    page = await stage.open()
    await stage.server.close()
    answer = await (await stage.ask(way, page)).ended("error")
    assert answer.said["error"]["code"] == "unreachable"
    delays = [state["delay"] for state in answer.said["states"] if state.get("delay")]
    assert len(delays) == 5
    assert all(500 * 2**place <= delay <= 1000 * 2**place for place, delay in enumerate(delays))
    await stage.server.listen()


@pytest.mark.parametrize("way", WAYS)
async def test_silence_is_a_lost_line_and_pings_are_none(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Hello, "), event({}, name="ping"), HOLD)
    stage.server.tell(LOG)
    await (await stage.ask(way, silence=25_000)).whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.1"


async def test_a_server_that_accepts_and_says_nothing_is_given_up(stage: Stage) -> None:
    stage.server.then = lambda asked: [MUTE]
    answer = await (await stage.ask(silence=1000)).ended("error")
    assert answer.said["error"]["code"] == "unreachable"


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_that_is_not_recorded_is_no_end(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Hello, "), error("journal_unavailable", True))
    stage.server.tell(LOG)
    await (await stage.ask(way)).whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.1"


@pytest.mark.parametrize("way", WAYS)
async def test_a_recorded_error_is_the_end_and_what_was_written_stands(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Hello, "), error("model_timeout", True, 2, 1), text(3, "never"))
    answer = await (await stage.ask(way)).ended("error")
    assert (answer.text, answer.said["error"]["code"], answer.said["error"]["retryable"]) == (
        "Hello, ",
        "model_timeout",
        True,
    )
    read = "(async () => { for await (const each of answer) ; })()"
    assert await answer.evaluate(f"{read}.catch((error) => error === answer.error)")


@pytest.mark.parametrize("way", WAYS)
async def test_a_forgotten_answer_is_an_error_and_no_longer_kept(stage: Stage, way: str) -> None:
    stage.server.then = lambda asked: [error("answer_expired", True)]
    answer = await (await stage.follow(ANSWER, way=way)).ended("error")
    assert answer.said["error"]["code"] == "answer_expired"
    assert await stage.page.evaluate("sessionStorage.getItem('zantara-stream')") is None


@pytest.mark.parametrize("way", WAYS)
async def test_a_reload_goes_on_from_the_beginning_of_the_same_answer(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Hello, "), HOLD)
    await (await stage.ask(way)).has("Hello, ")
    stage.server.tell(LOG)
    await stage.reload(stage.page)
    answer = await (await stage.resume(way)).whole(LOG)
    assert answer.said["query"] == QUESTION
    assert stage.server.asked[1].place == f"{ANSWER}.0"


async def test_what_is_forgotten_is_read_to_its_end_and_not_found_again(stage: Stage) -> None:
    seen = asyncio.Event()
    stage.server.script(start(), text(1, "Hello, "), seen, *LOG.events[1:])
    answer = await (await stage.ask()).has("Hello, ")
    await stage.page.evaluate("client.forget()")
    seen.set()
    await answer.whole(LOG)
    await stage.reload(stage.page)
    assert await stage.page.evaluate("client.resume() === undefined")


async def test_a_reload_before_the_first_word_asks_with_the_same_name(stage: Stage) -> None:
    stage.server.script(MUTE)
    await stage.ask()
    await stage.server.was_asked(1)
    stage.server.tell(LOG)
    await stage.reload(stage.page)
    await (await stage.resume()).whole(LOG)
    names = {asked.parameters["continuity_id"] for asked in stage.server.asked}
    assert len(names) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_stop_tells_the_server_and_close_does_not(stage: Stage, way: str) -> None:
    stage.server.then = lambda asked: [start(), text(1, "Hello, "), HOLD]
    stage.server.stopping = refusal(401, "unauthenticated")
    answer = await (await stage.ask(way, email="anna@example.com")).has("Hello, ")
    assert await answer.evaluate("answer.stop().catch((error) => error.code)") == "unauthenticated"
    await answer.ended("stopped")
    assert [(stop.method, stop.path.partition("?")[0]) for stop in stage.server.stopped] == [
        ("DELETE", f"/bali-zero/answers/{ANSWER}")
    ]
    assert stage.server.stopped[0].parameters == {"user_email": "anna@example.com"}
    other = await (await stage.ask(way)).has("Hello, ")
    await other.evaluate("answer.close()")
    await other.ended("closed")
    await stage.server.until(lambda: stage.server.open == 0)
    assert len(stage.server.stopped) == 1


async def test_closing_in_a_listener_is_final(stage: Stage) -> None:
    attached = asyncio.Event()
    stage.server.script(start(), text(1, "Hello, "), attached, CUT)
    answer = await (await stage.ask()).has("Hello, ")
    await answer.evaluate("answer.addEventListener('state', () => answer.close())")
    attached.set()
    await answer.ended("closed")
    assert len(stage.server.asked) == 1


async def test_one_that_is_aborted_already_asks_nothing(stage: Stage) -> None:
    answer = await (await stage.ask(more="signal: AbortSignal.abort()")).ended("closed")
    assert answer.types == []
    assert stage.server.asked == []


async def test_the_token_goes_in_a_header_and_the_ticket_in_the_address(stage: Stage) -> None:
    stage.server.tell(LOG)
    await (await stage.ask(more="token: async () => 'secret-token'")).whole(LOG)
    await (await stage.ask(more="ticket: async () => 'one-time'")).whole(LOG)
    by_token, by_ticket = stage.server.asked
    assert by_token.headers["Authorization"] == "Bearer secret-token"
    assert "secret-token" not in by_token.path
    assert by_ticket.parameters["ticket"] == "one-time"


async def test_a_long_history_is_posted_and_gone_on_with_by_a_short_address(stage: Stage) -> None:
    seen = asyncio.Event()
    stage.server.script(start(), text(1, "Hello, "), seen, CUT)
    stage.server.tell(LOG)
    history = [{"role": "user", "content": "x" * 3000}]
    answer = await (await stage.ask(history=history)).has("Hello, ")
    seen.set()
    await answer.whole(LOG)
    first, second = stage.server.asked
    assert (first.method, first.body["conversation_history"], first.body["query"]) == ("POST", history, QUESTION)
    assert (second.method, second.place) == ("GET", f"{ANSWER}.1")


async def test_tabs_that_read_one_answer_share_a_connection_and_the_next_one_takes_over(stage: Stage) -> None:
    stage.server.script(start(), text(1, "Hello, "), HOLD)
    leading = await (await stage.ask()).has("Hello, ")
    follower = await stage.open()
    other = await (await stage.follow(ANSWER, follower)).has("Hello, ")
    assert len(stage.server.asked) == 1
    stage.server.tell(LOG)
    await leading.page.close()
    await other.whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.1"
    assert stage.server.most_open == 1


@pytest.mark.parametrize("sign", ["online", "visibilitychange"])
async def test_a_tab_that_somebody_looks_at_hurries_the_one_that_waits(stage: Stage, sign: str) -> None:
    seen, later = asyncio.Event(), event({"retryAfter": 3600}, name="draining")
    stage.server.script(start(), text(1, "Hello, "), seen, later)
    leading = await (await stage.ask()).has("Hello, ")
    other = await (await stage.follow(ANSWER, await stage.open())).has("Hello, ")
    stage.server.tell(LOG)
    seen.set()
    await leading.was("reconnecting")
    await other.was("reconnecting")
    await other.page.evaluate(f"dispatchEvent(new Event('{sign}'))")
    await other.whole(LOG)
    await leading.whole(LOG)
    assert stage.server.most_open == 1


async def test_a_leading_tab_that_says_nothing_loses_its_place(stage: Stage) -> None:
    stuck = await stage.open()
    hold = "(name) => new Promise((held) => navigator.locks.request(name, () => new Promise(held)).catch(() => {}))"
    await stuck.evaluate(
        hold.replace("new Promise(held)", "(held(), new Promise(() => {}))"), f"zantara-stream  {ANSWER}"
    )
    stage.server.tell(LOG)
    await (await stage.follow(ANSWER, await stage.open(), silence=25_000)).whole(LOG)
    assert stage.server.most_open == 1


@pytest.mark.parametrize("sign", ["online", "visibilitychange"])
async def test_a_page_that_wakes_does_not_wait_any_longer(stage: Stage, sign: str) -> None:
    stage.server.script(event({"code": "overloaded", "retryable": True, "retryAfter": 3600}, name="unavailable"))
    stage.server.tell(LOG)
    answer = await (await stage.ask()).was("reconnecting")
    await stage.page.evaluate(f"dispatchEvent(new Event('{sign}'))")
    await answer.whole(LOG)


async def test_without_storage_a_question_is_answered_all_the_same(stage: Stage) -> None:
    broken = "Object.defineProperty(globalThis, 'sessionStorage', { get() { throw new Error('switched off'); } });"
    page = await stage.open(broken)
    stage.server.tell(LOG)
    await (await stage.ask(page=page)).whole(LOG)
    assert await page.evaluate("client.resume() === undefined")


async def test_two_loops_read_all_and_leaving_one_that_waits_closes_the_answer(stage: Stage) -> None:
    stage.server.script(start(), text(1, "Hello, "), HOLD)
    answer = await (await stage.ask()).has("Hello, ")
    code = """(async () => {
      const [one, other] = [answer[Symbol.asyncIterator](), answer[Symbol.asyncIterator]()];
      const read = [(await one.next()).value.text, (await other.next()).value.text];
      const waiting = one.next();
      await other.return();
      return [...read, (await waiting).done, answer.state];
    })()"""
    assert await answer.evaluate(code) == ["Hello, ", "Hello, ", True, "closed"]
    await stage.server.until(lambda: stage.server.open == 0)

"""The test page in a real Chromium: what people do there, what they see of it, and that nothing else happens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from browser.visitor import Visitor, part, quoted, visiting
from nginx import BUFFERING, nginx
from playwright.async_api import Browser, Page, expect
from server import never, serving
from tokens_made import SECRET, token

from zantara_stream.answers.events import frame
from zantara_stream.app import PEOPLE
from zantara_stream.errors import ModelTimeout
from zantara_stream.generation.answerer import Finish
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer
from zantara_stream.web.page import FILES, static_file
from zantara_stream.web.sse import stream_response

Start = Callable[[web.Application], Awaitable[str]]

pytestmark = pytest.mark.browser

QUERY = "What does renewal of a permit cost for one year?"
FEE = "Renewal costs Rp 3 million for one year."
FINE = "Late renewal is fined Rp 1 million a day."
OFFICE = "A permit is renewed at the immigration office before it ends."
DEFAULT = ("Hello, ", "world")
SECONDS = re.compile(r"^\d+\.\d\d s$")
REFUSED = r"Failed to load resource: the server responded with a status of"  # the browser's own word in the console


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(browser: Browser) -> AsyncIterator[Visitor]:
    """Somebody at the page; anything in the console fails the test."""
    async with visiting(browser, permissions=["clipboard-read", "clipboard-write"]) as somebody:
        yield somebody


async def button(page: Page, name: str) -> None:
    """Press the button of that name."""
    await page.get_by_role("button", name=name, exact=True).click()


async def focused(page: Page) -> str:
    """What has the focus: its id, or its text."""
    return str(await page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


async def test_the_page_streams_an_answer_and_marks_its_quote(visitor: Visitor, small_index: Path) -> None:
    released, answerer = asyncio.Event(), ScriptedAnswerer()
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        quotes = await quoted(server, QUERY, [(FEE, (0, 5))])
        answerer.scripts = [("**Rp** <b>3", released, "</b> million", *quotes)]
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.reads("Rp <b>3")
        await visitor.sees("streaming")
        await expect(part(page, "answer")).to_have_attribute("aria-busy", "true")
        released.set()
        await visitor.sees("complete")
        await visitor.reads("Rp1 <b>3</b> million")
        await expect(part(page, "answer")).to_have_attribute("aria-busy", "false")
        await expect(part(page, "answer").locator("strong")).to_have_text("Rp")
        await expect(page.locator("#sources mark")).to_have_text(FEE)
        await expect(part(page, "status")).to_have_text("The answer is complete: 3 words, 1 source.")
        await expect(part(page, "question")).to_have_text(QUERY)


async def test_enter_asks_and_shift_enter_begins_a_line(visitor: Visitor, small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await page.get_by_label("Question").click()
        await page.keyboard.press("Enter")
        await page.keyboard.type("What does it cost")
        await page.keyboard.press("Shift+Enter")
        await page.keyboard.type("to renew a permit?")
        await page.keyboard.press("Enter")
        await visitor.sees("complete")
        assert [prompt.query for prompt in answerer.prompts] == ["What does it cost\nto renew a permit?"]


async def test_a_sample_question_is_asked_with_one_click(visitor: Visitor, small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await visitor.sees("ready")
        await expect(part(page, "empty")).to_be_visible()
        await button(page, "How long is the investor KITAS valid?")
        await visitor.sees("complete")
        await expect(part(page, "empty")).to_be_hidden()
        await expect(page.get_by_label("Question")).to_have_value("How long is the investor KITAS valid?")


async def test_the_numbers_of_an_answer_and_the_plot_of_its_chunks(visitor: Visitor, small_index: Path) -> None:
    finish = Finish(usage={"input_tokens": 7, "output_tokens": 3})
    answerer = ScriptedAnswerer("One ", 0.1, "two ", "😀", finish, model="the-model")
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.sees("complete")
        await visitor.numbers(
            chunks="3", gaps="0", duplicates="0", reconnections="0", model="the-model", tokens="7 / 3"
        )
        for name in ("first", "duration"):
            await expect(part(page, name)).to_have_text(SECONDS)
        rate = int(await part(page, "rate").inner_text())
        assert 1 <= rate <= 50  # 5 characters after the first chunk, 0.1 s and more after it
        await expect(part(page, "plot-words")).to_contain_text("3 chunks with 9 characters arrived")
        dots = await page.locator("#plot .dots").get_attribute("d")
        assert dots is not None
        assert dots.count("M") == 3
        heights = [float(place) for place in re.findall(r"M\S+ (\S+?)h", dots)]
        assert heights == sorted(heights, reverse=True)
        for width in (320, 1200):
            await page.set_viewport_size({"width": width, "height": 800})
            room = await page.locator("#plot").evaluate("(figure) => figure.clientWidth")
            await expect(page.locator("#plot svg")).to_have_attribute("viewBox", f"0 0 {room} 170")


async def test_reference_marks_lead_to_their_quotes_and_back(visitor: Visitor, small_index: Path) -> None:
    answerer = ScriptedAnswerer()
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        told = [(FEE, (0, 8)), (FINE, (9, 16)), (FEE, (9, 16)), (OFFICE, (17, 22))]
        answerer.scripts = [("😀 costs. Is fined. Here.", *await quoted(server, QUERY, told))]
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.sees("complete")
        # Code points count, an equal quote has one number, and each has a place though it is of no snippet.
        await visitor.reads("😀 costs.1 Is fine2 1d. Her3e.".replace("2 1", "21"))
        for number, quote in enumerate((FEE, FINE, OFFICE), 1):
            await expect(part(page, f"quote-{number}")).to_have_text(quote)
        await page.locator("a.reference").nth(2).click()
        await expect(part(page, "quote-1")).to_be_focused()
        await page.locator("a.back[href='#quote-1']").click()
        await expect(page.locator("a.reference").nth(2)).to_be_focused()
        await expect(part(page, "sources")).to_contain_text("verified, word for word.")
        link = page.locator("#sources h3 a").first
        await expect(link).to_have_attribute("href", "https://example.com/renewal")
        await expect(link).to_have_attribute("rel", "noopener noreferrer")


async def test_stop_ends_the_answer_at_the_model(visitor: Visitor, small_index: Path) -> None:
    answerer = ScriptedAnswerer("a beginning", never())
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.reads("a beginning")
        await button(page, "Stop")
        await visitor.sees("stopped")
        await asyncio.wait_for(answerer.closed_early.wait(), 10)
        await expect(page.get_by_role("button", name="Stop")).to_be_disabled()


async def test_a_line_that_is_cut_loses_nothing(visitor: Visitor, small_index: Path) -> None:
    released, last = asyncio.Event(), asyncio.Event()
    answerer = ScriptedAnswerer("One, ", released, "two, ", "three, ", last, "four.")
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await expect(page.get_by_role("button", name="Cut the line")).to_be_disabled()
        await visitor.ask(QUERY)
        await visitor.reads("One,")
        await button(page, "Cut the line")
        await visitor.sees(re.compile(r"^reconnecting in [123] s$"))
        await expect(part(page, "status")).to_have_text("The connection was lost. Reconnecting in 3 s.")
        await expect(page.get_by_role("button", name="Cut the line")).to_be_disabled()
        released.set()
        await visitor.sees("streaming, resumed at 1")
        await visitor.reads("One, two, three,")
        last.set()
        await visitor.sees("complete")
        await visitor.reads("One, two, three, four.")
        await visitor.numbers(chunks="4", gaps="0", duplicates="0", reconnections="1")
        await expect(part(page, "plot-words")).to_contain_text("There was no connection from")
        await expect(page.locator("#plot .break")).to_have_count(1)
        assert len(answerer.prompts) == 1


async def test_a_reload_in_mid_answer_goes_on_with_it(visitor: Visitor, small_index: Path) -> None:
    released, answerer = asyncio.Event(), ScriptedAnswerer()
    answerer.scripts = [("One, ", "two, ", released, "three.")]
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.reads("One, two,")
        await page.reload()
        await visitor.reads("One, two,")
        await visitor.sees("streaming, 2 events were there")
        await expect(part(page, "question")).to_have_text(QUERY)
        released.set()
        await visitor.sees("complete")
        await visitor.reads("One, two, three.")
        await visitor.numbers(chunks="3", gaps="0", duplicates="0", reconnections="0")
        assert len(answerer.prompts) == 1


async def test_a_second_tab_follows_the_same_answer(visitor: Visitor, small_index: Path) -> None:
    released, answerer = asyncio.Event(), ScriptedAnswerer()
    answerer.scripts = [("One, ", released, "two."), ("Another one.",)]
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.reads("One,")
        async with visitor.context.expect_page() as opening:
            await page.get_by_role("link", name="Open in a second tab").click()
        second = await opening.value
        await visitor.reads("One,", second)
        await expect(part(second, "question")).to_have_text(QUERY)
        await button(second, "Cut the line")
        await expect(part(second, "note")).to_contain_text("Another tab holds the connection")
        released.set()
        for tab in (page, second):
            await visitor.sees("complete", tab)
            await visitor.reads("One, two.", tab)
        # A question of its own takes the place of the followed answer, after a reload too.
        await second.get_by_label("Question").fill(QUERY)
        await second.keyboard.press("Enter")
        await visitor.reads("Another one.", second)
        await second.reload()
        await visitor.reads("Another one.", second)
        assert len(answerer.prompts) == 2


async def test_a_link_to_an_answer_that_is_gone_says_so(visitor: Visitor, small_index: Path) -> None:
    visitor.allowed = [REFUSED]
    async with serving(small_index, ScriptedAnswerer("Hello"), HashingEmbedder()) as server:
        page = await visitor.open(f"{server.url}/#answer=AAAAAAAAAAAAAAAAAAAAAA")
        await visitor.sees("error")
        await expect(page.get_by_role("alert")).to_have_text(
            "This answer is no longer here. Please ask again. Asking again may help."
        )
        await visitor.ask(QUERY)
        await visitor.reads("Hello")
        await expect(part(page, "problem")).to_be_hidden()


async def test_an_error_is_shown_in_the_words_of_the_server_and_the_question_stays(
    visitor: Visitor, small_index: Path
) -> None:
    answerer = ScriptedAnswerer("A beginning ", ModelTimeout(retryable=False)).then("A whole answer.")
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.sees("error")
        await visitor.reads("A beginning")
        await expect(page.get_by_role("alert")).to_contain_text("The language model took too long.")
        await expect(page.get_by_label("Question")).to_have_value(QUERY)
        await button(page, "Try again")
        await visitor.sees("complete")
        await visitor.reads("A whole answer.")
        await expect(page.get_by_role("alert")).to_be_hidden()
        assert [prompt.query for prompt in answerer.prompts] == [QUERY, QUERY]


async def test_an_error_that_asking_again_does_not_mend_is_said_to_be_one(visitor: Visitor, small_index: Path) -> None:
    visitor.allowed = [REFUSED]
    async with serving(small_index, ScriptedAnswerer("never"), HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await visitor.ask("x" * 9000)
        await visitor.sees("error")
        await expect(page.get_by_role("alert")).to_contain_text("8,000")
        await expect(page.get_by_role("alert")).to_contain_text("Asking the same again will not help.")


async def test_a_server_that_refuses_for_now_is_waited_for(visitor: Visitor, small_index: Path) -> None:
    visitor.allowed = [REFUSED]
    async with serving(small_index, ScriptedAnswerer("Hello"), HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        server.answers.draining = True
        await visitor.ask(QUERY)
        await visitor.sees(re.compile(r"^reconnecting in \d s$"))
        await expect(part(page, "why")).to_have_text("The server is restarting. Please try again shortly.")
        server.answers.draining = False
        await visitor.sees("complete")
        await expect(part(page, "why")).to_be_hidden()
        await visitor.reads("Hello")


async def test_without_a_token_the_page_asks_for_one_and_with_it_all_works(visitor: Visitor, small_index: Path) -> None:
    visitor.allowed = [REFUSED]
    answerer = ScriptedAnswerer("For Anna only.")
    async with serving(small_index, answerer, HashingEmbedder(), auth="jwt", jwt_secret=SECRET) as server:
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.sees("error")
        await expect(page.get_by_role("alert")).to_contain_text("Put in a token and try again.")
        await expect(page.get_by_label("Token")).to_be_focused()
        await page.get_by_label("Token").fill(token())
        await page.keyboard.press("Enter")
        await visitor.sees("complete")
        await visitor.reads("For Anna only.")
        await button(page, "Test the way")
        await expect(part(page, "test-result")).to_contain_text("Events arrive as they are sent.")
        await page.get_by_label("4 of 5").click()
        await expect(part(page, "note")).to_have_text("Thank you: rated 4 of 5.")
        await page.get_by_label("Comment", exact=True).fill("To the point.")
        await button(page, "Send")
        await expect(part(page, "note")).to_have_text("Thank you for the comment.")
        kept = [given async for given in server.app[PEOPLE].feedback.all()]
        assert [(given.rating, given.comment, given.text) for given in kept] == [(4, "To the point.", "For Anna only.")]
        await page.get_by_label("Token").fill("")
        await page.get_by_label("1 of 5").click()
        await expect(part(page, "note")).to_contain_text("Send a token")
        await expect(page.get_by_label("4 of 5")).to_have_attribute("aria-pressed", "true")


async def test_a_reload_forgets_the_token_and_nothing_else_and_the_answer_goes_on_with_it(
    visitor: Visitor, small_index: Path
) -> None:
    visitor.allowed = [REFUSED]
    answerer = ScriptedAnswerer("For Anna only.")
    async with serving(small_index, answerer, HashingEmbedder(), auth="jwt", jwt_secret=SECRET) as server:
        page = await visitor.open(server.url)
        await page.get_by_text("More: conversation, token, memory").click()
        await page.get_by_label("E-mail").fill("anna@example.com")
        await page.get_by_label("Token").fill(token(email="anna@example.com"))
        await button(page, "New")
        session = await page.get_by_label("Conversation").input_value()
        assert re.fullmatch(r"[0-9a-f]{32}", session)
        await page.get_by_label("Use what the server remembers").uncheck()
        await visitor.ask(QUERY)
        await visitor.sees("complete")
        await page.reload()
        await visitor.sees("error")
        await expect(page.get_by_label("Question")).to_have_value(QUERY)
        await expect(page.get_by_label("E-mail")).to_have_value("anna@example.com")
        await expect(page.get_by_label("Conversation")).to_have_value(session)
        await expect(page.get_by_label("Use what the server remembers")).not_to_be_checked()
        await expect(page.get_by_label("Token")).to_have_value("")
        assert token(email="anna@example.com").split(".")[2] not in str(
            await page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})")
        )
        await page.get_by_label("Token").fill(token(email="anna@example.com"))
        await button(page, "Try again")
        await visitor.reads("For Anna only.")
        assert len(answerer.prompts) == 1


async def test_questions_of_one_conversation_follow_up_on_each_other(visitor: Visitor, small_index: Path) -> None:
    answerer = ScriptedAnswerer("First.").then("Second.").then("Third.")
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        page = await visitor.open(server.url)
        await page.get_by_text("More: conversation, token, memory").click()
        await button(page, "New")
        for said in ("First.", "Second."):
            await visitor.ask(QUERY)
            await visitor.reads(said)
            await visitor.sees("complete")
        await button(page, "New")
        await visitor.ask(QUERY)
        await visitor.reads("Third.")
        assert [len(prompt.history) for prompt in answerer.prompts] == [0, 2, 0]


async def test_the_answer_is_copied_with_its_references_and_sources(visitor: Visitor, small_index: Path) -> None:
    answerer = ScriptedAnswerer()
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        answerer.scripts = [("😀 It costs Rp 3 million.", *await quoted(server, QUERY, [(FEE, (0, 10))]))]
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.sees("complete")
        await button(page, "Copy with sources")
        await expect(part(page, "note")).to_have_text("Copied with its sources.")
        copied = str(await page.evaluate("navigator.clipboard.readText()"))
        assert copied.startswith("😀 It costs [1] Rp 3 million.\n\nSources\n\n")
        assert f"- Renewing a permit, Fees, https://example.com/renewal\n  [1] “{FEE}”\n" in copied


async def test_a_page_that_is_not_secure_copies_all_the_same(visitor: Visitor, small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hello"), HashingEmbedder()) as server:
        await visitor.context.add_init_script("delete Navigator.prototype.clipboard")
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.sees("complete")
        await button(page, "Copy with sources")
        await expect(part(page, "note")).to_have_text("Copied with its sources.")
        await page.get_by_label("Question").fill("")
        await page.keyboard.press("Control+V")
        assert (await page.get_by_label("Question").input_value()).startswith("Hello")
        assert await page.locator("body > textarea").count() == 0


async def test_the_way_is_well_where_nothing_is_between(visitor: Visitor, small_index: Path) -> None:
    async with serving(small_index) as server:
        page = await visitor.open(server.url)
        await button(page, "Test the way")
        result = part(page, "test-result")
        await expect(result).to_contain_text(
            re.compile(r"Events arrive as they are sent. The largest delay was \d+ ms.")
        )
        await expect(result).to_contain_text("Protocol: http/1.1; a browser then opens at most six connections")


async def test_a_proxy_that_holds_events_back_is_found_out(visitor: Visitor, small_index: Path, tmp_path: Path) -> None:
    async with serving(small_index) as server, nginx(tmp_path / "nginx", server.authority, BUFFERING) as origin:
        page = await visitor.open(origin)
        await button(page, "Test the way")
        result = part(page, "test-result")
        await expect(result).to_contain_text(re.compile(r"Events are held back.*by up to 1\d\d\d ms"))
        await expect(result).to_contain_text("proxy_buffering off")


async def test_a_test_of_the_way_that_is_refused_says_why(visitor: Visitor, small_index: Path) -> None:
    visitor.allowed = [REFUSED]
    answerer = ScriptedAnswerer("a beginning", never())
    async with serving(small_index, answerer, HashingEmbedder(), max_connections=1) as server:
        page = await visitor.open(server.url)
        await visitor.ask(QUERY)
        await visitor.reads("a beginning")
        await button(page, "Test the way")
        await expect(part(page, "test-result")).to_have_text(
            "The test failed. The server is answering as many questions as it can. Please try again shortly."
        )
        await page.close()  # or it comes back to a server that has gone


async def test_a_stream_that_ends_early_is_found_out(visitor: Visitor, small_index: Path) -> None:
    async with serving(small_index) as server:
        page = await visitor.open(server.url)
        tick = 'event: tick\ndata: {"tick":0,"of":6,"timestamp":1.5}\n\n'
        await page.route("**/stream-test", lambda route: route.fulfill(body=tick, content_type="text/event-stream"))
        await button(page, "Test the way")
        await expect(part(page, "test-result")).to_contain_text("The stream broke off. 1 event arrived, 5 did not.")
        await page.unroute("**/stream-test")
        visitor.allowed = ["net::ERR_FAILED"]
        await page.route("**/stream-test", lambda route: route.abort())
        await button(page, "Test the way")
        await expect(part(page, "test-result")).to_have_text("The test failed. The server cannot be reached.")


EVIL = '<img src="https://evil.example/x" onerror="alert(1)"><script>alert(2)</script>'
LINKS = f"[a](javascript:alert(3)) ![i](https://evil.example/i.png) <b>{EVIL}</b> [b](data:text/html,x)"


def hostile_events() -> list[bytes]:
    """A log with something hostile in each of its fields."""
    passage = {"passage": EVIL, "source": EVIL, "section": EVIL, "document": EVIL, "url": "javascript:alert(4)"}
    cited = {**passage, "quote": EVIL, "start": 5, "end": 5 + len(EVIL), "textStart": 0, "textEnd": 3, "verified": True}
    foreign = {**cited, "passage": "other", "document": "other", "start": 0, "page": EVIL}
    shown = {**passage, "snippet": EVIL, "start": 5, "similarity": 0.5, "updated": EVIL}
    done = {"done": True, "sequenceNumber": 1, "streamDuration": 1, "stopReason": "end_turn", "model": EVIL}
    said = {"text": LINKS, "sequenceNumber": 1, "timestamp": 1.0}
    log: list[dict[str, Any]] = [
        said,
        {"citation": cited},
        {"citation": foreign},
        {"sources": [shown]},
        {**done, "usage": {"output_tokens": EVIL}},
    ]
    first = frame({"answer": "a", "offset": 0, "replayed": 0}, event="start", id="a.0")
    return [first, *(frame(data, id=f"a.{place}") for place, data in enumerate(log, 1))]


async def hostile_stream(request: web.Request) -> web.StreamResponse:
    """The hostile log; an error to whoever asks for it."""
    if request.query.get("query") == "error":
        said = {"error": EVIL, "code": EVIL, "retryable": False, "done": True}
        return web.json_response(said, status=400)
    response = stream_response()
    await response.prepare(request)
    for event in hostile_events():
        await response.write(event)
    await response.write_eof()
    return response


async def refuse_hostile(request: web.Request) -> web.Response:
    """An error in hostile words."""
    return web.json_response({"error": EVIL}, status=400)


def hostile_server() -> web.Application:
    """The page with a server behind it that sends nothing else."""
    app = web.Application()
    app.router.add_get("/", static_file)
    app.router.add_get(f"/{{file:{FILES}}}", static_file)
    app.router.add_get("/bali-zero/chat-stream", hostile_stream)
    app.router.add_route("*", "/bali-zero/{rest:.*}", refuse_hostile)
    return app


async def test_whatever_a_server_says_is_text(visitor: Visitor, start: Start) -> None:
    visitor.allowed = [REFUSED]
    page = await visitor.open(await start(hostile_server()))
    await visitor.ask("What?")
    await visitor.sees("complete")
    await expect(part(page, "quote-1")).to_have_text(EVIL)
    await expect(part(page, "quote-2")).to_have_text(EVIL)
    await expect(part(page, "model")).to_have_text(EVIL)
    await page.get_by_label("1 of 5").click()
    await expect(part(page, "note")).to_have_text(EVIL)
    await button(page, "Test the way")
    await expect(part(page, "test-result")).to_have_text(f"The test failed. {EVIL}")
    addresses = await page.locator("a").evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")
    assert all(re.match(r"https?://|#|/#answer=", address) for address in addresses), addresses
    await visitor.ask("error")
    await visitor.sees("error")
    await expect(page.get_by_role("alert")).to_contain_text(EVIL)
    assert await page.locator("img").count() == 1  # the page's own
    assert await page.locator("script").count() == 1
    assert await page.locator("[onerror], iframe, object, b").count() == 0


async def test_the_keyboard_is_enough(visitor: Visitor, small_index: Path) -> None:
    answerer = ScriptedAnswerer()
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        answerer.scripts = [
            ("It costs", *await quoted(server, QUERY, [(FEE, (0, 8))])),
            ("It costs", never()),
        ]
        page = await visitor.open(server.url)
        await page.keyboard.press("Tab")
        await expect(page.get_by_label("Question")).to_be_focused()
        await page.keyboard.type(QUERY)
        await page.keyboard.press("Enter")
        await visitor.sees("complete")
        order = []
        for _ in range(40):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement === document.body"):
                break
            order.append(await focused(page))
        assert order[:2] == ["Ask", "email"]
        assert order[-1] == "test"
        assert [name for name in order if name in ("copy", "second", "1", "5")] == ["1", "copy", "second", "1", "5"]
        assert len(order) < 40  # no trap

"""How much one may ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis_server import redis_server, shared
from server import CHAT, EVENT_STREAM, PAGE, QUESTION, SEARCH, STREAM, Server, data, serving
from tokens_made import SECRET, token

from zantara_stream.redis_connection import RedisConnection
from zantara_stream.testing import ScriptedAnswerer
from zantara_stream.web import rates
from zantara_stream.web import shared_rates as module
from zantara_stream.web.rates import MINUTE, Bucket, OwnRates
from zantara_stream.web.shared_rates import SharedRates

PROXIED: dict[str, Any] = {"trusted_proxies": ("127.0.0.1/32",)}
ONE, OTHER = {"X-Forwarded-For": "198.51.100.1"}, {"X-Forwarded-For": "198.51.100.2"}


@given(st.integers(1, 100), st.lists(st.floats(0, 10), max_size=200))
def test_no_more_than_a_minute_s_worth_at_once_and_the_rate_after_it(most: int, pauses: list[float]) -> None:
    bucket, now, taken = Bucket(most, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += not bucket.take(now)
        assert taken <= most + now * most / MINUTE + 1e-6


def test_what_it_says_to_wait_is_enough_and_no_more() -> None:
    bucket = Bucket(2, 0.0)
    assert [bucket.take(0.0) for _ in range(2)] == [0.0, 0.0]
    wait = bucket.take(10.0)
    assert wait == pytest.approx(20.0)
    assert bucket.take(10.0 + wait - 0.1) > 0
    assert bucket.take(10.0 + wait + 0.1) == 0.0


def test_a_bucket_is_full_again_after_a_minute() -> None:
    bucket = Bucket(3, 0.0)
    bucket.take(0.0)
    assert not bucket.is_full(MINUTE / 3 - 1)
    assert bucket.is_full(MINUTE / 3 + 1)


async def refused(server: Server, path: str = CHAT, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """The status, the body and the headers of a question's response."""
    async with await server.post(path, {"query": QUESTION, **body}, headers) as response:
        return response.status, await response.json(), response.headers


async def test_questions_are_counted_for_each_address(small_index: Path) -> None:
    async with serving(small_index, rate_limit=2, **PROXIED) as server:
        for _ in range(2):
            assert (await refused(server, headers=ONE))[0] == 200
        status, body, headers = await refused(server, headers={**ONE, "Origin": PAGE})
        assert (status, body["code"], body["retryable"]) == (429, "rate_limited", True)
        assert "2 questions within a minute" in body["error"]
        assert 1 <= int(headers["Retry-After"]) <= 30
        assert headers["Access-Control-Allow-Origin"] == PAGE
        assert (await refused(server, SEARCH, ONE))[0] == 429, "a search is a question too"
        assert (await refused(server, headers=OTHER))[0] == 200, "and nobody else's limit"


async def test_nothing_is_searched_or_paid_for_a_question_that_is_refused(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer, rate_limit=1, **PROXIED) as server:
        await refused(server, headers=ONE)
        await refused(server, headers=ONE)
    assert len(answerer.prompts) == 1


async def test_an_event_source_that_is_refused_is_told_when_to_come_back(small_index: Path) -> None:
    async with serving(small_index, rate_limit=1, **PROXIED) as server:
        await (await server.stream(ONE)).rest()
        async with await server.get(STREAM, {**ONE, **EVENT_STREAM, "Origin": PAGE}, query=QUESTION) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == PAGE
            said = (await response.read()).decode()
    assert "event: unavailable" in said
    assert '"code":"rate_limited"' in said
    (retry,) = [int(line[7:]) for line in said.splitlines() if line.startswith("retry: ")]
    assert 55_000 <= retry <= 90_000


async def test_coming_back_to_an_answer_is_no_question(small_index: Path) -> None:
    async with serving(small_index, ScriptedAnswerer("Hello"), rate_limit=1, **PROXIED) as server:
        reader = await server.stream(ONE, continuity_id="c")
        first = await reader.until("message")
        await reader.rest()
        for _ in range(3):
            joined = data(await (await server.stream(ONE, continuity_id="c")).rest())
            assert joined[-1].get("done"), joined
            resumed = await server.stream({**ONE, "Last-Event-ID": first.id})
            assert data(await resumed.rest())[-1]["done"]
            async with server.session.head(server.url + STREAM, headers=ONE) as response:
                assert response.status == 200


async def test_a_known_person_is_counted_whatever_the_address(small_index: Path) -> None:
    settings: dict[str, Any] = {"auth": "jwt", "jwt_secret": SECRET, **PROXIED}
    async with serving(small_index, rate_limit=1, **settings) as server:
        made, wayan = ({"Authorization": f"Bearer {token(sub=name, email=f'{name}@example.com')}"} for name in "mw")
        assert (await refused(server, headers={**made, **ONE}))[0] == 200
        assert (await refused(server, headers={**made, **OTHER}))[0] == 429
        assert (await refused(server, headers={**wayan, **ONE}))[0] == 200
        async with await server.post("/bali-zero/tickets", {}, {**wayan, **ONE}) as response:
            assert response.status == 429, "a ticket is for a question"


async def test_this_machine_itself_may_ask_as_it_likes(small_index: Path) -> None:
    async with serving(small_index, rate_limit=1, max_streams=1) as server:
        for _ in range(3):
            assert (await refused(server))[0] == 200
        readers = [await server.stream() for _ in range(3)]
        for reader in readers:
            assert data(await reader.rest())[-1]["done"]
            assert reader.response.status == 200


async def test_behind_a_proxy_one_without_an_address_is_not_taken_for_this_machine(small_index: Path) -> None:
    async with serving(small_index, rate_limit=1, **PROXIED) as server:
        assert (await refused(server))[0] == 200
        assert (await refused(server))[0] == 429


async def test_without_a_limit_there_is_none(small_index: Path) -> None:
    async with serving(small_index, rate_limit=None, **PROXIED) as server:
        for _ in range(70):
            assert (await refused(server, SEARCH, ONE))[0] == 200


@pytest.mark.parametrize("path", [STREAM, "/bali-zero/stream-test"])
async def test_streams_are_counted_while_they_are_open(small_index: Path, path: str) -> None:
    hold = asyncio.Event()
    async with serving(small_index, ScriptedAnswerer("Hello", hold), max_streams=1, **PROXIED) as server:
        first = await server.stream(ONE)
        await first.until("message")
        async with await server.get(path, ONE, query=QUESTION) as response:
            assert response.status == 429
            assert response.headers["Retry-After"]
            assert "1 streams open already" in (await response.json())["error"]
        other = await server.stream(OTHER)
        await other.until("message")
        hold.set()
        await first.rest()
        async with await server.get(path, ONE, query=QUESTION) as response:
            assert response.status == 200
            await response.read()


async def test_those_who_have_not_asked_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(rates, "KEPT", 3)
    own = OwnRates(lambda: now)
    for who in "abc":
        assert await own.take(who, 2) == 0
    now = MINUTE / 2  # each has got its token back
    assert [await own.take("d", 2) for _ in range(3)] == [0, 0, 30]
    assert list(own._buckets) == ["d"]


# ------------------------------------------------------------------------------------------- of several nodes


@asynccontextmanager
async def shared_rates(url: str) -> AsyncIterator[SharedRates]:
    """What one node counts with."""
    counting = SharedRates(RedisConnection(url))
    try:
        yield counting
    finally:
        await counting.close()


async def test_nodes_that_share_a_redis_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1730552400000
    monkeypatch.setattr(module, "clock", lambda: f"local now = {now}")
    url = shared().emptied()
    async with shared_rates(url) as here, shared_rates(url) as there:
        assert [await door.take("address 198.51.100.1", 3) for door in (here, there, here)] == [0, 0, 0]
        assert await there.take("address 198.51.100.1", 3) == 20
        assert await there.take("address 198.51.100.2", 3) == 0
        now += 19_000
        assert await here.take("address 198.51.100.1", 3) == pytest.approx(1, abs=0.01)
        now += 1_001
        assert await here.take("address 198.51.100.1", 3) == 0
        assert await here.take("address 198.51.100.1", 3) > 0
    assert "198.51" not in shared().ask("KEYS", "*")
    assert 0 < int(shared().ask("PTTL", shared().ask("KEYS", "*").split()[0])) <= 60_000, "and forget it after a minute"


async def test_a_node_whose_redis_is_away_counts_by_itself_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path) as server:
        async with shared_rates(server.url) as counting:
            assert await counting.take("a", 1) == 0
            server.kill()
            assert await counting.take("a", 1) == 0
            assert await counting.take("a", 1) > 0
            assert [record.levelname for record in caplog.records] == ["ERROR"]
            await asyncio.to_thread(server.start)
            assert await counting.take("a", 1) > 0, "and what it has counted before is still there"


async def test_a_server_with_its_answers_in_redis_counts_with_the_others(small_index: Path) -> None:
    url = shared().emptied()
    settings: dict[str, Any] = {"journal": url, "rate_limit": 2, **PROXIED}
    async with serving(small_index, **settings) as one, serving(small_index, **settings) as other:
        assert [(await refused(server, headers=ONE))[0] for server in (one, other, one)] == [200, 200, 429]

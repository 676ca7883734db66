"""What a request asks: parameters, their twins, the history's forms, and what is refused (the contract's §1)."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server import CHAT, PAGE, QUESTION, STREAM, Reader, Server, serving

from zantara_stream.errors import InvalidRequest, TooLarge
from zantara_stream.generation.answerer import Turn
from zantara_stream.pipeline import Question
from zantara_stream.testing import ScriptedAnswerer
from zantara_stream.web import parameters
from zantara_stream.web.parameters import (
    BODY_LIMIT,
    HISTORY_LIMIT,
    HISTORY_TURNS,
    ID_LIMIT,
    LINE_LIMIT,
    QUERY_LIMIT,
    read_email,
    read_history,
    read_limit,
    read_query,
    read_question,
)

TURNS = (Turn("user", "Where?"), Turn("assistant", "Here."))
LONG = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
SHORT = [{"r": "u", "c": "Where?"}, {"r": "a", "c": "Here."}]

# ---------------------------------------------------------------------------------------------- query


@pytest.mark.parametrize(
    ("query", "read"), [("What?", "What?"), ("  What?\n", "What?"), ("a\ud800b", "a?b"), ("🙂", "🙂")]
)
def test_the_query_is_text_without_space_around_it(query: str, read: str) -> None:
    assert read_query({"query": query}) == read


@pytest.mark.parametrize("values", [{}, {"query": ""}, {"query": " \n\t\u00a0"}, {"query": None}])
def test_a_query_is_needed(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"^query is missing or blank"):
        read_query(values)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(5, "a number"), (1.5, "a number"), (True, "a boolean"), ([], "a list"), ({}, "an object")],
)
@pytest.mark.parametrize("name", ["query", "user_email"])
def test_text_must_be_text(name: str, value: object, kind: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name} must be text, not {kind}"):
        read_question({"query": "What?", name: value})


def test_a_query_may_be_8000_characters_long_and_no_longer() -> None:
    assert QUERY_LIMIT == 8000
    assert len(read_query({"query": " " + "🙂" * QUERY_LIMIT})) == QUERY_LIMIT
    with pytest.raises(InvalidRequest, match=r"^query has 8,001 characters; at most 8,000 are allowed\."):
        read_query({"query": "x" * (QUERY_LIMIT + 1)})


# ------------------------------------------------------------------------------------------ user_email


@pytest.mark.parametrize("email", ["undefined", "null", "none", "", "  ", "Undefined", " NULL ", "None\n", None])
def test_words_for_nobody(email: str | None) -> None:
    assert read_email({"user_email": email}) == ""
    assert read_question({"query": "What?", "user_email": email}) == Question("What?")


def test_somebody() -> None:
    assert read_email({"user_email": " me@example.com "}) == "me@example.com"
    assert read_email({"user_email": "nonesuch@example.com"}) == "nonesuch@example.com"


# ------------------------------------------------------------------------------------------------ history


@pytest.mark.parametrize("form", [LONG, SHORT, [LONG[0], SHORT[1]]], ids=["long", "compressed", "mixed"])
def test_both_forms_of_a_history_as_list_or_as_json(form: list[dict[str, str]]) -> None:
    assert read_history(form) == TURNS
    assert read_history(json.dumps(form)) == TURNS


def test_extra_keys_are_passed_over() -> None:
    extra = [{**turn, "timestamp": 5, "id": None, "r": "a"} for turn in LONG]
    assert read_history(extra) == TURNS


@pytest.mark.parametrize("raw", [None, [], "[]", "", "  ", "undefined", "null", "none", "NULL"])
def test_no_history(raw: object) -> None:
    assert read_history(raw) == ()


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("[{", "conversation_history is not valid JSON."),
        ("nonsense", "conversation_history is not valid JSON."),
        ("[" * 100_000, "conversation_history is not valid JSON."),
        ("{}", "conversation_history must be a JSON list of turns, not an object."),
        ('"text"', "conversation_history must be a JSON list of turns, not text."),
        (5, "conversation_history must be a JSON list of turns, not a number."),
        (True, "conversation_history must be a JSON list of turns, not a boolean."),
        ([*LONG, "text"], "conversation_history item 2 must be an object with role and content, not text."),
        ([None], "conversation_history item 0 must be an object with role and content, not null."),
        ([[]], "conversation_history item 0 must be an object with role and content, not a list."),
        ([{}], "conversation_history item 0: role must be user or assistant (or u, a)."),
        ([{"content": "x"}], "conversation_history item 0: role must be user or assistant (or u, a)."),
        (
            [{"role": "system", "content": "x"}],
            "conversation_history item 0: role must be user or assistant (or u, a).",
        ),
        ([{"role": "User", "content": "x"}], "conversation_history item 0: role must be user or assistant (or u, a)."),
        (
            [{"role": ["user"], "content": "x"}],
            "conversation_history item 0: role must be user or assistant (or u, a).",
        ),
        ([LONG[0], {"role": "user"}], "conversation_history item 1: content must be text, not null."),
        ([{"role": "user", "content": 5}], "conversation_history item 0: content must be text, not a number."),
        ([{"r": "u", "c": {"a": 1}}], "conversation_history item 0: content must be text, not an object."),
    ],
)
def test_a_bad_history_is_refused_naming_the_item_and_why(raw: object, problem: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read_history(raw)
    assert str(raised.value) == problem


def test_a_history_has_its_limits() -> None:
    turn = {"r": "u", "c": "x"}
    assert len(read_history([turn] * HISTORY_TURNS)) == HISTORY_TURNS
    with pytest.raises(TooLarge, match=rf"^conversation_history has {HISTORY_TURNS + 1} turns"):
        read_history([turn] * (HISTORY_TURNS + 1))
    with pytest.raises(TooLarge, match=r"^conversation_history is longer than 400,000 characters"):
        read_history([{"r": "u", "c": "x" * HISTORY_LIMIT}, turn])


@pytest.mark.parametrize("last", ["What?", " What?\n"])
def test_a_last_turn_that_is_the_question_is_dropped(last: str) -> None:
    history = [*LONG, {"role": "user", "content": last}]
    assert read_question({"query": "What? ", "conversation_history": history}) == Question("What?", TURNS)


@pytest.mark.parametrize("last", [{"role": "assistant", "content": "What?"}, {"role": "user", "content": "what?"}])
def test_a_last_turn_that_is_something_else_stays(last: dict[str, str]) -> None:
    question = read_question({"query": "What?", "conversation_history": [*LONG, last]})
    assert question.history[-1] == Turn(last["role"], last["content"])


def test_only_one_last_turn_is_dropped() -> None:
    history = [{"r": "u", "c": "What?"}] * 2
    assert read_question({"query": "What?", "conversation_history": history}).history == (Turn("user", "What?"),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "r", "c", "x"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["query", "user_email", "conversation_history", "limit"]), JSON))
def test_whatever_comes_is_read_or_refused(values: dict[str, Any]) -> None:
    for read in (read_question, read_limit):
        with suppress(InvalidRequest, TooLarge):
            read(values)


# ---------------------------------------------------------------------------------------------- over HTTP


async def test_get_and_post_ask_the_same(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        await (await server.stream(conversation_history=json.dumps(LONG), user_email="me@example.com")).rest()
        body = {"query": QUESTION, "conversation_history": SHORT, "user_email": "me@example.com"}
        await Reader(await server.post(STREAM, body)).rest()
        async with await server.post(CHAT, {**body, "conversation_history": json.dumps(SHORT)}) as response:
            assert response.status == 200
    first, second, third = answerer.prompts
    assert first == second == third
    assert (first.query, first.history) == (QUESTION, TURNS)


async def test_words_that_browsers_write_for_nothing_are_nothing(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        reader = await server.stream(user_email="undefined", conversation_history="undefined", session_id="")
        assert await reader.text() == "Hello"
    assert answerer.prompts[0].history == ()


async def refused(server: Server, body: Any, path: str = STREAM) -> tuple[int, dict[str, Any]]:
    """The status and JSON of a refusal; bytes are sent as they are."""
    sending = server.send(path, body) if isinstance(body, bytes) else server.post(path, body)
    async with await sending as response:
        error: dict[str, Any] = await response.json()
        assert set(error) == {"error", "done", "code", "retryable"}
        return response.status, error


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "query is missing or blank; it is the question to answer."),
        (b"{", "The body is not valid JSON in UTF-8."),
        (b"\xff\xfe\xff", "The body is not valid JSON in UTF-8."),
        (b"[" * 100_000, "The body is not valid JSON in UTF-8."),
        (b"query=What", "The body is not valid JSON in UTF-8."),
        (["What?"], "The body must be a JSON object, not a list."),
        ("What?", "The body must be a JSON object, not text."),
        (None, "The body must be a JSON object, not null."),
        (5, "The body must be a JSON object, not a number."),
        ({}, "query is missing or blank; it is the question to answer."),
        ({"query": ["What?"]}, "query must be text, not a list."),
        ({"query": "x" * 8001}, "query has 8,001 characters; at most 8,000 are allowed."),
        ({"query": "x", "user_email": 5}, "user_email must be text, not a number."),
        ({"query": "x", "session_id": 5}, "session_id must be text, not a number."),
        ({"query": "x", "continuity_id": {}}, "continuity_id must be text, not an object."),
        ({"query": "x", "continuity_id": "c" * 201}, "continuity_id is longer than 200 characters."),
        ({"query": "x", "session_id": "s" * 201}, "session_id is longer than 200 characters."),
        ({"query": "x", "last_event_id": 5}, "last_event_id must be text, not a number."),
        (
            {"query": "x", "conversation_history": [{"role": "user", "content": "a"}, {"role": "bot", "content": "b"}]},
            "conversation_history item 1: role must be user or assistant (or u, a).",
        ),
    ],
)
@pytest.mark.parametrize("path", [STREAM, CHAT])
async def test_a_bad_body_is_400_and_says_why(small_index: Path, path: str, body: Any, problem: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        status, error = await refused(server, body, path)
    assert (status, error["code"], error["error"]) == (400, "invalid_request", problem)
    assert answerer.prompts == []


async def test_a_body_over_its_limit_is_413(small_index: Path) -> None:
    async with serving(small_index) as server:
        padding = "x" * (BODY_LIMIT - 50)
        async with await server.post(CHAT, {"query": "x", "padding": padding}) as response:
            assert response.status == 200
        status, error = await refused(server, {"query": "x", "padding": padding + "x" * 50})
        assert (status, error["code"], error["error"]) == (413, "too_large", "The body is larger than 2,097,152 bytes.")
        status, error = await refused(server, {"query": "x", "conversation_history": [SHORT[0]] * 401})
        assert (status, error["code"]) == (413, "too_large")


async def test_long_addresses_work_and_longer_ones_are_413_that_a_page_can_see(small_index: Path) -> None:
    # The default of the server would have been 8 KB: context was lost after some 19 messages.
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        history = json.dumps([{"r": "u", "c": "x" * 60_000}])
        reader = await server.stream({"Origin": PAGE}, conversation_history=history)
        assert await reader.text() == "Hello"
        assert len(answerer.prompts[0].history[0].content) == 60_000
        history = json.dumps([{"r": "u", "c": "x" * 100_000}])
        async with await server.get(STREAM, {"Origin": PAGE}, query="x", conversation_history=history) as response:
            error = await response.json()
        assert response.status == 413
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert error["code"] == "too_large"
        assert f"{LINE_LIMIT:,}" in error["error"]
        assert "POST" in error["error"], "and what to do"
    assert len(answerer.prompts) == 1


async def _answer(server: Server, headers: dict[str, str], parameters: dict[str, str], *, post: bool) -> str:
    """The id of the answer that a request gets."""
    if post:
        reader = Reader(await server.post(STREAM, {"query": QUESTION, **parameters}, headers))
    else:
        reader = await server.stream(headers, **parameters)
    name: str = (await reader.next()).json["answer"]
    await reader.rest()
    return name


@pytest.mark.parametrize("post", [False, True])
async def test_a_header_is_the_twin_of_its_parameter_and_wins(small_index: Path, post: bool) -> None:
    async with serving(small_index) as server:
        one = await _answer(server, {}, {"continuity_id": "one"}, post=post)
        two = await _answer(server, {"X-Continuity-Id": "two"}, {}, post=post)
        assert one != two
        assert await _answer(server, {"X-Continuity-Id": "one"}, {}, post=post) == one
        assert await _answer(server, {"X-Continuity-Id": "one"}, {"continuity_id": "two"}, post=post) == one
        assert await _answer(server, {"X-Continuity-Id": ""}, {"continuity_id": "two"}, post=post) == two
        resumed = {"Last-Event-ID": f"{one}.0"}
        assert await _answer(server, resumed, {"last_event_id": f"{two}.0"}, post=post) == one
        assert await _answer(server, {}, {"last_event_id": f"{two}.0"}, post=post) == two


async def test_an_event_id_goes_before_everything_else(small_index: Path) -> None:
    # A browser repeats the same address when it reconnects.
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        one = await _answer(server, {}, {"continuity_id": "one"}, post=False)
        await _answer(server, {}, {"continuity_id": "two"}, post=False)
        again = {"continuity_id": "two", "query": "", "conversation_history": "["}
        assert await _answer(server, {"Last-Event-ID": f"{one}.0"}, again, post=False) == one
    assert len(answerer.prompts) == 2


@pytest.mark.parametrize("header", ["X-Session-Id", "X-Continuity-Id"])
async def test_a_header_that_is_too_long_is_refused(small_index: Path, header: str) -> None:
    async with serving(small_index) as server:
        async with await server.get(STREAM, {header: "x" * (ID_LIMIT + 1)}, query="x") as response:
            assert response.status == 400
            assert "is longer than 200 characters" in (await response.json())["error"]
        assert await (await server.stream({header: "x" * ID_LIMIT})).text() == "Hello, world"


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "-1", "1e11", "1730552400123", "0x10", "1,5", "x" * 201])
async def test_a_moment_that_is_none_is_refused_and_nobody_asked(small_index: Path, value: str) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        for headers, parameters in (
            ({"X-Last-Chunk-Timestamp": value}, {"continuity_id": "c"}),
            ({}, {"continuity_id": "c", "last_chunk_timestamp": value}),
        ):
            async with await server.get(STREAM, headers, query=QUESTION, **parameters) as response:
                assert response.status == 400
                assert (await response.json())["error"].startswith("last_chunk_timestamp ")
    assert answerer.prompts == []


@pytest.mark.parametrize("value", ["", " ", "undefined", "null"])
async def test_words_that_browsers_write_for_no_moment_are_none(small_index: Path, value: str) -> None:
    async with serving(small_index) as server:
        reader = await server.stream({"X-Last-Chunk-Timestamp": value}, last_chunk_timestamp=value)
        assert (await reader.next()).event == "start"
        assert await reader.text() == "Hello, world"


async def test_a_moment_must_be_text_in_a_body(small_index: Path) -> None:
    async with serving(small_index) as server:
        body = {"query": QUESTION, "continuity_id": "c", "last_chunk_timestamp": [1]}
        async with await server.post(STREAM, body) as response:
            assert response.status == 400
            assert "last_chunk_timestamp must be text, not a list" in (await response.json())["error"]


async def test_parameters_of_the_address_count_for_a_post_unless_the_body_has_them(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Hello")
    async with serving(small_index, answerer) as server:
        for body in ({}, {"query": "From the body?"}):
            async with await server.post(f"{CHAT}?query=From+the+address?", body) as response:
                assert response.status == 200
    assert [prompt.query for prompt in answerer.prompts] == ["From the address?", "From the body?"]


async def test_a_body_that_does_not_come_is_not_waited_for(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "BODY_TIME", 0.05)
    async with serving(small_index) as server:
        host, _, port = server.authority.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {CHAT} HTTP/1.1\r\nHost: {server.authority}\r\nContent-Length: 99\r\n\r\n"
        writer.write(f"{head}{{".encode())
        said = await reader.readuntil(b"}")
        writer.close()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"The body did not come within 0.05 seconds." in said

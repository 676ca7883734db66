"""The description of the API says what the router, the errors and the parameters say, and what is really answered."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
import schemathesis
from aiohttp import ClientResponse
from server import ANSWERS_BY_ID, CHAT, EVENT_STREAM, QUESTION, SEARCH, STREAM, Server, never, serving
from tokens_made import SECRET, token

from zantara_stream import __version__, errors
from zantara_stream.answers import answer
from zantara_stream.answers.events import Citation, Done, Event, Failed, Sources, Stamp, Text, encode, unframe
from zantara_stream.app import RECORDING, create_app
from zantara_stream.config import Settings
from zantara_stream.errors import ModelOverloaded, ModelRefused, ModelTimeout, ModelUnavailable, RequestError
from zantara_stream.generation.answerer import Answerer
from zantara_stream.generation.extractive import ExtractiveAnswerer
from zantara_stream.testing import ScriptedAnswerer, StreamEvent, read_events
from zantara_stream.web import parameters
from zantara_stream.web.openapi import description

Operation = tuple[str, str]  # a method in upper case, and a path of the description
ADMIN = "an operator's token of tests"
BY_ID, EVENTS_OF = f"{ANSWERS_BY_ID}/{{id}}", f"{ANSWERS_BY_ID}/{{id}}/events"
DESCRIPTION = description()
PATHS, COMPONENTS = DESCRIPTION["paths"], DESCRIPTION["components"]
OPERATIONS = {(method.upper(), path): said for path, methods in PATHS.items() for method, said in methods.items()}
PERSONAL = sorted(operation for operation in OPERATIONS if operation[1].startswith("/bali-zero/"))


def resolved(value: Any) -> Any:
    """What a reference refers to; anything else as it is."""
    while isinstance(value, dict) and "$ref" in value:
        value, path = DESCRIPTION, value["$ref"].removeprefix("#/").split("/")
        for name in path:
            value = value[name]
    return value


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(item)


def closed() -> dict[str, Any]:
    """The components, with no property allowed in any object that is not described."""
    components: dict[str, Any] = deepcopy(COMPONENTS)
    for node in nodes(components["schemas"]):
        if "properties" in node and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
    return components


CLOSED = closed()


def check(value: Any, schema: Mapping[str, Any]) -> None:
    """Raise where a value is not as described, or has more to it."""
    jsonschema_rs.Draft202012Validator({**schema, "components": CLOSED}).validate(value)


# ------------------------------------------------------------------------------------------- the document


def test_it_is_valid_openapi() -> None:
    assert DESCRIPTION["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(DESCRIPTION).validate()


@pytest.mark.parametrize("name", COMPONENTS["schemas"])
def test_each_schema_is_valid(name: str) -> None:
    jsonschema_rs.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": COMPONENTS})


def test_every_reference_leads_to_a_component_and_every_component_is_referred_to() -> None:
    # An address cannot say what it answers to methods that it does not take.
    referred = {f"#/components/securitySchemes/{name}" for said in OPERATIONS.values() for name in _schemes(said)}
    referred |= {node["$ref"] for node in nodes(DESCRIPTION) if "$ref" in node}
    there = {f"#/components/{kind}/{name}" for kind, named in COMPONENTS.items() for name in named}
    assert referred == there - {"#/components/responses/MethodNotAllowed"}


def _schemes(said: Mapping[str, Any]) -> set[str]:
    return {name for way in said.get("security", ()) for name in way}


def test_operations_have_names_of_their_own_and_describe_what_stands_in_their_path() -> None:
    assert len({said["operationId"] for said in OPERATIONS.values()}) == len(OPERATIONS)
    for (_, path), said in OPERATIONS.items():
        named = {one["name"] for one in map(resolved, said.get("parameters", ())) if one["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_it_has_the_routes_of_the_application_and_no_other() -> None:
    app = create_app(Settings(database_url="memory://", journal="memory://"))
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    assert {(method, path) for method, path in routes if method != "OPTIONS"} == set(OPERATIONS)


def test_it_has_the_codes_of_the_errors_and_no_other() -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, RequestError)]
    listed = COMPONENTS["schemas"]["Code"]["enum"]
    assert sorted(listed) == sorted({kind.code for kind in kinds})


EVENTS: list[Event] = [
    Text("Hello"),
    Citation("P", "S", "words", 0, 5, 0, 5, True, document="d.md", section="A", page=1, url="https://example.com"),
    Sources(
        ({"source": "S", "snippet": "s", "similarity": 0.5, "passage": "P", "document": "d", "start": 0, "end": 1},)
    ),
    Done("end_turn", "m", {"output_tokens": 1}, True, 0.1),
    Failed("model_timeout", "It took too long.", True),
]
UNNAMED = {"Text", "Citation", "Sources", "Done", "Error"}


def test_each_event_of_a_log_is_as_described() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    stamp = Stamp("A" * 22, 1, 1, 1730552400.123, 0.5, 0.25)
    encoded = [unframe(encode(event, stamp)) for event in EVENTS]
    assert {next(iter(data)).capitalize() for data in encoded} == UNNAMED
    for data in encoded:
        check(data, COMPONENTS["schemas"][f"{next(iter(data)).capitalize()}Event"])


# ------------------------------------------------------------------------------------------ its parameters


class Taken(dict[str, Any]):
    """Parameters that remember which of them were asked for."""

    names: set[str]

    def get(self, name: str, default: Any = None) -> Any:
        """The parameter, if it is there."""
        self.names.add(name)
        return super().get(name, default)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the parameters that handlers have asked for."""
    names: set[str] = set()
    read = parameters._values

    async def recorded(request: Any) -> Taken:
        values = Taken(await read(request))
        values.names = names
        return values

    monkeypatch.setattr(parameters, "_values", recorded)
    return names


def described(said: Mapping[str, Any], place: str) -> set[str]:
    """The names of an operation's parameters in that place: query, header or body."""
    named = {one["name"] for one in map(resolved, said.get("parameters", ())) if one["in"] == place}
    body = said.get("requestBody") if place == "body" else None
    return named | _properties(body["content"]["application/json"]["schema"]) if body else named


def _properties(schema: Any) -> set[str]:
    schema = resolved(schema)
    return set(schema.get("properties", ())).union(*map(_properties, schema.get("anyOf", ())))


@pytest.mark.parametrize("operation", PERSONAL, ids=" ".join)
async def test_its_parameters_are_those_that_the_code_takes(
    small_index: Path, taken: set[str], operation: Operation
) -> None:
    (method, path), said = operation, OPERATIONS[operation]
    async with serving(small_index, trust_email=True) as server:
        values = {"query": QUESTION, "answer": "A" * 22, "rating": 3, "user_email": "anna@example.com"}
        sent: dict[str, Any] = {"json": values} if method == "POST" else {"params": {"query": QUESTION}}
        async with server.session.request(method, server.url + re.sub("{.*}", "unknown", path), **sent) as response:
            assert response.status < 500
    if path == CHAT:
        taken.discard("last_event_id")  # only to refuse it
    found = described(said, "body" if method == "POST" else "query")
    assert found - {"format"} == taken, "one is read from the address alone"
    assert described(said, "header") == {parameters.TWINS[name] for name in taken & parameters.TWINS.keys()}


# ----------------------------------------------------------------------------------------- what is answered


class Observed:
    """Asks a server as somebody whom it knows, and checks what comes; `seen` is what came of it so far."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seen: set[tuple[str, str, str]] = set()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        /,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        **names: str,
    ) -> Any:
        """The response's body, which is as the operation at that path of the description has it."""
        secret = ADMIN if path.startswith(("/admin/", "/metrics")) else token("anna")
        headers = {"Authorization": f"Bearer {secret}", **(headers or {})}
        url = self.server.url + path.format(**names)
        sent: dict[str, Any] = {"headers": headers, "params": query, **({} if body is None else {"json": body})}
        async with self.server.session.request(method, url, **sent) as response:
            self.seen.add((method, path, str(response.status)))
            return await as_described(response, resolved(OPERATIONS[method, path]["responses"][str(response.status)]))


async def as_described(response: ClientResponse, said: Mapping[str, Any]) -> Any:
    """The body of a response. Raises where it is not what is said of it."""
    for name, header in said.get("headers", {}).items():
        if resolved(header).get("required"):
            assert name in response.headers
    if "content" not in said or response.method == "HEAD":
        assert await response.read() == b""
        return None
    kinds = said["content"]
    assert response.content_type in kinds or "*/*" in kinds
    if response.content_type == "text/event-stream":
        return streamed(await response.read(), kinds["text/event-stream"]["schema"])
    if response.content_type != "application/json":
        return await response.text()
    check(body := await response.json(), kinds["application/json"]["schema"])
    return body


def streamed(wire: bytes, said: Any) -> list[StreamEvent]:
    """The events of a stream, each one of those that may come, and as described."""
    events = read_events(wire)
    members = [one["properties"] for one in resolved(said)["anyOf"]]
    may = {member["event"]["const"]: member["data"]["contentSchema"] for member in members}
    for event in events:
        schema = {"$ref": f"#/components/schemas/{kind(event)}Event"}
        assert schema in may[event.event].get("anyOf", [may[event.event]])
        check(event.json, schema)
    return events


def kind(event: StreamEvent) -> str:
    """What the description calls an event."""
    return (next(iter(event.json)) if event.event == "message" else event.event).capitalize()


@pytest.fixture
async def anna(small_index: Path) -> AsyncIterator[Observed]:
    """Somebody with a token, at a server of which she is also the operator."""
    known = {"auth": "jwt", "jwt_secret": SECRET, "admin_token": ADMIN}
    async with serving(small_index, ExtractiveAnswerer(), None, **known) as server:
        yield Observed(server)


async def _asks(anna: Observed) -> None:
    whole = await anna.ask("POST", CHAT, {"query": QUESTION, "session_id": "visas"})
    assert whole["citations"]
    assert whole["sources"]
    log = await anna.ask("GET", BY_ID, id=whole["answer"])
    for method, path in (("GET", STREAM), ("POST", STREAM), ("GET", EVENTS_OF)):
        for last in ("", f"{log['answer']}.1", f"{log['answer']}.{log['offset']}"):
            values = {"query": QUESTION, "last_event_id": last}
            await anna.ask(method, path, {} if method == "POST" else None, id=log["answer"], query=values)
    for path in (STREAM, EVENTS_OF, BY_ID):
        await anna.ask("HEAD", path, id=log["answer"])
    await anna.ask("POST", "/bali-zero/feedback", {"answer": log["answer"], "rating": 5, "comment": "Good."})
    await anna.ask("DELETE", BY_ID, id=log["answer"])
    found = await anna.ask("POST", SEARCH, {"query": QUESTION, "limit": 3})
    assert len(found["results"]) == 3
    await anna.ask("POST", "/bali-zero/tickets", {"query": QUESTION})
    await anna.ask("GET", "/bali-zero/stream-test")


async def _is_remembered(anna: Observed) -> None:
    for said in ("Remember that my company is a CV.", "Remember that my company is a PT PMA.", "My name is Anna."):
        await anna.ask("POST", CHAT, {"query": said, "session_id": "companies"})
    await anna.server.app[RECORDING].settled()
    listed = await anna.ask("GET", "/bali-zero/conversations")
    assert len(listed["conversations"]) == 2
    kept = await anna.ask("GET", "/bali-zero/conversations/{id}", id="visas")
    assert kept["turns"][0]["sources"]
    markdown = await anna.ask("GET", "/bali-zero/conversations/{id}", id="visas", query={"format": "markdown"})
    assert markdown.startswith("# ")
    await anna.ask("DELETE", "/bali-zero/conversations/{id}", id="visas")
    fact, *_ = (await anna.ask("GET", "/bali-zero/memory"))["facts"]
    assert fact["formerly"]
    await anna.ask("DELETE", "/bali-zero/memory/{fact}", fact=fact["id"])
    assert (await anna.ask("DELETE", "/bali-zero/memory"))["deleted"] == 1


async def _looks_around(anna: Observed) -> None:
    for path in ("/", "/{file}", "/health", "/ready", "/openapi.json"):
        for method in ("GET", "HEAD"):
            await anna.ask(method, path, file="zantara-stream.js")
    for path in ("/", "/{file}"):
        for method in ("GET", "HEAD"):
            await anna.ask(method, path, file="style.css", headers={"Range": "bytes=0-9"})
    await anna.ask("GET", "/metrics")
    await anna.ask("POST", "/admin/reload")
    await anna.ask("GET", "/admin/documents/{path}", path="permits/renewal.md")


async def test_what_goes_well_is_as_described_and_all_of_it_is_seen(anna: Observed) -> None:
    await _asks(anna)
    await _is_remembered(anna)
    await _looks_around(anna)
    answers = {(*operation, status) for operation, said in OPERATIONS.items() for status in said["responses"]}
    assert anna.seen == {answer for answer in answers if answer[-1].startswith("2")}


async def test_it_is_published_with_the_version_of_the_package(anna: Observed) -> None:
    published = await anna.ask("GET", "/openapi.json")
    assert published == DESCRIPTION
    assert published["info"]["version"] == __version__


# -------------------------------------------------------------------------------------------- what is refused

# What is asked of which operation: its body, and what else `Observed.ask` takes.
REFUSALS: list[tuple[str, Operation, Any, dict[str, Any]]] = [
    ("400", ("POST", "/bali-zero/feedback"), {"answer": "A", "rating": 6}, {}),
    ("400", ("GET", STREAM), None, {"query": {"query": " "}}),
    ("400", ("POST", CHAT), {"query": "Hello", "conversation_history": "[{}]"}, {}),
    ("401", ("GET", "/bali-zero/memory"), None, {"headers": {"Authorization": ""}}),
    ("401", ("HEAD", STREAM), None, {"headers": {"Authorization": ""}}),
    ("401", ("POST", "/admin/reload"), None, {"headers": {"Authorization": "Bearer x"}}),
    ("401", ("GET", "/metrics"), None, {"headers": {"Authorization": ""}}),
    ("403", ("GET", "/health"), None, {"headers": {"Origin": "https://example.com"}}),
    ("403", ("GET", "/bali-zero/conversations"), None, {"query": {"user_email": "budi@example.com"}}),
    ("404", ("GET", BY_ID), None, {"id": "unknown"}),
    ("404", ("HEAD", BY_ID), None, {"id": "unknown"}),
    ("404", ("GET", EVENTS_OF), None, {"id": "{}"}),
    ("404", ("DELETE", "/bali-zero/memory/{fact}"), None, {"fact": "unknown"}),
    ("404", ("GET", "/bali-zero/conversations/{id}"), None, {"id": "unknown"}),
    ("404", ("GET", "/admin/documents/{path}"), None, {"path": "un/known"}),
    ("404", ("GET", "/{file}"), None, {"file": "unknown.js"}),
    ("412", ("GET", "/"), None, {"headers": {"If-Match": '"another"'}}),
    ("413", ("POST", "/bali-zero/feedback"), {"answer": "A", "rating": 1, "comment": "x" * 4001}, {}),
    ("413", ("GET", STREAM), None, {"query": {"query": "x" * 70_000}}),
    ("416", ("GET", "/{file}"), None, {"file": "page.js", "headers": {"Range": "bytes=9999999-"}}),
    ("421", ("GET", "/"), None, {"headers": {"Host": "example.com"}}),
    ("421", ("POST", SEARCH), {"query": "Hello"}, {"headers": {"Host": "example.com"}}),
]


@pytest.mark.parametrize(("status", "operation", "body", "sent"), REFUSALS)
async def test_a_refusal_is_as_described(
    anna: Observed, status: str, operation: Operation, body: Any, sent: dict[str, Any]
) -> None:
    await anna.ask(*operation, body, **sent)
    assert anna.seen == {(*operation, status)}


@pytest.mark.parametrize(
    ("method", "path", "name"), [("PUT", "/health", "MethodNotAllowed"), ("GET", "/nowhere", "NotFound")]
)
async def test_so_is_what_is_said_of_another_method_or_address(
    anna: Observed, method: str, path: str, name: str
) -> None:
    async with anna.server.session.request(method, anna.server.url + path) as response:
        await as_described(response, COMPONENTS["responses"][name])


async def test_so_is_a_name_that_is_taken(anna: Observed) -> None:
    for query in ("Hello", "Hello", "And now?"):
        await anna.ask("POST", STREAM, {"query": query, "continuity_id": "c"})
    assert {status for *_, status in anna.seen} == {"200", "409"}


async def test_so_is_one_question_too_many(small_index: Path) -> None:
    async with serving(small_index, auth="jwt", jwt_secret=SECRET, rate_limit=1) as server:
        anna = Observed(server)
        for _ in range(2):
            await anna.ask("POST", SEARCH, {"query": QUESTION})
        assert {status for *_, status in anna.seen} == {"200", "429"}


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (ModelUnavailable(), "502"),
        (ModelRefused(), "502"),
        (ModelOverloaded(), "503"),
        (ModelTimeout(), "504"),
        (ValueError(), "500"),
    ],
)
async def test_so_is_a_model_that_fails(
    small_index: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: str
) -> None:
    monkeypatch.setattr(answer, "PAUSES", ())  # it is asked once
    async with serving(small_index, ScriptedAnswerer("half of it", failure)) as server:
        anna = Observed(server)
        body = await anna.ask("POST", CHAT, {"query": QUESTION})
        assert (anna.seen, body["response"]) == ({("POST", CHAT, status)}, "half of it")


async def test_so_is_what_needs_an_index_that_is_not_there(tmp_path: Path) -> None:
    async with serving(tmp_path / "none", admin_token=ADMIN) as server:
        anna = Observed(server)
        await anna.ask("GET", "/ready")
        await anna.ask("POST", "/admin/reload")
        for path in (SEARCH, CHAT, STREAM):
            await anna.ask("POST", path, {"query": QUESTION})
        assert {status for *_, status in anna.seen} == {"503"}


# --------------------------------------------------------------------------------------- what is streamed


async def _from_its_start_and_from_the_middle(anna: Observed) -> list[StreamEvent]:
    name = (await anna.ask("POST", CHAT, {"query": QUESTION}))["answer"]
    places = [{"last_event_id": last} for last in ("", f"{name}.1")]
    return [event for query in places for event in await anna.ask("GET", EVENTS_OF, id=name, query=query)]


async def _at_once(anna: Observed) -> list[StreamEvent]:
    return list(await anna.ask("POST", STREAM, {"query": QUESTION}, headers=EVENT_STREAM))


async def _until_it_is_handed_over(anna: Observed) -> list[StreamEvent]:
    reader = await anna.server.stream()
    for event in ("message", "ping"):
        await reader.until(event)
    await anna.server.answers.drain(0)
    await reader.rest()
    return streamed(reader.bytes, COMPONENTS["schemas"]["Stream"])


async def _the_test_of_the_line(anna: Observed) -> list[StreamEvent]:
    return list(await anna.ask("GET", "/bali-zero/stream-test"))


LENGTHY = ScriptedAnswerer(*["x" * 90] * 30)
Streamed = Callable[[Observed], Coroutine[Any, Any, list[StreamEvent]]]
STREAMS: list[tuple[Streamed, Answerer, dict[str, Any], set[str]]] = [
    (
        _from_its_start_and_from_the_middle,
        ExtractiveAnswerer(),
        {},
        {"Start", "Resumed", "Text", "Citation", "Sources", "Done"},
    ),
    (_from_its_start_and_from_the_middle, LENGTHY, {"max_log": 4000}, {"Gap", "Text", "Sources", "Done"}),
    (_at_once, ScriptedAnswerer("half of it", ModelRefused()), {}, {"Start", "Text", "Error"}),
    (_at_once, ScriptedAnswerer(), {"index": Path("none")}, {"Unavailable"}),
    (
        _until_it_is_handed_over,
        ScriptedAnswerer("half of it", never()),
        {"heartbeat": 0.05},
        {"Start", "Text", "Ping", "Draining"},
    ),
    (_the_test_of_the_line, ScriptedAnswerer(), {}, {"Tick"}),
]


@pytest.mark.parametrize(("streamed", "answerer", "settings", "events"), STREAMS)
async def test_each_event_of_a_stream_is_as_described(
    small_index: Path,
    tmp_path: Path,
    streamed: Streamed,
    answerer: Answerer,
    settings: dict[str, Any],
    events: set[str],
) -> None:
    kept = {"journal": f"sqlite:///{tmp_path}/answers.db", "index": small_index, **settings}
    async with serving(kept.pop("index"), answerer, **kept) as server:
        assert {kind(event) for event in await streamed(Observed(server))} == events


def test_no_event_is_described_that_is_not_streamed() -> None:
    there = {name.removesuffix("Event") for name in COMPONENTS["schemas"] if name.endswith("Event")}
    assert there == set().union(*(events for *_, events in STREAMS))

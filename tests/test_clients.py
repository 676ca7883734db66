"""The packages of clients/: their types, their size, what is in them, and the client outside of browsers."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from server import QUESTION, Server, never, serving

from zantara_stream import __version__
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = ROOT / "clients"
PACKAGE = CLIENTS / "zantara-stream"
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or ""
MOST = 4096  # bytes of the client as it goes over the line
PATIENCE = 60.0  # seconds for one program of Node's

# Prints the code that a page of a bundler gets: Vite's build, minified.
BUNDLE = """
import { build } from "vite";
const input = process.argv[1];
const rolldownOptions = { input, preserveEntrySignatures: "strict", external: ["react", "vue"] };
const made = await build({ configFile: false, logLevel: "silent", build: { write: false, rolldownOptions } });
process.stdout.write(made.output.map(({ code }) => code).join(""));
"""
# Prints what the client tells of two answers: one that is read to its end, and one that is left.
READ = """
import { ask, resume } from "zantara-stream";
const [url, query] = process.argv.slice(1);
const answer = ask(query, { url });
const types = [];
for await (const { type } of answer) types.push(type);
const left = new AbortController();
const leaving = ask(query, { url, signal: left.signal });
const words = [];
for await (const event of leaving) {
  words.push(event.text);
  left.abort();
}
const { text, state, done, gaps, duplicates } = answer;
const said = { text, types, state, reason: done.stopReason, gaps, duplicates, words, left: leaving.state };
console.log(JSON.stringify({ ...said, resumed: resume({ url }) === undefined, browser: "EventSource" in globalThis }));
"""
ASK = """
import { ask } from "zantara-stream";
const [url, query, ending] = process.argv.slice(1);
const answer = ask(query, { url });
for await (const { text } of answer) if (ending === "stop" && text) await answer.stop();
console.log(JSON.stringify([answer.text, answer.state]));
"""
REFUSED = """
import { ask, AnswerError } from "zantara-stream";
try {
  for await (const event of ask(" ", { url: process.argv[1] }));
} catch (error) {
  console.log(JSON.stringify([error instanceof AnswerError, error.code, error.retryable]));
}
"""
REACT_ON_A_SERVER = """
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { useZantaraStream } from "zantara-stream/react";
function Page() {
  const { state, text, over } = useZantaraStream({ resume: true });
  return createElement("p", null, `${state}|${text}|${over}`);
}
console.log(JSON.stringify(renderToString(createElement(Page))));
"""
VUE_ON_A_SERVER = """
import { createSSRApp, h } from "vue";
import { renderToString } from "vue/server-renderer";
import { useZantaraStream } from "zantara-stream/vue";
const setup = () => {
  const { state, text, over } = useZantaraStream({ resume: true });
  return () => h("p", `${state.value}|${text.value}|${over.value}`);
};
console.log(JSON.stringify(await renderToString(createSSRApp({ setup }))));
"""
# What the hooks share, without a framework: each view is noted with what it is a view of.
VIEWS = """
import { Reading } from "./zantara-stream/view.js";
const [url, query] = process.argv.slice(1);
const reading = new Reading(() => ({ url }));
const seen = [];
const until = (holds) => new Promise((resolve) => {
  const unsubscribe = reading.subscribe(() => holds(reading.view()) && resolve(unsubscribe()));
});
reading.subscribe(() => seen.push(reading.view()));
const idle = reading.view();
const leave = reading.use();
reading.ask(query);
await until(({ over }) => over);
const flags = ["loading", "streaming", "reconnecting", "over"];
const last = seen.at(-1);
const whole = { text: last.text, state: last.state, sources: last.sources.length, stop: last.done.stopReason };
const one = seen.every((view) => flags.filter((flag) => view[flag]).length === 1);
const frozen = seen.every((view) => Object.isFrozen(view) && Object.isFrozen(view.citations));
const kept = seen.filter(({ text }) => text).every((view) => view.citations === seen[0].citations);
leave();
await null;
const after = reading.view().state;
reading.reset();
const reset = reading.view() === idle;
console.log(JSON.stringify({ whole, one, frozen, kept, after, reset, views: seen.length, idle: idle.state }));
"""
# A server that goes away before it can be told to stop.
UNTOLD = """
import { createServer } from "node:http";
import { once } from "node:events";
import { Reading } from "./zantara-stream/view.js";
const server = createServer((request, response) => {
  response.setHeader("Content-Type", "text/event-stream");
  if (request.method === "DELETE") return void request.socket.destroy();
  response.write('event: start\\nid: a.0\\ndata: {"answer":"a","offset":0,"replayed":0}\\n\\n');
});
await once(server.listen(0, "127.0.0.1"), "listening");
const reading = new Reading(() => ({ url: `http://127.0.0.1:${server.address().port}` }));
reading.ask("q");
await new Promise((resolve) => reading.subscribe(() => reading.view().id && resolve()));
await reading.stop();
const { state, error } = reading.view();
server.closeAllConnections();
server.close();
console.log(JSON.stringify([state, error.name, error.code, error.message, error.cause.name]));
"""
# A token is asked for again with each connection, from the options of that moment.
TOKENS = """
import { createServer } from "node:http";
import { once } from "node:events";
import { Reading } from "./zantara-stream/view.js";
const tokens = [];
const server = createServer((request, response) => {
  tokens.push(request.headers.authorization);
  response.setHeader("Content-Type", "text/event-stream");
  response.write('event: start\\nid: a.0\\ndata: {"answer":"a","offset":0,"replayed":0}\\n\\n');
});
await once(server.listen(0, "127.0.0.1"), "listening");
const options = { url: `http://127.0.0.1:${server.address().port}`, token: "first" };
const reading = new Reading(() => options);
const streaming = () => new Promise((resolve) => {
  const leave = reading.subscribe(() => reading.view().state === "streaming" && resolve(leave()));
});
for (const [token, begin] of [["first", () => reading.ask("q")], [async () => "second", () => reading.reconnect({})]]) {
  options.token = token;
  const begun = streaming();
  begin();
  await begun;
}
reading.close();
server.closeAllConnections();
server.close();
console.log(JSON.stringify(tokens));
"""


@pytest.fixture(autouse=True)
def _node() -> None:
    """Without Node and the packages the tests are skipped, but not in CI."""
    if not NODE or not (CLIENTS / "node_modules" / "vite").is_dir():
        assert not os.environ.get("CI"), "Node or clients/node_modules is missing in CI; make test installs both"
        pytest.skip("needs Node and the packages of clients/: make test")


@pytest.fixture
async def server(small_index: Path) -> AsyncIterator[Server]:
    """A server whose model writes two chunks."""
    async with serving(small_index, ScriptedAnswerer("Late renewal ", "is fined."), HashingEmbedder()) as running:
        yield running


def node(*arguments: str, cwd: Path = CLIENTS) -> subprocess.CompletedProcess[str]:
    return subprocess.run([NODE, *arguments], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)


async def printed(script: str, *arguments: str) -> Any:
    """What a module in clients/ prints, decoded; it must print nothing else and end by itself."""
    command = (NODE, "--input-type=module", "--eval", script, *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=CLIENTS, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        said, complaints = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # `node`, and the program that it starts
    assert (process.returncode, complaints) == (0, b""), complaints.decode()
    return json.loads(said)


def compiled(project: str) -> list[str]:
    """What the TypeScript compiler says against a project, line by line."""
    compiler = CLIENTS / "node_modules" / "typescript" / "bin" / "tsc"
    ran = node(str(compiler), "--pretty", "false", "--project", project)
    assert ran.stderr == ""
    complaints = ran.stdout.splitlines()
    assert bool(complaints) == bool(ran.returncode), ran.stdout
    return complaints


def described(folder: Path = PACKAGE) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    return loaded


def size(entry: str) -> int:
    """Bytes of a module and all that it takes along of the package, as a bundler and gzip leave them."""
    ran = node("--input-type=module", "--eval", BUNDLE, f"zantara-stream/{entry}")
    assert ran.returncode == 0, ran.stderr
    return len(gzip.compress(ran.stdout.encode(), mtime=0))


# Types


@pytest.mark.parametrize("project", ["types", "types/tsconfig.implementation.json", "examples/react"])
def test_uses_compile_where_they_are_right_and_only_there(project: str) -> None:
    assert compiled(project) == []


def test_the_hooks_are_what_the_compiler_takes_them_for() -> None:
    ours = ("zantara-stream/view.js", "zantara-stream/react.js", "zantara-stream/vue.js")
    assert [line for line in compiled("types/tsconfig.hooks.json") if line.startswith(ours)] == []


@pytest.mark.parametrize("module", ["types", "view", "react", "vue"])
def test_what_is_exported_with_a_type_is_explained(module: str) -> None:
    lines = (PACKAGE / f"{module}.d.ts").read_text(encoding="utf-8").splitlines()
    functions = [number for number, line in enumerate(lines) if line.startswith("export function")]
    assert all(lines[number - 1].strip().endswith("*/") for number in functions)


# What is in the packages


def test_the_client_is_small() -> None:
    assert 1000 < size("zantara-stream.js") < MOST


@pytest.mark.parametrize("entry", ["react.js", "vue.js"])
def test_a_hook_adds_little_to_it(entry: str) -> None:
    assert size("zantara-stream.js") < size(entry) < size("zantara-stream.js") + 1024


def test_the_readme_tells_the_sizes() -> None:
    said = (PACKAGE / "README.md").read_text(encoding="utf-8")
    assert f"under {MOST:,} bytes" in said


def test_the_package_takes_nothing_along() -> None:
    package = described()
    assert not {"dependencies", "optionalDependencies", "bundleDependencies", "scripts"} & package.keys()
    assert all(package["peerDependenciesMeta"][name]["optional"] for name in package["peerDependencies"])


def test_versions_are_the_servers() -> None:
    examples = [described(CLIENTS / "examples" / name) for name in ("react", "vue")]
    assert described()["version"] == __version__
    assert {example["dependencies"]["zantara-stream"] for example in examples} == {__version__}


def test_what_is_exported_exists() -> None:
    exports = [target for target in described()["exports"].values() if isinstance(target, dict)]
    paths = [path for targets in exports for path in targets.values()]
    assert len(paths) == 6
    assert all((PACKAGE / path).is_file() for path in paths)


def test_the_package_holds_these_files_and_no_others(tmp_path: Path) -> None:
    npm = str(Path(NODE).parent / "npm")
    environment = {**os.environ, "npm_config_cache": str(tmp_path), "npm_config_update_notifier": "false"}
    environment["PATH"] = f"{Path(NODE).parent}{os.pathsep}{environment['PATH']}"
    command = [npm, "pack", "--dry-run", "--json", "--silent"]
    packed = subprocess.check_output(command, cwd=PACKAGE, env=environment, text=True, timeout=PATIENCE)
    found = json.loads(packed)
    (package,) = found.values() if isinstance(found, dict) else found
    modules = ("react", "view", "vue")
    files = {f"{name}{end}" for name in modules for end in (".js", ".d.ts")}
    files |= {"README.md", "package.json", "types.d.ts", "zantara-stream.js"}
    assert {file["path"] for file in package["files"]} == files


def test_the_lock_file_names_no_place_to_download_from() -> None:
    packages = json.loads((CLIENTS / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    links = {path for path, package in packages.items() if "resolved" in package}
    assert links == {path for path, package in packages.items() if package.get("link")}
    assert all(
        "integrity" in package for path, package in packages.items() if "node_modules/" in path and path not in links
    )


def test_every_version_is_exact() -> None:
    for folder in (CLIENTS, CLIENTS / "examples" / "react", CLIENTS / "examples" / "vue"):
        package = described(folder)
        wanted = {**package.get("dependencies", {}), **package["devDependencies"]}
        assert all(version[0].isdigit() for version in wanted.values()), wanted


def test_a_wheel_of_the_server_holds_the_client(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "zantara_stream", tree / "zantara_stream", symlinks=True)
    shutil.copytree(PACKAGE, tree / "clients" / "zantara-stream")
    for name in ("pyproject.toml", "setup.cfg", "README.md"):
        shutil.copy(ROOT / name, tree)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True, timeout=PATIENCE)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as made:
        assert made.read("zantara_stream/web/static/zantara-stream.js") == (PACKAGE / "zantara-stream.js").read_bytes()


# Outside of browsers


async def test_the_client_reads_answers_in_node(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Late renewal ", "is fined.").then("Late renewal ", never())
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        said = await printed(READ, server.url, QUESTION)
    assert said == {
        "text": "Late renewal is fined.",
        "types": ["text", "text", "sources", "done"],
        "state": "complete",
        "reason": "end_turn",
        "gaps": 0,
        "duplicates": 0,
        "words": ["Late renewal "],
        "left": "closed",
        "resumed": True,
        "browser": False,
    }


async def test_stopping_in_node_stops_the_model(small_index: Path) -> None:
    answerer = ScriptedAnswerer("Late ", never())
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        assert await printed(ASK, server.url, QUESTION, "stop") == ["Late ", "stopped"]
        await asyncio.wait_for(answerer.closed_early.wait(), PATIENCE)


async def test_a_long_question_goes_by_post_and_comes_back_whole(server: Server) -> None:
    assert await printed(ASK, server.url, QUESTION + " Tell me." * 300) == ["Late renewal is fined.", "complete"]


async def test_a_refusal_is_thrown_in_node(server: Server) -> None:
    assert await printed(REFUSED, server.url) == [True, "invalid_request", False]


@pytest.mark.parametrize("script", [REACT_ON_A_SERVER, VUE_ON_A_SERVER], ids=["react", "vue"])
async def test_a_hook_renders_idle_on_a_server(script: str) -> None:
    assert await printed(script) == "<p>idle||false</p>"


# What the hooks share


async def test_views_are_whole_and_unchanging(server: Server) -> None:
    said = await printed(VIEWS, server.url, QUESTION)
    assert said.pop("views") >= 4
    whole = {"text": "Late renewal is fined.", "state": "complete", "sources": 1, "stop": "end_turn"}
    assert said == {
        "whole": whole, "one": True, "frozen": True, "kept": True, "after": "complete", "reset": True, "idle": "idle"
    }  # fmt: skip


async def test_chunks_that_come_fast_share_a_view_and_the_last_one_has_all(small_index: Path) -> None:
    answerer = ScriptedAnswerer(*(f"{number} " for number in range(500)))
    async with serving(small_index, answerer, HashingEmbedder()) as server:
        said = await printed(VIEWS, server.url, QUESTION)
    assert said["whole"]["text"] == "".join(f"{number} " for number in range(500))
    assert said["views"] < 250


async def test_a_stop_that_the_server_does_not_hear_of_is_told_in_the_view() -> None:
    error = "The answer was stopped here, but the server could not be told."
    assert await printed(UNTOLD) == ["stopped", "AnswerError", "unreachable", error, "TypeError"]


async def test_each_connection_takes_the_token_of_its_time() -> None:
    assert await printed(TOKENS) == ["Bearer first", "Bearer second"]

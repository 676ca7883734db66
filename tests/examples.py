"""The fenced blocks of the documentation, and the means to run them: a terminal, settings, Node.js."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from zantara_stream.config import PREFIX, load_settings

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / "clients"
MODULES = CLIENTS / "node_modules"
PATIENCE = 60.0  # seconds until a program must have ended
SERVER, PUBLIC = "http://127.0.0.1:8080", "https://answers.example.com"  # as the documents write them
READS = {"example", "console", "settings"}  # the functions of a test that take a block
_BIN = Path(sys.executable).parent
_ID = r"(?<![\w-])[\w-]{22}(?![\w-])"
_KEY = r"(?<=\":\")(?=[\w-]*\d)[\w-]{16}(?=\")"  # of a passage, a fact
_VARIES = re.compile(rf" ?…|\d{{8}}T\d+Z-[0-9a-f]{{8}}|{_ID}|{_KEY}|\d+(?:\.\d+)?")
_MARK = "\x1e"  # between what the commands of a terminal say

_NO_METER = 'curl() { command curl -sS "$@"; }\n'  # which a terminal does not show either, for it shows what comes

Place = tuple[str, str, int]  # page, heading, number of the block below it


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the word after its fence, and its text."""

    language: str
    text: str


@cache
def blocks(page: str) -> Mapping[Place, Block]:
    """The blocks of a page of the documentation ("README" or one of docs/), by their places."""
    file = ROOT / "README.md" if page == "README" else ROOT / "docs" / f"{page}.md"
    found: dict[Place, Block] = {}
    for heading, language, text in _fenced(file.read_text(encoding="utf-8")):
        number = 1 + sum(place[1] == heading for place in found)
        found[page, heading, number] = Block(language, text)
    return found


def _fenced(text: str) -> Iterator[tuple[str, str, str]]:
    """Heading, language and text of each block."""
    parts = re.split(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    heading = ""
    for before, language, block in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        heading = [heading, *re.findall(r"^#+ (.+)$", before, re.MULTILINE)][-1]
        yield heading, language, block


def example(page: str, heading: str, number: int = 1) -> str:
    """The text of a block. Raises `KeyError` where there is none."""
    return blocks(page)[page, heading, number].text


def read_by(file: Path) -> set[Place]:
    """The places that a file of tests reads."""
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in READS]
    said = [[argument.value for argument in call.args if isinstance(argument, ast.Constant)] for call in named]
    return {(str(page), str(heading), int(str((*number, 1)[0]))) for page, heading, *number in said}


def settings(page: str, heading: str, number: int = 1) -> dict[str, Any]:
    """What a block of `ZANTARA_…=… make run` sets, by the names of `Settings`."""
    given = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", example(page, heading, number)))
    assert example(page, heading, number).endswith(" make run\n")
    loaded = load_settings(given)
    return {name: getattr(loaded, name) for name in (key.removeprefix(PREFIX).lower() for key in given)}


async def terminal(script: str, **environment: str) -> str:
    """What a script of bash says, in both of its outputs."""
    path = {**os.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}", **environment}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=ROOT, env=path, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    return (await _all(process)).replace("\r", "")


async def _all(process: asyncio.subprocess.Process) -> str:
    """What it says until its end, which must come."""
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # whatever it has started, too
            await process.wait()
    return said.decode()


async def console(
    page: str, heading: str, number: int = 1, *, replaced: Mapping[str, str] | None = None, **environment: str
) -> list[str]:
    """Type the commands of a block; what each said, which is of the shape that the block shows.

    `replaced` is put for what the block has, as addresses.
    """
    text = example(page, heading, number).replace(".venv/bin/python", sys.executable)
    for shown, real in (replaced or {}).items():
        text = text.replace(shown, real)
    commands = _commands(text)
    script = _NO_METER + f"\nprintf {_MARK}\n".join([*(command for command, _ in commands), ""])
    said = (await terminal(script, **environment)).split(_MARK)
    assert len(said) == len(commands) + 1, said
    for (command, shown), real in zip(commands, said, strict=False):
        assert re.fullmatch(shape(shown), real.strip(), re.DOTALL), f"{command}\nsays\n{real}\nand not\n{shown}"
    return said[:-1]


def _commands(text: str) -> list[tuple[str, str]]:
    """Each command of a console with what it says."""
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    return [(command, said.strip()) for command, said in found]


def shape(text: str) -> str:
    """A pattern of text that differs in ids, times and numbers alone; `…` is anything."""
    pattern, at = "", 0
    for varies in _VARIES.finditer(text):
        pattern += re.escape(text[at : varies.start()]) + _any(varies[0])
        at = varies.end()
    return pattern + re.escape(text[at:])


def _any(shown: str) -> str:
    if shown.endswith("…"):
        return ".*"
    if re.fullmatch(_ID, shown):
        return r"[\w-]{22}"
    return r"[\w-]+" if len(shown) == 16 or "T" in shown else r"\d+(?:\.\d+)?"


def node() -> str:
    """Node.js, with the packages of clients/; without them the test is skipped, but not in CI."""
    found = shutil.which("node", path=f"{_BIN}{os.pathsep}{os.environ['PATH']}")
    if not (found and (MODULES / "vite").is_dir()):
        assert not os.environ.get("CI"), "Node.js or clients/node_modules is missing in CI; make installs both"
        pytest.skip("needs Node.js and clients/node_modules: make test")
    return found


async def in_node(folder: Path, *arguments: str, **environment: str) -> str:
    """What Node.js says with those arguments in a folder that sees the packages of clients/. It must end well."""
    command = [node(), *arguments]
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(MODULES)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env={**os.environ, **environment}, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    said = await _all(process)
    assert process.returncode == 0, said
    return said

"""The commands: serve, ask, evaluate, feedback, check, backup, restore."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from .config import Settings, load_settings, variable
from .errors import ZantaraError
from .logs import configure
from .loop import fastest
from .supervisor import Supervisor, take_credentials

WELL, FAILED, PARTLY = 0, 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code is 0, or 1 with a message for people."""
    options = _parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = {f.name: getattr(options, f.name, None) for f in fields(Settings)}
    try:
        take_credentials(os.environ)
        settings = load_settings(
            os.environ, options.config, {name: value for name, value in given.items() if value is not None}
        )
        configure(settings)
        return int(options.run(settings, options))
    except ZantaraError as error:
        print(f"zantara_stream: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zantara_stream", description="Cited answers, streamed.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = _command(commands, "serve", _serve, "serve answers over HTTP")
    serve.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that share the port and the journal (default: 1)"
    )
    ask = _command(commands, "ask", _ask, "answer one question in the terminal")
    ask.add_argument("question")
    evaluate = _command(commands, "evaluate", _evaluate, "measure retrieval on a collection with known answers")
    evaluate.add_argument("collection", type=Path, help="a folder of corpus.jsonl, queries.jsonl and qrels.tsv")
    evaluate.add_argument("--out", type=Path, help="where its index is kept (default: beside ZANTARA_INDEX)")
    _command(commands, "feedback", _feedback, "print what people thought of answers, a line of JSON each")
    _command(commands, "check", _check, "say of each part whether it is fine or what to do")
    copy = _command(commands, "backup", _backup, "copy journal and store, while the server runs, into a new folder")
    copy.add_argument("folder", type=Path, help="where back-ups are, each in a folder of its own")
    copy.add_argument("--keep", type=int, default=7, metavar="N", help="how many are kept (default: 7)")
    back = _command(commands, "restore", _restore, "put a back-up in the place of journal and store")
    back.add_argument("folder", type=Path, help="the back-up: the folder with its manifest.json")
    return parser


_NO_OPTIONS = "Not options, since everybody on the machine sees them: " + ", ".join(
    f"{variable(setting.name)} ({setting.metadata['meaning']}; default: {setting.metadata['shown']})"
    for setting in fields(Settings)
    if setting.metadata["secret"]
)


def _command(commands: argparse._SubParsersAction, name: str, run: object, what: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=f"{what.capitalize()}.", epilog=_NO_OPTIONS
    )
    command.set_defaults(run=run)
    command.add_argument("--config", type=Path, metavar="FILE", help="a file of ZANTARA_…=… lines")
    for setting in fields(Settings):
        m = setting.metadata
        if m["secret"]:
            continue
        command.add_argument(
            f"--{setting.name.replace('_', '-')}",
            dest=setting.name,
            metavar=m["unit"].split(" ")[0].upper() or "VALUE",
            help=f"{m['meaning']} ({variable(setting.name)}; default: {m['shown']})".replace("%", "%%"),
        )
    return command


def _say(line: str) -> None:
    print(line, flush=True)


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    gc.disable()  # a sixth of the time that the imports take is looking for garbage, of which there is none
    from .retrieval.library import inspect
    from .serving import serve
    from .workers import serve_workers

    gc.enable()

    inspect(settings.index, settings.embedding_model)
    if options.workers != 1:
        served = serve_workers(settings, options.workers, options.arguments, _say, Supervisor(os.environ))
        return asyncio.run(served)
    with asyncio.Runner(loop_factory=fastest) as runner:
        runner.run(serve(settings, _say, Supervisor(os.environ)))
    return WELL


def _ask(settings: Settings, options: argparse.Namespace) -> int:
    from .terminal import ask

    return asyncio.run(ask(settings, options.question))


def _evaluate(settings: Settings, options: argparse.Namespace) -> int:
    from .evaluation.evaluate import evaluate

    print(evaluate(settings, options.collection, options.out))
    return WELL


def _feedback(settings: Settings, options: argparse.Namespace) -> int:
    from .terminal import feedback

    return asyncio.run(feedback(settings))


def _check(settings: Settings, options: argparse.Namespace) -> int:
    from .terminal import check

    return asyncio.run(check(settings))


def _backup(settings: Settings, options: argparse.Namespace) -> int:
    from .backup import backup, left_out

    made = backup(settings, options.folder, options.keep, lambda line: print(line, file=sys.stderr, flush=True))
    print(made)
    for told in left_out(settings):
        print(f"This is not all: {told}", file=sys.stderr)
    return PARTLY if left_out(settings) else WELL


def _restore(settings: Settings, options: argparse.Namespace) -> int:
    from .restore import restore

    for kept in restore(settings, options.folder):
        print(f"kept what was there: {kept}")
    return WELL

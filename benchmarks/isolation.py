"""Whether the time that a refusal takes tells what is another's from what nobody has.

    python benchmarks/isolation.py [--rounds 400] [--turns 200]

One person has a long answer, a conversation of `turns` turns and facts; another asks for them by their ids, and for
ids that nobody has, in turn and in changing order, over HTTP on the loopback. Printed are the medians, the ratio of
the medians, and how often the one was slower than the other beside it (0.5: they cannot be told apart), with the
standard error that so many rounds leave.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from aiohttp import ClientSession, web

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from tokens_made import SECRET, token  # noqa: E402

from zantara_stream.app import PEOPLE, RECORDING, create_app  # noqa: E402
from zantara_stream.config import Settings  # noqa: E402
from zantara_stream.people.conversations import Turn  # noqa: E402
from zantara_stream.people.facts import Statement  # noqa: E402
from zantara_stream.people.identity import Identity  # noqa: E402
from zantara_stream.retrieval import builder  # noqa: E402
from zantara_stream.retrieval.library import Library  # noqa: E402
from zantara_stream.retrieval.reading import fingerprint, read_folder  # noqa: E402
from zantara_stream.serving import make_runner  # noqa: E402
from zantara_stream.testing import HashingEmbedder, ScriptedAnswerer  # noqa: E402

SESSION = "session-of-anna"
ANSWER_TEXT = "A sentence of an answer that is rather long. " * 10_000
Pair = tuple[str, str, str]  # method, the address of what is hers, and of what nobody has


def index(folder: Path) -> Path:
    """A small index."""
    documents = folder / "documents"
    documents.mkdir()
    (documents / "permits.md").write_text("# Permits\n\nLate renewal of a permit is fined Rp 1 million a day.\n")
    builder.build(read_folder(documents), HashingEmbedder(), folder / "index", fingerprint(documents))
    return folder / "index"


async def fill(app: web.Application, session: ClientSession, url: str, turns: int) -> list[Pair]:
    """Give Anna what may be asked for; the pairs of addresses."""
    people, owner = app[PEOPLE], Identity("anna").key
    for number in range(turns):
        await people.conversations.begin(Turn(f"{number:022d}", owner, SESSION, "What?", time.time()))
        await people.conversations.end(f"{number:022d}", "complete", ANSWER_TEXT[:2000])
    await people.memory.learn(owner, [Statement(f"Fact number {number}.") for number in range(40)], time.time())
    fact = (await people.memory.recall(owner)).facts[0].id
    hers = {"Authorization": f"Bearer {token('anna')}"}
    async with session.post(f"{url}/bali-zero/chat", json={"query": "What is the fine?"}, headers=hers) as response:
        answer = (await response.json())["answer"]
    await app[RECORDING].settled()
    return [
        ("GET", f"/bali-zero/answers/{answer}", f"/bali-zero/answers/{'A' * 22}"),
        ("GET", f"/bali-zero/answers/{answer}/events", f"/bali-zero/answers/{'A' * 22}/events"),
        ("GET", f"/bali-zero/conversations/{SESSION}", "/bali-zero/conversations/session-of-none"),
        ("DELETE", f"/bali-zero/conversations/{SESSION}", "/bali-zero/conversations/session-of-none"),
        ("DELETE", f"/bali-zero/memory/{fact}", f"/bali-zero/memory/{'A' * 16}"),
    ]


async def timed(session: ClientSession, method: str, address: str, headers: dict[str, str]) -> float:
    """Seconds until the whole refusal is there."""
    began = time.perf_counter()
    async with session.request(method, address, headers=headers) as response:
        await response.read()
        assert response.status in (200, 404), response.status
    return time.perf_counter() - began


async def compared(session: ClientSession, url: str, pair: Pair, rounds: int) -> tuple[float, float, float]:
    """The medians of both in milliseconds, and the share of rounds in which hers was slower."""
    method, *addresses = pair
    his = {"Authorization": f"Bearer {token('made')}"}
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for which in random.sample((0, 1), 2):
            times[which].append(await timed(session, method, url + addresses[which], his))
    slower = sum(hers > none for hers, none in zip(*times, strict=True)) / rounds
    return median(times[0]) * 1000, median(times[1]) * 1000, slower


async def main(rounds: int, turns: int) -> None:
    """Print a line for each kind of thing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(
            index=index(folder),
            port=0,
            journal=f"sqlite:///{folder}/answers.db",
            database_url=f"sqlite:///{folder}/people.db",
            auth="jwt",
            jwt_secret=SECRET,
        )
        library = Library(settings.index, HashingEmbedder.load)
        await library.open()
        app = create_app(settings, library=library, answerer=ScriptedAnswerer(ANSWER_TEXT))
        runner = make_runner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession() as session:
            pairs = await fill(app, session, url, turns)
            print(f"{rounds} rounds; standard error of a share {0.5 / rounds**0.5:.3f}")
            print(f"{'':44} hers ms  none ms  ratio  hers slower")
            for pair in pairs:
                await compared(session, url, pair, 20)  # warm
                hers, none, slower = await compared(session, url, pair, rounds)
                what = pair[0] + " " + pair[1].rpartition("/bali-zero")[2][:36]
                print(f"{what:44} {hers:7.3f}  {none:7.3f}  {hers / none:5.3f}  {slower:.3f}", flush=True)
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--turns", type=int, default=200)
    options = parser.parse_args()
    asyncio.run(main(options.rounds, options.turns))

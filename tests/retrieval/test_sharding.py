"""Builds whose embedding is shared out: the same index, whatever happens to who embeds, or clear words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from distributed import Client
from embedders_elsewhere import Broken, Changing, Ending, Named, Other

from zantara_stream.errors import ConfigError, CorpusError
from zantara_stream.retrieval import builder, sharding, vectors
from zantara_stream.retrieval.builder import FAILED, WELL, main
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder
from zantara_stream.retrieval.manifest import Manifest, current_build
from zantara_stream.retrieval.sharding import processes, scheduled
from zantara_stream.retrieval.vectors import Silent
from zantara_stream.testing import HashingEmbedder

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_index.py"
TESTS = Path(__file__).resolve().parents[1]
DASK = [sys.executable, "-W", "ignore", "-m", "dask"]
LOTS = [[f"passage {number} of lot {lot}" for number in range(3)] for lot in range(9)]


class Count(Silent):
    """Counts what is done."""

    done = 0.0

    def update(self, n: float | None = 1) -> bool | None:
        self.done += n or 0
        return None


def _alive(told: str) -> set[int]:
    """The processes of this user whose command line holds that."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if told.encode() in line:
                found.add(int(folder.name))
    return found


@contextmanager
def scheduler(workers: int, folder: Path) -> Iterator[str]:
    """The address of a Dask scheduler with so many workers, all processes as an operator starts them."""
    file = folder / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "ENDED": str(folder / "ended")}
    own = ["--no-dashboard", "--scheduler-file", str(file)]
    begin = partial(subprocess.Popen, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    started = [begin([*DASK, "scheduler", "--host", "127.0.0.1", "--port", "0", *own])]
    one = [*DASK, "worker", "--nthreads", "1", "--no-dashboard", "--no-nanny"]
    try:
        started += [begin([*one, "--scheduler-file", str(file), "--host", "127.0.0.1"]) for _ in range(workers)]
        with Client(scheduler_file=str(file), timeout=60) as client:  # type: ignore[no-untyped-call]
            if workers:
                client.wait_for_workers(workers, timeout=60)
            assert client.scheduler is not None
            address = client.scheduler.address
        yield address
    finally:
        for process in reversed(started):  # workers that find no scheduler wait for one
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers, for all tests that do not harm them."""
    with scheduler(2, tmp_path_factory.mktemp("dask")) as address:
        yield address


def test_lots_come_back_in_their_order_as_one_process_embeds_them(shared: str) -> None:
    count = Count()
    with scheduled(shared, Named, "", HashingEmbedder()) as encode:
        found = list(encode(LOTS, count))
    assert len(found) == len(LOTS)
    for rows, texts in zip(found, LOTS, strict=True):
        np.testing.assert_array_equal(rows, HashingEmbedder().encode(texts))
    assert count.done == 27


def test_only_so_many_lots_are_under_way_as_keep_the_workers_busy(shared: str) -> None:
    taken: list[int] = []

    def lots() -> Iterator[list[str]]:
        for number, lot in enumerate(LOTS):
            taken.append(number)
            yield lot

    with scheduled(shared, Named, "", HashingEmbedder()) as encode:
        rows = encode(lots(), Silent())
        next(rows)
        assert len(taken) == 2 * sharding.AHEAD
        assert len(list(rows)) == len(LOTS) - 1


@pytest.mark.parametrize(
    ("load", "told"),
    [
        (Other, r"it has the model other \(000000000000…\), the build hashing"),
        (open, "cannot embed for this build: FileNotFoundError"),
    ],
)
def test_a_worker_that_would_embed_otherwise_is_refused(shared: str, load: sharding.Load, told: str) -> None:
    with pytest.raises(CorpusError, match=told), scheduled(shared, load, "/nowhere/at all", HashingEmbedder()):
        pass


def test_a_worker_of_another_version_is_refused(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "__version__", "9.9.9")
    with (
        pytest.raises(CorpusError, match=r"has version [\d.]+ of this package, the build is of 9\.9\.9"),
        scheduled(shared, Named, "", HashingEmbedder()),
    ):
        pass


def test_a_worker_that_comes_later_is_held_against_the_build_too(shared: str) -> None:
    """As it is with each lot: here the build's own model has become another one since."""
    with (
        scheduled(shared, Changing, "", HashingEmbedder()) as encode,
        pytest.raises(CorpusError, match=r"could not embed what it was given \(it has the model changed"),
    ):
        list(encode(LOTS, Silent()))


def test_what_a_worker_cannot_embed_is_told(shared: str) -> None:
    with (
        scheduled(shared, Broken, "", HashingEmbedder()) as encode,
        pytest.raises(
            CorpusError, match=r"A worker could not embed what it was given \(RuntimeError: no memory left\)"
        ),
    ):
        list(encode(LOTS, Silent()))


def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    with scheduler(2, tmp_path) as address, scheduled(address, Ending, "", HashingEmbedder()) as encode:
        found = list(encode(LOTS, Silent()))
    assert (tmp_path / "ended").exists()
    for rows, texts in zip(found, LOTS, strict=True):
        np.testing.assert_array_equal(rows, HashingEmbedder().encode(texts))


def test_where_the_last_worker_is_lost_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "LOOKED", 0.2)
    monkeypatch.setattr(sharding, "ALONE", 1.0)
    with (
        scheduler(1, tmp_path) as address,
        scheduled(address, Ending, "", HashingEmbedder()) as encode,
        pytest.raises(CorpusError, match=f"The scheduler {address} has lost all its workers"),
    ):
        list(encode(LOTS, Silent()))


def test_a_scheduler_without_workers_and_one_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "PATIENCE", 1.0)
    with scheduler(0, tmp_path) as address:
        without = pytest.raises(CorpusError, match=f"has no workers: start some with dask worker {address}")
        with without, scheduled(address, Named, "", HashingEmbedder()):
            pass
    gone = pytest.raises(CorpusError, match=f"The scheduler {address} cannot be reached")
    with gone, scheduled(address, Named, "", HashingEmbedder()):
        pass


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "find_spec", lambda name: None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'zantara-stream\[cluster\]'"),
        processes(2, Named, "", HashingEmbedder()),
    ):
        pass


def test_a_build_by_two_processes_is_the_same_as_by_one(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In lots of two; and nothing of it is left running."""
    monkeypatch.setattr(vectors, "TOGETHER", 2)
    monkeypatch.setattr(builder, "checked_weights", lambda setting: (Path(), HashingEmbedder().sha256))
    monkeypatch.setattr(builder, "SentenceTransformerEmbedder", Named)
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([str(small_corpus), "--out", str(one)]) == WELL
    before = _alive("spawn_main")
    assert main([str(small_corpus), "--out", str(two), "--workers", "2"]) == WELL
    assert _alive("spawn_main") <= before
    manifest = Manifest.load(current_build(two))
    assert manifest.checksums == Manifest.load(current_build(one)).checksums
    assert f"; {manifest.passages} passages embedded" in capsys.readouterr().out


def test_the_real_model_gives_the_same_vectors_in_another_process(real_embedder: SentenceTransformerEmbedder) -> None:
    """With fewer threads there than here; what is kept of a vector are 16 bits a number."""
    with processes(2, SentenceTransformerEmbedder, "", real_embedder) as encode:
        for rows, texts in zip(encode(LOTS[:3], Silent()), LOTS, strict=False):
            np.testing.assert_array_equal(rows.astype(np.float16), real_embedder.encode(texts).astype(np.float16))


def test_what_is_wrong_is_told_before_anything_is_embedded(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sharding, "PATIENCE", 0.5)
    monkeypatch.setattr(builder, "checked_weights", lambda setting: (Path(), HashingEmbedder().sha256))
    monkeypatch.setattr(builder, "SentenceTransformerEmbedder", lambda setting: HashingEmbedder())
    out = tmp_path / "out"
    assert main([str(small_corpus), "--out", str(out), "--scheduler", "tcp://127.0.0.1:1"]) == FAILED
    assert "The scheduler tcp://127.0.0.1:1 cannot be reached" in capsys.readouterr().err
    assert not (out / "CURRENT").exists()
    assert main([str(small_corpus), "--out", str(out), "--scheduler", "nonsense://x"]) == FAILED
    assert "The scheduler nonsense://x cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--workers", "0"], ["--workers", "two"], ["--workers", "2", "--scheduler", "tcp://x"]]
)
def test_options_that_cannot_be(options: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), *options])
    assert caught.value.code == 2


def test_nothing_of_dask_is_imported_where_nothing_is_shared_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Fees are due in March.")
    code = (
        "import sys; from zantara_stream.retrieval import builder; from zantara_stream.testing import HashingEmbedder\n"
        "builder.SentenceTransformerEmbedder = lambda setting: HashingEmbedder()\n"
        "builder.checked_weights = lambda setting: (None, HashingEmbedder().sha256)\n"
        f"assert builder.main([{str(tmp_path)!r}, '--out', {str(tmp_path / 'out')!r}]) == 0\n"
        "print([name for name in ('dask', 'distributed', 'pymilvus') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_an_interrupted_build_leaves_no_process(small_corpus: Path, tmp_path: Path) -> None:
    """Ctrl-C at a terminal reaches all of them."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored by jobs in the background
        "from embedders_elsewhere import Slow; from zantara_stream.retrieval import builder\n"
        "builder.SentenceTransformerEmbedder, builder.checked_weights = Slow, lambda setting: (None, Slow().sha256)\n"
        f"raise SystemExit(builder.main([{str(small_corpus)!r}, '--out', {str(tmp_path / 'out')!r}, '--workers', '2']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert process.stderr is not None
    said = ""
    while "Embedding" not in said and process.poll() is None:
        said += process.stderr.read(1)
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=150)
    assert process.returncode == FAILED, said + rest
    assert "interrupted; what is embedded is kept for the next run" in rest
    assert "Traceback" not in rest
    until = time.monotonic() + 30
    while _runs(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _runs(process.pid)


def test_ctrl_c_that_another_thread_gets_is_heard_afterwards() -> None:
    listening, end = threading.Event(), threading.Event()

    def unmasked() -> None:  # as progress bars and BLAS have them
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        listening.set()
        end.wait()

    def interrupted() -> None:
        with sharding._interrupts_held():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            end.set()

    thread = threading.Thread(target=unmasked)
    thread.start()
    listening.wait()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert end.is_set()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
        end.set()
        thread.join()


def _runs(group: int) -> bool:
    """Whether there is a process of that group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

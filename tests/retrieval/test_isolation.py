from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zantara_stream.errors import CorpusError
from zantara_stream.retrieval import isolation
from zantara_stream.retrieval.documents import Document, Unreadable
from zantara_stream.retrieval.isolation import IsolatedReader, Limits
from zantara_stream.retrieval.readers import read_document

# What a reader does with a file is what the file says; "good" ones are read.
READER = """
import ctypes, json, os, resource, signal, sys, time
from zantara_stream.retrieval.readers import read_document

def read(path, file, sidecar):
    match file.read_text().strip():
        case "hang": time.sleep(600)
        case "spin":
            while True: pass
        case "grow": bytearray(3 << 30)
        case "segfault": ctypes.string_at(0)
        case "abort": os.abort()
        case "exit": os._exit(3)
        case "nonsense": os.write(answers(), b'{"text": 1}\\n')
        case "flood": [os.write(answers(), bytes(1 << 16)) for _ in range(1 << 20)]
        case "close": os.close(answers()); time.sleep(600)
        case "print": print("printed"); os.write(1, b"by C\\n")
        case "facts":
            facts = {"modules": sorted(sys.modules), "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
                     "environment": sorted(os.environ), "pid": os.getpid()}
            file.write_text(json.dumps(facts))
    return read_document(path, file, sidecar)

def answers():
    fds = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
    return next(fd for fd in fds if fd > 2 and os.readlink(f"/proc/self/fd/{fd}") == PIPE)

PIPE = os.readlink("/proc/self/fd/1")
"""


@pytest.fixture
def reader_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A reader that does what a file says."""
    (tmp_path / "obedient.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    return "obedient:read"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file for it."""

    def written(content: str) -> Path:
        (tmp_path / f"{content}.txt").write_text(content)
        return tmp_path / f"{content}.txt"

    return written


def _pid(reader: IsolatedReader) -> int:
    assert reader._process is not None
    return reader._process.pid


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _read_among_good_ones(
    limits: Limits, reasons: dict[str, str], reader_name: str, write: Callable[[str], Path]
) -> None:
    with IsolatedReader(limits, reader_name) as reader:
        for content, reason in reasons.items():
            assert reader.read("good.txt", write("good")).text == "good"
            before = _pid(reader)
            with pytest.raises(Unreadable) as caught:
                reader.read("bad.txt", write(content))
            assert str(caught.value) == reason
            assert _gone(before)
        assert reader.read("good.txt", write("good")).text == "good"


def test_a_file_that_ends_its_reader_is_named_and_the_next_one_is_read(
    reader_name: str, write: Callable[[str], Path]
) -> None:
    reasons = {
        "grow": "needs more memory than 256 MB",
        "segfault": "made its reader crash (SIGSEGV)",
        "abort": "made its reader crash (SIGABRT)",
        "exit": "made its reader crash (exit code 3)",
        "nonsense": "made its reader answer nonsense",
    }
    _read_among_good_ones(Limits(memory=256 * 2**20), reasons, reader_name, write)


def test_a_file_that_takes_too_long_is_named_and_the_next_one_is_read(
    reader_name: str, write: Callable[[str], Path]
) -> None:
    reason = "took more than 1.5 s to read"
    _read_among_good_ones(Limits(seconds=1.5), {"hang": reason, "spin": reason}, reader_name, write)


def test_the_processor_s_time_is_limited_by_the_kernel_too(
    reader_name: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = isolation._line
    monkeypatch.setattr(isolation, "_line", lambda process, seconds: really(process, 100))  # a parent that only waits
    with IsolatedReader(Limits(seconds=1), reader_name) as reader, pytest.raises(Unreadable, match="more than 1 s"):
        reader.read("bad.txt", write("spin"))


def test_an_answer_without_end_is_not_kept(
    reader_name: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "ANSWER_LIMIT", 2**20)
    with IsolatedReader(Limits(), reader_name) as reader:
        with pytest.raises(Unreadable, match="answer nonsense"):
            reader.read("bad.txt", write("flood"))
        assert reader.read("after.txt", write("good")).text == "good"


def test_a_reader_that_closes_its_answers_is_ended(
    reader_name: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "PATIENCE", 0.1)
    with IsolatedReader(Limits(), reader_name) as reader:
        with pytest.raises(Unreadable, match=r"crash \(SIGKILL\)"):
            reader.read("bad.txt", write("close"))
        assert reader.read("after.txt", write("good")).text == "good"


def test_one_process_reads_many_files(reader_name: str, write: Callable[[str], Path]) -> None:
    with IsolatedReader(Limits(), reader_name) as reader:
        reader.read("a.txt", write("good"))
        first = _pid(reader)
        for number in range(5):
            assert reader.read("a.txt", write(f"good {number}")).text == f"good {number}"
            assert _pid(reader) == first
    assert _gone(first)


def test_no_process_is_begun_for_nothing() -> None:
    with IsolatedReader() as reader:
        assert reader._process is None


def test_a_process_that_died_meanwhile_is_replaced(reader_name: str, write: Callable[[str], Path]) -> None:
    with IsolatedReader(Limits(), reader_name) as reader:
        reader.read("a.txt", write("good"))
        os.kill(_pid(reader), signal.SIGKILL)
        assert reader._process is not None
        reader._process.wait()
        assert reader.read("a.txt", write("good")).text == "good"


def test_what_a_parser_prints_is_not_its_answer(reader_name: str, write: Callable[[str], Path]) -> None:
    with IsolatedReader(Limits(), reader_name) as reader:
        assert reader.read("a.txt", write("print")).text == "print"


def test_the_process_has_no_models_no_keys_and_leaves_no_core(
    reader_name: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    with IsolatedReader(Limits(), reader_name) as reader:
        facts = json.loads(reader.read("a.txt", write("facts")).text)
    assert not {"torch", "faiss", "sentence_transformers", "transformers", "bm25s"} & set(facts["modules"])
    assert "pypdfium2" in facts["modules"]
    assert facts["core"] == 0
    assert "ANTHROPIC_API_KEY" not in facts["environment"]


def test_a_script_that_imports_everything_reads_without_it(
    reader_name: str, write: Callable[[str], Path], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"  # without a guard: to import it again would begin a second reader
    script.write_text(
        "import faiss, sys, zantara_stream.retrieval.builder\n"
        "from pathlib import Path\n"
        "from zantara_stream.retrieval.isolation import IsolatedReader, Limits\n"
        f"with IsolatedReader(Limits(), {reader_name!r}) as reader:\n"
        "    print(reader.read('a.txt', Path(sys.argv[1])).text)\n"
    )
    done = subprocess.run([sys.executable, script, write("facts")], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout)["modules"]
    assert "docx" in modules
    assert not {"torch", "faiss", "sentence_transformers"} & set(modules)


def test_it_reads_what_is_read_here(tmp_path: Path) -> None:
    file, sidecar = tmp_path / "a.md", tmp_path / "a.md.meta.yaml"
    file.write_text("# Title\n\nText of “é” 😀.\n\n## Fees\n\nLow.")
    sidecar.write_text("level: 2\nstatus: in force\n")
    with IsolatedReader() as reader:
        assert reader.read("x/a.md", file, sidecar) == read_document("x/a.md", file, sidecar)
        assert reader.read("x/a.md", file).level == 0


def test_a_reader_s_problem_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"\xff")
    with IsolatedReader() as reader:
        with pytest.raises(Unreadable, match=r"^is not UTF-8 text \(byte 0 of 1\)$"):
            reader.read("a.md", tmp_path / "a.md")
        with pytest.raises(Unreadable, match=r"^cannot be opened \(No such file or directory\)$"):
            reader.read("b.md", tmp_path / "b.md")


def test_a_process_that_cannot_start_is_an_error_of_the_build(tmp_path: Path) -> None:
    with IsolatedReader(Limits(), "no.such:reader") as reader, pytest.raises(CorpusError, match="could not be started"):
        reader.read("a.md", tmp_path / "a.md")


def test_a_process_that_never_gets_ready_is_an_error_of_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "START_LIMIT", 0.0)
    monkeypatch.setattr(isolation, "PATIENCE", 0.0)
    with IsolatedReader() as reader, pytest.raises(CorpusError, match="could not be started"):
        reader.read("a.md", tmp_path / "a.md")


def test_ctrl_c_leaves_no_process(reader_name: str, write: Callable[[str], Path], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\nimport sys\nfrom pathlib import Path\n"
        "from zantara_stream.retrieval.isolation import IsolatedReader, Limits\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored\n"
        f"with IsolatedReader(Limits(), {reader_name!r}) as reader:\n"
        "    reader.read('a.txt', Path(sys.argv[1]))\n"
        "    print(reader._process.pid, flush=True)\n"
        "    reader.read('b.txt', Path(sys.argv[2]))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, script, write("good"), write("hang")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert os.getsid(child) == child  # Ctrl-C reaches what runs in the terminal's session: only the parent
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate()
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert _gone(child)


def test_a_parent_that_is_killed_leaves_no_process(write: Callable[[str], Path], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from zantara_stream.retrieval.isolation import IsolatedReader\n"
        "reader = IsolatedReader()\n"
        "reader.read('a.txt', Path(sys.argv[1]))\n"
        "print(reader._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, script, write("good")], capture_output=True, text=True, check=False)
    while not _gone(int(done.stdout)):  # it reads that nobody asks any more; the test's time limit bounds this
        time.sleep(0.01)


def test_an_interrupted_answer_is_not_the_next_file_s(
    reader_name: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = isolation._line

    def interrupted(process: subprocess.Popen[bytes], seconds: float) -> bytes:
        raise KeyboardInterrupt

    with IsolatedReader(Limits(), reader_name) as reader:
        reader.read("a.txt", write("good"))
        monkeypatch.setattr(isolation, "_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reader.read("b.txt", write("interrupted"))
        monkeypatch.setattr(isolation, "_line", really)
        document: Document = reader.read("c.txt", write("another"))
        assert (document.path, document.text) == ("c.txt", "another")

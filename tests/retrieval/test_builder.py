from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zantara_stream import __version__
from zantara_stream.errors import ConfigError, CorpusError
from zantara_stream.retrieval import builder, building
from zantara_stream.retrieval.builder import FAILED, SOME_SKIPPED, WELL, build, main, up_to_date
from zantara_stream.retrieval.building import split_all
from zantara_stream.retrieval.builds import BUILDS_KEPT, LOCK, sole_writer
from zantara_stream.retrieval.corpus import Corpus
from zantara_stream.retrieval.documents import Document
from zantara_stream.retrieval.embedding import Embedder, SentenceTransformerEmbedder, load_encoder
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.index import FaissIndex
from zantara_stream.retrieval.isolation import IsolatedReader
from zantara_stream.retrieval.manifest import BUILDS, CURRENT, MANIFEST, Manifest, checksums, current_build
from zantara_stream.retrieval.opened import Build
from zantara_stream.retrieval.passages import Passage
from zantara_stream.retrieval.reading import Reading, fingerprint, read_folder
from zantara_stream.retrieval.unchanged import Unchanged
from zantara_stream.testing import HashingEmbedder

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_index.py"


class BrokenEmbedder(HashingEmbedder):
    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        raise RuntimeError("the model broke")


class Counter:
    """Hears of progress."""

    def __init__(self) -> None:
        self.total: float | None = None
        self.done: float = 0

    def reset(self, total: float | None = None) -> None:
        self.total = total

    def update(self, n: float | None = 1) -> bool | None:
        self.done += n or 0
        return None


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    root = tmp_path / "documents"
    root.mkdir()
    (root / "a.md").write_text("# Fees\n\nThe renewal costs Rp 3 million.\n")
    (root / "b.txt").write_text("Capital\n\nThe founders pay it into the account.\n")
    return root


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command with a small embedder in place of the real one."""
    for name in [name for name in os.environ if name.startswith("ZANTARA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(builder, "checked_weights", lambda setting: (Path(), HashingEmbedder().sha256))
    monkeypatch.setattr(builder, "SentenceTransformerEmbedder", lambda setting: HashingEmbedder())
    monkeypatch.setattr(builder, "load_encoder", HashingEmbedder.load)
    return lambda *arguments: main([str(argument) for argument in arguments])


def _must_not_load(setting: str) -> Embedder:
    raise AssertionError("the model was loaded")


def _state(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def _contents(out: Path) -> tuple[list[Passage], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    folder = current_build(out)
    index = FaissIndex.load(folder / "vectors.faiss")
    numbers = list(range(len(index)))
    corpus = Corpus(folder / "corpus.db")
    passages = corpus.passages(numbers)
    corpus.close()
    rows = np.eye(index.dimensions, dtype=np.float32)
    return passages, np.stack([index.similarities(row, numbers) for row in rows])


def _twice(root: Path, embedder: Embedder, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    manifests = [build(read_folder(root), embedder, out, fingerprint(root)) for out in (one, two)]
    assert manifests[0].fingerprint == manifests[1].fingerprint
    assert manifests[0].checksums == manifests[1].checksums
    (passages, vectors), (again, vectors_again) = _contents(one), _contents(two)
    assert passages == again
    np.testing.assert_array_equal(vectors, vectors_again)


def test_two_builds_of_one_folder_are_the_same(small_corpus: Path, tmp_path: Path) -> None:
    _twice(small_corpus, HashingEmbedder(), tmp_path)


def test_two_builds_with_the_real_model_are_the_same(
    small_corpus: Path, real_embedder: SentenceTransformerEmbedder, tmp_path: Path
) -> None:
    _twice(small_corpus, real_embedder, tmp_path)


def test_what_a_build_says_of_itself(small_corpus: Path, tmp_path: Path) -> None:
    reading = read_folder(small_corpus)
    reading.skipped["bad.pdf"] = "is empty"
    reading.excluded["old.md"] = "is repealed"
    counter = Counter()
    manifest = build(reading, HashingEmbedder(), tmp_path / "index", "f" * 64, counter)
    folder = current_build(tmp_path / "index")
    assert Manifest.load(folder) == manifest
    assert (manifest.documents, manifest.languages) == (4, ["en", "id", "it"])
    assert (manifest.model, manifest.dimensions, manifest.max_tokens, manifest.index) == ("hashing", 64, 256, "Flat")
    assert (manifest.probes, manifest.recall, manifest.previous, manifest.version) == (0, 1.0, "", __version__)
    assert manifest.skipped == {"bad.pdf": "is empty"}
    assert manifest.excluded == {"old.md": "is repealed"}
    assert manifest.build.endswith("Z-ffffffff")
    assert manifest.checksums == checksums(folder)
    assert counter.total == counter.done == manifest.passages > 4
    assert sorted(file.name for file in (tmp_path / "index").iterdir()) == [CURRENT, LOCK, BUILDS, "embeddings"]


def test_passages_and_vectors_have_the_same_numbers(small_corpus: Path, tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    reading = read_folder(small_corpus)
    build(reading, embedder, tmp_path, fingerprint(small_corpus))
    passages, _ = _contents(tmp_path)
    assert passages == split_all(reading.documents, embedder, Unchanged())
    served = Build.open(current_build(tmp_path), HashingEmbedder.load)
    for number, passage in enumerate(passages):
        query = embedder.encode([f"{passage.context}\n{passage.text}"])
        assert served.index.nearest(query, 1) == [number]
        scores = served.lexical.scores([(term, 1.0) for term in served.lexical.terms(passage.text)])
        assert int(np.argmax(scores)) == number


def test_nothing_to_index(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nothing to index"):
        build(Reading(), HashingEmbedder(), tmp_path / "index", "digest")
    assert not (tmp_path / "index" / CURRENT).exists()
    assert not (tmp_path / "index" / BUILDS).exists()


@pytest.mark.parametrize("step", ["encode", "write_corpus", "checksums", "interrupt"])
def test_a_build_that_fails_midway_leaves_no_trace(
    step: str, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    build(read_folder(small_corpus), HashingEmbedder(), out, "old")
    before = {name: data for name, data in _state(out).items() if name != LOCK}

    def fail(*_: object) -> None:
        raise KeyboardInterrupt if step == "interrupt" else OSError("disk full")

    if step != "encode":
        monkeypatch.setattr(building, "write_corpus" if step == "interrupt" else step, fail)
    reading = read_folder(small_corpus)
    if step == "encode":
        reading.documents.append(replace(reading.documents[0], path="new.md", title="Never embedded"))
    embedder = BrokenEmbedder() if step == "encode" else HashingEmbedder()
    with pytest.raises((RuntimeError, OSError, KeyboardInterrupt)):
        build(reading, embedder, out, "new")
    assert {name: data for name, data in _state(out).items() if name != LOCK} == before
    assert [folder.name for folder in (out / BUILDS).iterdir()] == [current_build(out).name]


def test_the_newest_builds_are_kept(small_corpus: Path, tmp_path: Path) -> None:
    reading = read_folder(small_corpus)
    names = [build(reading, HashingEmbedder(), tmp_path, f"digest-{n}").build for n in range(BUILDS_KEPT + 2)]
    assert BUILDS_KEPT == 3
    assert sorted(folder.name for folder in (tmp_path / BUILDS).iterdir()) == names[-3:]
    assert current_build(tmp_path).name == names[-1]


def test_the_current_build_is_kept_where_the_clock_went_back(small_corpus: Path, tmp_path: Path) -> None:
    for year in (2990, 2991, 2992):
        (tmp_path / BUILDS / f"{year}0101T000000000000Z-ffffffff").mkdir(parents=True)
    manifest = build(read_folder(small_corpus), HashingEmbedder(), tmp_path, "digest")
    assert current_build(tmp_path) == tmp_path / BUILDS / manifest.build
    assert Manifest.load(current_build(tmp_path)) == manifest


def test_up_to_date(small_index: Path, small_corpus: Path, tmp_path: Path) -> None:
    digest = fingerprint(small_corpus)
    assert up_to_date(small_index, digest) == Manifest.load(current_build(small_index))
    assert up_to_date(small_index, "other") is None
    assert up_to_date(tmp_path, digest) is None


def test_the_command_builds(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    assert command(documents, "--out", out) == WELL == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: built, 2 documents, 2 passages, hashing (64 dimensions), build ")
    assert "Skipped" not in printed.err
    assert Build.open(current_build(out), HashingEmbedder.load).search("renewal costs", 1)[0].passage.document == "a.md"


def test_where_the_command_builds_unless_told(
    command: Callable[..., int], documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("documents") == WELL
    assert current_build(tmp_path / "indexes/default").is_dir()
    monkeypatch.setenv("ZANTARA_INDEX", "elsewhere")
    assert command("documents") == WELL
    assert current_build(tmp_path / "elsewhere").is_dir()


def test_a_second_run_loads_no_model(
    command: Callable[..., int],
    documents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "index"
    command(documents, "--out", out)
    before = _state(out)
    capsys.readouterr()
    monkeypatch.setattr(builder, "SentenceTransformerEmbedder", _must_not_load)
    assert command(documents, "--out", out) == WELL
    assert ": up to date, 2 documents, 2 passages, " in capsys.readouterr().out
    assert _state(out) == before


def test_a_changed_folder_is_built_anew(command: Callable[..., int], documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    builds = []
    for change in (
        lambda: None,
        lambda: (documents / "a.md").write_text("# Fees\n\nThe renewal costs Rp 4 million.\n"),
        lambda: (documents / "c.md").write_text("# New\n\nText.\n"),
        lambda: (documents / "b.txt").unlink(),
    ):
        change()
        assert command(documents, "--out", out) == WELL
        builds.append(current_build(out).name)
        [text] = [p.text for p in _contents(out)[0] if p.document == "a.md"]
        assert text == (documents / "a.md").read_text().splitlines()[-1]
    assert len(set(builds)) == 4


@pytest.mark.parametrize("part", ["corpus.db", MANIFEST])
def test_a_damaged_build_is_built_anew(part: str, command: Callable[..., int], documents: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    command(documents, "--out", out)
    damaged = current_build(out)
    (damaged / part).write_bytes(b"x")
    assert command(documents, "--out", out) == WELL
    assert current_build(out) != damaged
    Build.open(current_build(out), HashingEmbedder.load)


def test_another_model_is_built_anew(
    command: Callable[..., int], documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "index"
    command(documents, "--out", out)
    other = HashingEmbedder(name="other", dimensions=32)
    monkeypatch.setattr(builder, "checked_weights", lambda setting: (Path(), other.sha256))
    monkeypatch.setattr(builder, "SentenceTransformerEmbedder", lambda setting: other)
    assert command(documents, "--out", out) == WELL
    assert Manifest.load(current_build(out)).model == "other"


def test_skipped_files_are_named_every_time(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (documents / "broken.pdf").write_bytes(b"%PDF-nonsense")
    (documents / "picture.png").write_bytes(b"png")
    (documents / "zero.md").touch()
    with open(os.path.join(os.fsencode(documents), b"caf\xe9.html"), "wb") as file:
        file.write(b"<p>A name that is no text.</p>")
    for run in range(2):
        assert command(documents, "--out", tmp_path / "index") == SOME_SKIPPED == 3
        printed = capsys.readouterr()
        assert "Skipped: broken.pdf cannot be opened as PDF" in printed.err
        assert "Skipped: zero.md is empty\n" in printed.err
        assert printed.err.count("Skipped: ") == 2
        assert "3 documents" in printed.out
        if run == 0:
            assert "Ignored: picture.png is not of a format that is indexed\n" in printed.err
    assert list(Manifest.load(current_build(tmp_path / "index")).skipped) == ["broken.pdf", "zero.md"]
    assert r"caf\xe9.html" in {passage.document for passage in _contents(tmp_path / "index")[0]}


def _no_folder(root: Path) -> str:
    root.rename(root.parent / "moved")
    return "is not a folder of documents"


def _empty(root: Path) -> str:
    for file in root.iterdir():
        file.unlink()
    return "nothing to index"


def _all_bad(root: Path) -> str:
    for file in root.iterdir():
        file.write_bytes(b"\0")
    return "nothing to index"


@pytest.mark.parametrize("spoil", [_no_folder, _empty, _all_bad])
def test_where_nothing_can_be_built_the_old_build_stays(
    spoil: Callable[[Path], str],
    command: Callable[..., int],
    documents: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "index"
    command(documents, "--out", out)
    before = _state(out)
    reason = spoil(documents)
    capsys.readouterr()
    assert command(documents, "--out", out) == FAILED == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "build_index.py: " in printed.err
    assert reason in printed.err
    assert _state(out) == before


def test_a_folder_that_cannot_be_written(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert command(documents, "--out", tmp_path / "file") == FAILED
    assert f"File exists: '{tmp_path / 'file'}" in capsys.readouterr().err


def test_bad_settings_and_models_end_the_command(
    command: Callable[..., int],
    documents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(setting: str) -> tuple[Path, str]:
        raise ConfigError("The weights are not the published ones.")

    monkeypatch.setattr(builder, "checked_weights", refuse)
    assert command(documents, "--out", tmp_path / "index") == FAILED
    assert capsys.readouterr().err == "build_index.py: The weights are not the published ones.\n"
    monkeypatch.setenv("ZANTARA_INDEXX", "x")
    assert command(documents) == FAILED
    assert "ZANTARA_INDEXX is not a setting" in capsys.readouterr().err
    assert not (tmp_path / "index").exists()


def test_what_was_left_out_on_purpose_is_named_and_no_fault(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (documents / "old.md").write_text("---\nstatus: repealed\n---\n# Old\n\nNo longer.\n")
    for _ in range(2):
        assert command(documents, "--out", tmp_path / "index") == WELL
        assert "Excluded: old.md is repealed\n" in capsys.readouterr().err


def test_the_command_reads_only_what_has_changed(
    command: Callable[..., int], documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    really = IsolatedReader.read

    def counting(self: IsolatedReader, path: str, file: Path, sidecar: Path | None = None) -> Document:
        read.append(path)
        return really(self, path, file, sidecar)

    monkeypatch.setattr(IsolatedReader, "read", counting)
    out = tmp_path / "index"
    command(documents, "--out", out)
    (documents / "a.md").write_text("# Fees\n\nThe renewal costs Rp 4 million.\n")
    (documents / "b.txt.meta.yaml").write_text("title: Other\n")
    (documents / "c.md").write_text("# New\n\nText.\n")
    assert command(documents, "--out", out) == WELL
    (documents / "c.md").unlink()
    assert command(documents, "--out", out) == WELL
    assert read == ["a.md", "b.txt", "a.md", "b.txt", "c.md"]
    assert {p.title for p in _contents(out)[0]} == {"Fees", "Other"}
    fresh = tmp_path / "fresh"
    command(documents, "--out", fresh, "--full")
    kept, anew = (Manifest.load(current_build(index)).checksums for index in (out, fresh))
    assert kept == anew
    read.clear()
    command(documents, "--out", out, "--full")
    assert read == ["a.md", "b.txt"]


def test_the_command_says_how_much_it_embedded(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    command(documents, "--out", out)
    printed = capsys.readouterr()
    assert re.search(r"build \S+; 2 passages embedded \([\d.]+ a second\), 0 kept\n$", printed.out)
    assert "Then: exporting the query encoder\n" in printed.err
    (documents / "a.md").write_text("# Fees\n\nThe renewal costs Rp 4 million.\n")
    command(documents, "--out", out)
    printed = capsys.readouterr()
    assert re.search(r"; 1 passages embedded \([\d.]+ a second\), 1 kept\n$", printed.out)
    assert "encoder" not in printed.err
    command(documents, "--out", out, "--full")
    printed = capsys.readouterr()
    assert ": built, " in printed.out
    assert re.search(r"; 2 passages embedded \([\d.]+ a second\), 0 kept\n$", printed.out)


def test_a_second_build_is_told_that_another_is_running(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    command(documents, "--out", out)
    before = _state(out)
    (documents / "a.md").write_text("# Other\n\nText.\n")
    capsys.readouterr()
    with sole_writer(out):
        for arguments in ((documents,), ("--rollback",)):
            assert command(*arguments, "--out", out) == FAILED
            assert (
                f"build_index.py: Another build of {out} is running (process {os.getpid()})." in capsys.readouterr().err
            )
    assert _state(out) == before


def test_going_back_and_what_the_next_build_makes_of_it(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    command(documents, "--out", out)
    first = current_build(out).name
    (documents / "a.md").write_text("# Other\n\nText.\n")
    command(documents, "--out", out)
    second = current_build(out).name
    capsys.readouterr()
    assert command("--rollback", "--out", out) == WELL
    assert f"{out}: build {first} of " in (printed := capsys.readouterr()).out
    assert f"is served again, no longer {second}\n" in printed.out
    assert current_build(out).name == first
    assert command("--rollback", "--out", out) == FAILED
    assert f"There is no build before {first}" in capsys.readouterr().err
    assert command("--rollback", second, "--out", out) == WELL
    assert current_build(out).name == second
    command("--rollback", first, "--out", out)
    assert command(documents, "--out", out) == WELL
    assert current_build(out).name not in (first, second)
    assert [p.text for p in _contents(out)[0] if p.document == "a.md"] == ["Text."]


def test_going_back_to_another_model_says_what_to_set(
    command: Callable[..., int],
    documents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "index"
    command(documents, "--out", out)
    command(documents, "--out", out, "--full")
    monkeypatch.setenv("ZANTARA_EMBEDDING_MODEL", "hashing")
    assert command("--rollback", "--out", out) == WELL
    assert "another model" not in capsys.readouterr().err
    monkeypatch.delenv("ZANTARA_EMBEDDING_MODEL")
    command(documents, "--out", out, "--full")
    assert command("--rollback", "--out", out) == WELL
    assert "It is of another model: set ZANTARA_EMBEDDING_MODEL=hashing" in capsys.readouterr().err


def test_the_list_of_builds(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    assert command("--list", "--out", out) == WELL
    assert capsys.readouterr().out == f"There are no builds in {out}.\n"
    assert not out.exists()
    command(documents, "--out", out)
    command(documents, "--out", out, "--full")
    capsys.readouterr()
    assert command("--list", "--out", out) == WELL
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == [" ", "*"]
    assert lines[1].split()[1] == current_build(out).name


def test_verifying(
    command: Callable[..., int], documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    assert command("--verify", "--out", out) == FAILED
    assert "There is no index in" in capsys.readouterr().err
    assert not out.exists()
    command(documents, "--out", out)
    capsys.readouterr()
    assert command("--verify", "--out", out) == WELL
    assert [line[:6] for line in capsys.readouterr().out.splitlines()] == ["fine: "] * 6
    (current_build(out) / "corpus.db").write_bytes(b"x")
    assert command("--verify", "--out", out) == FAILED
    assert "wrong: checksums: The index is damaged: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["d", "--list"], ["d", "--verify"], ["--list", "--verify"], ["--list", "--rollback"], ["--full"]]
)
def test_what_cannot_be_asked_for(
    arguments: list[str], command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command(*arguments)
    assert caught.value.code == 2
    assert "--list" in capsys.readouterr().err


def test_an_interrupted_build_says_that_it_is_gone_on_with(
    command: Callable[..., int],
    documents: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(setting: str) -> Embedder:
        raise KeyboardInterrupt

    monkeypatch.setattr(builder, "SentenceTransformerEmbedder", interrupt)
    assert command(documents, "--out", tmp_path / "index") == FAILED
    assert "interrupted; what is embedded is kept" in capsys.readouterr().err


def test_the_script_with_the_real_model(documents: Path, tmp_path: Path) -> None:
    (documents / "zero.md").touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZANTARA_")}
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "documents", "--out", "index"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == SOME_SKIPPED, run.stderr
    assert run.stdout.startswith("index: built, 2 documents, 2 passages, all-MiniLM-L6-v2 (384 dimensions), build ")
    assert "Skipped: zero.md is empty" in run.stderr
    assert "Traceback" not in run.stderr
    served = Build.open(current_build(tmp_path / "index"), load_encoder)
    assert served.search("How much is it to extend?", 1)[0].passage.document == "a.md"

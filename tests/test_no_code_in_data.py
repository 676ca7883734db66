"""Nothing that is read as data can be code: not in an index that somebody else has made, nor by any way of loading."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import os
import pickle
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from builds_made import PARTS, sealed
from onnx import TensorProto, helper

from zantara_stream.retrieval.embedding import load_encoder
from zantara_stream.retrieval.encoder import ABOUT, GRAPH, OUTPUT, TORCH
from zantara_stream.retrieval.library import Library
from zantara_stream.retrieval.manifest import MANIFEST, current_build
from zantara_stream.testing import HashingEmbedder

ROOT = Path(__file__).parent.parent
SIZE = 384  # dimensions of the packaged model
WORKS = "canary"  # a file that is there where code has run


class Bomb:
    """What leaves a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self._canary}'",)


def _pickled(canary: Path) -> bytes:
    return pickle.dumps(Bomb(canary))


def _array(canary: Path) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Bomb(canary)], dtype=object), allow_pickle=True)
    return out.getvalue()


def _archive(canary: Path) -> bytes:
    """As torch.save writes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", _pickled(canary))
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


BOMBS = {"a pickle": _pickled, "an array of objects": _array, "a torch file": _archive}


def _opened(index: Path, load: Callable[[Path], object] = HashingEmbedder.load) -> str:
    """Why it is refused; "" where it is served."""
    library = Library(index, load)  # type: ignore[arg-type]
    asyncio.run(library.open())
    library.close()
    return library.refused


@pytest.fixture
def index(small_index: Path, tmp_path: Path) -> Path:
    """A small index to be changed."""
    return Path(shutil.copytree(small_index, tmp_path / "index"))


def test_the_bombs_work(tmp_path: Path) -> None:
    """Else nothing here could fail."""
    pickle.loads(_pickled(tmp_path / WORKS))
    assert (tmp_path / WORKS).exists()
    (tmp_path / WORKS).unlink()
    np.load(io.BytesIO(_array(tmp_path / WORKS)), allow_pickle=True)
    assert (tmp_path / WORKS).exists()


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("part", [part for part in PARTS if part not in ("texts.sha256", "files.json", MANIFEST)])
def test_no_part_of_an_index_is_unpickled(index: Path, tmp_path: Path, part: str, bomb: str) -> None:
    build = current_build(index)
    (build / part).write_bytes(BOMBS[bomb](tmp_path / WORKS))
    sealed(build)
    assert _opened(index)
    assert not (tmp_path / WORKS).exists()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW more AS SELECT load_extension('harm')",
        "CREATE TRIGGER t AFTER INSERT ON passages BEGIN SELECT 1; END",
        "ALTER TABLE passages RENAME TO others; CREATE VIEW passages AS WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM others, n",
    ],
    ids=["a view", "a trigger", "a table without an end"],
)
def test_a_corpus_holds_tables_alone(index: Path, statement: str) -> None:
    build = current_build(index)
    with closing(sqlite3.connect(build / "corpus.db")) as database:
        database.executescript(statement)
    sealed(build)
    assert "is not a corpus of this program" in _opened(index)


def test_an_index_cannot_name_a_model_to_load(index: Path, tmp_path: Path) -> None:
    """A folder of a model may name classes to import; an encoder that could not be exported is loaded by its name."""
    build, evil = current_build(index), tmp_path / "evil"
    evil.mkdir()
    (evil / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "harm.Module"}]))
    about = json.loads((build / "encoder" / ABOUT).read_text())
    (build / "encoder" / ABOUT).write_text(json.dumps({**about, "model": str(evil), "precision": TORCH}))
    sealed(build)
    loaded: list[Path] = []

    def load(folder: Path) -> HashingEmbedder:
        loaded.append(folder)
        return HashingEmbedder.load(folder)

    assert "was built with the embedding model" in _opened(index, load)
    assert loaded == []


def _graph(*, outside: str = "", domain: str = "", size: int = SIZE) -> bytes:
    """A graph that takes a weight from a file outside of its folder, or an operator of somebody's."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, size], [1.0] * size)
    if outside:
        del weight.float_data[:]
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", outside), ("offset", "0"), ("length", str(4 * size))):
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
    node = helper.make_node("Harm" if domain else "Identity", ["w"], [OUTPUT], domain=domain)
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, None])
    out = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, size])
    graph = helper.make_graph([node], "g", [ids], [out], [weight])
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (lambda secret: _graph(outside=f"../../{secret.name}"), "the folder above"),
        (lambda secret: _graph(outside=str(secret)), "an absolute path"),
        (lambda secret: _graph(domain="harm"), "an operator of somebody's"),
        (lambda secret: _graph(size=1), "one number in place of all"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_graph_reaches_nothing_outside_of_itself(
    sample_index: Path, tmp_path: Path, graph: Callable[[Path], bytes], why: str
) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(SIZE, dtype=np.float32).tobytes())
    encoder = Path(shutil.copytree(current_build(sample_index) / "encoder", tmp_path / "build" / "encoder"))
    (encoder / GRAPH).write_bytes(_graph())
    assert load_encoder(encoder).encode(["as it should be"]).shape == (1, SIZE)
    (encoder / GRAPH).write_bytes(graph(secret))
    with pytest.raises(Exception, match=r"The query encoder .* cannot be read"):
        load_encoder(encoder)


# --------------------------------------------------------------------------------------------- ways of loading

UNSAFE = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "imp", "code", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__"}


def found(source: str) -> Iterator[str]:
    """What in a module's source would run, or could be made to run, what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in UNSAFE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNSAFE:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            yield from _unsafe_call(node)


def _unsafe_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in CALLS or name in ("os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"):
        yield name
    if name == "yaml.load" and "Safe" not in ast.unparse(call):
        yield name
    if name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
        yield name
    if name == "torch.load" and given.get("weights_only") != "True":
        yield name
    yield from (f"{key}={value}" for key, value in given.items() if (key, value) in RISKY)


RISKY = {("shell", "True"), ("allow_pickle", "True"), ("trust_remote_code", "True"), ("weights_only", "False")}
SOURCES = [*sorted((ROOT / "zantara_stream").rglob("*.py")), *sorted((ROOT / "scripts").rglob("*.py"))]


def test_no_module_runs_what_it_reads() -> None:
    assert len(SOURCES) > 100
    assert {str(path): list(found(path.read_text(encoding="utf-8"))) for path in SOURCES} == {
        str(path): [] for path in SOURCES
    }


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import joblib.memory",
        "eval(text)",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "torch.load(file)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "Model(folder, trust_remote_code=True)",
    ],
)
def test_what_is_looked_for_is_found(source: str) -> None:
    assert list(found(source))

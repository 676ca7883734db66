from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from zantara_stream.errors import IndexUnavailable
from zantara_stream.retrieval.manifest import (
    BUILDS,
    CURRENT,
    MANIFEST,
    Manifest,
    check,
    check_model,
    checksums,
    current_build,
    make_current,
    sha256,
)

REPAIR = r"(?i)build it with: python scripts/build_index.py DOCUMENTS$"


@pytest.fixture
def index(small_index: Path, tmp_path: Path) -> Path:
    """A copy of the small index, to be damaged."""
    return Path(shutil.copytree(small_index, tmp_path / "index"))


def _files(index: Path) -> list[str]:
    return list(Manifest.load(current_build(index)).checksums)


def test_a_whole_build_passes(index: Path) -> None:
    build = current_build(index)
    manifest = Manifest.load(build)
    check(build, manifest)
    assert build == index / BUILDS / manifest.build
    assert manifest.checksums == checksums(build)
    assert {"vectors.faiss", "corpus.db"} < set(manifest.checksums)
    assert MANIFEST not in manifest.checksums


def test_load_is_the_inverse_of_save(index: Path, tmp_path: Path) -> None:
    manifest = replace(Manifest.load(current_build(index)), skipped={"più 😀.md": "is empty"})
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest
    assert "più 😀.md" in (tmp_path / MANIFEST).read_text(encoding="utf-8")


def test_no_current_build(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable, match=f"There is no index in {tmp_path}: ") as caught:
        current_build(tmp_path)
    assert caught.match(REPAIR)


def test_a_garbled_current_build(index: Path) -> None:
    (index / CURRENT).write_bytes(b"\xff\xfe")
    with pytest.raises(IndexUnavailable, match="There is no index in"):
        current_build(index)


@pytest.mark.parametrize("name", ["gone", "", "a\0b"])
def test_a_current_build_that_is_not_there(index: Path, name: str) -> None:
    make_current(index, name)
    with pytest.raises(IndexUnavailable, match="has no readable manifest"):
        Manifest.load(current_build(index))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '"text"', "{}", '{"format": 2}', "[" * 10, "[" * 100_000, b"\xff\xfe\x00", "1e5"]
)
def test_a_garbled_manifest(index: Path, content: str | bytes) -> None:
    build = current_build(index)
    (build / MANIFEST).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(IndexUnavailable, match=f"The index {build} has no readable manifest") as caught:
        Manifest.load(build)
    assert caught.match(REPAIR)


@pytest.mark.parametrize(
    "field",
    ["format", "model", "checksums", "passages", "recall", "probes", "excluded", "languages", "previous"],
)
def test_a_manifest_that_lacks_a_field_or_has_it_wrong(index: Path, field: str) -> None:
    build = current_build(index)
    data = json.loads((build / MANIFEST).read_text())
    without = {key: value for key, value in data.items() if key != field}
    for wrong in (without, {**data, field: None}, {**data, field: True}):
        (build / MANIFEST).write_text(json.dumps(wrong))
        with pytest.raises(IndexUnavailable, match=REPAIR):
            Manifest.load(build)


def test_a_manifest_that_is_not_there(index: Path) -> None:
    build = current_build(index)
    (build / MANIFEST).unlink()
    with pytest.raises(IndexUnavailable, match=r"no readable manifest \(FileNotFoundError\)"):
        Manifest.load(build)


def test_another_format(index: Path) -> None:
    build = current_build(index)
    replace(Manifest.load(build), format=1).save(build)
    with pytest.raises(IndexUnavailable, match=f"The index {build} has format 1, not 2: ") as caught:
        Manifest.load(build)
    assert caught.match(REPAIR)


def test_one_flipped_bit_in_any_file_is_seen(index: Path) -> None:
    build = current_build(index)
    manifest = Manifest.load(build)
    files = _files(index)
    assert len(files) >= 5
    for name in files:
        whole = (build / name).read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            damaged = bytearray(whole)
            damaged[place] ^= 1
            (build / name).write_bytes(damaged)
            with pytest.raises(IndexUnavailable, match=f"damaged: {build / name} is not as it was built") as caught:
                check(build, manifest)
            assert caught.match(REPAIR)
        (build / name).write_bytes(whole[:-1])
        with pytest.raises(IndexUnavailable, match="is not as it was built"):
            check(build, manifest)
        (build / name).write_bytes(whole)
    check(build, manifest)


def test_any_missing_file_is_seen(index: Path) -> None:
    build = current_build(index)
    manifest = Manifest.load(build)
    for name in _files(index):
        (build / name).rename(index / "aside")
        with pytest.raises(IndexUnavailable, match=f"damaged: {build / name} is missing") as caught:
            check(build, manifest)
        assert caught.match(REPAIR)
        (index / "aside").rename(build / name)


def test_the_model_must_be_the_same(index: Path) -> None:
    manifest = Manifest.load(current_build(index))
    name, weights, dimensions = manifest.model, manifest.model_sha256, manifest.dimensions
    check_model(manifest, name, weights)
    check_model(manifest, name, weights, dimensions)
    with pytest.raises(IndexUnavailable, match=r"model hashing \(.*the server has other .*ZANTARA_EMBEDDING_MODEL"):
        check_model(manifest, "other", weights, dimensions)
    with pytest.raises(IndexUnavailable, match=f"{weights[:12]}….*hashing \\(ffffffffffff…\\)") as caught:
        check_model(manifest, name, "f" * 64, dimensions)
    assert caught.match(REPAIR)
    with pytest.raises(IndexUnavailable, match=f"has {dimensions} dimensions, the embedding model 384") as caught:
        check_model(manifest, name, weights, 384)
    assert caught.match(REPAIR)


def test_a_build_is_made_current_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_current(tmp_path, "one")
    make_current(tmp_path, "two")
    assert current_build(tmp_path) == tmp_path / BUILDS / "two"
    assert [file.name for file in tmp_path.iterdir()] == [CURRENT]  # nothing is left beside it
    seen: list[str] = []
    really = os.replace

    def watch(source: Path, target: Path) -> None:
        seen.append(current_build(tmp_path).name)
        assert source.read_text() == "three\n"  # written whole before it is put in place
        assert source.parent == target.parent
        really(source, target)

    monkeypatch.setattr(os, "replace", watch)
    make_current(tmp_path, "three")
    assert seen == ["two"]
    assert current_build(tmp_path).name == "three"


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksums(tmp_path) == {"a": sha256(tmp_path / "a")}

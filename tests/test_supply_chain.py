"""What is installed is what was locked, file by file, and the lists agree with what is declared."""

from __future__ import annotations

import configparser
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements"
LISTS = ("serving.txt", "testing.txt", "audit.txt")
# Builds of torch differ with what they run on; it is held to its version, with what its own build needs.
UNHASHED = {"torch"}


def canonical(name: str) -> str:
    """A package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """The version and the hashes of each package of a list."""
    text = re.sub(r"\\\n\s*", " ", (REQUIREMENTS / name).read_text(encoding="utf-8"))
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            package, version, rest = re.fullmatch(r"([\w.-]+)==(\S+)(.*)", line).groups()  # type: ignore[union-attr]
            found[canonical(package)] = version, re.findall(r"--hash=sha256:([0-9a-f]{64})(?:\s|$)", rest)
    return found


def pins() -> dict[str, str]:
    """The versions of the constraints file."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines)}


def declared(*extras: str) -> list[Requirement]:
    """What setup.cfg asks for."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [config["options"]["install_requires"], *(config["options.extras_require"][extra] for extra in extras)]
    return [Requirement(line) for text in texts for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", LISTS)
def test_every_file_that_is_installed_has_a_hash(name: str) -> None:
    found = locked(name)
    assert len(found) > 20
    assert {package for package, (_, hashes) in found.items() if not hashes} == set()


@pytest.mark.parametrize("name", ["serving.txt", "testing.txt"])
def test_a_list_is_of_the_versions_that_are_pinned(name: str) -> None:
    ours = pins()
    assert {p: version for p, (version, _) in locked(name).items() if ours.get(p) != version} == {}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_nothing_of_torchs_own(name: str) -> None:
    """Else a machine without a GPU would fetch gigabytes for one: WITHOUT_TORCH in the Makefile names them."""
    assert [p for p in locked(name) if p in UNHASHED or p.startswith(("nvidia-", "cuda-", "triton"))] == []


@pytest.mark.parametrize(
    ("name", "extras"), [("serving.txt", ["build"]), ("testing.txt", ["build", "test", "tracing", "milvus", "cluster"])]
)
def test_a_list_has_what_is_declared(name: str, extras: list[str]) -> None:
    found = locked(name)
    for wanted in declared(*extras):
        package = canonical(wanted.name)
        if package not in UNHASHED:
            assert found[package][0] in wanted.specifier, f"{wanted}: make lock"


def test_what_installs_this_package_is_locked_too() -> None:
    backend = re.search(r'requires = \["(setuptools[^"]+)"\]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert backend is not None
    assert locked("serving.txt")["setuptools"][0] in Requirement(backend[1]).specifier


def test_nothing_is_installed_beside_the_lists() -> None:
    commands = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "$(PIP)" in line]
    assert [line.partition(" := ")[0] for line in commands] == ["HASHED", "TORCH", "OURSELVES"]
    hashed, torch, ourselves = (line.split() for line in commands)
    assert {"--no-deps", "--require-hashes"} <= set(hashed)
    assert torch[-1] == "torch"
    assert {"--no-deps", "--no-build-isolation"} <= set(ourselves)


def test_nothing_that_is_installed_lacks_what_it_needs() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout


def _wheel(folder: Path) -> Path:
    """A package that is as good as none."""
    path = folder / "harmless-1.0-py3-none-any.whl"
    info = "harmless-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("harmless.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.parametrize("changed", [False, True])
def test_a_file_that_is_not_what_it_was_is_refused(tmp_path: Path, changed: bool) -> None:
    wheel = _wheel(tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "list.txt").write_text(f"harmless==1.0 --hash=sha256:{digest}\n")
    if changed:
        with zipfile.ZipFile(wheel, "a") as file:
            file.writestr("more.py", "print('not what it was')")
    options = ["--isolated", "--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "there")]
    command = [sys.executable, "-m", "pip", "install", *options, "--no-deps", "--require-hashes", "-r"]
    done = subprocess.run([*command, str(tmp_path / "list.txt")], capture_output=True, encoding="utf-8")
    assert (done.returncode == 0) is not changed
    assert (tmp_path / "there" / "harmless.py").exists() is not changed
    assert ("DO NOT MATCH THE HASHES" in done.stderr) is changed


def test_packages_of_the_clients_are_held_to_their_hashes() -> None:
    lock = json.loads((ROOT / "clients" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if "node_modules/" in name}
    others = {name for name, entry in packages.items() if not entry.get("link")}
    assert len(others) > 20
    assert {name for name in others if not packages[name].get("integrity", "").startswith("sha512-")} == set()
    assert {name for name in others if "resolved" in packages[name]} == set(), "it names no host"

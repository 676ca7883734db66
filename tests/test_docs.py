"""The documentation is held against the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from settings_table import settings_table

from zantara_stream.app import create_app
from zantara_stream.config import Settings, variable
from zantara_stream.metrics import metrics_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_table_of_settings() -> None:
    assert settings_table() in README


def test_the_readme_names_every_address() -> None:
    app = create_app(Settings())
    addresses = {resource.canonical for resource in app.router.resources()} - {"/{file}"}  # the page's own files
    assert "/bali-zero/answers/{id}/events" in addresses
    assert {address for address in addresses if address not in README} == set()


def test_the_readme_names_every_event() -> None:
    code = [*(ROOT / "zantara_stream" / "web").glob("*.py"), *(ROOT / "zantara_stream" / "answers").glob("*.py")]
    sources = "".join(file.read_text(encoding="utf-8") for file in code)
    named = set(re.findall(r'event="(\w+)"', sources)) | {"start", "resumed"}
    assert named >= {"ping", "unavailable", "gap", "draining"}
    assert {event for event in named if f"`{event}`" not in README} == set()


def test_the_readme_shows_the_two_commands_and_the_others() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in ("run", "test", "check", "test-services"):
        assert f"make {command}" in README
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


def test_links_of_the_documentation_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_dependency_is_pinned_for_make() -> None:
    declared = re.findall(r"^    ([A-Za-z][\w-]*)(?:\[\w+\])?(?: [<>=].*)?$", _dependencies(), re.MULTILINE)
    pins = {line.split("==")[0].lower().replace("_", "-") for line in _constraints()}
    assert len(declared) > 20
    assert {name for name in declared if name.lower() not in pins} == set()
    assert all("==" in line for line in _constraints())


def test_changelog_tells_of_this_version() -> None:
    from zantara_stream import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_settings_are_named_by_their_fields() -> None:
    assert [variable(field.name) for field in fields(Settings)][:2] == ["ZANTARA_HOST", "ZANTARA_PORT"]


def _dependencies() -> str:
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    return (
        text[text.index("install_requires") : text.index("[options.packages.find]")]
        + text[text.index("[options.extras_require]") : text.index("[tool:pytest]")]
    )


def _constraints() -> list[str]:
    return (ROOT / "constraints.txt").read_text(encoding="utf-8").split()


def test_the_documentation_has_the_table_of_metrics() -> None:
    assert metrics_table() in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")

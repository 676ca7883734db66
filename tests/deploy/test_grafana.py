"""The shipped dashboard: its expressions parse, name what is exposed, and its panels lie side by side."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml
from deploy.proxied import DEPLOY
from promtool import promtool, unknown

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "zantara-stream.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS: list[str] = [target["expr"] for panel in GRAPHS for target in panel["targets"]]


def test_every_expression_parses(tmp_path: Path) -> None:
    plain = [one.replace("$__rate_interval", "5m").replace("$instance", ".*") for one in EXPRESSIONS]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(plain)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_it_shows_only_metrics_that_are_exposed() -> None:
    assert unknown(EXPRESSIONS) == set()


def test_it_shows_only_recorded_rules_that_are_there() -> None:
    rules = (DEPLOY / "prometheus" / "zantara-stream.rules.yml").read_text(encoding="utf-8")
    recorded = [one for one in EXPRESSIONS if one.startswith("zantara:")]
    assert recorded
    assert all(f"record: {one}\n" in rules for one in recorded)


def test_no_two_panels_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations((panel["gridPos"] for panel in PANELS), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


def test_every_graph_has_a_unit_and_legends_and_asks_the_chosen_source() -> None:
    for panel in GRAPHS:
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["legendFormat"] for target in panel["targets"])
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "instance"]

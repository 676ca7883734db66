"""The shipped rules by Prometheus's own checker: each alert fires when it must, and keeps still otherwise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.proxied import DEPLOY
from promtool import promtool, unknown
from server import serving

FOLDER = DEPLOY / "prometheus"
RULES = FOLDER / "zantara-stream.rules.yml"
TESTS = sorted(FOLDER.glob("*.test.yml"))
RUNBOOK = DEPLOY.parent / "docs" / "alerts.md"


def rules() -> list[dict[str, Any]]:
    """All rules, recording and alerting."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def test_rules_and_configuration_are_valid() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("check", "config", str(FOLDER / "prometheus.yml"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_alerts_fire_and_keep_still(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_each_alert_is_shown_firing_and_keeping_still() -> None:
    cases = [
        case
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        if test["input_series"]
        for case in test["alert_rule_test"]
    ]
    firing = {case["alertname"] for case in cases if case["exp_alerts"]}
    still = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert firing == still == set(alerts())


def test_rules_name_only_metrics_that_are_exposed() -> None:
    assert unknown([rule["expr"] for rule in rules()]) == set()


def test_each_alert_has_its_section_in_the_runbook() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sections == list(alerts())
    for name, alert in alerts().items():
        assert alert["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"
        assert alert["labels"]["severity"] in ("page", "ticket")


async def test_what_a_server_exposes_is_clean(small_index: Path) -> None:
    async with serving(small_index) as server:
        await (await server.stream()).rest()
        response = await server.get("/metrics")
        promtool("check", "metrics", stdin=await response.read())

"""The order of an answer: whatever is lost, doubled, disordered or damaged on its way, each event comes once, in order."""

from __future__ import annotations

import pytest
from browser import scripted_pages
from browser.scripted_pages import WAYS, Stage
from browser.scripted_server import ANSWER, CUT, HOLD, Log, done, event, start, text

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

browser, stage = scripted_pages.browser, scripted_pages.stage

LOG = Log("Late ", "renewal\n", "is fined — 😀 ", "Rp 1 million.")


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_comes_whole(stage: Stage, way: str) -> None:
    stage.server.tell(LOG)
    answer = await (await stage.ask(way)).whole(LOG)
    assert answer.names == ["streaming", "complete"]
    assert answer.said["duplicates"] == answer.said["gaps"] == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_missing_event_is_fetched_from_the_last_place_without_a_hole(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Late "), text(3, "is fined — 😀 "), text(4, "Rp 1 million."), HOLD)
    stage.server.tell(LOG)
    answer = await (await stage.ask(way)).whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.1"
    assert answer.said["gaps"] == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_cut(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Late "), CUT)
    stage.server.tell(LOG)
    answer = await (await stage.ask(way)).whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.1"
    assert answer.said["gaps"] == 0

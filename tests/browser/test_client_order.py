"""The order of an answer: whatever is lost, doubled or disordered on its way, each event comes once, in order."""

from __future__ import annotations

import asyncio

import pytest
from browser import scripted_pages
from browser.scripted_pages import WAYS, Stage
from browser.scripted_server import ANSWER, CUT, HOLD, Log, done, event, gap, start, text

pytestmark = pytest.mark.browser

stage = scripted_pages.stage

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
async def test_a_cut_line_is_gone_on_with_from_its_place(stage: Stage, way: str) -> None:
    seen = asyncio.Event()
    stage.server.script(start(), text(1, "Late "), seen, CUT)
    stage.server.tell(LOG)
    answer = await (await stage.ask(way)).has("Late ")
    seen.set()
    await answer.whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.1"
    assert answer.said["gaps"] == 0


@pytest.mark.parametrize("way", WAYS)
async def test_what_comes_twice_is_dropped_and_what_is_disordered_comes_in_order(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Late "), text(1, "Late "), text(2, "renewal\n"), text(4, "?"), HOLD)
    stage.server.tell(LOG)
    answer = await (await stage.ask(way)).whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.2"
    assert (answer.said["duplicates"], answer.said["gaps"]) == (1, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_an_end_that_is_ahead_of_the_text_is_none_yet(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Late "), done(2, 4), HOLD)
    stage.server.tell(LOG)
    await (await stage.ask(way)).whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.1"


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_cut_at_any_byte_comes_whole(stage: Stage, way: str) -> None:
    whole = LOG.after(0)
    for place in range(0, len(whole), 23):
        stage.server.script(whole[:place], CUT)
        stage.server.tell(LOG)
        await (await stage.ask(way)).whole(LOG)


@pytest.mark.parametrize("way", WAYS)
async def test_of_a_snapshot_only_what_is_new_is_told(stage: Stage, way: str) -> None:
    cited = [{"quote": "a"}, {"quote": "b"}]
    begun = [start(), text(1, "Late "), event({"citation": cited[0]}, 2)]
    stage.server.script(*begun, gap(6, "Late renewal is", 3, cited), text(7, " fined.", 4), done(8, 4))
    answer = await (await stage.ask(way)).ended()
    assert answer.text == "Late renewal is fined."
    assert answer.said["citations"] == cited
    assert answer.types == ["text", "citation", "text", "citation", "text", "done"]
    assert (answer.said["chunks"], answer.said["gaps"], answer.said["duplicates"]) == (4, 0, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_line_separators_of_unicode_and_events_of_later_versions_do_no_harm(stage: Stage, way: str) -> None:
    words = "a\u2028b\u2029c\r\nd"
    stage.server.script(start(), event({"news": 1}, name="news"), text(1, words), event({"note": 1}, 2), done(3, 1))
    answer = await (await stage.ask(way)).ended()
    assert answer.text == words
    assert answer.types == ["text", "done"]
    assert len(stage.server.asked) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_damaged_event_is_asked_for_again(stage: Stage, way: str) -> None:
    stage.server.script(start(), text(1, "Late "), b"id: x.2\ndata: {damaged\n\n", HOLD)
    stage.server.tell(LOG)
    await (await stage.ask(way)).whole(LOG)
    assert stage.server.asked[1].place == f"{ANSWER}.1"

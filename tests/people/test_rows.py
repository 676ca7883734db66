"""Rows that may be there already, and text that both databases can store."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.people.rows import insert_missing, storable, upsert
from zantara_stream.people.store import Store
from zantara_stream.people.tables import conversations, people

ANNA = {"owner": "anna", "summary": "first", "forgotten": 1.0}


async def all_people(store: Store) -> list[dict[str, Any]]:
    async with store.reading() as connection:
        return [dict(row._mapping) for row in await connection.execute(people.select().order_by(people.c.owner))]


async def test_a_missing_row_is_inserted_and_one_that_is_there_stays(store: Store) -> None:
    async with store.writing() as connection:
        assert await insert_missing(connection, people, **ANNA) is True
        assert await insert_missing(connection, people, **{**ANNA, "summary": "second"}) is False
        assert await insert_missing(connection, people, **{**ANNA, "owner": ""}) is True
    assert await all_people(store) == [{**ANNA, "owner": ""}, ANNA]


async def test_a_row_is_told_by_its_whole_key(store: Store) -> None:
    times = {"created": 0.0, "updated": 0.0, "cleared": 0.0, "summarised": 0.0}
    async with store.writing() as connection:
        for owner, session, new in (
            ("anna", "s1", True),
            ("anna", "s2", True),
            ("budi", "s1", True),
            ("anna", "s1", False),
        ):
            values = {"owner": owner, "session": session, "title": "", "summary": "", **times}
            assert await insert_missing(connection, conversations, **values) is new


async def test_values_take_the_place_of_those_of_the_same_key_alone(store: Store) -> None:
    async with store.writing() as connection:
        for owner, summary in (("anna", "first"), ("budi", "other"), ("anna", "second")):
            await upsert(connection, people, owner=owner, summary=summary, forgotten=2.0)
    assert await all_people(store) == [
        {"owner": "anna", "summary": "second", "forgotten": 2.0},
        {"owner": "budi", "summary": "other", "forgotten": 2.0},
    ]


# ---------------------------------------------------------------------------------------------------------- storable


@pytest.mark.parametrize("value", [None, True, 0, 0.5, "", "a\nb\t🏝️", [], {}, {"a": [{"b": None}]}])
def test_what_can_be_stored_stays_as_it_is(value: object) -> None:
    assert storable(value) == value


def test_a_nul_becomes_a_mark_of_what_is_missing_however_deep_it_is() -> None:
    given = {"text": "a\0b", "sources": [{"title": "\0"}, ("\0", 1)], "none": None}
    assert storable(given) == {"text": "a\ufffdb", "sources": [{"title": "\ufffd"}, ["\ufffd", 1]], "none": None}
    assert given["text"] == "a\0b", "what was given is not changed"


_TEXTS = st.text(st.sampled_from("\0\ufffda🙂\n"), max_size=8)
_VALUES = st.recursive(
    _TEXTS | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES)
def test_of_any_value_no_nul_is_left_and_its_shape_stays(value: object) -> None:
    assert "\0" not in "".join(_all_texts(storable(value)))
    assert storable(storable(value)) == storable(value)
    lengths = [len(text) for text in _all_texts(value)]
    assert [len(text) for text in _all_texts(storable(value))] == lengths


def _all_texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in inside for text in _all_texts(item)]

from __future__ import annotations

from datetime import date

import pytest

from zantara_stream.retrieval.readers.metadata import (
    METADATA_LIMIT,
    BadMetadata,
    Metadata,
    metadata_of,
    read_json,
    read_yaml,
)


def test_nothing_given() -> None:
    assert metadata_of({}) == metadata_of({"other": [1], 7: {}}) == Metadata()


def test_keys_and_their_other_names() -> None:
    given = {"title": " T ", "lang": "id", "date": date(2026, 1, 31), "source": "https://example.com", "status": True}
    expected = Metadata("T", "id", "2026-01-31", "https://example.com", 2, "True")
    assert metadata_of(given | {"access_level": 2}) == expected
    assert metadata_of(given | {"Access-Level": "2"}) == expected
    assert metadata_of(given | {" LEVEL ": 2}) == expected


def test_the_first_name_that_says_something_counts() -> None:
    given = {"date": "2020-01-01", "lastmod": "2021-01-01", "updated": None, "source": "b", "url": ["a"]}
    assert metadata_of(given) == Metadata(updated="2021-01-01", url="b")


@pytest.mark.parametrize("level", [0, 1, 2, 3, "0", " 3 "])
def test_levels(level: object) -> None:
    assert metadata_of({"level": level}).level == int(str(level))


@pytest.mark.parametrize(
    "level", [4, -1, 1.0, True, False, None, "", "public", "٢", "1 or 2", [1], {"a": 1}, 10**30, date(2026, 1, 1)]
)
def test_what_is_no_level_is_never_taken_for_public(level: object) -> None:
    with pytest.raises(BadMetadata, match=r"^gives the access level .{1,60}, which is not 0, 1, 2 or 3$"):
        metadata_of({"level": level})


def test_two_levels_are_none() -> None:
    with pytest.raises(BadMetadata, match=r"gives several access levels \(0, 3\)"):
        metadata_of({"level": 0, "access_level": 3})
    assert metadata_of({"level": 3, "Level": "3"}).level == 3


def test_a_status_of_another_type_is_not_passed_over() -> None:
    with pytest.raises(BadMetadata, match="gives a status that is not text"):
        metadata_of({"status": ["repealed"]})
    assert metadata_of({"status": None}).status == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [open", r"is not YAML \(while parsing"),
        ("a: &x 1\nb: *x", "aliases are not read"),
        ("level: 3\nlevel: 0", "a key is given twice"),
        ("a: {b: 1, b: 2}", "a key is given twice"),
        ("[" * 5_000, "is nested too deeply"),
        ("a: 2026-99-99", "is not YAML"),
        ("a: !!python/object:os.system {}", "is not YAML"),
        ("a: " + "9" * 5_000, "is not YAML"),
        ("a" * (METADATA_LIMIT + 1), "is longer than 64 KB"),
        ("? [a]\n: 1", "is not YAML"),
    ],
)
def test_bad_yaml(text: str, reason: str) -> None:
    with pytest.raises(BadMetadata, match=reason) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)


def test_an_alias_bomb_does_not_unfold() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
    with pytest.raises(BadMetadata, match="aliases are not read"):
        read_yaml(bomb + "title: *a39")
    merged = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
    with pytest.raises(BadMetadata, match="aliases are not read"):
        read_yaml(merged)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", r"is not JSON \("),
        ('{"level": 3, "level": 0}', "a key is given twice"),
        ("[" * 60_000, "is nested too deeply"),
        (" " * (METADATA_LIMIT + 1), "is longer than 64 KB"),
    ],
)
def test_bad_json(text: str, reason: str) -> None:
    with pytest.raises(BadMetadata, match=reason):
        read_json(text)


def test_good_ones() -> None:
    assert read_yaml("level: 2\ntitle: T") == read_json('{"level": 2, "title": "T"}') == {"level": 2, "title": "T"}

"""Facts are whole sentences, few, dated, and the newer of two takes the older one's place."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zantara_stream.people.facts import (
    BRIEF,
    LONGEST,
    MOST,
    RECALLED,
    Fact,
    Statement,
    brief,
    clean,
    dated,
    merged,
    one_line,
    relevant,
)

JANUARY_5, MARCH_1, MAY_2 = 1767571200.0, 1772323200.0, 1777680000.0  # of 2026, the days' beginnings
NOW = 1000.0


def ids(first: int = 100) -> Callable[[], str]:
    numbers = itertools.count(first)
    return lambda: f"new-{next(numbers)}"


def after(facts: list[Fact], *said: Statement | str, now: float = NOW) -> list[Fact]:
    statements = [Statement(each) if isinstance(each, str) else each for each in said]
    return merged(facts, statements, now, ids())


def many(count: int, first: int = 0) -> list[Fact]:
    """Facts that share no words, each learned and confirmed a second after the one before it."""
    numbers = range(first, first + count)
    return [Fact(f"f{n}", f"Alpha{n} beta{n} gamma{n}.", "", float(n), float(n)) for n in numbers]


# clean


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("my company is a PT PMA", "My company is a PT PMA."),
        ("My company is a PT PMA.", "My company is a PT PMA."),
        ("I am vegan!", "I am vegan!"),
        ("am I?", "Am I?"),
        ("I wonder…", "I wonder…"),
        ("私は会社を持っています。", "私は会社を持っています。"),
        ('my company is "Bali Sun"', 'My company is "Bali Sun".'),
        ('he said "I am ill."', 'He said "I am ill."'),
        ("  my\tcompany \n\n is\u2028a\u00a0PT  ", "My company is a PT."),
        ("my com\u200bpany\u202e is a PT\x00", "My company is a PT."),
        ("i live in Bali \u2066", "I live in Bali."),
        ("- my company is a PT,", "My company is a PT."),
        ("• I have:", "I have."),
        ("“my company” is a PT", "“My company” is a PT."),
        ("perche\u0301 vivo qui", "Perché vivo qui."),
        ("e\u200b\u0301 vero", "É vero."),
        ("3 children are mine", "3 children are mine."),
        ("ßeta", "Sseta."),
        ("I like 😀", "I like 😀."),
        ("", ""),
        (" \n\t ", ""),
        ("?!… - *", ""),
        ("\u202e\u200b", ""),
        ("😀", ""),
    ],
)
def test_a_text_becomes_a_whole_sentence_on_one_line(text: str, sentence: str) -> None:
    assert clean(text) == sentence


def test_a_sentence_that_is_too_long_is_cut_at_a_word() -> None:
    cut = clean("I live in Bali, " * 40)
    assert LONGEST - 20 < len(cut) <= LONGEST
    assert cut.endswith(("live…", "in…", "Bali…", "I…"))


def test_no_mark_stands_before_the_ellipsis() -> None:
    assert clean("Stop!! " * 60) == "Stop!! " * 41 + "Stop…"


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, LONGEST + 50])
def test_a_word_that_is_too_long_is_cut_anywhere(length: int) -> None:
    cut = clean("a" * length)
    assert len(cut) == LONGEST
    assert cut.endswith("." if length < LONGEST else "…")


def test_the_closing_mark_counts() -> None:
    assert clean("ab " + "a" * (LONGEST - 4)) == "Ab " + "a" * (LONGEST - 4) + "."
    assert clean("ab " + "a" * (LONGEST - 3)) == "Ab…"


def test_nothing_is_left_of_a_long_row_of_marks_before_a_word() -> None:
    assert clean("(" * 20 + " " + "(" * LONGEST + "word") == ""


texts = st.text(max_size=400) | st.text("ab .,…!?-\"'()\n\u200b\u202eßŉé😀", max_size=700)


@settings(deadline=None)
@given(texts)
@example("ŉ")
@example("ΐ" * 301)
@example("e" + "\u0301" * 400)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@settings(deadline=None)
@given(texts)
def test_what_is_clean_is_one_visible_line_within_bounds(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= LONGEST
    assert cleaned == one_line(cleaned)
    assert not any(unicodedata.category(character)[0] == "C" for character in cleaned)
    assert "  " not in cleaned
    assert len(cleaned.splitlines()) <= 1


def test_one_line_keeps_the_marks() -> None:
    assert one_line(" my,\n company\u200b: ") == "my, company:"


# merged


def test_what_is_new_is_added_at_the_end() -> None:
    assert after(many(2), Statement("i live in Ubud", "residence")) == [
        *many(2),
        Fact("new-100", "I live in Ubud.", "residence", NOW, NOW),
    ]


def test_what_says_nothing_is_not_added() -> None:
    assert after(many(2), "", " \u200b", "?!") == many(2)


@pytest.mark.parametrize("again", ["I live in Ubud.", "i LIVE in  ubud", "I live, in Ubud!", "i live\nin u\u200bbud"])
def test_the_same_words_only_confirm(again: str) -> None:
    known = Fact("a", "I live in Ubud.", "residence", 1.0, 2.0, "I live in Bali.", 0.5)
    assert after([known], again) == [Fact("a", "I live in Ubud.", "residence", 1.0, NOW, "I live in Bali.", 0.5)]


def test_the_same_words_in_another_order_are_another_fact() -> None:
    facts = after([], "Marco is employed by Anna", "Anna is employed by Marco")
    assert [fact.text for fact in facts] == ["Marco is employed by Anna.", "Anna is employed by Marco."]


def test_other_figures_are_another_fact() -> None:
    assert len(after([], "I pay 1.5 a day", "I pay 15 a day")) == 2


def test_a_confirmed_fact_takes_the_slot_that_is_known_now() -> None:
    assert after([Fact("a", "I live in Ubud.")], Statement("I live in Ubud", "residence"))[0].slot == "residence"
    assert after([Fact("a", "I live in Ubud.", "residence")], "I live in Ubud")[0].slot == "residence"


def test_the_same_slot_supersedes_in_place() -> None:
    facts = [Fact("a", "My name is Anna.", "name", 1.0, 2.0), *many(1)]
    assert after(facts, Statement("my name is Ann", "name")) == [
        Fact("a", "My name is Ann.", "name", NOW, NOW, "My name is Anna.", 1.0),
        *many(1),
    ]


def test_facts_without_a_slot_do_not_share_one() -> None:
    assert [fact.text for fact in after([], "I am vegan", "We are four")] == ["I am vegan.", "We are four."]


def test_a_fact_that_is_named_is_superseded() -> None:
    facts = [Fact("a", "I have a dog.", "pet", 1.0, 2.0)]
    assert after(facts, Statement("my dog has died", replaces="a")) == [
        Fact("a", "My dog has died.", "pet", NOW, NOW, "I have a dog.", 1.0)
    ]


def test_an_id_that_no_fact_has_is_ignored() -> None:
    assert [fact.id for fact in after(many(1), Statement("I am vegan", replaces="f9"))] == ["f0", "new-100"]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("My company is a PT PMA.", "My company is a PT PMA in Bali."),
        ("My company is a PT PMA in Bali.", "My company is a PT PMA."),
        ("I am not married.", "I am married."),
        ("I am married.", "I am not married."),
    ],
)
def test_nearly_the_same_words_supersede(before: str, now: str) -> None:
    assert after([Fact("a", before, "", 1.0, 2.0)], now) == [Fact("a", now, "", NOW, NOW, before, 1.0)]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("I live in Bali.", "I live in Java."),
        ("I pay tax.", "I pay tax in Italy and in Indonesia."),
        ("I smoke.", "I never smoke."),
        ("My wife has a shop.", "A shop has my wife."),
    ],
)
def test_other_words_do_not(before: str, now: str) -> None:
    assert [fact.text for fact in after([Fact("a", before)], now)] == [before, now]


def test_nearly_the_same_words_in_other_slots_do_not() -> None:
    facts = after(
        [Fact("a", "My company is in Bali.", "my company, places")], Statement("My company is Bali", "my company")
    )
    assert len(facts) == 2


def test_of_several_that_are_nearly_the_same_one_is_superseded() -> None:
    facts = [Fact("a", "I have two dogs in Ubud."), Fact("b", "I have two dogs in Bali.")]
    assert [fact.text for fact in after(facts, "I have two dogs in")] == ["I have two dogs in.", facts[1].text]


def test_only_the_last_former_text_is_kept() -> None:
    facts = after([Fact("a", "I live in Rome.", "residence", 1.0)], Statement("I live in Bali", "residence"), now=2.0)
    facts = after(facts, Statement("I live in Java", "residence"), now=3.0)
    assert facts == [Fact("a", "I live in Java.", "residence", 3.0, 3.0, "I live in Bali.", 2.0)]


def test_what_was_replaced_in_the_same_moment_was_never_true() -> None:
    known = Fact("a", "I live in Rome.", "residence", 1.0)
    said = [Statement("I live in Bali", "residence"), Statement("I live in Java", "residence")]
    assert after([known], *said) == [Fact("a", "I live in Java.", "residence", NOW, NOW, "I live in Rome.", 1.0)]
    assert after([], *said) == [Fact("new-100", "I live in Java.", "residence", NOW, NOW)]


def test_two_facts_become_one_where_a_statement_means_both() -> None:
    facts = [Fact("a", "I am called Ann.", "", 1.0), Fact("b", "Call me Anna.", "nickname", 2.0), *many(1)]
    assert after(facts, Statement("I am called Ann", "nickname")) == [
        Fact("b", "I am called Ann.", "nickname", NOW, NOW, "Call me Anna.", 2.0),
        *many(1),
    ]


def test_beyond_the_most_the_one_confirmed_longest_ago_goes() -> None:
    facts = many(MOST)
    facts[0] = Fact("f0", facts[0].text, "", 0.0, 500.0)
    kept = after(facts, "I am vegan")
    assert [fact.id for fact in kept] == ["f0", *(f"f{n}" for n in range(2, MOST)), "new-100"]


def test_names_go_last() -> None:
    facts = [Fact("n", "Call me Ann.", "nickname"), Fact("m", "My name is Anna.", "name"), *many(MOST - 2, first=1)]
    kept = [fact.id for fact in after(facts, "I am vegan", "We are four")]
    assert kept[:3] == ["n", "m", "f3"]
    assert len(kept) == MOST


def test_too_many_facts_become_fewer_though_nothing_is_said() -> None:
    assert after(many(MOST + 3)) == many(MOST, first=3)


sentences = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=5).map(" ".join) | st.text(
    max_size=12
)
slots = st.sampled_from(["", "", "name", "nickname", "residence"])
statements = st.builds(Statement, sentences, slots, st.sampled_from(["", "", "old-0", "old-1", "old-2", "none"]))


@st.composite
def memories(draw: st.DrawFn) -> list[Fact]:
    """Facts such as `merged` leaves them."""
    said = draw(st.lists(st.builds(Statement, sentences | st.uuids().map(str), slots), max_size=MOST + 5))
    numbers = itertools.count()
    return merged([], said, 1.0, lambda: f"old-{next(numbers)}")


@settings(deadline=None)
@given(memories(), statements)
@example([Fact("a", "My company is a PT PMA.", "my company")], Statement("my company is a PT PMA in Bali"))
@example([Fact("a", "I am Ann."), Fact("b", "Call me Anna.", "nickname")], Statement("I am Ann", "nickname", "b"))
def test_saying_it_again_changes_nothing(facts: list[Fact], said: Statement) -> None:
    once = merged(facts, [said], NOW, ids())
    assert merged(once, [said], NOW, ids(200)) == once


@settings(deadline=None)
@given(memories(), st.lists(st.builds(Statement, st.uuids().map(str), slots), max_size=MOST + 5))
@example([Fact("a", "I am A.")], [Statement("I am A", "name"), Statement("I am B", "name")])
@example([], [Statement("I am A", "name"), Statement("I am B", "name"), Statement("I am C", "name")])
def test_saying_it_all_again_changes_nothing(facts: list[Fact], said: list[Statement]) -> None:
    once = merged(facts, said, NOW, ids())
    assert merged(once, said, NOW, ids(200)) == once


@settings(deadline=None)
@given(memories(), st.lists(statements, max_size=MOST + 5))
def test_what_is_merged_is_within_bounds(facts: list[Fact], said: list[Statement]) -> None:
    kept = merged(facts, said, NOW, ids())
    assert len(kept) <= MOST
    assert len({fact.id for fact in kept}) == len(kept)
    assert all(fact.text == clean(fact.text) != "" for fact in kept)
    slotted = [fact.slot for fact in kept if fact.slot]
    assert len(set(slotted)) == len(slotted)
    assert not {fact.formerly for fact in kept} - {""} - {clean(text) for text in _all_texts(facts, said)}


def _all_texts(facts: list[Fact], said: list[Statement]) -> list[str]:
    return [text for fact in facts for text in (fact.text, fact.formerly)] + [statement.text for statement in said]


@settings(deadline=None)
@given(memories(), st.lists(statements, max_size=3))
def test_facts_stay_in_their_order(facts: list[Fact], said: list[Statement]) -> None:
    kept = [fact.id for fact in merged(facts, said, NOW, ids())]
    assert [name for name in kept if name.startswith("old")] == [fact.id for fact in facts if fact.id in kept]
    assert kept == sorted(kept, key=lambda name: name.startswith("new"))


# relevant


def test_few_facts_are_all_relevant_in_the_order_learned() -> None:
    facts = many(RECALLED)
    assert relevant(facts[::-1], "what is a KITAS?") == facts
    assert relevant([], "what is a KITAS?") == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("My company is a PT PMA.", "what tax do companies pay?"),
        ("Perusahaan saya adalah PT PMA.", "pajak perusahaannya berapa?"),
        ("La mia azienda è in Italia.", "quali tasse pagano le aziende?"),
        ("My visa is a C1.", "C1"),
    ],
)
def test_a_fact_that_shares_words_with_the_query_is_recalled(text: str, query: str) -> None:
    facts = [Fact("a", text), *many(20, first=1)]
    assert facts[0] in relevant(facts, query, most=1)


def test_words_of_grammar_are_not_shared() -> None:
    facts = [Fact("a", "I have what you would like to be.", "", 0.0, 0.0), *many(20, first=1)]
    assert relevant(facts, "What would you like to have for a visa?", most=1) == [facts[-1]]


def test_those_confirmed_last_come_first_where_nothing_else_tells() -> None:
    assert relevant(many(20), "visa", most=3) == many(3, first=17)
    assert relevant(many(20), "", most=3) == many(3, first=17)


def test_cosines_count_beside_the_words() -> None:
    facts = [Fact("a", "I own a villa."), Fact("b", "I run a restaurant."), Fact("c", "I have two sons.")]
    assert relevant(facts, "villa permit", [0.1, 0.5, 0.2], most=2) == [facts[0], facts[1]]
    assert relevant(facts, "villa permit", [0.1, 0.7, 0.2], most=1) == [facts[1]]
    assert relevant(facts, "villa permit", [-0.5, 0.2, 0.3], most=1) == [facts[2]]


def test_a_cosine_is_needed_for_every_fact() -> None:
    with pytest.raises(ValueError, match="shorter"):
        relevant(many(2), "visa", [0.5])


def test_names_are_always_recalled() -> None:
    facts = [*many(20), Fact("n", "My name is Anna.", "name", 30.0), Fact("m", "Call me Ann.", "nickname", -1.0)]
    found = relevant(facts, "alpha3", [0.9] * 20 + [0.0, 0.0], most=3)
    assert [fact.id for fact in found] == ["m", "f3", "n"]


# dated


def test_a_fact_is_told_with_its_days() -> None:
    fact = Fact("a", "My company is a PT PMA.", "", MARCH_1, MARCH_1, "My company is a local PT.", JANUARY_5)
    assert dated(fact) == (
        'My company is a PT PMA. (said on 2026-03-01; before that, since 2026-01-05: "My company is a local PT.")'
    )


def test_a_fact_that_replaced_none_is_told_with_its_day() -> None:
    assert dated(Fact("a", "I am vegan.", "", MARCH_1 + 86399, MARCH_1 + 86399)) == "I am vegan. (said on 2026-03-01)"


def test_a_fact_that_was_said_again_is_told_with_both_days() -> None:
    assert dated(Fact("a", "I am vegan.", "", MARCH_1, MAY_2)) == (
        "I am vegan. (said on 2026-03-01, again on 2026-05-02)"
    )


def test_a_former_text_of_no_known_day_is_told_without() -> None:
    fact = Fact("a", "I am vegan.", "", MARCH_1, MARCH_1, "I eat fish.")
    assert dated(fact) == 'I am vegan. (said on 2026-03-01; before that: "I eat fish.")'


# brief


def test_a_summary_has_names_first_and_then_what_was_confirmed_last() -> None:
    facts = [
        Fact("a", "I am vegan.", "", 1.0, 1.0),
        Fact("b", "My name is Anna.", "name", 0.0, 0.0),
        Fact("c", "I live in Ubud.", "residence", 2.0, 2.0),
    ]
    assert brief(facts) == "My name is Anna. I live in Ubud. I am vegan."
    assert brief([]) == ""


def test_a_sentence_that_does_not_fit_makes_room_for_the_next() -> None:
    long = [Fact(str(n), str(n) * 240 + ".", "", float(n), float(n)) for n in (1, 2, 3)]
    short = Fact("s", "I am.", "", 0.0, 0.0)
    assert brief([short, *long]) == f"{long[2].text} {long[1].text} {short.text}"


def test_a_summary_may_be_just_full() -> None:
    facts = [Fact("a", "a" * (BRIEF - 3) + ".", "", 2.0, 2.0), Fact("b", "b", "", 1.0, 1.0), Fact("c", "c")]
    assert brief(facts) == facts[0].text + " b"
    assert len(brief(facts)) == BRIEF

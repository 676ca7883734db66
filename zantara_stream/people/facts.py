"""What somebody said about themself: whole sentences, dated, few, a newer one in the place of the older."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

MOST = 40  # facts of one person
RECALLED = 12  # facts that go with a question
LONGEST = 300  # characters of a fact
BRIEF = 500  # characters of a summary
NAMES = frozenset({"name", "nickname"})  # the slots of what somebody is called

_ALIKE = 2 / 3  # share of the longer sentence that the shorter one must be, to be nearly the same
_FEWEST = 3  # words; a sentence of fewer is in too many others
_BEGINNING = 6  # letters by which words are compared, so that "companies" finds "company"

_CLOSED = re.compile(r"[.!?…。！？][)\]\"'”’»]*$")
_WORD = re.compile(r"[^\W_]+")
_LEADING, _TRAILING = " -–—•*,;:.…", " -–—•*,;:"
# Words that say nothing of what a question is about: English, Indonesian, Italian.
_GRAMMAR = (
    "a about am an and any are as at be but by can could do does for from had has have how i if in is it its like ll m"
    " me my need not of on or our re s shall should so t that the their them then there they this to ve was we were"
    " what when where which who will with would you your",
    "ada adalah agar akan aku anda apa apakah atau bagaimana bagi bahwa berapa bisa boleh dalam dan dapat dari dengan"
    " di harus ini itu jadi jika juga kalau kami kamu kapan karena ke kita lagi mau oleh pada punya sama saja saya"
    " seperti siapa sudah tidak untuk ya yang",
    "ad ai al alla anche c che chi ci come con cosa d da dal dalla dei del della delle devo di dove e ed è essere fa"
    " gli ha ho il io l la le lo ma mi mia mie miei mio nel nella noi non o per perché più posso quale quali quando"
    " quanto se si sono su sul sulla tra un una uno vorrei",
)
_SAYS_NOTHING = frozenset(word for listed in _GRAMMAR for word in listed.split())


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that somebody said about themself; times are Unix seconds.

    `slot` is what a later statement of the same thing shares, as "my company". `learned` is when it was said first,
    `confirmed` when it was said last, and `formerly` what stood in its place before.
    """

    id: str
    text: str
    slot: str = ""
    learned: float = 0.0
    confirmed: float = 0.0
    formerly: str = ""
    formerly_learned: float | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """Something that they have said just now; `replaces` is the id of the fact that it supersedes, where known."""

    text: str
    slot: str = ""
    replaces: str = ""


def one_line(text: str) -> str:
    """A text as NFC on one line, single-spaced, without the characters that nobody sees (controls, bidi overrides)."""
    spaced = "".join(" " if character.isspace() else character for character in text)
    seen = "".join(character for character in spaced if unicodedata.category(character)[0] != "C")
    return " ".join(unicodedata.normalize("NFC", seen).split())


def clean(text: str) -> str:
    """A text as a whole sentence of at most LONGEST characters on one line; "" where nothing is said in it.

    It begins with a capital and ends with a mark; one that is too long is cut at a word, and ends with an ellipsis.
    """
    sentence = _capital(one_line(text).lstrip(_LEADING).rstrip(_TRAILING))
    if not _CLOSED.search(sentence):
        sentence += "."
    if len(sentence) > LONGEST:
        sentence = _cut(sentence)
    return sentence if _WORD.search(sentence) else ""


def _capital(text: str) -> str:
    first = _WORD.search(text)
    if first is None:
        return text
    place = first.start()
    return unicodedata.normalize("NFC", text[:place] + text[place].title() + text[place + 1 :])


def _cut(text: str) -> str:
    whole, _, _ = text[:LONGEST].rpartition(" ")
    return (whole or text[: LONGEST - 1]).rstrip(_TRAILING + ".!?…") + "…"


def merged(facts: Sequence[Fact], said: Sequence[Statement], now: float, new_id: Callable[[], str]) -> list[Fact]:
    """The facts after what was `said` at `now`, in their order, new ones last; at most MOST.

    The same words again, but for case, marks and spaces, only confirm a fact. What has a fact's slot, names its id or
    says nearly the same takes its place, and remembers what stood there. Beyond MOST those go that were confirmed
    longest ago, names last. `new_id` gives an id that no fact has.
    """
    kept = list(facts)
    for statement in said:
        text = clean(statement.text)
        if text:
            kept = _with(kept, replace(statement, text=text), now, new_id)
    return _most(kept)


def _with(facts: list[Fact], said: Statement, now: float, new_id: Callable[[], str]) -> list[Fact]:
    meant = _meant(facts, said)
    if not meant:
        return [*facts, Fact(new_id(), said.text, said.slot, now, now)]
    slot = next(filter(None, [said.slot, *(fact.slot for fact in meant)]), "")
    gone = {fact.id for fact in meant[1:]}
    return [_renewed(fact, said.text, slot, now) if fact is meant[0] else fact for fact in facts if fact.id not in gone]


def _meant(facts: list[Fact], said: Statement) -> list[Fact]:
    """The facts in whose place a statement comes, the one that it is nearest to first."""
    own = _words(said.text)
    named = [fact for fact in facts if fact.id == said.replaces]
    slotted = [fact for fact in facts if said.slot and fact.slot == said.slot]
    same = [fact for fact in facts if _words(fact.text) == own]
    found = list(dict.fromkeys([*named, *slotted, *same]))
    return found or [fact for fact in facts if _near(fact, said)][:1]


def _near(fact: Fact, said: Statement) -> bool:
    """Whether one sentence has all words of the other, in their order, and few more."""
    if fact.slot and said.slot:  # they are not the same
        return False
    shorter, longer = sorted((_words(fact.text), _words(said.text)), key=len)
    if len(shorter) < max(_FEWEST, _ALIKE * len(longer)):
        return False
    following = iter(longer)
    return all(word in following for word in shorter)


def _renewed(fact: Fact, text: str, slot: str, now: float) -> Fact:
    if _words(fact.text) == _words(text):
        return replace(fact, slot=slot, confirmed=now)
    if fact.learned == now:  # a slip of the same moment, and never true before
        return replace(fact, text=text, slot=slot, confirmed=now)
    return Fact(fact.id, text, slot, now, now, fact.text, fact.learned)


def _most(facts: list[Fact]) -> list[Fact]:
    ranked = sorted(facts, key=lambda fact: (fact.slot in NAMES, fact.confirmed), reverse=True)
    kept = {fact.id for fact in ranked[:MOST]}
    return [fact for fact in facts if fact.id in kept]


def relevant(
    facts: Sequence[Fact], query: str, cosines: Sequence[float] | None = None, most: int = RECALLED
) -> list[Fact]:
    """The facts that bear on a query, at most `most`, in the order learned; names always, and all where they are few.

    `cosines` has one for every fact, of its text and the query; the share of the query's telling words that a fact
    has is added to it. Raises ValueError where there is not one for each.
    """
    asked = _telling(query)
    scored = [
        (fact.slot in NAMES, cosine + len(asked & _telling(fact.text)) / max(1, len(asked)), fact.confirmed, fact)
        for fact, cosine in zip(facts, [0.0] * len(facts) if cosines is None else cosines, strict=True)
    ]
    ranked = sorted(scored, key=lambda score: score[:3], reverse=True)
    return sorted((score[3] for score in ranked[:most]), key=lambda fact: fact.learned)


def dated(fact: Fact) -> str:
    """A fact with when it was said, and what was true before it, for a prompt; days are those of UTC."""
    said = _day(fact.learned)
    again = f", again on {_day(fact.confirmed)}" if _day(fact.confirmed) > said else ""
    since = "" if fact.formerly_learned is None else f", since {_day(fact.formerly_learned)}"
    before = f'; before that{since}: "{fact.formerly}"' if fact.formerly else ""
    return f"{fact.text} (said on {said}{again}{before})"


def brief(facts: Sequence[Fact]) -> str:
    """A summary of at most BRIEF characters: names, then the sentences confirmed last, as many as fit."""
    summary = ""
    for fact in sorted(facts, key=lambda fact: (fact.slot in NAMES, fact.confirmed), reverse=True):
        longer = f"{summary} {fact.text}".strip()
        if len(longer) <= BRIEF:
            summary = longer
    return summary


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", text.casefold()))


def _telling(text: str) -> set[str]:
    return {word[:_BEGINNING] for word in _words(text) if word not in _SAYS_NOTHING}

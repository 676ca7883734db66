"""What somebody asks to be remembered of themself, in so many words, found without a language model.

"Remember that my company is a PT PMA", "mi chiamo Anna": a request or a name, at the start of a sentence. Nothing,
rather than what was not meant: questions, quotations, orders ("remember to renew"). remembering.toml has the phrases.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from .facts import Statement, clean, one_line

READ = 2000  # characters of a message, its first ones; a longer one was hardly typed
LONGEST_NAME = 60  # characters
MOST_WORDS = 4  # of a name

Parsed = tuple[list[Statement], str]  # what is stated, and what of the text is none of it

_MARKS = " ,;:.!?…\ufe0f–—-"  # with what makes an emoji of a sign
_END = re.compile(r"(?<![.!?…。！？])([.!?…。！？]+)[\"”»')\]]* ")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_REFUSED = re.compile(  # addresses and markup have no place in what is remembered; a question is no statement
    r"://|\bwww\.|\S@\S|[<>{}\[\]`|\\?]|(?<![\w.])[\w-]{2,}\.(?:[a-z]{2,}\.)*[a-z]{2,}\b"
)
_TOKEN = re.compile(r" ([^\s,;!…()–—]+)")
_ADDRESS = re.compile(r"\.\w\w")
_TOGETHER = re.compile(r"\b(?:my|our) \S+ and (?:i|we)\b", re.IGNORECASE)  # do one thing

# Templates: @kind@ is any of the expressions of a kind.
_ENDS = r"(?![\w\x27’])"  # a word
_BEFORE = rf"^[☺\U0001F300-\U0001FAFF ]*(?:(?:@before@){_ENDS}[☺\U0001F300-\U0001FAFF{_MARKS}]*)*"
_AFTER = rf"(?:^|[{_MARKS}])(?:@after@|[:;]-?[)D])$"
_REQUEST = (
    rf"(?P<politely>(?:@politely@) )?(?:(?:@meanwhile@) )*(?:(?:@remember@)|(?P<note>@note@)){_ENDS}"
    rf"(?:,? (?:@meanwhile@){_ENDS})*(?P<linked>[,:]? (?:@that@){_ENDS}|[,:]| [–-])? ?"
)
_JOINT = r",? (?:@joint@) (?:(?:@that@) )?|; "
_TAIL = r"(?:[,;:.–—]+ (?:(?:@joint@|so|then|now|quindi|allora|jadi|lalu) )?| (?:@joint@|so|quindi|jadi) )(?=(?:%s) )"
_FOLLOWING = {False: _TAIL % "@request@", True: _TAIL % "@request@|@question@"}  # by whether the sentence is a question


@cache
def _book() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files(__package__).joinpath("remembering.toml").read_text(encoding="utf-8"))


@cache
def _words(kind: str) -> frozenset[str]:
    return frozenset(word for language in _book().values() for word in language[kind].split())


@cache
def _expression(template: str) -> re.Pattern[str]:
    """A template filled with the expressions of all languages, for people mix them, and apostrophes and accents."""

    def entries(kind: re.Match[str]) -> str:
        return "|".join(entry for language in _book().values() for entry in language[kind[1]])

    filled = re.sub(r"@(\w+)@", entries, template)
    return re.compile(filled.replace("'", "['’]").replace("è", "(?:è|e['’])"), re.IGNORECASE)


def stated(message: str) -> list[Statement]:
    """What a message asks to remember of who wrote it, in their words; [] for anything else."""
    return [statement for sentence in _sentences(message) for statement in _read(sentence)[0]]


def only_states(message: str) -> bool:
    """Whether a message is nothing but such statements and courtesy, so that nothing need be searched for it."""
    read = [_read(sentence) for sentence in _sentences(message)]
    return len(message) <= READ and any(found for found, _ in read) and not any(left for _, left in read)


def asks_what_is_known(message: str) -> bool:
    """Whether a message only asks what is remembered of who wrote it, or what they are called."""
    asked = [text for text in (_begun(_trimmed(sentence)) for sentence in _sentences(message)) if text]
    return len(message) <= READ and bool(asked) and all(_expression("@known@").fullmatch(text) for text in asked)


def _sentences(message: str) -> list[str]:
    """The sentences of a message, each on one line: none that begins in a quotation, nor one that was cut off."""
    found, before = list[str](), ""
    for paragraph in _paragraphs(message[:READ]):
        start = 0
        for end in _ends(paragraph):
            if not _quoted(before):
                found.append(paragraph[start:end].strip())
            before += paragraph[start:end]
            start = end
    return found[:-1] if len(message) > READ else found


def _paragraphs(text: str) -> Iterator[str]:
    """Lines, each joined to the one before it where it goes on with its sentence."""
    paragraph = ""
    for line in [*map(one_line, text.splitlines()), ""]:
        goes_on = paragraph and line and (line[0].islower() or paragraph[-1] in ",:")
        if paragraph and not goes_on:
            yield paragraph
        paragraph = f"{paragraph} {line}" if goes_on else line


def _ends(paragraph: str) -> list[int]:
    """Where its sentences end."""
    ends = [end.end() for end in _END.finditer(paragraph) if end[1] != "." or not _abbreviated(paragraph, end)]
    return [*ends, len(paragraph)]


def _abbreviated(paragraph: str, end: re.Match[str]) -> bool:
    word = paragraph[: end.start()].rpartition(" ")[2].lstrip("(\"'“").casefold()
    firm = word in _words("firm") and paragraph[end.end() : end.end() + 1].islower()
    return firm or word in _words("abbreviated") or _INITIALS.fullmatch(word) is not None


def _quoted(before: str) -> bool:
    return before.count('"') % 2 == 1 or sum(map(before.count, "“«")) > sum(map(before.count, "”»"))


def _begun(text: str) -> str:
    """A text without the courtesy that it begins with."""
    return _expression(_BEFORE).sub("", text)


def _trimmed(text: str) -> str:
    """A text without the marks, the emoji and the courtesy that it ends with."""
    while text:
        if text[-1] in _MARKS or unicodedata.category(text[-1]) in ("So", "Sk"):
            text = text[:-1]
        elif courtesy := _expression(_AFTER).search(text):
            text = text[: courtesy.start()]
        else:
            break
    return text


def _read(sentence: str) -> Parsed:
    text = _trimmed(sentence)
    ending = sentence[len(text) :]  # "…, ok?" only asks whether it was heard
    return _statements(_begun(text), "?" in ending and not any(map(str.isalpha, ending)))


def _statements(text: str, asking: bool) -> Parsed:
    """The statements that a text begins with, one joined to the other."""
    request = _expression(_REQUEST).match(text)
    if request is None:
        found, left = _named(text, asking)
    else:
        asking = asking and not request["politely"]
        found, left = _remembered(text[request.end() :], request["linked"] is not None, asking)
    if not found or (request and request["note"] and not request["linked"]):
        return [], text
    more, left = _statements(_begun(left), asking)
    return [*found, *more], left


def _remembered(text: str, linked: bool, asking: bool) -> Parsed:
    """The statements that a request to remember is followed by; `linked`: after "that" or a colon."""
    named, left = _named(text, asking)
    if named:
        more, left = _remembered(_expression("^(?:@that@) ").sub("", _begun(left)), linked, asking)
        return [*named, *more], left
    own, tail = _cut(text, asking)
    about = _expression("@plainly@|@own@" if linked else "@plainly@").match(own)
    if not about or _REFUSED.search(own) or (asking and not tail):
        return [], text
    return [Statement(clean(part), _slot(part)) for part in _parts(own)], tail


def _cut(text: str, asking: bool) -> tuple[str, str]:
    """A text without the request or question that follows it, and that one."""
    following = _expression(_FOLLOWING[asking]).search(text)
    return (_trimmed(text[: following.start()]), text[following.end() :]) if following else (text, "")


def _parts(text: str) -> list[str]:
    """The statements that "and" joins: "my company is a PT PMA and I live in Canggu" are two."""
    plainly = _expression("@plainly@")
    for joint in [] if _TOGETHER.search(text) else _expression(_JOINT).finditer(text):
        left, right = text[: joint.start()], text[joint.end() :]
        if plainly.match(left) and plainly.match(right):
            return [left, *_parts(right)]
    return [text]


def _named(text: str, asking: bool) -> Parsed:
    """The name that a text begins by telling, "my name is Anna"; not one that it asks about."""
    for slot in ("name", "nickname"):
        told = _expression(f"(?:@{slot}@)(?= )").match(text)
        end = _name_end(text, told.end()) if told else 0
        left = text[end:].lstrip(_MARKS)
        doubted = asking and (not left or _expression("@tags@").fullmatch(left))
        if end and not doubted:
            return [Statement(clean(text[:end]), slot)], left
    return [], text


def _name_end(text: str, start: int) -> int:
    """Where the name ends that begins there; 0 where there is none, or where it is not all that is said of it."""
    words, place = list[str](), start
    while token := _TOKEN.match(text, place):
        word, emoji = token[1].strip("\"“”„«»'"), unicodedata.category(token[1][0]) == "So"
        if words and (emoji or word == "-" or word.casefold() in _words("then")):
            break
        if not _may_name(word, words, text.isupper()):
            return 0
        words.append(word)
        place = token.end()
    named = words not in ([], ["I"]) and len(words) <= MOST_WORDS and place - start <= LONGEST_NAME
    return place if named else 0


def _may_name(word: str, before: list[str], shouted: bool) -> bool:
    """Whether a word may be the next of a name, after the words of it `before`."""
    lettered = all(unicodedata.category(letter)[0] in "LM" or letter in "'’.-" for letter in word)
    if not (lettered and word[:1].isalpha()) or _ADDRESS.search(word):
        return False
    folded, small = word.rstrip(".").casefold(), word[0].islower()
    if word[1:] == "." or (word == "I" and not before):  # J. Smith, and I Made Wijaya
        return not small
    if folded in _words("never") | _words("then") or ((small or shouted) and folded in _words("small")):
        return False
    if not before:
        return not (small and folded in _words("particle"))
    return not small or before[0][0].islower() or folded in _words("particle")


def _slot(text: str) -> str:
    """What another statement of the same thing shares: where they live, or the subject; "" where there is neither."""
    if _expression(f"(?:@residence@){_ENDS}").match(text):
        return "residence"
    if _expression("@name@|@nickname@").match(text):
        return ""  # something else about their name
    for language in _book().values():
        for entry in language["subject"]:
            if said := _expression(entry).match(text):
                return _about(language, said[1].casefold().replace("’", "'"), said[2].casefold())
    return ""


def _about(language: dict[str, Any], subject: str, following: str) -> str:
    kinds = [kind for kind in ("called", "places") if following in language[kind].split()]
    if "called" not in kinds and not _words("kin").isdisjoint(subject.split()):
        return ""  # of people more is true than one thing
    return ", ".join([subject, *kinds])

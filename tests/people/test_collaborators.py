"""The file of who is known: what it may say, how it is refused, and how it is read again while the server runs."""

from __future__ import annotations

import logging
import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zantara_stream.errors import ConfigError
from zantara_stream.people import collaborators
from zantara_stream.people.collaborators import (
    LEVELS,
    LONGEST,
    LONGEST_EXPERTISE,
    MOST,
    MOST_BYTES,
    NO_COLLABORATORS,
    Collaborators,
    CollaboratorsFile,
)
from zantara_stream.people.person import Person, folded

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "collaborators.example.toml"

MADE = """
[[collaborator]]
id = "made.wirawan"
email = "Made@Example.com"
name = "I Made Wirawan"
nickname = "Made"
role = "Tax consultant"
department = "Tax"
level = 2
language = "id"
expertise = "corporate income tax, VAT"
"""
SITI = """
[[collaborator]]
id = "siti"
name = "Siti Rahmawati"
"""
PERSON = Person(
    name="I Made Wirawan",
    nickname="Made",
    role="Tax consultant",
    department="Tax",
    level=2,
    language="id",
    expertise="corporate income tax, VAT",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file stands."""
    return tmp_path / "people.toml"


def load(path: Path, text: str) -> Collaborators:
    path.write_text(text, encoding="utf-8")
    return Collaborators.load(path)


def refusal(path: Path, text: str) -> str:
    """Why a file is refused, without its name."""
    with pytest.raises(ConfigError) as refused:
        load(path, text)
    return str(refused.value).removeprefix(f"The collaborators file {path}")


def with_line(line: str) -> str:
    return f"{SITI}{line}\n"


# --- What is read ----------------------------------------------------------------------------------


def test_a_person_has_what_the_file_says_of_them(path: Path) -> None:
    known = load(path, MADE + SITI)
    assert len(known) == 2
    assert known.find("made.wirawan") == PERSON
    assert known.find("siti") == Person(name="Siti Rahmawati")


def test_the_example_is_whole_and_shows_every_key_and_level(path: Path) -> None:
    known = Collaborators.load(EXAMPLE)
    people = [known.find(name) for name in ("made.wirawan", "giulia.ferrante", "thomas.whitfield", "siti.rahmawati")]
    assert len(known) == 4
    assert [person.called for person in people if person] == ["Made", "Giulia", "Tom", "Siti Rahmawati"]
    assert [person.level for person in people if person] == [2, 3, 1, 0]
    assert [person.language for person in people if person] == ["id", "it", "en", "id"]
    text = EXAMPLE.read_text(encoding="utf-8")
    assert all(f"#   {key} " in text for key in collaborators._KEYS)
    assert all(f"{number}  {name}" in text for number, name in enumerate(LEVELS))


def test_the_subject_goes_before_the_address(path: Path) -> None:
    known = load(path, MADE + SITI)
    assert known.find("siti", "made@example.com") == Person(name="Siti Rahmawati")
    assert known.find("somebody", "made@example.com") == PERSON
    assert known.find(email="made@example.com") == PERSON


@pytest.mark.parametrize("email", ["made@example.com", "MADE@EXAMPLE.COM", "Made@Example.com"])
def test_an_address_is_compared_without_case(path: Path, email: str) -> None:
    assert load(path, MADE).find(email=email) == PERSON


@pytest.mark.parametrize(
    ("subject", "email"),
    [
        ("", ""),  # siti has no address
        ("Made.Wirawan", ""),  # an id is exact
        ("made.wirawan ", ""),
        ("Made", ""),
        ("made@example.com", ""),
        ("", "made.wirawan"),
        ("", "made@example.org"),
        ("\ud800", "\ud800"),
    ],
)
def test_whoever_is_not_in_the_file_is_nobody(path: Path, subject: str, email: str) -> None:
    assert load(path, MADE + SITI).find(subject, email) is None


def test_a_letter_that_only_becomes_ascii_in_small_is_another(path: Path) -> None:
    known = load(path, with_line('email = "kadek@example.com"'))
    assert "\N{KELVIN SIGN}".lower() == "k"
    assert known.find(email="\N{KELVIN SIGN}adek@example.com") is None


def test_without_a_file_nobody_is_known() -> None:
    assert len(NO_COLLABORATORS) == 0
    assert NO_COLLABORATORS.find("made.wirawan", "made@example.com") is None


@pytest.mark.parametrize("text", ["", "# nobody yet\n", "collaborator = []"])
def test_a_file_may_name_nobody(path: Path, text: str) -> None:
    assert load(path, text) == NO_COLLABORATORS


def test_nobody_is_named_where_the_collaborators_are_printed(path: Path) -> None:
    assert repr(load(path, MADE)) == "Collaborators()"


@pytest.mark.parametrize("key", ["email", "nickname", "role", "department", "language", "expertise"])
def test_an_optional_text_may_be_blank(path: Path, key: str) -> None:
    known = load(path, with_line(f'{key} = " "'))
    assert known.find("siti") == Person(name="Siti Rahmawati")
    assert known.find(email="") is None


def test_a_list_of_expertise_is_joined(path: Path) -> None:
    for listed, joined in [('["VAT", " ", "KITAS "]', "VAT, KITAS"), ("[]", ""), ('"VAT"', "VAT")]:
        person = load(path, with_line(f"expertise = {listed}")).find("siti")
        assert person is not None
        assert person.expertise == joined


@pytest.mark.parametrize("level", range(4))
def test_levels(path: Path, level: int) -> None:
    assert load(path, with_line(f"level = {level}")).find("siti") == Person(name="Siti Rahmawati", level=level)


def test_a_mark_of_byte_order_is_no_part_of_the_text(path: Path) -> None:
    path.write_bytes(MADE.lstrip().encode("utf-8-sig"))
    assert Collaborators.load(path).find("made.wirawan") == PERSON


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the file is written anew each time
@given(name=st.text(max_size=LONGEST + 20))
def test_a_name_is_taken_as_it_stands_or_refused(path: Path, name: str) -> None:
    seen = "".join(f"\\U{ord(sign):08x}" for sign in name if unicodedata.category(sign) != "Cs")
    text = f'[[collaborator]]\nid = "x"\nname = "{seen}"\n'
    wanted = "".join(sign for sign in name if unicodedata.category(sign) != "Cs").strip()
    try:
        person = load(path, text).find("x")
    except ConfigError:
        hidden = any(unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp") for sign in wanted)
        assert not wanted or len(wanted) > LONGEST or hidden or collaborators._BLANK.search(wanted)
    else:
        assert person == Person(name=wanted)
        assert len(wanted) <= LONGEST
        assert len(wanted.splitlines()) == 1


# --- What is refused -------------------------------------------------------------------------------

LEVELS_ALLOWED = "0 (Public), 1 (Curious), 2 (Practitioner), 3 (Initiated)"
TEXT = "a text of one line, at most 200 characters long, without invisible characters"
LIST = "a text, or a list of texts, of one line, at most 500 characters long, without invisible characters"


@pytest.mark.parametrize(
    ("line", "shown", "allowed"),
    [
        ("level = 4", "level = 4", LEVELS_ALLOWED),
        ("level = -1", "level = -1", LEVELS_ALLOWED),
        ("level = true", "level = true", LEVELS_ALLOWED),
        ("level = 2.0", "level = a decimal number", LEVELS_ALLOWED),
        ('level = "2"', "level = '2'", LEVELS_ALLOWED),
        (f"level = 0x{'f' * 4400}", "level = a huge number", LEVELS_ALLOWED),
        ("language = 'IT'", "language = 'IT'", "an ISO 639-1 code, two small letters, such as id or en"),
        ("language = 'ita'", "language = 'ita'", "an ISO 639-1 code, two small letters, such as id or en"),
        ("language = 'ìt'", "language = 'ìt'", "an ISO 639-1 code, two small letters, such as id or en"),
        ("email = 'siti'", "email = 'siti'", "an address such as made@example.com"),
        ("email = '@example.com'", "email = '@example.com'", "an address such as made@example.com"),
        ("email = 'a@b@c'", "email = 'a@b@c'", "an address such as made@example.com"),
        ("email = 'a b@c'", "email = 'a b@c'", "an address such as made@example.com"),
        ("role = 7", "role = 7", TEXT),
        ("role = ['a']", "role = a list", TEXT),
        ("role = {a = 1}", "role = a table", TEXT),
        ("role = 2026-01-31", "role = a date or time", TEXT),
        ('role = "a\\nb"', "role = 'a\\nb'", TEXT),
        ('role = "a\\u202eb"', "role = 'a\\u202eb'", TEXT),  # would turn what follows around
        ('role = "a\\u200bb"', "role = 'a\\u200bb'", TEXT),  # no width
        ('role = "a\\u2028b"', "role = 'a\\u2028b'", TEXT),  # a line's end
        ('role = "\\u2800"', "role = '\\u2800'", TEXT),  # an empty Braille pattern
        ('role = "a\\u3164"', "role = 'a\\u3164'", TEXT),  # an empty letter
        (f"role = '{'a' * 201}'", f"role = '{'a' * 79}…", TEXT),
        ("expertise = 7", "expertise = 7", LIST),
        ("expertise = ['a', 7]", "expertise = a list", LIST),
        ('expertise = ["a\\nb"]', "expertise = a list", LIST),
        (f"expertise = ['{'a' * 300}', '{'b' * 199}']", "expertise = a list", LIST),
    ],
)
def test_a_bad_value_is_shown_with_what_is_allowed(path: Path, line: str, shown: str, allowed: str) -> None:
    said = refusal(path, MADE + with_line(line))
    assert said == f", collaborator 2 (id 'siti'): {shown} cannot be used: it takes {allowed}."


def test_the_longest_texts_that_are_taken(path: Path) -> None:
    known = load(path, with_line(f"role = ' {'a' * LONGEST} '\nexpertise = ['{'a' * 300}', '{'b' * 198}']"))
    person = known.find("siti")
    assert person is not None
    assert (len(person.role), len(person.expertise)) == (LONGEST, LONGEST_EXPERTISE)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("nickame", "did you mean nickname?"),
        ("Email", "did you mean email?"),
        ("salary", "the keys are id, name, nickname, role, department, email, level, language, expertise"),
    ],
)
def test_an_unknown_key_is_named_with_what_may_be_meant(path: Path, key: str, hint: str) -> None:
    said = refusal(path, with_line(f"{key} = 'x'"))
    assert said == f", collaborator 1 (id 'siti'): '{key}' is not known here ({hint})."


@pytest.mark.parametrize("text", ["[[collaborator]]", "[[collaborator]]\nid = ' '\nname = 'Siti'"])
def test_everybody_has_an_id(path: Path, text: str) -> None:
    assert refusal(path, text) == ", collaborator 1: id is missing; every collaborator has one."


@pytest.mark.parametrize("text", ["", "name = ''"])
def test_everybody_has_a_name(path: Path, text: str) -> None:
    said = refusal(path, f"[[collaborator]]\nid = 'siti'\n{text}")
    assert said == ", collaborator 1 (id 'siti'): name is missing; every collaborator has one."


def test_an_id_is_of_one_person(path: Path) -> None:
    said = refusal(path, MADE + SITI + SITI)
    assert said == ", collaborator 3 (id 'siti'): id = 'siti' is that of collaborator 2 too; each has its own."


def test_an_address_is_of_one_person_in_whatever_case(path: Path) -> None:
    said = refusal(path, MADE + with_line("email = 'MADE@example.com'"))
    shown = "email = 'made@example.com' is that of collaborator 1 too; each has its own"
    assert said == f", collaborator 2 (id 'siti'): {shown}."


def test_an_id_may_look_like_the_address_of_somebody_else(path: Path) -> None:
    known = load(path, MADE + SITI.replace('"siti"', '"made@example.com"'))
    assert known.find(email="made@example.com") == PERSON
    assert known.find("made@example.com") == Person(name="Siti Rahmawati")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[collaborators]]", "has an unknown key, 'collaborators'; write [[collaborator]] above each person"),
        ("id = 'siti'", "has an unknown key, 'id'; write [[collaborator]] above each person"),
        ("[collaborator]\nid = 'siti'", "has no list of collaborators; write [[collaborator]] above each person"),
        ("collaborator = 'siti'", "has no list of collaborators; write [[collaborator]] above each person"),
        ("collaborator = [\n", "is not TOML: Invalid value (at end of document)"),
        ("a = 1\nb = ]\n", "is not TOML: Invalid value (at line 2, column 5)"),
    ],
)
def test_another_file_is_refused(path: Path, text: str, problem: str) -> None:
    assert refusal(path, text) == f" {problem}."


def test_an_entry_is_a_table(path: Path) -> None:
    said = refusal(path, "collaborator = ['siti']")
    assert said == ", collaborator 1: is no table of keys and values; write [[collaborator]] above each person."


@pytest.mark.parametrize("text", [f"a = {'9' * 5000}", f"a = {'[' * 5000}"])
def test_what_breaks_the_reader_of_toml_is_refused(path: Path, text: str) -> None:
    assert refusal(path, text).startswith(" is not TOML: ")


def test_only_utf_8_is_read(path: Path) -> None:
    path.write_bytes("[[collaborator]]\nname = 'José'".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"people\.toml is not UTF-8 text \(byte 28\)\.$"):
        Collaborators.load(path)


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"people\.toml cannot be read \(No such file or directory\)\.$"):
        Collaborators.load(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)\.$"):
        Collaborators.load(tmp_path)


def test_a_file_has_a_largest_size(path: Path) -> None:
    whole = MADE + "#" * (MOST_BYTES - len(MADE))
    assert len(load(path, whole)) == 1
    assert refusal(path, whole + "#") == " is larger than 5 MB."


def test_there_is_a_largest_number_of_people(path: Path) -> None:
    full = "".join(f"[[collaborator]]\nid='{number}'\nname='N'\n" for number in range(MOST))
    assert len(load(path, full)) == MOST
    assert refusal(path, full + SITI) == " has 10001 collaborators, and 10000 are the most."


# --- Reading it again ------------------------------------------------------------------------------


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, from the least on."""
    caplog.set_level(logging.DEBUG, logger="zantara_stream")
    return caplog


def test_a_changed_file_is_taken_up(path: Path, log: pytest.LogCaptureFixture) -> None:
    path.write_text(MADE, encoding="utf-8")
    file = CollaboratorsFile(path)
    before = file.current
    assert before.find("siti") is None
    path.write_text(SITI, encoding="utf-8")
    file.reload()
    assert file.current.find("siti") == Person(name="Siti Rahmawati")
    assert file.current.find("made.wirawan") is None
    assert before.find("made.wirawan") == PERSON  # whoever began with it keeps it
    assert [(record.levelname, record.getMessage()) for record in log.records] == [
        ("INFO", f"the collaborators file {path} is read, 1 are known")
    ]


def test_a_damaged_file_stops_the_start(path: Path) -> None:
    path.write_text(with_line("level = 9"), encoding="utf-8")
    with pytest.raises(ConfigError, match="level = 9 cannot be used"):
        CollaboratorsFile(path)


SECRET = "Wayan"  # stands for whatever is said of a person

DAMAGED = [
    (with_line(f"level = '{SECRET}'"), f"collaborator 1: level cannot be used: it takes {LEVELS_ALLOWED}"),
    (with_line(f"{SECRET} = 1"), "collaborator 1: a key is not known here (the keys are "),
    (
        with_line(f'role = "{SECRET}\\nb"'),
        f"collaborator 1: role cannot be used: it takes {TEXT}",
    ),
    (f"[[collaborator]]\nid = '{SECRET}'\n", "collaborator 1: name is missing; every collaborator has one"),
    (f"[[collaborator]]\nid = '{SECRET}'\nname = 'N'\n" * 2, "collaborator 2: id is that of collaborator 1 too"),
    (f"collaborator = ['{SECRET}']", "collaborator 1: is no table of keys and values"),
    (f"{SECRET} = 1", "it has an unknown key; write [[collaborator]] above each person"),
    (f"[{SECRET}]\n[{SECRET}]\n", "it is not TOML (at line 2, column 7)"),
    (f"a = '{SECRET}\n", "it is not TOML (at "),
    (f"a = {'9' * 5000}", "it is not TOML"),
    (f"collaborator = '{SECRET}'", "it has no list of collaborators"),
]


@pytest.mark.parametrize(("text", "problem"), DAMAGED)
def test_a_damaged_file_is_logged_without_a_word_of_it(
    path: Path, log: pytest.LogCaptureFixture, text: str, problem: str
) -> None:
    path.write_text(MADE, encoding="utf-8")
    file = CollaboratorsFile(path)
    before = file.current
    path.write_text(text, encoding="utf-8")
    file.reload()
    assert file.current is before
    (record,) = log.records
    assert record.levelname == "ERROR"
    said = record.getMessage()
    assert said.startswith(f"the collaborators file {path} is refused, 1 stay known: {problem}")
    assert not any(word in log.text for word in (SECRET, "siti", "999", "made@"))


def test_a_file_that_is_gone_leaves_whoever_was_known(path: Path, log: pytest.LogCaptureFixture) -> None:
    path.write_text(MADE, encoding="utf-8")
    file = CollaboratorsFile(path)
    path.unlink()
    file.reload()
    assert file.current.find("made.wirawan") == PERSON
    assert log.text.rstrip().endswith("1 stay known: it cannot be read (No such file or directory)")
    path.write_text(SITI, encoding="utf-8")
    file.reload()
    assert file.current.find("siti") is not None


def test_without_a_file_nothing_is_read_again(log: pytest.LogCaptureFixture) -> None:
    file = CollaboratorsFile(None)
    file.reload()
    assert file.current is NO_COLLABORATORS
    assert log.records == []


def test_a_reading_waits_for_the_one_before_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(MADE, encoding="utf-8")
    file = CollaboratorsFile(path)
    waiting: list[bool] = []

    def read(path: Path) -> Collaborators:
        waiting.append(file._reading.locked())  # for whoever would read now too
        return NO_COLLABORATORS

    monkeypatch.setattr(collaborators, "_read", read)
    file.reload()
    file.reload()  # the one before is over
    assert waiting == [True, True]


def test_the_keys_are_those_of_a_person_beside_id_and_email() -> None:
    assert set(collaborators._KEYS) - {"id", "email"} == set(Person.__dataclass_fields__) - {"key"}


def test_ascii_letters_alone_lose_their_case() -> None:
    assert folded(string.ascii_uppercase) == string.ascii_lowercase
    assert folded("É\N{KELVIN SIGN}") == "É\N{KELVIN SIGN}"

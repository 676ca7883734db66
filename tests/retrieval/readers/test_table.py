from __future__ import annotations

import csv

import pytest

from zantara_stream.retrieval.documents import Unreadable
from zantara_stream.retrieval.readers.details import complete
from zantara_stream.retrieval.readers.table import read_csv, read_tsv
from zantara_stream.retrieval.splitting import split
from zantara_stream.testing import HashingEmbedder


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("Visa,Fee\nB1,Rp 1\nC1,Rp 2\n", "Visa: B1; Fee: Rp 1\nVisa: C1; Fee: Rp 2"),
        ("Visa;Fee, net\nB1;Rp 1,50\n", "Visa: B1; Fee, net: Rp 1,50"),
        ("\n\nA\tB\n1\t2", "A: 1; B: 2"),
        ("A|B\n1|2", "A: 1; B: 2"),
        ("Name\nOne, two\n", "Name: One, two"),
        ("A,B\n1,2,3\n", "A: 1; B: 2; Column 3: 3"),
        ('A,B\n"x ""y""\nz",2\n', 'A: x "y" z; B: 2'),
        ("A,,C\n1,2,3,4\n,,\n5\n", "A: 1; Column 2: 2; C: 3; Column 4: 4\nA: 5"),
        ("A,B\n", ""),
        ("", ""),
    ],
)
def test_every_row_says_its_columns(table: str, text: str) -> None:
    assert read_csv(table.encode()).text == text


def test_tabs_part_a_tsv_whatever_else_is_in_it() -> None:
    assert read_tsv(b"A, B, C\tD\n1\t2\n").text == "A, B, C: 1; D: 2"


def test_any_passage_of_a_long_table_stands_alone() -> None:
    rows = "".join(f"visa {number},Rp {number} million,office {number}\n" for number in range(500))
    document = complete("fees.csv", read_csv(f"Visa,Fee,Where\n{rows}".encode()))
    passages = split(document, HashingEmbedder().count_tokens, 256)
    assert len(passages) > 20
    for line in "\n".join(passage.text for passage in passages).splitlines():
        assert line.startswith("Visa: visa ")
        assert "; Fee: Rp " in line
        assert "; Where: office " in line


def test_a_huge_field_is_named_with_its_line() -> None:
    table = f"A,B\n1,2\n3,{'x' * (csv.field_size_limit() + 1)}\n"
    with pytest.raises(Unreadable, match=r"has a row that cannot be read \(line 3: field larger than field limit"):
        read_csv(table.encode())


def test_a_quotation_mark_that_is_never_closed_does_not_take_the_file_whole() -> None:
    with pytest.raises(Unreadable, match="has a row that cannot be read"):
        read_csv(b'A,B\n"1,2\n' + b"3,4\n" * 50_000)


def test_a_header_cannot_be_made_to_grow_without_end() -> None:
    with pytest.raises(Unreadable, match="has more than 50,000,000 characters of text"):
        read_csv(b"A" * 100_000 + b"\n" + b"1\n" * 1_000)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"A,B\n1,\0\n", "holds zero bytes"), ("A\nperché".encode("latin-1"), "is not UTF-8 text")]
)
def test_what_is_no_text(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_csv(data)

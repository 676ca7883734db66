"""What kind of figure a question asks for."""

from __future__ import annotations

import pytest

from zantara_stream.generation.expectation import KINDS, expected, has


@pytest.mark.parametrize(
    ("question", "kinds"),
    [
        ("how much is the overstay fine?", ["amount"]),
        ("corporate tax rate", ["amount"]),
        ("Berapa biaya perpanjangan KITAS?", ["amount"]),
        ("Quanto costa il visto all'arrivo?", ["amount"]),
        ("How long is the investor KITAS valid?", ["time"]),
        ("Kapan batas lapor SPT?", ["time"]),
        ("Entro quando mi devo iscrivere?", ["time"]),
        ("When is the fee due?", ["amount", "time"]),
        ("Can a foreigner own land?", []),
        ("Who decides?", []),
    ],
)
def test_what_is_asked_for(question: str, kinds: list[str]) -> None:
    assert expected(question) == kinds


@pytest.mark.parametrize(
    ("sentence", "kinds"),
    [
        ("Staying longer costs a fine of Rp 1,000,000 for each day.", ["amount"]),
        ("The standard rate is 22 % of the profit.", ["amount"]),
        ("The registration is free of charge.", ["amount"]),
        ("The permit is valid for two years.", ["time"]),
        ("It is due on the 10th of the following month.", ["time"]),
        ("Laporan disampaikan paling lambat tanggal 31 Maret.", ["time"]),
        ("Bisogna iscriversi entro novanta giorni.", ["time"]),
        ("Within **30 days** the company pays US$ 100.", ["amount", "time"]),
        ("The applicant signs at the office.", []),
        ("Freedom of choice.", []),
    ],
)
def test_what_a_sentence_has(sentence: str, kinds: list[str]) -> None:
    assert [kind for kind in KINDS if has(kind, sentence)] == kinds

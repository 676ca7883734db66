"""What kind of figure a question asks for, and whether a sentence has one.

"How much" wants an amount, "how long" a time. Small patterns in the languages of the field; a question that
none of them knows expects nothing, and then nothing is preferred.
"""

from __future__ import annotations

import re

_AMOUNT_ASKED = r"""
    how\ much | costs? | prices? | fees? | fined? | fines | penalt\w+ | rates? | deposits? | capital | percent\w* |
    tax | pay | cheapest | turnover | revenue | salary | contribution | refunds? | expensive |
    biaya | harga | tarif | denda | ongkos | modal | omset | omzet | bayar | besarnya |
    quanto\ (?:costa|devo|pago|si\ paga|serve) | costo | costi | prezzo | tariffa | aliquota | multa | tassa | imposta |
    capitale |
    cuánto\ cuesta | precio | tasa | multa | impuesto
"""
_AMOUNT = r"""
    Rp | US\$ | USD | € | % |
    \b(?: free | gratis | tidak\ dipungut | half | doubled? | million | billion | juta | miliar | milion[ei] |
    miliard[oi] )\b
"""
_TIME_ASKED = r"""
    how\ (?:long|soon|late|early|old) | how\ many\ (?:hours|days|weeks|months|years) | when | until | till |
    deadline | due | by\ what\ date | valid\w* | duration | lasts? | expir\w+ | age |
    kapan | berapa\ (?:lama|jam|hari|minggu|bulan|tahun) | lama | batas | tenggat | masa\ berlaku | jatuh\ tempo |
    quando | quanto\ (?:dura|tempo) | entro | scad\w+ | durata | dura |
    cuándo | cuánto\ (?:dura|tiempo) | plazo
"""
_NUMBER = r"""
    \d[\d.,]* | one | two | three | four | five | six | seven | eight | nine | ten | twelve | fourteen | twenty |
    thirty |
    satu | dua | tiga | empat | lima | enam | tujuh | delapan | sembilan | sepuluh |
    un[oa]? | due | tre | quattro | cinque | sei | sette | otto | nove | dieci | dodici | venti |
    venticinque | trenta | novanta
"""
_UNIT = r"""
    (?:working|kerja|unbroken|calendar)? [\s*–-]*
    (?: hours? | days? | weeks? | months? | years? | jam | hari | minggu | bulan | tahun |
    or[ae] | giorn[oi] | settiman[ae] | mes[ei] | ann[oi] |
    Jan\w* | Feb\w* | Mar\w* | Apr\w* | May | Mei | Mag\w* | Jun\w* | Jul\w* | Giu\w* | Lug\w* | Aug\w* |
    Ag\w* | Sep\w* | Set\w* | O[kct]t\w* | Nov\w* | De[csz]\w* | Dic\w* | Gen\w* )\b
"""
_FLAGS = re.IGNORECASE | re.VERBOSE
# What is asked for, and what a sentence that says it has in it.
KINDS = {
    "amount": (re.compile(rf"\b(?:{_AMOUNT_ASKED})\b", _FLAGS), re.compile(_AMOUNT, _FLAGS)),
    "time": (
        re.compile(rf"\b(?:{_TIME_ASKED})\b", _FLAGS),
        re.compile(rf"\b(?:{_NUMBER}) [\s*–-]* {_UNIT} | \b\d+(?:th|st|nd|rd)\b | \btanggal\ \d", _FLAGS),
    ),
}


def expected(question: str) -> list[str]:
    """The kinds of figures that a question asks for."""
    return [kind for kind, (asked, _) in KINDS.items() if asked.search(question)]


def has(kind: str, sentence: str) -> bool:
    """Whether a sentence has a figure of that kind."""
    return bool(KINDS[kind][1].search(sentence))

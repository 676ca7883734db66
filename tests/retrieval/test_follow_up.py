"""Which questions lean on their conversation, and what is searched for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zantara_stream.retrieval.follow_up import (
    LONGEST,
    MOST_TURNS,
    OLDER,
    SLIGHTLY,
    STRONGLY,
    TURN,
    Part,
    parts,
)

SUBJECT = "What are the government fees of an investor KITAS?"

LEAN_STRONGLY = [
    # elliptical
    "and for a spouse?", "and the fee?", "and VAT?", "And a bar?", "or a flat?", "what about children?",
    "how about a KITAP?", "how much?", "by when?", "for ten years?", "valid for how long?", "why?", "tell me more",
    "which documents?", "ok, and the deadline?", "thanks! and for two years?", "AND FOR A SPOUSE?",
    "what if it is late?", "dan orang asing?", "kalau untuk anak?", "kalau dua tahun?", "berapa lama?",
    "bagaimana dengan CV?", "terus, berapa?", "Lalu kebun dan kolam?", "berapa biaya perpanjangan?",
    "oke, kalau rumah?", "e per il coniuge?", "E il C1?", "quanto costa?", "e la contabilità?",
    "invece quelle pubbliche?", "per quanti anni?", "quali documenti servono?", "va bene, e dopo la scadenza?",
    "e mio marito?", "¿y para mi esposa?", "y los niños?", "¿cuánto cuesta?", "¿y si lo pierdo?", "¿cuánto dura?",
    # anaphoric
    "is it taxed?", "what does that cost?", "do directors pay it too?", "who answers for its debts?",
    "Is that legal?", "can they work?", "when must this be filed?", "does my daughter need one?",
    "apakah itu wajib?", "biayanya berapa?", "Biayanya?", "berapa dendanya?", "apakah waktunya bisa diperpanjang?",
    "gugatannya diajukan di mana?", "berapa lama permohonan itu dijawab?", "dokumennya apa saja?",
    "apakah sertifikatnya bisa dijual?", "berapa tarifnya untuk villa mewah?", "biasanya berapa lama?",
    "dia harus datang?", "serve anche per loro?", "quante volte lo posso prorogare?", "entro quando devo farla?",
    "posso completarla?", "chi me lo rilascia?", "dove le devo indicare?", "che modulo serve per questo?",
    "la devo rinnovare?", "¿quién lo paga?", "¿dónde puedo pedirlo?", "¿eso es obligatorio?", "¿la puedo renovar?",
]  # fmt: skip
LEAN_SLIGHTLY = [
    "is there a test?", "kitap fee", "overstay fine", "insurance?", "can they open a bank account?", "kapan disetor?",
    "ci sono sanatorie?", "so, where do I buy electricity credit?",
]  # fmt: skip
ALONE = [
    # questions with a subject
    "How long does it take to open a company account at a bank?", "What is the fine for a late VAT return?",
    "Where do I get a driving licence?", "Is it possible to turn a local PT into a PT PMA?",
    "Do beach clubs need two codes?", "How tall can a building in Bali be?", "Is it true that the SLF expires?",
    "Berapa biaya perpanjangan KITAS enam bulan?", "Berapa honor notaris untuk akta sewa?",
    "villa biasanya disewa berapa lama?", "Siapa yang menanggung pajak sewa?", "Quanto costa una traduzione giurata?",
    "La patente italiana basta per guidare?", "Quanti soci servono per una PT PMA?",
    "Lo straniero può comprare un terreno?", "Quando la società paga gli stipendi?",
    "¿cuánto cuesta el visado a la llegada?", "¿puede un extranjero comprar tierra?",
    # with an opener or a pronoun, and a subject all the same
    "And now something else: what monthly income does the retirement KITAS ask for?",
    "If a PT PMA misses the LKPM report, what happens to it?", "My account is dormant, how do I wake it up?",
    "I have a KITAP. Can I lose it?", "I was offered a nominee. Is that legal?",
    "Kalau omzet usaha kecil di bawah Rp 4,8 miliar, berapa tarif pajaknya?", "Berapa biayanya perpanjangan KITAS?",
    "E i dividendi pagati a un residente italiano, quanto sono tassati?",
    "Se perdo il passaporto, a chi lo devo dire?",
    "Y los dividendos que recibe un socio extranjero, ¿cuánto tributan?",
    # short ones
    "KITAS fees?", "KITAP fee?", "VAT rate?", "LKPM deadline", "NIB", "silver hair deposit", "55193?", "e-VOA price",
    "biaya EPO?", "denda SKTT", "quadro RW?", "durata visto C1?", "costo traduzione giurata",
    # definitions
    "what is kitap?", "What's a kitap?", "What are dividends?", "apa itu sktt?", "Apa itu NITKU?", "cos'è il KITAP?",
    "che cos'è un kitas?", "¿qué es un kitap?",
    # languages without lists
    "Wie viel kostet die Verlängerung für zwei Jahre?", "签证费用是多少", "Сколько стоит продление визы?",
]  # fmt: skip


def leaning(question: str) -> float:
    """The weight of the conversation's subject beside a question."""
    return sum(part.weight for part in parts(question, [SUBJECT])[1:])


@pytest.mark.parametrize("question", LEAN_STRONGLY)
def test_a_question_without_a_subject_leans_on_the_last_one(question: str) -> None:
    assert parts(question, [SUBJECT]) == [Part(question, 1.0), Part(SUBJECT, STRONGLY)]


@pytest.mark.parametrize("question", LEAN_SLIGHTLY)
def test_where_it_cannot_be_told_the_conversation_counts_less(question: str) -> None:
    assert leaning(question) == SLIGHTLY < STRONGLY


@pytest.mark.parametrize("question", ALONE)
def test_a_question_with_a_subject_is_searched_alone(question: str) -> None:
    assert parts(question, [SUBJECT]) == [Part(question, 1.0)]


def test_a_chain_of_follow_ups_leads_back_to_its_subject() -> None:
    earlier = ["Where do I get a driving licence?", SUBJECT, "and for a spouse?", "how long is it valid?"]
    assert parts("by when?", earlier) == [Part("by when?", 1.0), Part(SUBJECT, STRONGLY)]


def test_what_the_turns_between_name_counts_more_than_what_lies_before() -> None:
    found = parts("how often?", [SUBJECT, "and the retirement one?"])
    assert found[1:] == [Part("and the retirement one?", STRONGLY), Part(SUBJECT, STRONGLY * OLDER)]


def test_courtesy_between_is_passed_over() -> None:
    for courtesy in ("ok thanks", "terima kasih", "grazie", "gracias"):
        assert parts("and for a spouse?", [SUBJECT, courtesy])[1:] == [Part(SUBJECT, STRONGLY)]


def test_a_question_asked_again_does_not_lean_on_itself() -> None:
    assert parts("and a bar?", [SUBJECT, "and a bar?"]) == parts("and a bar?", [SUBJECT])


def test_a_conversation_that_names_nothing_adds_nothing() -> None:
    assert parts("how much?", ["hello", "and then?"]) == [Part("how much?", 1.0)]


def test_only_the_last_turns_are_looked_back_over() -> None:
    between = ["how much?"] * MOST_TURNS
    assert parts("by when?", [SUBJECT, *between[1:]])[1:] == [Part(SUBJECT, STRONGLY)]
    assert parts("by when?", [SUBJECT, *between]) == [Part("by when?", 1.0)]


def test_of_a_long_turn_the_end_is_taken() -> None:
    story = "We came to Bali in spring. " * 40 + SUBJECT
    assert parts("and for a spouse?", [story])[1:] == [Part(story[-TURN:].strip(), STRONGLY)]


def test_a_long_question_is_searched_alone() -> None:
    question = "and how much is it " + "for us " * (LONGEST // 7)
    assert parts(question, [SUBJECT]) == [Part(question, 1.0)]


VOCABULARY = (
    "and it the KITAP cost e lo dan itu biayanya quanto visa villa , ? . how farla what is 55193 années 签证 y ¿"
)
WORDS = st.sampled_from(VOCABULARY.split())
TEXTS = st.one_of(st.text(max_size=400), st.lists(WORDS, max_size=30).map(" ".join))


@given(TEXTS)
def test_a_first_question_is_searched_as_it_is(query: str) -> None:
    assert parts(query, []) == [Part(query, 1.0)]


@given(TEXTS, st.lists(TEXTS, max_size=8))
def test_a_question_always_counts_most_and_what_it_leans_on_is_bounded(query: str, earlier: list[str]) -> None:
    own, *others = parts(query, earlier)
    assert own == Part(query, 1.0)
    assert len(others) <= MOST_TURNS
    assert all(0 < other.weight <= STRONGLY < own.weight for other in others)
    assert [other.weight for other in others] == sorted((other.weight for other in others), reverse=True)
    for other in others:
        assert other.text
        assert len(other.text) <= TURN
        assert any(other.text in turn for turn in earlier[-MOST_TURNS - earlier.count(query) :])


@given(TEXTS, st.lists(TEXTS, max_size=8), st.lists(TEXTS, max_size=3))
def test_what_lies_far_back_changes_nothing(query: str, earlier: list[str], before: list[str]) -> None:
    recent = [*earlier, *(turn for turn in [SUBJECT] * MOST_TURNS if turn != query)]
    assert parts(query, [*before, *recent]) == parts(query, recent)

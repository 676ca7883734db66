from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import strategies as made
from hypothesis import given, settings
from hypothesis import strategies as st

from zantara_stream.retrieval.documents import Document, Section
from zantara_stream.retrieval.embedding import SentenceTransformerEmbedder
from zantara_stream.retrieval.passages import CountTokens, embedded_text
from zantara_stream.retrieval.readers.details import complete
from zantara_stream.retrieval.readers.markdown import read_markdown
from zantara_stream.retrieval.splitting import PASSAGE_SIZE, split
from zantara_stream.testing import HashingEmbedder

COUNT = HashingEmbedder().count_tokens


def _markdown(text: str) -> Document:
    return complete("a.md", read_markdown(text.encode()))


def _hold(document: Document, count: CountTokens, budget: int) -> None:
    passages = split(document, count, budget)
    covered: set[int] = set()
    for passage in passages:
        assert passage.text == document.text[passage.start : passage.end]
        assert passage.text.strip()
        assert count(embedded_text(passage, count, budget)) <= budget
        covered.update(range(passage.start, passage.end))
    assert all(before.end <= after.start for before, after in pairwise(passages))
    for section in document.sections:
        lost = [n for n in range(section.start, section.end) if n not in covered and not document.text[n].isspace()]
        assert lost == []
    within = {n for section in document.sections for n in range(section.start, section.end)}
    assert covered <= within  # no heading, no front matter
    assert len({passage.id for passage in passages}) == len(passages)
    assert split(document, count, budget) == passages


@settings(deadline=None)
@given(made.documents(), st.integers(12, 256))
def test_passages_cover_a_document_exactly_within_any_budget(document: Document, budget: int) -> None:
    _hold(document, COUNT, budget)


@settings(deadline=None, max_examples=60)
@given(document=made.documents())
def test_passages_stay_within_the_tokens_of_the_real_model(
    real_embedder: SentenceTransformerEmbedder, document: Document
) -> None:
    _hold(document, real_embedder.count_tokens, real_embedder.max_tokens)


@settings(deadline=None, max_examples=30)
@given(document=made.documents())
def test_passages_stay_within_few_tokens_of_the_real_model(
    real_embedder: SentenceTransformerEmbedder, document: Document
) -> None:
    _hold(document, real_embedder.count_tokens, 48)


def test_a_passage_knows_where_it_stands() -> None:
    matter = "---\ntitle: Visas\nlanguage: it\nupdated: 2026-03-04\nurl: https://example.com/v\n---\n"
    [passage] = split(_markdown(f"{matter}# Visas\n\n## Fees\n\n### Late\n\nIt is Rp 1.\n"), COUNT, 64)
    assert (passage.document, passage.title, passage.section) == ("a.md", "Visas", "Fees › Late")
    assert (passage.language, passage.updated, passage.url) == ("it", "2026-03-04", "https://example.com/v")
    assert (passage.text, passage.page) == ("It is Rp 1.", None)
    assert passage.context == "Visas › Fees › Late"
    assert embedded_text(passage, COUNT, 64) == "Visas › Fees › Late\nIt is Rp 1."


def test_a_passage_has_the_page_it_begins_on() -> None:
    text = "One.\n\nTwo."
    document = Document("a.pdf", "A", text, (Section("", 0, 4), Section("", 6, 10)), "en", pages=(0, 6))
    assert [passage.page for passage in split(document, COUNT, 64)] == [1, 2]


def test_sections_are_never_joined_and_long_ones_are_cut() -> None:
    long = "A sentence of several words stands here. " * 60
    passages = split(_markdown(f"# T\n\nShort.\n\n## Long\n\n{long}\n\n## End\n\nShort too.\n"), COUNT, 10_000)
    assert [p.section for p in passages] == ["", *["Long"] * (len(passages) - 2), "End"]
    assert len(passages) > 4
    assert all(len(p.text) <= PASSAGE_SIZE for p in passages)


def test_plain_text_is_not_cut_as_markdown() -> None:
    text = "\n\n".join(f"Paragraph {n} is said here." for n in range(80))
    document = Document("a.txt", "A", text, (Section("", 0, len(text)),), "en")
    passages = split(document, COUNT, 10_000)
    assert len(passages) > 1
    assert all(p.text.endswith("here.") for p in passages)
    _hold(replace(document, markdown=True), COUNT, 64)


def test_a_long_context_gives_way_to_the_text_and_keeps_its_nearest_heading() -> None:
    document = _markdown(f"# {'very long title ' * 40}\n\n## Fees\n\nIt is Rp 1.\n")
    [passage] = split(document, COUNT, 30)
    embedded = embedded_text(passage, COUNT, 30)
    assert COUNT(embedded) <= 30
    assert embedded.endswith("› Fees\nIt is Rp 1.")
    assert len(embedded) < len(passage.context)


def test_an_id_stays_where_the_passage_moves_and_goes_where_it_changes() -> None:
    one = split(_markdown("# T\n\n## A\n\nFirst text.\n\n## B\n\nSecond text.\n"), COUNT, 64)
    moved = split(_markdown("# T\n\nNew intro.\n\n## B\n\nSecond text.\n\n## A\n\nFirst text!\n"), COUNT, 64)
    assert {p.text for p in one if p.id in {m.id for m in moved}} == {"Second text."}


def test_equal_texts_have_ids_of_their_own() -> None:
    document = _markdown("# T\n\n## A\n\nSame.\n\n## B\n\nSame.\n")
    elsewhere = replace(document, path="b.md")
    ids = [p.id for d in (document, elsewhere) for p in split(d, COUNT, 64)]
    assert len(set(ids)) == 4

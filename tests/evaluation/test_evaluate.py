from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from models_made import cross_encoder

from zantara_stream.cli import FAILED, WELL, main
from zantara_stream.config import Settings
from zantara_stream.errors import ConfigError
from zantara_stream.evaluation import evaluate as evaluating
from zantara_stream.evaluation.evaluate import COLUMNS, DENSE, FUSED, LEXICAL, PUBLISHED, RERANKED, evaluate
from zantara_stream.evaluation.measures import Measures
from zantara_stream.retrieval.encoder import Vectors
from zantara_stream.retrieval.reranker import CANDIDATES
from zantara_stream.testing import HashingEmbedder

PLACES = ["Bali", "Lombok", "Java", "Sumatra", "Flores", "Sulawesi", "Timor", "Ambon", "Ternate", "Sumba"]
TRADES = ["fishing", "weaving", "mining", "farming"]
HEADING, RULE = COLUMNS


@pytest.fixture(autouse=True)
def without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "SentenceTransformerEmbedder", lambda setting: HashingEmbedder(name=setting or "h"))
    monkeypatch.setattr(evaluating, "load_encoder", HashingEmbedder.load)


def _collection(folder: Path, judged: Callable[[str, str], bool] = lambda place, trade: trade == "mining") -> Path:
    """A document for each trade of each place; the query of each place has some of its trades as relevant."""
    folder.mkdir()
    documents = {
        f"{place} {trade}": f"Rules of {trade} on {place}. It is taxed." for place in PLACES for trade in TRADES
    }
    queries = {place: f"What holds for mining in {place}?" for place in PLACES}
    (folder / "corpus.jsonl").write_text(_lines(documents))
    (folder / "queries.jsonl").write_text(_lines(queries))
    rows = [f"{place}\t{place} {trade}\t1\n" for place in PLACES for trade in TRADES if judged(place, trade)]
    (folder / "qrels.tsv").write_text("".join(rows))
    return folder


def _lines(texts: dict[str, str]) -> str:
    return "".join(json.dumps({"_id": name, "title": "", "text": text}) + "\n" for name, text in texts.items())


def _settings(tmp_path: Path, reranker: str = "") -> Settings:
    return replace(Settings(), index=tmp_path / "indexes" / "default", reranker=reranker)


def _rows(table: str) -> dict[str, list[str]]:
    """The cells of each row of the table, by its first."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {name: values for name, *values in cells[2:]}


def test_the_table(tmp_path: Path) -> None:
    lines = evaluate(_settings(tmp_path), _collection(tmp_path / "islands")).splitlines()
    assert lines[0] == "islands: 40 documents, 40 passages, 10 queries; h, queries in hashing, Flat vectors"
    assert lines[1:4] == ["", HEADING, RULE]
    assert [line.split(" | ")[0] for line in lines[4:7]] == [f"| {DENSE}", f"| {LEXICAL}", f"| {FUSED}"]
    assert all(re.fullmatch(r"\| [a-z ]+( \| \d\.\d{3}){4} \|", line) for line in lines[4:7])
    assert lines[7] == ""
    assert re.fullmatch(r"Fused against the better of its sides: [+-]\d\.\d{3}, as it should\.", lines[8])
    assert re.fullmatch(r"A question embedded and .* one thread: p50 \d+\.\d ms, p99 \d+\.\d ms\.", lines[9])
    assert len(lines) == 10


def test_what_is_surely_found_and_what_cannot_be(tmp_path: Path) -> None:
    found = _rows(evaluate(_settings(tmp_path), _collection(tmp_path / "found")))
    assert found[FUSED] == found[LEXICAL] == ["1.000"] * 4
    nowhere = _collection(tmp_path / "nowhere")
    (nowhere / "qrels.tsv").write_text("Bali\tno such document\t1\n")
    assert set(map(tuple, _rows(evaluate(_settings(tmp_path), nowhere)).values())) == {("0.000",) * 4}


def test_a_query_that_is_a_document_does_not_find_itself(tmp_path: Path) -> None:
    folder = _collection(tmp_path / "made")
    (folder / "queries.jsonl").write_text(_lines({"Bali mining": "Rules of mining on Bali"}))
    (folder / "qrels.tsv").write_text("Bali mining\tBali mining\t1\n")
    assert _rows(evaluate(_settings(tmp_path), folder))[FUSED] == ["0.000"] * 4


def test_a_document_stands_where_its_best_passage_does(tmp_path: Path) -> None:
    folder = _collection(tmp_path / "made", lambda place, trade: place == "Bali" and trade == "mining")
    long = "\n\n".join(f"Mining on Bali, rule {n}: {'it is taxed by the ton. ' * 30}" for n in range(30))
    with (folder / "corpus.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "long", "text": long}) + "\n")
    report = evaluate(_settings(tmp_path), folder)
    assert int(re.findall(r"41 documents, (\d+) passages", report)[0]) > 60
    assert float(_rows(report)[FUSED][1]) == 1  # though the passages of another document could take ten places


def test_published_values_stand_beside_their_collection_only(tmp_path: Path) -> None:
    rows = _rows(evaluate(_settings(tmp_path), _collection(tmp_path / "scifact")))
    assert list(rows)[3:] == [f"published: {system}" for system in PUBLISHED["scifact"]]
    assert rows["published: BM25 (Pyserini)"] == ["0.679", "", "", ""]
    assert list(_rows(evaluate(_settings(tmp_path), _collection(tmp_path / "scifacts")))) == [DENSE, LEXICAL, FUSED]


@pytest.mark.parametrize(
    ("fused", "verdict"),
    [
        (0.72, "+0.020, as it should"),
        (0.691, "-0.009, as it should"),
        (0.68, "-0.020, which loses more than 0.01"),
    ],
)
def test_the_verdict(fused: float, verdict: str) -> None:
    values = {DENSE: 0.4, LEXICAL: 0.7, FUSED: fused}
    means = {name: Measures(value, 1, 1, 1) for name, value in values.items()}
    assert evaluating._verdict(means) == f"Fused against the better of its sides: {verdict}."


def test_latencies_are_among_those_measured() -> None:
    assert evaluating._shown([0.002]) == "p50 2.0 ms, p99 2.0 ms"
    seconds = [n / 1000 for n in range(1, 101)]
    assert evaluating._shown(seconds) == "p50 50.5 ms, p99 99.0 ms"
    assert evaluating._shown([0.001, 0.005]) == "p50 3.0 ms, p99 5.0 ms"  # no later than the latest


def test_reranked_is_what_the_cross_encoder_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mining:
        """Puts the mining of the place asked for last, and the rest as it finds them."""

        def __init__(self, setting: str) -> None:
            assert setting == "some/model"

        def order(self, query: str, passages: list[object]) -> list[int]:
            assert len(passages) == CANDIDATES
            wanted = query.removeprefix("What holds for mining in ").removesuffix("?")
            return sorted(range(len(passages)), key=lambda place: f"mining on {wanted}" in str(passages[place]))

    monkeypatch.setattr(evaluating, "Reranker", Mining)
    rows = _rows(evaluate(_settings(tmp_path, reranker="some/model"), _collection(tmp_path / "made")))
    assert list(rows) == [DENSE, LEXICAL, FUSED, RERANKED]
    assert rows[RERANKED] == ["0.000", "0.000", "1.000", "0.000"]  # in the 24th place


def test_a_real_cross_encoder(tmp_path: Path) -> None:
    settings = _settings(tmp_path, reranker=str(cross_encoder(tmp_path / "reranker")))
    folder = _collection(tmp_path / "made")
    everything = [f"Bali\t{place} {trade}\t1\n" for place in PLACES for trade in TRADES]
    (folder / "qrels.tsv").write_text("".join(everything))
    rows = _rows(evaluate(settings, folder))
    assert rows[RERANKED][2] == rows[FUSED][2] == "1.000"  # those that it does not read follow


def test_a_reranker_that_is_not_there_is_said_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ZANTARA_RERANKER='/no/such'"):
        evaluate(_settings(tmp_path, reranker="/no/such"), _collection(tmp_path / "made"))
    assert not (tmp_path / "indexes").exists()


def test_the_index_is_kept_beside_the_served_one_or_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []

    class Counting(HashingEmbedder):
        def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
            embedded.append(len(texts))
            return super().encode(texts, progress)

    monkeypatch.setattr(evaluating, "SentenceTransformerEmbedder", lambda setting: Counting())
    folder = _collection(tmp_path / "made")
    first = evaluate(_settings(tmp_path), folder)
    assert (tmp_path / "indexes" / "evaluate-made" / "CURRENT").exists()
    assert sum(embedded) == 40
    assert _rows(evaluate(_settings(tmp_path), folder)) == _rows(first)
    assert sum(embedded) == 40  # nothing again
    evaluate(_settings(tmp_path), folder, tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "CURRENT").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _collection(tmp_path / "islands")
    assert main(["evaluate", str(folder), "--out", str(tmp_path / "out")]) == WELL
    shown = capsys.readouterr().out
    assert shown.startswith("islands: 40 documents")
    assert list(_rows(shown)) == [DENSE, LEXICAL, FUSED]
    (folder / "qrels.tsv").unlink()
    assert main(["evaluate", str(folder), "--out", str(tmp_path / "out")]) == FAILED
    assert f"zantara_stream: {folder}/qrels.tsv cannot be read" in capsys.readouterr().err

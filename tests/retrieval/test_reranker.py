from __future__ import annotations

import socket
from pathlib import Path

import pytest
from models_made import cross_encoder, sentence_model
from passages_made import passage
from sentence_transformers import CrossEncoder

from zantara_stream.errors import ConfigError
from zantara_stream.retrieval.reranker import Reranker

TEXTS = ["A permit is renewed.", "Banana bread.", "The fine for overstaying is one million rupiah a day.", "Visa", ""]
QUERY = "How much is the fine?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder(tmp_path_factory.mktemp("made") / "reranker")


def test_the_order_is_that_of_the_models_scores(model: Path) -> None:
    passages = [passage(text) for text in TEXTS]
    scores = CrossEncoder(str(model)).predict([(QUERY, f"Renewing a permit › Fees\n{text}") for text in TEXTS])
    order = Reranker(str(model)).order(QUERY, passages)
    assert sorted(order) == list(range(len(TEXTS)))
    assert [float(scores[place]) for place in order] == pytest.approx(sorted(map(float, scores), reverse=True))
    assert order != list(range(len(TEXTS)))


def test_the_question_and_the_headings_are_read(model: Path) -> None:
    reranker = Reranker(str(model))
    passages = [passage(text) for text in TEXTS]
    orders = {
        tuple(reranker.order(query, passages)) for query in (QUERY, "bread", "one two three", "renewal of a visa")
    }
    assert len(orders) > 1
    headed = [passage("The same.", section=section) for section in TEXTS]
    assert reranker.order(QUERY, headed) != list(range(len(TEXTS)))


def test_equals_keep_their_order(model: Path) -> None:
    assert Reranker(str(model)).order(QUERY, [passage("The same.")] * 5) == [0, 1, 2, 3, 4]


def test_no_passages(model: Path) -> None:
    assert Reranker(str(model)).order(QUERY, []) == []


@pytest.mark.parametrize("setting", ["maker/no-such-model", "no such model", "/no/such/folder"])
def test_a_model_that_is_nowhere_is_said_without_asking_anybody(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *names, **more: asked.append(names))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ConfigError, match=rf"(?s)ZANTARA_RERANKER='{setting}' cannot .*CrossEncoder"):
        Reranker(setting)
    assert asked == []


def test_a_classifier_of_several_labels_ranks_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ZANTARA_RERANKER=.*it has 3 labels.*with one label"):
        Reranker(str(cross_encoder(tmp_path / "classifier", labels=3)))


def test_an_embedding_model_is_no_reranker(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ZANTARA_RERANKER=.*it scores nothing"):
        Reranker(str(sentence_model(tmp_path)))

"""What tokens cost."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from metrics_read import rise

from zantara_stream.errors import ConfigError
from zantara_stream.generation.claude import DEFAULT_MODEL
from zantara_stream.generation.prices import Prices

PRICE = "input = 1\noutput = 5.5\ncache_read = 0.1\ncache_creation = 1.25\n"


def usage(input: int = 0, output: int = 0, read: int = 0, created: int = 0) -> dict[str, int]:
    """As the Messages API counts."""
    return {
        "input_tokens": input,
        "output_tokens": output,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": created,
    }


def test_a_request_costs_what_each_of_its_tokens_costs(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(f"[some-model]\n{PRICE}")
    prices = Prices(tmp_path / "prices.toml")
    with (
        rise("zantara_cost_dollars_total", model="some-model-20260101") as cost,
        rise("zantara_tokens_total", type="input") as asked,
        rise("zantara_tokens_total", type="output") as written,
        rise("zantara_tokens_total", type="cache_read") as read,
        rise("zantara_tokens_total", type="cache_creation") as created,
    ):
        prices.count("some-model-20260101", usage(1000, 200, 3000, 40))
    assert cost.by == pytest.approx((1000 * 1 + 200 * 5.5 + 3000 * 0.1 + 40 * 1.25) / 1_000_000)
    assert (asked.by, written.by, read.by, created.by) == (1000, 200, 3000, 40)


def test_a_long_prompt_makes_all_of_its_request_dearer() -> None:
    price = Prices().find("claude-haiku-5-5")
    assert price is not None
    short = {"input": 90_000, "output": 1000, "cache_read": 10_000, "cache_creation": 0}
    assert price.of(short) == pytest.approx((90_000 * 0.10 + 1000 * 0.50 + 10_000 * 0.01) / 1_000_000)
    longer = {**short, "cache_read": 10_001}
    assert price.of(longer) == pytest.approx((90_000 * 0.50 + 1000 * 2.50 + 10_001 * 0.05) / 1_000_000)


def test_the_longest_name_is_meant(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(f"[some]\n{PRICE}\n[some-model]\n{PRICE.replace('5.5', '7')}")
    price = Prices(tmp_path / "prices.toml").find("some-model-2")
    assert price is not None
    assert price.dollars["output"] == 7


@pytest.mark.parametrize("model", [DEFAULT_MODEL, "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"])
def test_the_models_that_the_documentation_names_have_prices(model: str) -> None:
    assert Prices().find(model) is not None


def test_a_model_without_a_price_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    prices = Prices()
    with caplog.at_level(logging.WARNING), rise("zantara_tokens_total", type="output") as written:
        prices.count("llama", usage(output=3))
        prices.count("llama", usage(output=4))
    assert written.by == 7, "the tokens are counted all the same"
    assert caplog.text.count("llama has no price") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[m", "cannot be read"),
        ("m = 3", r"\[m\] needs input, output"),
        (f"[m]\n{PRICE}".replace("input = 1\n", ""), r"\[m\] needs input, output"),
        (f"[m]\n{PRICE}".replace("= 1\n", "= -1\n"), r"\[m\] needs"),
        (f"[m]\n{PRICE}".replace("= 1\n", "= true\n"), r"\[m\] needs"),
        (f"[m]\n{PRICE}".replace("= 1\n", "= nan\n"), r"\[m\] needs"),
        (f"[m]\n{PRICE}above = {{ tokens = 5 }}", r"\[m\] needs"),
    ],
)
def test_a_file_that_is_no_table_of_prices_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        Prices(file)
    assert str(file) in str(refused.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml.*cannot be read"):
        Prices(tmp_path / "missing.toml")

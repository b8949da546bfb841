"""The claims of the load tests against results made up for them, on both sides of each bar."""

from __future__ import annotations

from typing import Any

import pytest

from bench.claims import list_claims
from bench.load.arms import BARE, CPP, PYTHON, TURNOUT
from bench.load.comparison import HALF, MANY, NO_DOCUMENTS, ONE, TWICE
from bench.prompts import MIXED, TWENTY_WORDS


def result(
    *, ratios: dict[str, float], p50_us: float = 10.0, p99_us: float | None = 800.0, goodput: float = 95.0
) -> dict[str, Any]:
    spreads = {name: {"median": ratio} for name, ratio in ratios.items()}
    closed = [
        {
            "class": name,
            "connections": connections,
            "streams": streams,
            "arms": {TURNOUT: {"good_per_s": 100.0}},
            "calls_ratio": spreads,
            "p50_difference_us": {BARE: {"median": p50_us}},
        }
        for name in (TWENTY_WORDS, MIXED, NO_DOCUMENTS)
        for connections, streams in (MANY, ONE)
    ]
    times = {"p99_us": p99_us, "p999_us": p99_us}
    opened = [
        {"class": name, "arm": TURNOUT, "fraction": fraction, "rate": 100 * fraction, **rest, **times}
        for name in (TWENTY_WORDS, NO_DOCUMENTS)
        for fraction, rest in (
            (HALF, {"good_per_s": 50.0, "shed_per_s": 0.0}),
            (TWICE, {"good_per_s": goodput, "shed_per_s": 105.0}),
        )
    ]
    return {"closed": closed, "open": opened}


GOOD = {CPP: 3.1, PYTHON: 41.0, BARE: 0.46}


def verdicts(made_up: dict[str, Any]) -> list[bool | None]:
    return [claim.holds for claim in list_claims({"load": made_up})]


def test_all_hold() -> None:
    assert verdicts(result(ratios=GOOD)) == [True] * 5


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({"ratios": GOOD | {CPP: 2.9}}, [0]),
        ({"ratios": GOOD | {BARE: 0.44}}, [0]),
        ({"ratios": GOOD | {PYTHON: 11.0}}, [0, 1]),
        ({"ratios": GOOD, "p50_us": 31.0}, [2]),
        ({"ratios": GOOD, "p99_us": 1000.0}, [3]),
        ({"ratios": GOOD, "p99_us": None}, [3]),
        ({"ratios": GOOD, "goodput": 89.0}, [4]),
    ],
)
def test_one_side_of_each_bar(changes: dict[str, Any], fails: list[int]) -> None:
    assert [number for number, holds in enumerate(verdicts(result(**changes))) if not holds] == fails

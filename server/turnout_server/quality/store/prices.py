"""Prices as the store keeps them: by version, with every number that a bill was computed with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from turnout_server.completion.cost import ModelPrice, Rates, RateStep


def to_json(price: ModelPrice) -> str:
    """A price in whole nano-dollars a million tokens."""
    return json.dumps(asdict(price), sort_keys=True)


def from_json(text: str) -> ModelPrice:
    """The price that `to_json` wrote."""
    told = json.loads(text)
    return ModelPrice(told["name"], told["valid_from"], _steps(told["standard"]), _steps(told["batch"]))


def _steps(told: Iterable[Any]) -> tuple[RateStep, ...]:
    return tuple(RateStep(step["above"], Rates(**step["rates"])) for step in told)

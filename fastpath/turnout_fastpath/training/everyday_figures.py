"""The goals for everyday prompts as figures with intervals, on rows that an engine has placed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from turnout_fastpath.decision import Status, Strategy
from turnout_fastpath.training.evaluation.bootstrap import Figure, GroupBootstrap
from turnout_fastpath.training.everyday_report import Placed

Bools = npt.NDArray[np.bool_]

REPLICATES = 1000
SMALL_TO_SMALL, MID_BELOW, FRONTIER_BELOW, ABSTAINED = (
    "small to small",
    "mid below frontier",
    "frontier below by a single decision",
    "abstained",
)
TOP = 2


def everyday_figures(placed: Sequence[Placed]) -> dict[str, Figure]:
    """Each share of rows, among those that it speaks of."""
    groups = _groups(placed)
    return {
        name: _share(hit, among, groups)
        for name, hit, among in (
            (name, _where(placed, rule), _where(placed, of)) for name, (rule, of) in _SHARES.items()
        )
    }


def gap(placed: Sequence[Placed], part: Callable[[Placed], bool], name: str) -> Figure:
    """The share of the rows of a part minus that of the others."""
    rule, of = _SHARES[name]
    hit, among, own = _where(placed, rule), _where(placed, of), _where(placed, part)
    draws = GroupBootstrap(_groups(placed), replicates=REPLICATES)

    def difference(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = [
                (weights @ (hit & among & side)) / (weights @ (among & side).astype(float))
                for side in (own, ~own)
            ]
        result: npt.NDArray[np.floating] = shares[0] - shares[1]
        return result

    return draws.figure(difference)


_SHARES: dict[str, tuple[Callable[[Placed], bool], Callable[[Placed], bool]]] = {
    SMALL_TO_SMALL: (lambda one: one.tier == 0, lambda one: one.row.tier == "small"),
    MID_BELOW: (lambda one: one.tier < TOP, lambda one: one.row.tier == "mid"),
    FRONTIER_BELOW: (
        lambda one: one.tier < TOP and one.decision.strategy is Strategy.SINGLE,
        lambda one: one.row.tier == "frontier",
    ),
    ABSTAINED: (lambda one: one.decision.status is Status.ABSTAINED, lambda _: True),
}


def _share(hit: Bools, among: Bools, groups: npt.NDArray[np.str_]) -> Figure:
    if not among.any():
        return Figure(float("nan"), float("nan"), float("nan"))
    return GroupBootstrap(groups[among], replicates=REPLICATES).mean(hit[among].astype(float))


def _where(placed: Sequence[Placed], rule: Callable[[Placed], bool]) -> Bools:
    return np.array([rule(one) for one in placed], np.bool_)


def _groups(placed: Sequence[Placed]) -> npt.NDArray[np.str_]:
    return np.array([one.row.group for one in placed])

"""An evaluation as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from turnout_server.command_line import print_table

if TYPE_CHECKING:
    from turnout_fastpath.training.evaluation.bootstrap import Figure
    from turnout_fastpath.training.evaluation.curve_measures import TierCurves
    from turnout_fastpath.training.evaluation.evaluate import Evaluation
    from turnout_fastpath.training.evaluation.pair_measures import PairMeasures
    from turnout_fastpath.training.evaluation.retrained import Split

ALL = "all"
# Of the tables by part: what they show is the same everywhere.
LEFT_OUT = ("random", "oracle")


def print_evaluation(found: Evaluation, split: Split) -> None:
    """Prints all tables; intervals are 95%, by group."""
    facts = found.facts
    typer.echo(
        f"bundle {facts['bundle_revision']}, policy {facts['policy_revision']}, {facts['rows']:,} rows in "
        f"{facts['groups']:,} groups, split {split.value}"
    )
    for warning in found.warnings:
        typer.echo(f"WARNING: {warning}")
    typer.echo("")
    for tier, parts in found.pairs.items():
        if ALL in parts:
            _print_pair(tier, parts[ALL])
        if len(parts) > 1:
            _print_parts(tier, parts)
    if ALL in found.curves:
        _print_curves(found.curves[ALL])
    if len(found.curves) > 1:
        _print_areas(found.curves)
    _print_decided(found, split)
    _print_buckets(found)


def _print_pair(tier: str, pair: PairMeasures) -> None:
    title = (
        f"{tier} against the top tier, {pair.rows:,} rows: always {tier} {_show(pair.always_weak)}, "
        f"always top {_show(pair.always_strong)}, suffices {pair.suffices:.1%}"
    )
    rows = [
        (
            name,
            _show(rank.apgr),
            _show(rank.cpt50, 1),
            _show(rank.cpt80, 1),
            _show(rank.auc),
            _number(rank.apgr_by_deciles),
        )
        for name, rank in pair.ranks.items()
    ]
    print_table(title, ("ranked by", "APGR", "CPT50 %", "CPT80 %", "AUC", "APGR by deciles"), rows)
    calibration = pair.calibration
    typer.echo(
        f"p_sufficient: ECE {_show(calibration.ece)}; a perfectly calibrated predictor stays below "
        f"{calibration.bound:.3f} on so many rows\n"
    )


def _print_parts(tier: str, parts: Mapping[str, PairMeasures]) -> None:
    """A row a part: APGR of the router and of those baselines that some router could be."""
    shown = list(
        dict.fromkeys(name for pair in parts.values() for name in pair.ranks if name not in LEFT_OUT)
    )
    rows = [
        (
            part,
            f"{pair.rows:,}",
            *(_show(pair.ranks[name].apgr) if name in pair.ranks else "" for name in shown),
            _show(next(iter(pair.ranks.values())).auc),
            f"{_show(pair.calibration.ece)} ({pair.calibration.bound:.3f})",
        )
        for part, pair in parts.items()
    ]
    columns = ("part", "rows", *(f"APGR by {name}" for name in shown), "AUC", "ECE (bound)")
    print_table(f"{tier} against the top tier, by part", columns, rows)


def _print_curves(curves: TierCurves) -> None:
    rows = [
        (
            name,
            _show(curve.area),
            _show(curve.score_at_half),
            _show(curve.score_at_30),
            _show(curve.saved),
        )
        for name, curve in curves.curves.items()
    ]
    columns = (
        "spent by",
        "area",
        "score at 50% of top's cost",
        "at 30%",
        f"saved at {curves.quality:.0%} of top's score",
    )
    print_table(f"cost and quality, {curves.rows:,} rows", columns, rows)
    alone = [(name, _show(cost, 3, "g"), _show(score)) for name, (cost, score) in curves.tiers.items()]
    print_table(f"one tier for all; the best is {curves.best_single}", ("always", "cost", "score"), alone)


def _print_areas(parts: Mapping[str, TierCurves]) -> None:
    """A row a part: the area, and what the router saves."""
    shown = list(dict.fromkeys(name for curves in parts.values() for name in curves.curves))
    rows = []
    for part, curves in parts.items():
        areas = (_show(curves.curves[name].area) if name in curves.curves else "" for name in shown)
        saved = next(iter(curves.curves.values())).saved
        rows.append((part, f"{curves.rows:,}", *areas, _show(saved, 2)))
    quality = next(iter(parts.values())).quality
    columns = ("part", "rows", *(f"area by {name}" for name in shown), f"saved at {quality:.0%}")
    print_table("cost and quality, by part", columns, rows)


def _print_decided(found: Evaluation, split: Split) -> None:
    rows = []
    for part, one in found.as_decided.items():
        if not one.rows:
            rows.append((part, "0", str(one.unscored), "", "", "", "", "", ""))
            continue
        saved = 1 - one.cost.value / one.top_cost.value if one.top_cost.value else float("nan")
        rows.append(
            (
                part,
                f"{one.rows:,}",
                f"{one.unscored:,}",
                _show(one.score),
                _show(one.top_score),
                _show(one.cost, 3, "g"),
                "" if math.isnan(saved) else f"{saved:.1%}",
                " ".join(f"{name} {share:.0%}" for name, share in one.shares.items()),
                f"{one.abstained:.1%}",
            )
        )
    columns = ("part", "rows", "unscored", "score", "score of top", "cost", "saved", "sent to", "abstained")
    # A fold's bundle has no policy of its own.
    how = (
        "as the policy decides" if split.value == "given" else "as a bar of 0.5 decides, without your policy"
    )
    print_table(how, columns, rows)
    if found.hard_to_top is not None:
        typer.echo(f"rows that only the top tier gets right, sent to it: {_show(found.hard_to_top)}\n")


def _print_buckets(found: Evaluation) -> None:
    if found.buckets:
        rows = [
            (one.bucket, one.policy, one.effect, str(one.members), f"{one.obeyed / one.members:.1%}")
            for one in found.buckets
        ]
        print_table("exemplar buckets", ("bucket", "policy", "effect", "members", "obeyed"), rows)


def _show(figure: Figure, digits: int = 3, kind: str = "f") -> str:
    """Value and interval; the interval is left out where there is none."""
    if math.isnan(figure.value):
        return "-"
    form = f".{digits}{kind}"
    if figure.low == figure.high:
        return f"{figure.value:{form}}"
    return f"{figure.value:{form}} [{figure.low:{form}}, {figure.high:{form}}]"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"

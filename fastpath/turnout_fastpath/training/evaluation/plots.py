"""Plots of an evaluation: cost against quality, and what was predicted against what happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure as Canvas

from turnout_fastpath.training.evaluation.curve_measures import BY_GAIN, BY_TIER, ROUTER, TierCurves
from turnout_fastpath.training.evaluation.evaluate import ALL, Evaluation
from turnout_fastpath.training.evaluation.pair_measures import PairMeasures

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def write_plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Writes an SVG for each pair's calibration and for the curve over all rows; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    # Equal figures give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "turnout", "svg.fonttype": "none"}):
        for name, canvas in _canvases(evaluation):
            path = folder / f"{name}.svg"
            canvas.savefig(path, metadata={"Date": None})
            written.append(path)
    return written


def _canvases(evaluation: Evaluation) -> Iterator[tuple[str, Canvas]]:
    if ALL in evaluation.curves:
        yield "cost-quality", _curves(evaluation.curves[ALL])
    for tier, parts in evaluation.pairs.items():
        if ALL in parts:
            yield f"reliability-{tier}", _reliability(tier, parts[ALL])


def _curves(curves: TierCurves) -> Canvas:
    canvas = Canvas(figsize=(7.5, 5), layout="constrained")
    panel = canvas.subplots()
    for number, (name, curve) in enumerate(curves.curves.items()):
        costs, scores = zip(*curve.points, strict=True)
        own = name in (ROUTER, BY_GAIN, BY_TIER)
        panel.plot(
            costs,
            scores,
            color=COLOURS[number % len(COLOURS)],
            linewidth=2.2 if own else 1.2,
            linestyle="-" if own else "--",
            label=f"{name}: area {curve.area}",
        )
    for name, (cost, score) in curves.tiers.items():
        panel.plot([cost.value], [score.value], "k.", markersize=9)
        panel.annotate(
            f"always {name}", (cost.value, score.value), textcoords="offset points", xytext=(4, -12)
        )
    panel.set(xlabel="mean cost of a request", ylabel="mean score", title=f"{curves.rows:,} rows")
    panel.grid(color="#e6e6e6")
    panel.legend(loc="lower right", fontsize=8)
    return canvas


def _reliability(tier: str, pair: PairMeasures) -> Canvas:
    canvas = Canvas(figsize=(5, 5), layout="constrained")
    panel = canvas.subplots()
    predicted, observed = zip(*pair.calibration.bins, strict=True)
    panel.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
    text = f"ECE {pair.calibration.ece}\nperfect calibration stays below {pair.calibration.bound:.3f}"
    panel.plot(predicted, observed, marker="o", markersize=4, color=COLOURS[0], label=text)
    panel.set(
        xlabel="p_sufficient, mean of a bin of equal mass",
        ylabel="share that sufficed",
        title=f"{tier}, {pair.rows:,} rows",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    panel.legend(loc="upper left", fontsize=8)
    return canvas

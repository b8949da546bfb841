"""Reliability diagrams: what was predicted against what happened, a panel a head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from turnout_fastpath.training.calibrating import Reliability

# Okabe and Ito's blue and vermilion, which colour-blind readers can tell apart.
BEFORE_COLOUR, AFTER_COLOUR = "#D55E00", "#0072B2"


def draw_reliability(path: Path, heads: Mapping[str, tuple[Reliability | None, Reliability]]) -> None:
    """Writes a diagram as SVG or PNG, by the file's suffix.

    Args:
        path: the file.
        heads: by name, the reliability before (None if there was none) and after.
    """
    figure = Figure(figsize=(4.2 * max(1, len(heads)), 4.4), layout="constrained")
    panels = figure.subplots(1, max(1, len(heads)), squeeze=False)[0]
    for panel, (name, (before, after)) in zip(panels, heads.items(), strict=False):
        panel.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
        for one, label, colour in ((before, "before", BEFORE_COLOUR), (after, "after", AFTER_COLOUR)):
            if one is None or not one.rows:
                continue
            predicted, happened, _ = zip(*one.bins, strict=True)
            text = f"{label}: ECE {one.ece:.3f}, bound {one.bound:.3f}"
            panel.plot(predicted, happened, marker="o", markersize=4, color=colour, label=text)
        panel.set(title=f"{name}, {after.rows} rows", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        panel.set_xlabel("p_sufficient, mean of a bin of equal mass")
        panel.set_ylabel("share that sufficed")
        panel.legend(loc="upper left", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Equal figures give equal files.
    with matplotlib.rc_context({"svg.hashsalt": "turnout"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)

"""The plots of the load tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.load.arms import ARMS, TURNOUT
from bench.load.comparison import HALF, LENGTHS, MANY, NO_DOCUMENTS
from bench.prompts import TWENTY_WORDS
from bench.svg import Axis, Chart, Line

NAMES = {TWENTY_WORDS: "20_words", NO_DOCUMENTS: "mixed"}
PIECES = Axis("prompt length, word pieces", log=True, ticks=[float(each) for each in LENGTHS])


def draw_load(result: Mapping[str, Any]) -> dict[str, Chart]:
    """Charts by file name."""
    charts = {
        "load_calls_by_length.svg": _by_length(
            result, "Calls a second, 8 x 8 under way", "calls a second", "good_per_s"
        ),
        "load_cpu_by_length.svg": _by_length(
            result,
            "CPU of the server process a call, 8 x 8 under way",
            "microseconds of CPU a call",
            "server_cpu_us",
        ),
    }
    for prompt_class, name in NAMES.items():
        charts[f"load_latency_{name}.svg"] = _latency(result, prompt_class)
        charts[f"load_goodput_{name}.svg"] = _goodput(result, prompt_class)
        charts[f"load_curve_{name}.svg"] = _curve(result, prompt_class)
    return charts


def _by_length(result: Mapping[str, Any], title: str, label: str, key: str) -> Chart:
    chart = Chart(title, PIECES, Axis(label, log=True))
    cells = [
        cell
        for cell in result["closed"]
        if cell["class"] in LENGTHS and (cell["connections"], cell["streams"]) == MANY
    ]
    for style, name in enumerate(ARMS):
        chart.add(Line(name, [(float(cell["class"]), cell["arms"][name][key]) for cell in cells], style))
    return chart


def _open(result: Mapping[str, Any], prompt_class: str, name: str) -> Iterator[Mapping[str, Any]]:
    for cell in result["open"]:
        if cell["class"] == prompt_class and cell["arm"] == name:
            yield cell


def _latency(result: Mapping[str, Any], prompt_class: str) -> Chart:
    chart = Chart(
        f"Latency at a given rate, {prompt_class}",
        Axis("calls due a second, open loop", log=True),
        Axis("microseconds from when a call was due", log=True),
    )
    for style, name in enumerate(ARMS):
        cells = list(_open(result, prompt_class, name))
        for label, key, dashed in (("p50", "p50_us", True), ("p99", "p99_us", False)):
            points = [(cell["rate"], cell[key]) for cell in cells if cell[key]]
            chart.add(Line(f"{name}, {label}", points, style, dashed))
    return chart


def _goodput(result: Mapping[str, Any], prompt_class: str) -> Chart:
    chart = Chart(
        f"Answers past saturation, {prompt_class}",
        Axis("calls due a second, open loop", low=0.0),
        Axis("answers a second", low=0.0),
    )
    cells = list(_open(result, prompt_class, TURNOUT))
    chart.add(Line("decided", [(cell["rate"], cell["good_per_s"]) for cell in cells], 0))
    chart.add(Line("refused: overloaded", [(cell["rate"], cell["shed_per_s"]) for cell in cells], 1, True))
    return chart


def _curve(result: Mapping[str, Any], prompt_class: str) -> Chart:
    """Quantiles by how many calls lie beyond them, the way HdrHistogram's plots have it."""
    chart = Chart(
        f"Latency at half of saturation, {prompt_class}",
        Axis("one call in so many is slower", log=True),
        Axis("microseconds from when a call was due", log=True),
    )
    for style, name in enumerate(ARMS):
        for cell in _open(result, prompt_class, name):
            if cell["fraction"] == HALF and "curve_us" in cell:
                points = [(1 / (1 - q), us) for q, us in cell["curve_us"] if us > 0]
                chart.add(Line(name, points, style, marked=False))
    return chart

"""The plots of the saved results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.svg import Axis, Chart, Line
from bench.targets import DECISION_US

LENGTHS = ("32", "128", "256", "512", "2048")
PIECES = Axis("prompt length, word pieces", log=True, ticks=[float(each) for each in LENGTHS])
CDF_STEP = 5


def draw_plots(results: Mapping[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """File name to caption and SVG document, for every result that is there."""
    charts: dict[str, Chart] = {}
    if kernels := results.get("kernels"):
        charts["decision_by_length.svg"] = _decision_by_length(kernels)
        charts["decision_cdf.svg"] = _decision_cdf(kernels)
    if peers := results.get("peers"):
        charts["peers_by_length.svg"] = _peers_by_length(peers)
    if rpc := results.get("rpc"):
        charts["rpc_cpu_by_length.svg"] = _rpc_cpu(rpc)
    return {name: (chart.title, chart.render()) for name, chart in charts.items()}


def _decision_by_length(kernels: Mapping[str, Any]) -> Chart:
    chart = Chart("Time of a decision, in process", PIECES, Axis("microseconds a decision", log=True))
    decision, cold = kernels["decision"], kernels["cold_decision"]
    for style, (label, key) in enumerate((("p50", "p50_ns"), ("p90", "p90_ns"), ("p99", "p99_ns"))):
        points = [(float(each), decision[each]["route"][key] / 1000) for each in LENGTHS if each in decision]
        chart.add(Line(f"Engine.route, {label}", points, style))
    chart.add(
        Line(
            "p50, cold caches",
            [(float(each), entry["p50_ns"] / 1000) for each, entry in cold.items()],
            0,
            True,
        )
    )
    chart.add(Line("bar for p50", [(float(each), bar) for each, bar in DECISION_US.items()], 6, joined=False))
    return chart


def _decision_cdf(kernels: Mapping[str, Any]) -> Chart:
    share = Axis("share of decisions", low=0.0, high=1.0, ticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    highest = 0.0
    lines = []
    for style, length in enumerate(each for each in LENGTHS if each in kernels["decision"]):
        quantiles = kernels["decision"][length]["route"]["quantiles_ns"]
        last = len(quantiles) - 1
        # The greatest sample says more of the machine than of the decision: the line ends at 99.9%.
        shown = [i for i in range(0, last + 1, max(1, last // 200)) if i < last] + [round(0.999 * last)]
        points = [(quantiles[i] / 1000, i / last) for i in sorted(set(shown))]
        highest = max(highest, points[-1][0])
        lines.append(Line(f"{int(length):,} pieces", points, style, marked=False))
    chart = Chart(
        "Distribution of decision time, in process", Axis("microseconds a decision", log=True), share
    )
    for line in lines:
        chart.add(line)
    return chart


def _peers_by_length(peers: Mapping[str, Any]) -> Chart:
    chart = Chart("The same work by others, one call a prompt", PIECES, Axis("microseconds, p50", log=True))
    for style, (label, arm) in enumerate(
        (
            ("model2vec encode", "model2vec"),
            ("ours: tokenise, pool", "tokenise and pool"),
            ("tokenizers encode", "tokenizers"),
            ("ours: tokenise", "wordpiece"),
            ("ours: whole decision", "decision"),
        )
    ):
        points = list(_arm_points(peers, arm))
        chart.add(Line(label, points, style, dashed=arm in ("tokenizers", "wordpiece")))
    return chart


def _arm_points(peers: Mapping[str, Any], arm: str) -> Iterator[tuple[float, float]]:
    for length, entry in peers["lengths"].items():
        if arm in entry["arms"]:
            yield float(length), entry["arms"][arm]["p50_ns"] / 1000


def _rpc_cpu(rpc: Mapping[str, Any]) -> Chart:
    chart = Chart(
        "CPU of the server process a call, over gRPC", PIECES, Axis("microseconds of CPU a call", low=0.0)
    )
    concurrencies = sorted({cell["concurrency"] for cell in rpc["cells"]})
    for style, concurrency in enumerate(concurrencies):
        cells = [
            cell for cell in rpc["cells"] if cell["concurrency"] == concurrency and cell["class"] in LENGTHS
        ]
        for arm, label, dashed in (("route", "Route", False), ("echo", "echo", True)):
            points = [(float(cell["class"]), cell["arms"][arm]["server_cpu_us"]) for cell in cells]
            chart.add(Line(f"{label}, {concurrency} at once", points, style, dashed))
    return chart

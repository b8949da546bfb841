"""docs/load.md: the figures of one run of all arms, with plots."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.load.plots import draw_load

NOTE = (
    "<!-- Written by `python -m bench load` and `python -m bench report` from bench/results; do not edit. -->"
)
INTRODUCTION = """# Load tests

The decision port under load, beside servers that decide nothing, each given the same bytes in the same run.

    make load                                    # builds the generator and the compiled arms
    python -m bench load                         # everything, about five minutes; --quick: a smoke run
    python -m bench load --target HOST:PORT      # your own deployment

The last line asks any server of `turnout.v1.RoutingService` over cleartext HTTP/2, finds what it can do, and goes on to
rates beneath and beyond that. It takes `--metrics URL` for coverage, `--pid` for CPU and memory of a process of this
machine, `--connections`, `--streams`, `--rate`, `--seconds`, and `--prompts FILE`, a JSON Lines file with a `prompt`
each line. It needs the generator alone: `make generator`.

## How it is measured

- The generator is ours ([native/generator.c](../bench/load/native/generator.c)): h2load repeats one body, with which a
  server's caches and branch predictor look better than they are, and ghz's own work ends far below the rates that are
  asked for here. It cycles over 256 prompts (1,024 of the mixed ones) as fast as nghttp2 goes. h2load and ghz run
  beside it as witnesses. What it can do itself is its figure against the bare nghttp2 echo: beside each figure stands
  the share of a core that it used, and where that nears 1, the server is not at its limit, but the generator is.
- Closed loop: so many connections times so many calls under way. Open loop: calls are due at random times (Poisson) at
  a rate; latency runs from when a call was due, sent or not. What was due and never answered counts with the time that
  it waited: there is no coordinated omission to correct. h2load and ghz time calls from when they were sent; to that is
  added how late they were sent by their own schedule.
- Saturation is what an arm does in closed loop at 8 x 8. Fractions of it are of the arm's own.
- Histograms are full, buckets within 1/128 of their value. p50, p90, p99: median of the rounds; p99.9: of all rounds'
  calls together.
- CPU is the server process's, all threads, over the counted stretch, by the calls answered in it. The decision port has
  one thread; the C++ echo as many as gRPC takes.
- Before anything is timed, a stock client asks prompts of every arm, and digests must be those of an engine in process.
  Every answer is accounted for: by status, and in the server's own counts of decided, abstained, defaulted and shed.
  Where these do not add up, nothing is reported.
- Arms: *decision port* (`turnout serve --decision-only`), *grpcio Route* (the main port), *nghttp2 echo* (C, epoll, one
  thread), *C++ echo* (gRPC's callback API, messages as bytes), *grpcio echo* (aio, generated code).
"""


def compose_files(result: Mapping[str, Any], page: Path, plots: Path) -> dict[Path, str]:
    """The page and its plots, with their content."""
    link = Path(os.path.relpath(plots, page.parent)).as_posix()
    charts = {plots / name: chart.render() for name, chart in draw_load(result).items()}
    return {page: compose_page(result, link), **charts}


def compose_page(result: Mapping[str, Any], plots: str) -> str:
    """The page as Markdown.

    Args:
        result: of comparison.run.
        plots: folder of the plots, as links name it.
    """
    machine = result["machine"]
    tools = ", ".join(machine["tools"].values())
    lines = [NOTE, "", INTRODUCTION, "## Figures", ""]
    if result["quick"]:
        lines += ["**Smoke run: these figures are noise.**", ""]
    lines += [
        f"{machine['cores']} cores of {machine['cpu']}, {machine['date'][:10]}, revision {machine['revision']}, load "
        f"average {machine['load_average'][0]:.1f} at the start; {tools}. Prompts: {result['prompts']['source']}.",
        "",
        *_closed(result),
        *_open(result),
        *_witnesses(result),
        *_memory(result),
        "## Plots",
        "",
        *(f"![{chart.title}]({plots}/{name})\n" for name, chart in draw_load(result).items()),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _closed(result: Mapping[str, Any]) -> Iterator[str]:
    yield "### Closed loop\n"
    yield "| prompts | under way | arm | calls/s | CPU µs | p50 µs | p90 | p99 | p99.9 | generator's core |"
    yield "|---|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for cell in result["closed"]:
        for name, arm in cell["arms"].items():
            yield (
                f"| {cell['class']} | {cell['connections']} x {cell['streams']} | {name} | {arm['good_per_s']:,.0f} | "
                f"{arm['server_cpu_us']:.1f} | {_times(arm)} | {arm['own_core_share']:.2f} |"
            )
    yield ""


def _open(result: Mapping[str, Any]) -> Iterator[str]:
    yield "### Open loop\n"
    yield (
        "| prompts | arm | due/s | of saturation | OK/s | refused/s | no answer | p50 µs | p90 | p99 | p99.9 | "
        "refused, p99 µs | sent late, p99 µs | generator's core |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for cell in result["open"]:
        none = cell["failed"] + cell["unanswered"] + cell["unsent"]
        yield (
            f"| {cell['class']} | {cell['arm']} | {cell['rate']:,.0f} | {cell['fraction']:g} | "
            f"{cell['good_per_s']:,.0f} | {cell['shed_per_s']:,.0f} | {none:,.0f} | {_times(cell)} | "
            f"{_time(cell.get('refused_p99_us'))} | {_time(cell.get('late_p99_us'))} | {cell['own_core_share']:.2f} |"
        )
    yield ""
    yield "Coverage of the decision port, as its metrics endpoint counted it:\n"
    yield "| prompts | of saturation | decided | abstained | defaulted | shed |"
    yield "|---|--:|--:|--:|--:|--:|"
    for cell in result["open"]:
        if (counts := cell["coverage"]) and cell["arm"] == "decision port":
            row = " | ".join(f"{counts[each]:,}" for each in ("decided", "abstained", "defaulted", "shed"))
            yield f"| {cell['class']} | {cell['fraction']:g} | {row} |"
    yield ""


def _witnesses(result: Mapping[str, Any]) -> Iterator[str]:
    yield "### Witnesses\n"
    yield (
        "h2load repeats one 20-word body: in closed loop at 8 x 8, and with `--rps` in open loop at half of saturation; "
        "ghz takes the mixed prompts in turn, in open loop at a fixed rate.\n"
    )
    yield "| tool | arm | calls/s | CPU µs | p50 µs | p99 µs | its share of a core |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for tool, rows in result["witnesses"].items():
        for name, row in rows.items():
            yield (
                f"| {tool} | {name} | {row['calls_per_s']:,.0f} | {_time(row.get('server_cpu_us'))} | "
                f"{_time(row['p50_us'])} | {_time(row['p99_us'])} | {row.get('own_core_share', '')} |"
            )
    yield ""


def _memory(result: Mapping[str, Any]) -> Iterator[str]:
    yield "### Memory\n"
    yield "| arm | resident MB at the start | at the end |"
    yield "|---|--:|--:|"
    for name, row in result["memory"].items():
        yield f"| {name} | {row['start_mb']:.0f} | {row['end_mb']:.0f} |"
    yield ""


def _times(row: Mapping[str, Any]) -> str:
    return " | ".join(_time(row[key]) for key in ("p50_us", "p90_us", "p99_us", "p999_us"))


def _time(us: float | None) -> str:
    return "" if us is None else f"{us:,.0f}" if us >= 10 else f"{us:.1f}"

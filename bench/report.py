"""The README's table of measured claims and the plots, both from saved results alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.claims import Claim, list_claims
from bench.load.page import compose_files
from bench.plots import draw_plots

BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"
NOTE = "<!-- Written by `python -m bench report` from bench/results; do not edit. -->"
VERDICTS = {True: "yes", False: "**no**", None: ""}


class ReportError(Exception):
    """There is nothing to report, or no place for it."""


def compose_report(results: Mapping[str, dict[str, Any]], readme: Path, plots: Path) -> dict[Path, str]:
    """Every file of the report with its content: the README with its block replaced, the plots, the load tests' page.

    Raises:
        ReportError: no results, no README, or no markers in it.
    """
    if not results:
        raise ReportError("no results; run `python -m bench all` first")
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{readme}: {error.strerror}") from error
    drawn = draw_plots(results)
    links = {
        caption: Path(os.path.relpath(plots / name, readme.parent)).as_posix()
        for name, (caption, _) in drawn.items()
    }
    pages = {}
    if load := results.get("load"):
        pages = compose_files(load, plots.parent / "load.md", plots)
    replaced = replace_block(text, render_block(results, links), str(readme))
    return {readme: replaced, **{plots / name: document for name, (_, document) in drawn.items()}, **pages}


def write_report(files: Mapping[Path, str]) -> None:
    """Writes the files, making their folders."""
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def find_stale(files: Mapping[Path, str]) -> list[Path]:
    """The files that are missing or hold something else."""
    return [
        path
        for path, content in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]


def replace_block(text: str, block: str, name: str) -> str:
    """A text with what stands between its markers replaced.

    Raises:
        ReportError: the markers are not there once each, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before or END in after:
        raise ReportError(f"{name}: needs one line {BEGIN} and one line {END} behind it")
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def render_block(results: Mapping[str, dict[str, Any]], links: Mapping[str, str]) -> str:
    """The block between the markers.

    Args:
        results: by benchmark.
        links: of the plots, by caption.
    """
    parts = [NOTE, "", render_table(list_claims(results)), "", *_provenance(results)]
    if links:
        listed = ", ".join(f"[{caption}]({path})" for caption, path in links.items())
        parts += ["", f"Plots: {listed}."]
    return "\n".join(parts)


def render_table(claims: list[Claim]) -> str:
    """The claims as a Markdown table."""
    rows = [
        f"| {claim.what} | {claim.figure} | {claim.bar} | {VERDICTS[claim.holds]} | `{claim.command}` |"
        for claim in claims
    ]
    return "\n".join(["| what | measured | bar | holds | measured by |", "|---|---|---|---|---|", *rows])


def _provenance(results: Mapping[str, dict[str, Any]]) -> list[str]:
    """Where and when the figures come from; one sentence for what all benchmarks share."""
    lines = []
    if any(result["quick"] for result in results.values()):
        lines.append("**Smoke run: these figures are noise.**")
    by_place: dict[str, list[str]] = {}
    for name, result in results.items():
        machine = result["machine"]
        packages = ", ".join(f"{package} {version}" for package, version in machine["packages"].items())
        tools = "".join(f", {version}" for version in machine["tools"].values())
        place = f"{machine['cores']} cores of {machine['cpu']}, Python {machine['python']}, {packages}"
        run = (
            f"{name} on {machine['date'][:10]} at revision {machine['revision']}, "
            f"load average {machine['load_average'][0]:.1f} at its start{tools}"
        )
        by_place.setdefault(place, []).append(run)
    for place, runs in by_place.items():
        lines.append(f"Measured on {place}: {'; '.join(runs)}.")
    sources = sorted({one["prompts"]["source"] for one in results.values() if "prompts" in one})
    lines.append(
        f"Prompts: {', '.join(sources)}. [bench/README.md](bench/README.md) says what each figure means."
    )
    return lines

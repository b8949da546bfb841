"""The matrix of the README: rows passed, by topic, service and client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conformance.conforming import Verdict

BEGIN = "<!-- conformance:begin -->"
END = "<!-- conformance:end -->"
NOTE = "<!-- Written by `python -m tests.conformance --write`; do not edit. -->"


def make_matrix(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """A Markdown table."""
    places = sorted({(one.case.row.topic, one.case.service) for all_ in verdicts.values() for one in all_})
    head = ["rows", "service", *verdicts]
    lines = [head, ["---"] * len(head)]
    for topic, service in places:
        cells = []
        for ones in verdicts.values():
            here = Counter(
                not one.differences
                for one in ones
                if (one.case.row.topic, one.case.service) == (topic, service)
            )
            cells.append(f"{here[True]} of {here.total()}")
        lines.append([topic.replace("_", " "), service, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_matrix(matrix: str, page: Path) -> None:
    """Puts the matrix between the page's marks.

    Raises:
        ValueError: the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: the marks {BEGIN} and {END} are needed")
    page.write_text(f"{before}{BEGIN}\n{NOTE}\n\n{matrix}\n{END}{after}", encoding="utf-8")

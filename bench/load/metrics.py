"""What a server counted of its own decisions: its metrics endpoint, before and after a run."""

from __future__ import annotations

import re
import urllib.request

OUTCOMES = ("decided", "abstained", "defaulted", "shed")
TIMEOUT_S = 10
_LINE = re.compile(r'^turnout_coverage(?:_total)?\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)

Coverage = dict[str, int]


def read_coverage(text: str) -> Coverage:
    """Requests by outcome, from the text of a metrics endpoint.

    Raises:
        ValueError: it is not that of a turnout server.
    """
    counts = dict.fromkeys(OUTCOMES, 0)
    found = _LINE.findall(text)
    if not found:
        raise ValueError("no turnout_coverage among the metrics")
    for outcome, value in found:
        counts[outcome] = round(float(value))
    return counts


def fetch_coverage(url: str) -> Coverage:
    """Reads a metrics endpoint.

    Raises:
        OSError: it cannot be reached.
        ValueError: see `read_coverage`.
    """
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return read_coverage(answer.read().decode())


def difference(after: Coverage, before: Coverage) -> Coverage:
    """What was added, by outcome."""
    return {outcome: count - before.get(outcome, 0) for outcome, count in after.items()}

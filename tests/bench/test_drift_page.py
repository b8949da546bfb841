"""docs/drift.md says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from bench.drift_alarm import RESULTS, page

ROOT = Path(__file__).parents[2]


def test_the_pages_tables_are_those_of_the_results() -> None:
    text = (ROOT / "docs/drift.md").read_text(encoding="utf-8")
    for table in page(json.loads(RESULTS.read_bytes())).split("\n\n"):
        assert table.strip() in text

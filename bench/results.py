"""Saved measurements: one JSON file a benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
# Not under version control.
QUICK_FOLDER = FOLDER / "raw" / "quick"


def folder_of(quick: bool) -> Path:
    """Where results lie: quick ones never take the place of real ones."""
    return QUICK_FOLDER if quick else FOLDER


def save_result(name: str, result: dict[str, Any], *, quick: bool) -> Path:
    """Writes one benchmark's result and returns its path."""
    folder = folder_of(quick)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    # A line for each entry of the first two levels: readable, small, and diffs say what changed.
    lines = []
    for key, value in result.items():
        if isinstance(value, dict):
            rows = [f"  {json.dumps(name)}: {json.dumps(inner)}" for name, inner in value.items()]
            lines.append(f" {json.dumps(key)}: {{\n" + ",\n".join(rows) + "\n }")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(
                f" {json.dumps(key)}: [\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
            )
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return path


def load_results(folder: Path) -> dict[str, dict[str, Any]]:
    """The results in a folder, by benchmark."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))}

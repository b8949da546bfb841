"""The public label tables as rows of the documented schema: each prompt once, models as columns.

They are recognised by their columns: `pairs.parquet` (a row a prompt and pair of models) and
`multi_model_scores.parquet` (a row a prompt, without its text, which `pairs.parquet` beside it has).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from turnout_fastpath.training.data_errors import DataDefect, DataError
from turnout_fastpath.training.data_files import Row, column_names, read_rows

Rows = Iterator[tuple[int, Row | DataDefect]]

PAIR_COLUMNS = frozenset({"id", "prompt", "weak_model", "strong_model", "weak_score", "strong_score"})
MULTI_MODEL_COLUMNS = frozenset({"id", "source", "task", "category", "group", "scores"})
PAIRS_FILE = "pairs.parquet"
KEPT = ("id", "prompt", "task", "category", "group", "source")


def reader_of(path: Path) -> Callable[[Path], Rows]:
    """What reads the file as rows of the schema."""
    columns = column_names(path)
    if columns >= PAIR_COLUMNS:
        return pair_rows
    if columns == MULTI_MODEL_COLUMNS:
        return multi_model_rows
    return read_rows


def pair_rows(path: Path) -> Rows:
    """Each prompt of a table of pairs once, with the scores and costs of every model; numbers are of its first pair."""
    prompts: dict[str, tuple[int, Row]] = {}
    for number, row in read_rows(path):
        if isinstance(row, DataDefect):
            yield number, row
            continue
        new = {name: row.get(name) for name in KEPT} | {"scores": {}, "costs": {}}
        _, entry = prompts.setdefault(row["id"], (number, new))
        for side in ("weak", "strong"):
            entry["scores"][row[f"{side}_model"]] = row[f"{side}_score"]
            entry["costs"][row[f"{side}_model"]] = row.get(f"{side}_cost_usd")
    yield from prompts.values()


def multi_model_rows(path: Path) -> Rows:
    """Rows of scores with the prompts of the table of pairs beside them.

    Raises:
        DataError: that table is not there, or lacks a prompt.
    """
    pairs = path.with_name(PAIRS_FILE)
    if not pairs.exists():
        problem = f"absent, and no {PAIRS_FILE} beside it that has the prompts by id"
        raise DataError(path, [DataDefect("prompt", problem)])
    prompts = {row["id"]: row["prompt"] for _, row in read_rows(pairs) if isinstance(row, dict)}
    for number, row in read_rows(path):
        if isinstance(row, dict):
            yield number, row | {"prompt": prompts.get(row["id"])}
        else:
            yield number, row

"""The file of prompts that labels are collected for: the columns of labelled rows, and how each answer is graded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from turnout_server.labels.chat_rows import read_messages, read_tools
from turnout_server.labels.criteria import Criterion, Usual, read_criterion
from turnout_server.providers.chat import ChatRequest, FormatKind, ResponseFormat

# What goes from a row of prompts into the row of labels, as it is.
KEPT = ("prompt", "messages", "tools", "task", "group", "source", "category", "weight", "propensity")


@dataclass(frozen=True)
class PromptRow:
    """One request to collect labels for.

    Attributes:
        id: as given, else of the content.
        digest: of what is asked; equal requests are asked once.
        chat: what is asked, with a limit of output.
        told: its messages as the engine reads them.
        criterion: how answers are graded.
        kept: columns of the row of labels.
    """

    id: str
    digest: str
    chat: ChatRequest = field(repr=False)
    told: Sequence[Mapping[str, Any]] = field(repr=False)
    criterion: Criterion
    kept: Mapping[str, Any] = field(repr=False)


def read_prompts(
    path: Path, usual: Usual, *, max_output_tokens: int, temperature: float | None
) -> list[PromptRow]:
    """Reads JSON Lines (gzip or not) or Parquet.

    Args:
        path: the file.
        usual: how answers are graded of rows that do not say.
        max_output_tokens: of each answer.
        temperature: of each answer; None leaves it to the provider.

    Raises:
        DataError: names row, column, value and limit of each defect, up to MAX_DEFECTS.
    """
    from turnout_fastpath.training.data_errors import DataDefect, DataError, RowError
    from turnout_fastpath.training.data_files import read_rows
    from turnout_fastpath.training.labelled_data import MAX_DEFECTS

    found: list[PromptRow] = []
    defects: list[DataDefect] = []
    seen: dict[str, int] = {}
    for number, raw in read_rows(path):
        if isinstance(raw, DataDefect):
            defects.append(raw)
        else:
            try:
                row = _row(raw, usual, max_output_tokens, temperature)
                if raw.get("id") is not None and seen.setdefault(row.id, number) != number:
                    raise RowError("id", f"{row.id!r} is row {seen[row.id]}'s already, needed: unique ids")
                found.append(row)
            except RowError as error:
                defects.append(DataDefect(error.column, error.problem, number))
        if len(defects) >= MAX_DEFECTS:
            break
    if not defects and not found:
        defects.append(DataDefect("", "no rows, needed: at least one"))
    if defects:
        raise DataError(path, defects)
    return list(_with_own_ids(found))


def _row(
    raw: Mapping[str, Any], usual: Usual, max_output_tokens: int, temperature: float | None
) -> PromptRow:
    from turnout_fastpath.training.data_errors import RowError
    from turnout_fastpath.training.labelled_row import parse_row

    # What the row knows of scores is another's; it is not read, but must not break the row.
    checked = parse_row({name: raw.get(name) for name in ("id", "features", "features_revision", *KEPT)})
    if checked.request is None:
        raise RowError("features", "a stored vector, needed: text, since it is asked")
    criterion = read_criterion(raw, usual)
    wanted = ResponseFormat()
    if criterion.schema_json:
        wanted = ResponseFormat(FormatKind.JSON_SCHEMA, schema_json=criterion.schema_json, strict=True)
    chat = ChatRequest(
        read_messages(raw),
        tools=read_tools(raw),
        response_format=wanted,
        max_output_tokens=max_output_tokens,
        temperature=temperature,
    )
    kept = {name: raw[name] for name in KEPT if raw.get(name) not in (None, "")}
    asked = {name: kept.get(name) for name in ("prompt", "messages", "tools")}
    asked["schema"] = criterion.schema_json
    digest = hashlib.blake2b(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
    told = raw.get("messages") or [{"role": "user", "content": raw.get("prompt")}]
    return PromptRow(checked.id or "", digest, chat, told, criterion, kept)


def _with_own_ids(rows: Sequence[PromptRow]) -> Iterator[PromptRow]:
    """Rows without an id are named after their content; equal ones are numbered."""
    taken = {row.id for row in rows if row.id}
    for row in rows:
        name, number = row.id, 1
        while not name or (not row.id and name in taken):
            name = row.digest if number == 1 else f"{row.digest}-{number}"
            number += 1
        taken.add(name)
        yield PromptRow(name, row.digest, row.chat, row.told, row.criterion, row.kept)

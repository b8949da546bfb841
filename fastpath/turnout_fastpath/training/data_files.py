"""Rows of a file as mappings: JSON Lines (gzip or not), one line at a time, or Parquet, one batch at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import orjson
import pyarrow
import pyarrow.parquet

from turnout_fastpath.training.data_errors import DataDefect, DataError

Row: TypeAlias = dict[str, Any]

PARQUET_MAGIC = b"PAR1"
GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BATCH_ROWS = 4096
# A row holds one request: 4 MiB of text, each byte written as \u00XX at worst.
MAX_LINE_BYTES = 32 << 20


def read_rows(path: Path) -> Iterator[tuple[int, Row | DataDefect]]:
    """Each row with its number from 1: the line of JSON Lines, the row of Parquet.

    A row that cannot be parsed comes as its defect. The format is told by the first bytes, not by the name.

    Raises:
        DataError: the file cannot be opened, is empty, or is damaged as a whole.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise DataError(path, [DataDefect("", error.strerror or repr(error))]) from error
    if not magic:
        raise DataError(path, [DataDefect("", "an empty file, needed: at least one row")])
    if magic == PARQUET_MAGIC:
        return _parquet_rows(path)
    return _json_rows(path, compressed=magic.startswith(GZIP_MAGIC))


def column_names(path: Path) -> frozenset[str]:
    """Columns of a Parquet file; of JSON Lines, the fields of the first row; empty if there is none."""
    for _, row in read_rows(path):
        return frozenset(row) if isinstance(row, dict) else frozenset()
    return frozenset()


def _json_rows(path: Path, *, compressed: bool) -> Iterator[tuple[int, Row | DataDefect]]:
    number = 0
    with _opened(path, compressed=compressed) as file:
        while True:
            try:
                line = file.readline(MAX_LINE_BYTES + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(
                    path, [DataDefect("", f"damaged gzip after row {number}: {error}")]
                ) from error
            if not line:
                return
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(path, [DataDefect("", f"longer than {MAX_LINE_BYTES} bytes", number)])
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if line.strip():
                yield number, _json_row(number, line)


def _opened(path: Path, *, compressed: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if compressed else path.open("rb")


def _json_row(number: int, line: bytes) -> Row | DataDefect:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} of the line is {line[error.start]:#04x}, needed: UTF-8"
        return DataDefect("", problem, number)
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return DataDefect("", f"no JSON: {error}", number)
    if not isinstance(row, dict):
        return DataDefect("", f"{type(row).__name__}, needed: one JSON object a line", number)
    return row


def _parquet_rows(path: Path) -> Iterator[tuple[int, Row | DataDefect]]:
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                try:
                    rows: list[Row | DataDefect] = batch.to_pylist()
                except UnicodeDecodeError:
                    rows = [_parquet_row(batch, i, number + i + 1) for i in range(batch.num_rows)]
                for row in rows:
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(path, [DataDefect("", f"damaged Parquet: {error}")]) from error


def _parquet_row(batch: Any, at: int, number: int) -> Row | DataDefect:
    row: Row = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            row[name] = column[at].as_py()
        except UnicodeDecodeError as error:
            return DataDefect(
                name, f"byte {error.start + 1} is {error.object[error.start]:#04x}, needed: UTF-8", number
            )
    return row

"""A user's labelled traffic: requests, and what each tier or model scored on them.

docs/training.md describes the files that are read; `read_labelled_data` is the only way in.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from turnout_fastpath.request import Request
from turnout_fastpath.training.data_errors import DataDefect, DataError, RowError
from turnout_fastpath.training.labelled_row import LabelledRow, parse_row, unknown_columns
from turnout_fastpath.training.near_duplicates import group_texts
from turnout_fastpath.training.public_tables import reader_of

Names = npt.NDArray[np.str_]
Reals = npt.NDArray[np.float64]

# Defects that are gathered before reading ends: enough to see a pattern.
MAX_DEFECTS = 20


@dataclass(frozen=True, eq=False)
class LabelledData:
    """n requests with the scores of m models or tiers.

    Attributes:
        path, sha256: the file, and the hash of its content.
        models: (m,) names of the columns of `scores` and `costs`, in the order in which they first appear.
        rows: (n,) number of each in the file, from 1: the line of JSON Lines, the row of Parquet.
        requests: (n,) as the engine reads them; None where the row has a stored vector instead.
        texts: (n,) the user's turns; empty where the row has a stored vector instead.
        features: (n, width) stored vectors, NaN where the row has text; width is 0 if no row has one.
        features_revision: of the stored vectors (`turnout_fastpath.bundle.inputs_revision`); empty if there are none.
        ids: (n,) unique.
        groups: (n,) rows that must stay on one side of a split: as given, else near duplicates.
        sources, tasks, categories: (n,) as given; empty where not.
        scores: (n, m) in [0, 1]; NaN where that model was not tried.
        costs: (n, m) US dollars; NaN where unknown.
        weights: (n,) more than 0.
        propensities: (n,) probability with which the row came to be labelled, in (0, 1].
        ignored: columns of the file that the schema does not have.
    """

    path: Path
    sha256: str
    models: tuple[str, ...]
    rows: npt.NDArray[np.intp]
    requests: npt.NDArray[np.object_]
    texts: npt.NDArray[np.object_]
    features: npt.NDArray[np.float32]
    features_revision: str
    ids: Names
    groups: Names
    sources: Names
    tasks: Names
    categories: Names
    scores: Reals
    costs: Reals
    weights: Reals
    propensities: Reals
    ignored: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> LabelledData:
        """These rows."""
        arrays = {
            field.name: getattr(self, field.name)[rows]
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        return dataclasses.replace(self, **arrays)

    def request(self, row: int) -> Request | None:
        """The request of one row, None for a stored vector."""
        request: Request | None = self.requests[row]
        return request

    def defect(self, problem: str, *, column: str, row: int | None = None) -> DataError:
        """An error about this data; `row` is an index, not a number of the file."""
        return DataError(
            self.path, [DataDefect(column, problem, None if row is None else int(self.rows[row]))]
        )


def read_labelled_data(
    path: str | Path, *, scored: bool = True, progress: Callable[[int], None] | None = None
) -> LabelledData:
    """Reads Parquet or JSON Lines (gzip or not).

    Args:
        path: the file.
        scored: at least one score is needed; false for traffic that is only decided.
        progress: called with 1 after each row.

    Raises:
        DataError: names row, column, value and limit of each defect, up to MAX_DEFECTS.
    """
    path = Path(path)
    found: list[tuple[int, LabelledRow]] = []
    defects: list[DataDefect] = []
    ignored: dict[str, None] = {}
    first: dict[str, int] = {}
    for number, raw in reader_of(path)(path):
        if progress is not None:
            progress(1)
        if isinstance(raw, DataDefect):
            defects.append(raw)
        else:
            ignored.update(dict.fromkeys(unknown_columns(raw)))
            try:
                row = parse_row(raw)
                _check_id(row, number, first)
                if found:
                    _check_vector(row, found)
                found.append((number, row))
            except RowError as error:
                defects.append(DataDefect(error.column, error.problem, number))
        if len(defects) >= MAX_DEFECTS:
            break
    if not defects and not found:
        defects.append(DataDefect("", "no rows, needed: at least one"))
    if not defects and scored and not any(row.scores for _, row in found):
        known = f" (columns it has besides: {', '.join(ignored)})" if ignored else ""
        defects.append(DataDefect("scores", f"no row has one, needed: scores, or columns score.NAME{known}"))
    if defects:
        raise DataError(path, defects)
    return _lay_out(path, found, tuple(ignored))


def _check_id(row: LabelledRow, number: int, first: dict[str, int]) -> None:
    if row.id and first.setdefault(row.id, number) != number:
        raise RowError("id", f"{row.id!r} is row {first[row.id]}'s already, needed: unique ids")


def _check_vector(row: LabelledRow, found: Sequence[tuple[int, LabelledRow]]) -> None:
    if not row.features:
        return
    earlier = next((other for _, other in found if other.features), row)
    if len(row.features) != len(earlier.features):
        raise RowError(
            "features", f"{len(row.features)} numbers, needed: {len(earlier.features)} as in earlier rows"
        )
    if row.features_revision != earlier.features_revision:
        raise RowError(
            "features_revision",
            f"{row.features_revision!r}, needed: {earlier.features_revision!r} as in earlier rows",
        )


def _lay_out(path: Path, found: Sequence[tuple[int, LabelledRow]], ignored: tuple[str, ...]) -> LabelledData:
    rows = [row for _, row in found]
    models = tuple(dict.fromkeys(name for row in rows for name in (*row.scores, *row.costs)))
    width = max(len(row.features) for row in rows)
    features = np.full((len(rows), width), np.nan, np.float32)
    for i, row in enumerate(rows):
        if row.features:
            features[i] = row.features
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return LabelledData(
        path=path,
        sha256=digest,
        models=models,
        rows=np.array([number for number, _ in found], np.intp),
        requests=_objects([row.request for row in rows]),
        texts=_objects([row.text for row in rows]),
        features=features,
        features_revision=next((row.features_revision for row in rows if row.features), ""),
        ids=np.array(_ids(rows)),
        groups=np.array(_groups(rows)),
        sources=np.array([row.source for row in rows]),
        tasks=np.array([row.task for row in rows]),
        categories=np.array([row.category for row in rows]),
        scores=np.array([[row.scores.get(model, np.nan) for model in models] for row in rows]),
        costs=np.array([[row.costs.get(model, np.nan) for model in models] for row in rows]),
        weights=np.array([row.weight for row in rows]),
        propensities=np.array([row.propensity for row in rows]),
        ignored=ignored,
    )


def _objects(values: Sequence[object]) -> npt.NDArray[np.object_]:
    result = np.empty(len(values), np.object_)
    result[:] = values
    return result


def _ids(rows: Sequence[LabelledRow]) -> list[str]:
    """Ids as given, else hashes of the content; a repeated content gets a number behind its hash."""
    taken = {row.id for row in rows}
    seen: dict[str, int] = {}
    ids = []
    for row in rows:
        key = row.id
        while not key or (not row.id and key in taken):
            digest = _content_hash(row)
            seen[digest] = seen.get(digest, 0) + 1
            key = digest if seen[digest] == 1 else f"{digest}#{seen[digest]}"
        taken.add(key)
        ids.append(key)
    return ids


def _content_hash(row: LabelledRow) -> str:
    content = (
        np.array(row.features, np.float32).tobytes() if row.features else row.text.encode("utf-8", "replace")
    )
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _groups(rows: Sequence[LabelledRow]) -> list[str]:
    """Groups as given; rows without one by near-duplicate text, or by equal vector."""
    groups = [row.group for row in rows]
    texts = [i for i, row in enumerate(rows) if not row.group and not row.features]
    for i, of in zip(texts, group_texts([rows[i].text for i in texts]), strict=True):
        groups[i] = f"near:{_content_hash(rows[texts[of]])}"
    for i, row in enumerate(rows):
        if not groups[i]:
            groups[i] = f"vector:{_content_hash(row)}"
    return groups

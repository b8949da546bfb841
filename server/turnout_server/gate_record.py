"""What `turnout gate` found, as a file: `turnout promote` asks for it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class GateRecordError(ValueError):
    """The record is missing, unreadable, or does not speak for the bundle."""


@dataclass(frozen=True)
class GateRecord:
    """The outcome of a gate.

    Attributes:
        bundle_revision: of the bundle that was judged, 16 hexadecimal digits.
        against_revision: of the bundle that it was compared with.
        policy_revision: of the policy that both decided by.
        data_sha256: of the labelled file.
        rows: labelled rows that were compared.
        delta: how much mean score the bundle may lose, 0 to 1.
        passed: whether every task passed, or was undecided where that was allowed.
        reasons: a line for each task.
        created: UTC, ISO 8601.
    """

    bundle_revision: str
    against_revision: str
    policy_revision: str
    data_sha256: str
    rows: int
    delta: float
    passed: bool
    reasons: tuple[str, ...]
    created: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"reasons": list(self.reasons)}


def record_path(bundle: Path) -> Path:
    """Where a bundle's record lies unless said otherwise: beside its folder."""
    resolved = bundle.resolve()
    return resolved.with_name(resolved.name + ".gate.json")


def write_record(record: GateRecord, path: Path) -> None:
    """Writes the record whole or not at all."""
    fresh = path.with_name(path.name + ".partial")
    fresh.write_text(json.dumps(record.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.replace(path)


def read_record(path: Path) -> GateRecord:
    """The inverse of `write_record`.

    Raises:
        GateRecordError: the file is missing or no record.
    """
    try:
        content = json.loads(path.read_bytes())
        return GateRecord(**content | {"reasons": tuple(content["reasons"])})
    except OSError as error:
        raise GateRecordError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise GateRecordError(f"{path}: no gate record: {error}") from error


def check_record(record: GateRecord, *, bundle_revision: str, current_revision: str | None) -> None:
    """Refuses what does not speak for a bundle that is to take the current one's place.

    Args:
        record: what the gate found.
        bundle_revision: of the bundle that is to be promoted.
        current_revision: of the bundle that decides now; None if none does.

    Raises:
        GateRecordError: says why.
    """
    if record.bundle_revision != bundle_revision:
        raise GateRecordError(
            f"the gate judged revision {record.bundle_revision}, the bundle is {bundle_revision}"
        )
    if not record.passed:
        raise GateRecordError("the gate was not passed: " + "; ".join(record.reasons))
    if current_revision is not None and record.against_revision != current_revision:
        raise GateRecordError(
            f"the gate compared with revision {record.against_revision}, the current one is {current_revision}"
        )

"""What collecting has done, a line of JSON each, so that whatever ends the process nothing is paid for twice.

A line is written with one call as soon as there is something to tell, and synced to disk at most once a second. A line
that was cut off is the last one, and goes. The file holds answers: it is its owner's alone, and stays when all is done,
so that rows can be graded anew, or added, without asking again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

VERSION = 1
SYNC_S = 1.0

Key = tuple[str, str]
"""Digest of a request, and the tier that was asked."""


class JournalError(RuntimeError):
    """The journal cannot be gone on with; the text says why."""


@dataclass(frozen=True)
class StoredAnswer:
    """An answer of a tier.

    Attributes:
        text: what was said; tool calls as JSON behind it.
        cost_nano: of the call that gave it; None: not known.
    """

    text: str
    cost_nano: int | None


@dataclass(frozen=True)
class StoredGrade:
    """A grade of an answer; a `score` of None: its grader could not tell."""

    score: float | None


@dataclass
class Progress:
    """What a journal holds.

    Attributes:
        head: deployments by tier, and settings.
        answers: by request and tier.
        grades: by request, tier and the criterion's digest.
        spent_nano: over all calls whose end is known.
        lost: reservations of calls whose end is not known, in nano-dollars.
    """

    head: dict[str, Any] = field(default_factory=dict)
    answers: dict[Key, StoredAnswer] = field(default_factory=dict)
    grades: dict[tuple[str, str, str], StoredGrade] = field(default_factory=dict)
    spent_nano: int = 0
    lost: dict[int, int] = field(default_factory=dict)

    @property
    def lost_nano(self) -> int:
        """What the calls may have cost that were on their way when a process ended."""
        return sum(self.lost.values())


class CollectJournal:
    """The journal of one output, held by one process at a time."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Opens or makes it, and reads what it holds into `progress`.

        Raises:
            JournalError: another process holds it, or it is no journal of this version.
            OSError: it cannot be opened.
        """
        self.path = path
        self._monotonic = monotonic
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise JournalError(f"{path}: another process is collecting into it") from None
            self.progress, self._calls, whole = _read(path)
            if whole < path.stat().st_size:
                os.ftruncate(self._descriptor, whole)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._end = whole
        self._synced_s = monotonic()

    def begin(self, head: Mapping[str, Any]) -> None:
        """Tells what is asked of whom; a tier may be added, none changed.

        Raises:
            JournalError: the journal was made with other deployments or settings.
        """
        known = self.progress.head
        tiers = {**known.get("tiers", {}), **head["tiers"]}
        changed = [
            f"deployments of {tier}" for tier, told in known.get("tiers", {}).items() if told != tiers[tier]
        ]
        changed += [
            f"{name} {told}, now {head.get(name)}"
            for name, told in known.items()
            if name != "tiers" and told != head.get(name)
        ]
        if changed:
            raise JournalError(
                f"{self.path}: made with other {' and '.join(changed)}; name another output, or remove it"
            )
        merged = {**head, "tiers": tiers}
        if merged != known:
            self._write({"t": "head", "version": VERSION, "head": merged})
            self.progress.head = merged

    def note_call(self, reserved_nano: int) -> int:
        """A call is about to be made; returns its number, which its end has to name."""
        self._calls += 1
        self._write({"t": "call", "call": self._calls, "nano": reserved_nano})
        return self._calls

    def note_answer(self, call: int, key: Key, answer: StoredAnswer, spent_nano: int) -> None:
        """A tier has answered; `spent_nano` counts failed attempts before it too."""
        told = {"text": answer.text, "cost_nano": answer.cost_nano}
        self._write({"t": "answer", "call": call, "key": key, "nano": spent_nano, **told})
        self.progress.answers[key] = answer

    def note_spent(self, call: int, spent_nano: int) -> None:
        """A call has ended without an answer to keep, or was a judge's."""
        self._write({"t": "spent", "call": call, "nano": spent_nano})

    def note_grade(self, key: Key, criterion: str, grade: StoredGrade) -> None:
        """An answer was graded."""
        self._write({"t": "grade", "key": key, "criterion": criterion, "score": grade.score})
        self.progress.grades[*key, criterion] = grade

    def close(self) -> None:
        """Syncs and lets go of the file."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _write(self, record: Mapping[str, Any]) -> None:
        line = orjson.dumps(record) + b"\n"
        written = os.write(self._descriptor, line)
        if written < len(line):
            # A disk that is full takes a part; what is left of the line must not stand before the next one.
            os.ftruncate(self._descriptor, self._end)
            raise OSError(28, os.strerror(28), str(self.path))
        self._end += written
        if self._monotonic() - self._synced_s >= SYNC_S:
            os.fdatasync(self._descriptor)
            self._synced_s = self._monotonic()


def _read(path: Path) -> tuple[Progress, int, int]:
    """What a journal holds, its last call's number, and the size of its whole lines."""
    progress, calls, whole = Progress(), 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                record = orjson.loads(line)
                calls = max(calls, _take(progress, record))
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise JournalError(f"{path}: line {number} is no line of a journal: {error!r}") from error
            whole += len(line)
    return progress, calls, whole


def _take(progress: Progress, record: Mapping[str, Any]) -> int:
    kind = record["t"]
    call = int(record.get("call", 0))
    if kind == "head":
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']}, this program reads {VERSION}")
        progress.head = record["head"]
    elif kind == "call":
        progress.lost[call] = record["nano"]
    elif kind == "grade":
        digest, tier = record["key"]
        progress.grades[digest, tier, record["criterion"]] = StoredGrade(record["score"])
    elif kind in ("answer", "spent"):
        progress.lost.pop(call, None)
        progress.spent_nano += record["nano"]
        if kind == "answer":
            digest, tier = record["key"]
            progress.answers[digest, tier] = StoredAnswer(record["text"], record["cost_nano"])
    else:
        raise ValueError(f"kind {kind!r}")
    return call

"""A folder of bundles of which one is current: promoted and rolled back by renaming a link, every step in a journal.

STORE/bundles/<revision>/   bundles, never changed once they are there
STORE/current               a link to the one that decides; `turnout serve --bundle STORE/current`
STORE/challenger            a link to the one that scores unseen; `turnout serve --challenger STORE/challenger`
STORE/journal.jsonl         a line a step
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from turnout_fastpath.bundle import Bundle, BundleError, load_bundle

CURRENT = "current"
CHALLENGER = "challenger"


class Step(StrEnum):
    """What a line of the journal records."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    CHALLENGED = "challenged"
    CHALLENGE_ENDED = "challenge_ended"


class StoreError(ValueError):
    """The store cannot do what it is asked; the message says why."""


@dataclass(frozen=True)
class Entry:
    """A line of the journal.

    Attributes:
        step: what was done.
        at: UTC, ISO 8601.
        who: the user who did it.
        revision: of the bundle that the link names since; empty where it names none.
        replaced: of the bundle that it named before; empty where it named none.
        gate: the gate's record, None where there was none.
        forced: why it was done without a passed gate; empty where it was not.
    """

    step: Step
    at: str
    who: str
    revision: str
    replaced: str
    gate: dict[str, Any] | None = None
    forced: str = ""


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class BundleStore:
    """The store in one folder. Steps of several processes follow one another by a lock on the journal."""

    def __init__(self, folder: Path, clock: Callable[[], datetime.datetime] = _utc_now) -> None:
        """Uses `folder`, which the first step makes; `clock` dates the journal's lines."""
        self.folder = folder
        self._clock = clock
        self._journal = folder / "journal.jsonl"

    def current_revision(self) -> str | None:
        """Revision of the bundle that decides; None if there is none yet."""
        return self._linked(CURRENT)

    def challenger_revision(self) -> str | None:
        """Revision of the challenger; None if there is none."""
        return self._linked(CHALLENGER)

    def history(self) -> list[Entry]:
        """The journal, oldest first.

        Raises:
            StoreError: a line is no entry.
        """
        entries = []
        lines = self._journal.read_text(encoding="utf-8").splitlines() if self._journal.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                fields = json.loads(line)
                entries.append(Entry(**fields | {"step": Step(fields["step"])}))
            except (ValueError, TypeError, KeyError) as error:
                raise StoreError(f"{self._journal}:{number}: no entry: {error}") from error
        return entries

    def promote(
        self, bundle: Bundle, *, who: str, gate: dict[str, Any] | None = None, forced: str = ""
    ) -> Entry:
        """Makes a bundle the current one. Whether it may be is for the caller to know.

        Raises:
            StoreError: it is the current one already.
            OSError: the store cannot be written.
        """
        with self._locked():
            if self.current_revision() == bundle.revision.hex():
                raise StoreError(f"revision {bundle.revision.hex()} is current already")
            self._add(bundle)
            return self._point(CURRENT, Step.PROMOTED, bundle.revision.hex(), who, gate=gate, forced=forced)

    def rollback(self, *, who: str) -> Entry:
        """Makes the bundle current that was so before the current one was promoted.

        Raises:
            StoreError: there is none, or it cannot be used any more.
        """
        with self._locked():
            standing = self._standing()
            if len(standing) < 2:
                raise StoreError(
                    f"{self.folder}: nothing to go back to; the current bundle is the first"
                    if standing
                    else f"{self.folder}: nothing was promoted yet"
                )
            target = standing[-2]
            try:
                load_bundle(self._place(target))
            except BundleError as error:
                raise StoreError(f"cannot go back to revision {target}: {error}") from error
            return self._point(CURRENT, Step.ROLLED_BACK, target, who)

    def challenge(self, bundle: Bundle, *, who: str) -> Entry:
        """Makes a bundle the challenger."""
        with self._locked():
            self._add(bundle)
            return self._point(CHALLENGER, Step.CHALLENGED, bundle.revision.hex(), who)

    def end_challenge(self, *, who: str) -> Entry:
        """Takes the challenger away.

        Raises:
            StoreError: there is none.
        """
        with self._locked():
            if self.challenger_revision() is None:
                raise StoreError(f"{self.folder}: there is no challenger")
            return self._point(CHALLENGER, Step.CHALLENGE_ENDED, "", who)

    def _standing(self) -> list[str]:
        """Revisions that promotions left, the current one last.

        A step is journalled before its link is renamed, and a process may end in between: a line counts only if what
        came after it, the next line or the link itself, found its bundle current.
        """
        steps = [entry for entry in self.history() if entry.step in (Step.PROMOTED, Step.ROLLED_BACK)]
        found_after = [*(entry.replaced for entry in steps[1:]), self.current_revision() or ""]
        standing: list[str] = []
        for entry, found in zip(steps, found_after, strict=False):
            if entry.revision != found:
                continue
            if entry.step is Step.PROMOTED:
                standing.append(entry.revision)
            else:
                standing.pop()
        return standing

    def _point(
        self,
        link: str,
        step: Step,
        revision: str,
        who: str,
        *,
        gate: dict[str, Any] | None = None,
        forced: str = "",
    ) -> Entry:
        at = self._clock().isoformat(timespec="seconds")
        entry = Entry(step, at, who, revision, self._linked(link) or "", gate, forced)
        self._record(entry)
        path = self.folder / link
        if revision:
            fresh = self.folder / f"{link}.partial"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(Path("bundles") / revision, target_is_directory=True)
            fresh.replace(path)
        else:
            path.unlink()
        _sync(self.folder)
        return entry

    def _record(self, entry: Entry) -> None:
        line = json.dumps(entry.__dict__, ensure_ascii=False) + "\n"
        with self._journal.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _add(self, bundle: Bundle) -> None:
        """Copies a bundle in, unless its revision is here and whole."""
        place = self._place(bundle.revision.hex())
        if place.exists():
            with contextlib.suppress(BundleError):
                load_bundle(place)
                return
        fresh = place.with_name(place.name + ".partial")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name in ("manifest.json", *bundle.manifest["files"]):
            shutil.copyfile(bundle.path / name, fresh / name)
        if load_bundle(fresh).revision != bundle.revision:
            raise StoreError(f"{bundle.path} changed while it was copied")
        if place.exists():
            shutil.rmtree(place)
        fresh.rename(place)
        _sync(place.parent)

    def _place(self, revision: str) -> Path:
        return self.folder / "bundles" / revision

    def _linked(self, link: str) -> str | None:
        path = self.folder / link
        return path.readlink().name if path.is_symlink() else None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _sync(folder: Path) -> None:
    """Makes names in a folder outlive a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

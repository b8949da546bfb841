"""Policy and bundle: read at the start, and again when their files change or a signal asks for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from turnout_fastpath import BundleError, PolicyDocumentError, PolicyError, Snapshot, StateBlock, load_policy
from turnout_fastpath import compile_snapshot as compile_core
from turnout_fastpath.bundle import DEFAULT_BUNDLE
from turnout_fastpath.policy_document import DEFAULT_POLICY

from turnout_server.grading_tasks import find_unknown_tasks
from turnout_server.observability.logs import describe_cause, get_logger
from turnout_server.observability.metrics import RELOADS, Metrics
from turnout_server.routing import revisions_of

# Modification time in nanoseconds, size, inode: of writing in place, copying and renaming, none escapes all.
FileMark = tuple[int, int, int] | None
Marks = tuple[FileMark, FileMark]


class ConfigurationError(ValueError):
    """Policy or bundle cannot be used; one line per defect."""


class ReloadResult(StrEnum):
    """What came of reading policy and bundle again."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Source:
    """Where policy and bundle are; None means what ships with the package."""

    policy: Path | None = None
    bundle: Path | None = None

    def compile(self, state: StateBlock) -> Snapshot:
        """Reads, checks and compiles both.

        Raises:
            ConfigurationError: says what is wrong with which file.
        """
        document = self.document()
        try:
            snapshot = compile_core(self.bundle, document, state)
        except PolicyError as error:
            raise ConfigurationError(f"{self.policy or DEFAULT_POLICY}: {error}") from error
        except BundleError as error:
            raise ConfigurationError(str(error)) from error
        except KeyError as error:
            raise ConfigurationError(f"{self._manifest()}: no field {error}") from error
        except (ValueError, RuntimeError) as error:
            # What one of the core's kernels says of its own part.
            raise ConfigurationError(f"{self.bundle or DEFAULT_BUNDLE}: {error}") from error
        if unknown := find_unknown_tasks(document, snapshot.bundle.tasks):
            raise ConfigurationError(
                "\n".join(f"{self.policy or DEFAULT_POLICY}: {line}" for line in unknown)
            )
        return snapshot

    def document(self) -> dict[str, Any]:
        """The resolved policy document.

        Raises:
            ConfigurationError: the policy file cannot be used.
        """
        if self.policy is None:
            # The shipped policy, resolved when the package was built: no YAML, no pydantic.
            try:
                return load_policy(None)
            except PolicyDocumentError as error:
                raise ConfigurationError(str(error)) from error
        from turnout_server.policy_file import PolicyFileError, load_policy_file, resolve

        try:
            return resolve(load_policy_file(self.policy))
        except PolicyFileError as error:
            raise ConfigurationError(str(error)) from error

    def marks(self) -> Marks:
        """What tells that a file is another than it was."""
        return _mark(self.policy or DEFAULT_POLICY), _mark(self._manifest())

    def _manifest(self) -> Path:
        return (self.bundle or DEFAULT_BUNDLE) / "manifest.json"


class Installs(Protocol):
    """What decides with a snapshot."""

    @property
    def snapshot(self) -> Snapshot:
        """What decisions are made with now."""

    async def install(self, snapshot: Snapshot) -> None:
        """Swaps it."""


class Reloader:
    """Keeps a snapshot up with the files; what is broken changes nothing, but is logged, counted."""

    def __init__(self, source: Source, marks: Marks, decider: Installs, metrics: Metrics) -> None:
        """Watches `source`, whose files bore `marks` before the decider's snapshot was read from them."""
        self._source = source
        self._decider = decider
        self._metrics = metrics
        self._marks = marks
        self._lock = asyncio.Lock()

    async def watch(self, poll_s: float) -> None:
        """Looks for changed files every `poll_s` seconds, until cancelled."""
        while True:
            await asyncio.sleep(poll_s)
            await self.look()

    async def look(self) -> ReloadResult | None:
        """Reloads if a file changed since it was read last; None if none has."""
        if await asyncio.to_thread(self._source.marks) == self._marks:
            return None
        return await self.reload()

    async def reload(self) -> ReloadResult:
        """Reads, checks and compiles in a thread, then swaps."""
        async with self._lock:
            # Before the files are read: a change while they are read is then seen at the next look.
            self._marks = await asyncio.to_thread(self._source.marks)
            result = await self._reload()
        self._metrics.count(RELOADS, result).add()
        return result

    async def _reload(self) -> ReloadResult:
        log = get_logger()
        before = self._decider.snapshot
        try:
            snapshot = await asyncio.to_thread(self._source.compile, before.state)
        except ConfigurationError as error:
            log.error("config_rejected", defects=str(error).splitlines())
            return ReloadResult.REJECTED
        except Exception as error:
            # A file that breaks the reader itself must not end the watch.
            log.error("config_rejected", defects=["the files cannot be read"], **describe_cause(error))
            return ReloadResult.REJECTED
        policy, bundle, features = revisions_of(snapshot)
        if (policy, bundle, features) == revisions_of(before):
            log.info("config_unchanged", policy_revision=policy, bundle_revision=bundle)
            return ReloadResult.UNCHANGED
        await self._decider.install(snapshot)
        log.info("config_accepted", policy_revision=policy, bundle_revision=bundle)
        return ReloadResult.ACCEPTED


def _mark(path: Path) -> FileMark:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

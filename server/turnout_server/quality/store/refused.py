"""Costs that the database refuses, in files beside the journal, until somebody has seen to it.

A cost is never thrown away: one that cannot be stored, since its row breaks a rule of the database or its record is no
JSON, goes into a file `.refused` of the journal's own records. `turnout store check` tells of them, and `turnout store
reread` tries them again. What of a journal cannot be read at all is kept as it is, as `.damaged`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from turnout_server.quality.store.journal import DAMAGED, frame, read_frames

REFUSED = ".refused"


def set_aside(folder: Path, records: Iterable[bytes]) -> Path:
    """Writes records into a new file, whole and on disk when this returns.

    Raises:
        OSError: the folder cannot be written, or the disk is full; nothing is left there.
    """
    path = folder / f"{uuid.uuid4().hex}{REFUSED}"
    making = path.with_suffix(".making")
    try:
        with os.fdopen(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(map(frame, records))
            file.flush()
            os.fsync(file.fileno())
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)
    return path


def refused_files(folder: Path) -> list[Path]:
    """Files of refused costs."""
    return sorted(folder.glob(f"*{REFUSED}"))


def damaged_files(folder: Path) -> list[Path]:
    """Journals that cannot be read to their end."""
    return sorted(folder.glob(f"*{DAMAGED}"))


def read_refused(path: Path) -> list[bytes]:
    """The records of a file of refused costs."""
    return read_frames(path.read_bytes())[0]

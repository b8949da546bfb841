"""Where the workers of a machine share their live state."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from turnout_server.settings import Settings

SHARED_MEMORY = Path("/dev/shm")


def create_state_file(settings: Settings, shared_memory: Path = SHARED_MEMORY) -> Path | None:
    """The file of the live state; None where private memory will do.

    A file that the settings do not name is created empty, under a name that nobody can guess and for its
    owner alone, since the folder is open to all. The caller removes it once the last worker has ended.
    """
    if settings.state is not None or (settings.workers == 1 and settings.decision_port is None):
        return settings.state
    usable = shared_memory.is_dir() and os.access(shared_memory, os.W_OK | os.X_OK)
    handle, name = tempfile.mkstemp(prefix="turnout-state-", dir=shared_memory if usable else None)
    os.close(handle)
    return Path(name)

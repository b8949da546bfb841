"""Costs that are not in the database yet, in files that outlive the process.

A record is copied into a file that is mapped into memory: no system call on the caller's path, and yet the kernel keeps
what was copied when the process is killed. Files are written one after the other, each of a fixed size that is reserved
on disk when it is made; one whose records are all in the database is deleted. A process holds a lock on its files, so
that whoever opens the folder later knows which are left over and takes them in.

A record is its length and its CRC-32, 4 bytes each, little-endian, and its bytes. The length is written last: a record
that was cut off by a kill is not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import threading
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

FILE_BYTES = 1 << 20
MAX_FILES = 1024
"""With FILE_BYTES: 1 GiB, some three million costs."""
_SUFFIX = ".journal"
DAMAGED = ".damaged"
"""Of a journal that has bytes where the next record should begin, and are none: it stays for people to look at."""
_LENGTH = struct.Struct("<I")
_HEAD = 8


class JournalFullError(RuntimeError):
    """The limit of files is reached: the database has not taken costs for long."""


class _File:
    """One file. `used` and `done` are offsets: of the next record, and of the first that is not in the database."""

    def __init__(self, folder: Path, size: int) -> None:
        stem = folder / uuid.uuid4().hex
        making = stem.with_suffix(".making")
        self.path = stem.with_suffix(_SUFFIX)
        self.descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # Reserved, since a mapped page without a place on a full disk would end the process.
            os.posix_fallocate(self.descriptor, 0, size)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            self.map = mmap.mmap(self.descriptor, size)
            making.rename(self.path)
        except BaseException:
            os.close(self.descriptor)
            making.unlink(missing_ok=True)
            raise
        self.size = size
        self.used = 0
        self.done = 0

    def fits(self, payload: bytes) -> bool:
        return self.used + _HEAD + len(payload) <= self.size

    def append(self, payload: bytes) -> None:
        at, end = self.used, self.used + _HEAD + len(payload)
        framed = frame(payload)
        self.map[at + 4 : end] = framed[4:]
        self.map[at : at + 4] = framed[:4]
        self.used = end

    def close(self, *, delete: bool) -> None:
        if delete:
            self.path.unlink(missing_ok=True)
        self.map.close()
        os.close(self.descriptor)


class Journal:
    """The costs of this process that are not in the database yet. Any thread may append; one reads."""

    def __init__(self, folder: Path, *, file_bytes: int = FILE_BYTES, max_files: int = MAX_FILES) -> None:
        """Makes the folder and a first file.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        self._folder = folder
        self._file_bytes = file_bytes
        self._max_files = max_files
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [_File(folder, file_bytes)]
        self._spare: _File | None = None

    def append(self, payload: bytes) -> None:
        """Keeps a record; once this returns, a kill does not lose it.

        Raises:
            JournalFullError: the limit of files is reached.
            OSError: the disk is full.
            ValueError: the record is larger than a file.
        """
        if len(payload) + _HEAD > self._file_bytes:
            raise ValueError(f"a record of {len(payload)} bytes, limit: {self._file_bytes - _HEAD}")
        with self._lock:
            if not self._files[-1].fits(payload):
                if len(self._files) >= self._max_files:
                    raise JournalFullError(f"{self._max_files} files of {self._file_bytes} bytes are full")
                self._files.append(self._spare or _File(self._folder, self._file_bytes))
                self._spare = None
            self._files[-1].append(payload)

    def prepare(self) -> None:
        """Makes the next file, so that no caller has to; for the thread that reads."""
        with self._lock:
            wanted = self._spare is None and self._files[-1].used > self._file_bytes // 2
        if wanted:
            made = _File(self._folder, self._file_bytes)
            with self._lock:
                self._spare = made

    def read(self, limit: int) -> tuple[list[bytes], int]:
        """Up to `limit` records that are not marked as done, oldest first, and what to give to `mark_done`."""
        payloads: list[bytes] = []
        with self._lock:
            ends = [(file, file.done, file.used) for file in self._files]
        for file, start, end in ends:
            at = start
            while at < end and len(payloads) < limit:
                payload = _read(file.map, at)
                if payload is None:
                    break
                payloads.append(payload)
                at += _HEAD + len(payload)
        return payloads, sum(_HEAD + len(payload) for payload in payloads)

    def mark_done(self, size: int) -> None:
        """The oldest records, of that size together, are in the database; files of which all are go."""
        with self._lock:
            for file in list(self._files):
                taken = min(size, file.used - file.done)
                file.done += taken
                size -= taken
                if file.done == file.used and file is not self._files[-1]:
                    self._files.remove(file)
                    file.close(delete=True)

    @property
    def pending_bytes(self) -> int:
        """Size of the records that are not done."""
        with self._lock:
            return sum(file.used - file.done for file in self._files)

    def close(self) -> None:
        """Closes the files; those with records that are not done stay for whoever opens the folder next."""
        with self._lock:
            for file in [*self._files, *([self._spare] if self._spare else ())]:
                file.close(delete=file.done == file.used)
            self._files, self._spare = [], None


@contextlib.contextmanager
def adopt(path: Path) -> Iterator[list[bytes] | None]:
    """The records of a file that another process left; None if a process still holds it.

    The file is deleted at the end of the block, unless the block raises; one that is damaged is renamed instead.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        records, is_damaged = read_frames(path.read_bytes())
        yield records
        if is_damaged:
            path.rename(path.with_suffix(DAMAGED))
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def left_over(folder: Path) -> list[Path]:
    """Files of a folder, those in use too."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def frame(payload: bytes) -> bytes:
    """A record as it lies in a file."""
    return _LENGTH.pack(len(payload)) + _LENGTH.pack(zlib.crc32(payload)) + payload


def read_frames(raw: bytes) -> tuple[list[bytes], bool]:
    """The records of a file, and whether it is damaged behind the last of them.

    A kill leaves no length before its record is whole; a length without its record is damage.
    """
    at, payloads = 0, []
    while (payload := _read(raw, at)) is not None:
        payloads.append(payload)
        at += _HEAD + len(payload)
    return payloads, any(raw[at : at + 4])


def _read(raw: bytes | mmap.mmap, at: int) -> bytes | None:
    if at + _HEAD > len(raw):
        return None
    (length,) = _LENGTH.unpack(raw[at : at + 4])
    payload = raw[at + _HEAD : at + _HEAD + length]
    if not length or len(payload) < length or _LENGTH.pack(zlib.crc32(payload)) != raw[at + 4 : at + 8]:
        return None
    return payload

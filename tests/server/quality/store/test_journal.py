"""The journal against a list: what was appended is read, in order, until it is marked as done."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from turnout_server.quality.store.journal import Journal, JournalFullError, adopt, left_over

payloads = st.binary(min_size=1, max_size=60)


class AgainstAList(RuleBasedStateMachine):
    """Files of 128 bytes, so that every few records begin a new one."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.journal = Journal(Path(self.folder.name), file_bytes=128)
        self.model: list[bytes] = []

    @rule(payload=payloads)
    def append(self, payload: bytes) -> None:
        self.journal.append(payload)
        self.model.append(payload)

    @rule(limit=st.integers(1, 9))
    def take(self, limit: int) -> None:
        found, size = self.journal.read(limit)
        assert found == self.model[:limit]
        self.journal.mark_done(size)
        del self.model[: len(found)]

    @rule()
    def prepare(self) -> None:
        self.journal.prepare()

    @invariant()
    def pending(self) -> None:
        assert self.journal.pending_bytes == sum(8 + len(payload) for payload in self.model)

    def teardown(self) -> None:
        self.journal.close()
        found = []
        for path in left_over(Path(self.folder.name)):
            with adopt(path) as records:
                assert records is not None
                found += records
        # Those of a file that were done before stay with it: whoever takes them in writes each once.
        assert set(self.model) <= set(found)
        assert not left_over(Path(self.folder.name))
        self.folder.cleanup()


AgainstAList.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAgainstAList = AgainstAList.TestCase


def test_a_file_in_use_is_not_taken(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"mine")
    (path,) = left_over(tmp_path)
    with adopt(path) as records:
        assert records is None
    journal.close()
    with adopt(path) as records:
        assert records == [b"mine"]
    assert left_over(tmp_path) == []
    with adopt(path) as records:
        assert records is None


def test_what_could_not_be_taken_in_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(b"mine")
    journal.close()
    (path,) = left_over(tmp_path)

    def take() -> None:
        with adopt(path) as records:
            assert records == [b"mine"]
            raise RuntimeError("no database")

    with pytest.raises(RuntimeError):
        take()
    assert left_over(tmp_path) == [path]


def test_a_record_that_was_cut_off_is_not_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path, file_bytes=4096)
    journal.append(b"whole")
    journal.append(b"second")
    journal.close()
    (path,) = left_over(tmp_path)
    raw = bytearray(path.read_bytes())
    for change in (slice(13, 17), slice(22, 23)):
        broken = bytearray(raw)
        broken[change] = bytes(len(broken[change]))
        path.write_bytes(broken)
        with adopt(path) as records:
            assert records == [b"whole"]
    path.write_bytes(b"\xff" * 100)
    with adopt(path) as records:
        assert records == []


def test_the_limits_are_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path, file_bytes=64, max_files=2)
    with pytest.raises(ValueError, match="a record of 57 bytes, limit: 56"):
        journal.append(b"x" * 57)
    journal.append(b"x" * 56)
    journal.append(b"y" * 56)
    with pytest.raises(JournalFullError, match="2 files of 64 bytes are full"):
        journal.append(b"z")
    found, size = journal.read(1)
    journal.mark_done(size)
    journal.append(b"z")
    assert found + journal.read(9)[0] == [b"x" * 56, b"y" * 56, b"z"]
    journal.close()


def test_many_threads_append_every_record_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path, file_bytes=4096)
    read: list[bytes] = []

    def write(name: int) -> None:
        for number in range(500):
            journal.append(b"%d-%d" % (name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or journal.pending_bytes:
        found, size = journal.read(64)
        read += found
        journal.mark_done(size)
        journal.prepare()
    assert sorted(read) == sorted(b"%d-%d" % (name, number) for name in range(4) for number in range(500))
    for name in range(4):
        mine = [int(record.partition(b"-")[2]) for record in read if record.startswith(b"%d-" % name)]
        assert mine == list(range(500))
    journal.close()
    assert left_over(tmp_path) == []


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        journal = Journal(tmp_path, file_bytes=64)
        for _ in range(10):
            journal.append(b"x" * 40)
        journal.prepare()
        journal.mark_done(journal.read(99)[1])
        journal.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert left_over(tmp_path) == []

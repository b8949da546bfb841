"""Stores to test: a SQLite file, and a real PostgreSQL server that lives as long as the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from turnout_server.quality.store.place import Place, find_place
from turnout_server.quality.store.store import Options, OutcomeStore


def _find_binaries() -> Path | None:
    """Debian keeps initdb and postgres beside each other, out of the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a server of our own, on loopback, in a temporary folder, run by a user without privileges."""
    binaries = _find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    # Its server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="turnout-pg-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        if user is not None:
            shutil.chown(folder, user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        initdb = [
            str(binaries / "initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "turnout",
            "--auth=trust",
            "-E",
            "UTF8",
            "-N",
        ]
        subprocess.run(initdb, check=True, user=user, capture_output=True, cwd=folder, timeout=120)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off"}
        command = [str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as output:
            process = subprocess.Popen(command, user=user, stdout=output, stderr=output, cwd=folder)
        _wait_until_ready(port, process, folder / "log")
        yield f"postgresql://turnout@127.0.0.1:{port}/postgres"
    finally:
        if process is not None:
            process.terminate()
            process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    engine = create_engine(f"postgresql+psycopg://turnout@127.0.0.1:{port}/postgres")
    while True:
        try:
            with engine.connect():
                break
        except Exception:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store's place; each test on both kinds."""
    if request.param == "sqlite":
        found = find_place(str(tmp_path / "outcomes.db"))
    else:
        address: str = request.getfixturevalue("postgres")
        engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
        engine.dispose()
        found = find_place(address, {"XDG_STATE_HOME": str(tmp_path)})
    assert found is not None
    return found


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    found = find_place(str(tmp_path / "outcomes.db"))
    assert found is not None
    return found


@pytest.fixture
def open_store() -> Iterator[Callable[..., OutcomeStore]]:
    """Opens stores, and closes them at the end."""
    opened: list[OutcomeStore] = []

    def open_one(place: Place, **options: object) -> OutcomeStore:
        store = OutcomeStore(place, Options(**{"flush_s": 0.02} | options))  # type: ignore[arg-type]
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        with contextlib.suppress(Exception):
            store.close(1.0)

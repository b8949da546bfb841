"""Health, reflection and drain."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from turnout.v1.routing_pb2 import RouteRequest, RouteStreamRequest
from turnout_server.doors.door import EOF
from turnout_server.doors.server import MainPort
from turnout_server.observability.metrics import Metrics
from turnout_server.serving import Service
from turnout_server.settings import Settings

from tests.server.conftest import Running, started
from tests.server.rich_errors import RichError, decode, failure_of

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("", "turnout.v1.RoutingService", "turnout.v1.CompletionService")


def health(running: Running) -> Any:
    return health_pb2_grpc.HealthStub(running.channel)


async def status(running: Running, service: str = "") -> int:
    reply = await health(running).Check(health_pb2.HealthCheckRequest(service=service))
    return int(reply.status)


async def test_serving_only_after_the_warm_up(settings: Settings, log: object) -> None:
    async with started(settings, opened=False) as running:
        for service in SERVICES:
            assert await status(running, service) == NOT_SERVING
        watch = health(running).Watch(health_pb2.HealthCheckRequest(service=SERVICES[1]))
        assert (await watch.read()).status == NOT_SERVING
        await running.service.port.open()
        assert (await watch.read()).status == SERVING
        for service in SERVICES:
            assert await status(running, service) == SERVING
        listed = await health(running).List(health_pb2.HealthListRequest())
        assert {name: reply.status for name, reply in listed.statuses.items()} == dict.fromkeys(
            SERVICES, SERVING
        )
        watch.cancel()


async def test_a_failed_warm_up_is_no_service(
    settings: Settings, log: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError

    async with started(settings, opened=False) as running:
        monkeypatch.setattr(running.service.router, "decide_uncounted", fail)
        with pytest.raises(RuntimeError):
            await running.service.port.open()
        assert await status(running) == NOT_SERVING


async def test_an_unknown_service_has_no_health(running: Running) -> None:
    check = health(running).Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert (await failure_of(check)).code == StatusCode.NOT_FOUND


async def test_health_is_told_at_the_admission_limit(settings: Settings, log: object) -> None:
    async with started(dataclasses.replace(settings, max_in_flight=1)) as running:
        stream = running.stub.RouteStream()
        await stream.write(RouteStreamRequest(request=RouteRequest(prompt="a")))
        await stream.read()
        assert await status(running) == SERVING
        stream.cancel()


async def test_reflection(running: Running) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    reply = await call.read()
    names = {service.name for service in reply.list_services_response.service}
    assert names == {
        "turnout.v1.CompletionService",
        "turnout.v1.RoutingService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol="turnout.v1.RouteRequest"))
    assert (await call.read()).file_descriptor_response.file_descriptor_proto
    await call.done_writing()


async def test_reflection_can_be_off(settings: Settings, log: object) -> None:
    async with started(dataclasses.replace(settings, reflection=False)) as running:
        stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
        call = stub.ServerReflectionInfo()
        assert (await failure_of(call.read())).code == StatusCode.UNIMPLEMENTED


class Held:
    """A sleep that lasts until it is let go."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.began = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.began.set()
        await self.released.wait()


async def test_drain(settings: Settings, log: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health first; then new requests are refused while those in flight finish."""
    held = Held()
    original = MainPort.__init__

    def with_held_sleep(self: MainPort, *args: Any, **keywords: Any) -> None:
        original(self, *args, **keywords, sleep=held)

    monkeypatch.setattr(MainPort, "__init__", with_held_sleep)
    async with started(dataclasses.replace(settings, drain_grace_s=3.5)) as running:
        stream = running.stub.RouteStream()
        item = RouteStreamRequest(request=RouteRequest(prompt="hello"))
        await stream.write(item)
        await stream.read()
        watch = health(running).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING

        drain = asyncio.create_task(running.service.port.drain())
        await held.began.wait()
        assert held.asked == [3.5]
        assert (await watch.read()).status == NOT_SERVING
        # In the grace, load balancers may not have looked yet: what comes is decided.
        await running.stub.Route(RouteRequest(prompt="hello"))

        held.released.set()
        rich = await until_refused(running)
        assert (rich.code, rich.reason) == (StatusCode.UNAVAILABLE, "NOT_SERVING")
        assert rich.retry_s is not None
        # In flight all the while.
        await stream.write(item)
        assert (await stream.read()).result.response.tier
        assert not drain.done()
        await stream.done_writing()
        assert await stream.read() is EOF
        assert await stream.code() == StatusCode.OK
        watch.cancel()
        await asyncio.wait_for(drain, 10)


async def until_refused(running: Running) -> RichError:
    async with asyncio.timeout(10):
        while True:
            try:
                await running.stub.Route(RouteRequest(prompt="hello"))
            except grpc.aio.AioRpcError as error:
                return decode(error)


async def test_a_drain_ends_though_a_call_does_not(settings: Settings, log: object) -> None:
    async with started(dataclasses.replace(settings, drain_s=0.05)) as running:
        stream = running.stub.RouteStream()
        await stream.write(RouteStreamRequest(request=RouteRequest(prompt="hello")))
        await stream.read()
        await asyncio.wait_for(running.service.port.drain(), 10)
        assert await stream.code() != StatusCode.OK


async def test_run_serves_until_it_is_stopped(settings: Settings, log: object) -> None:
    service = Service(settings)
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def on_ready(port: int) -> None:
        ready.set_result(port)

    run = asyncio.create_task(service.run(stop, on_ready))
    port = await asyncio.wait_for(ready, 10)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert reply.status == SERVING
    stop.set()
    await asyncio.wait_for(run, 10)
    assert not service.port.health.is_serving


def test_metrics_are_per_service() -> None:
    assert Metrics().sums() == Metrics().sums()

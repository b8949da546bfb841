"""`Route` over gRPC beside an echo of the same messages: CPU a call, calls a second, latency.

The arms take turns in every round, each given the same request bytes by h2load.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from turnout.v1 import routing_pb2, routing_pb2_grpc
from turnout_fastpath import Engine

from bench import h2load
from bench.machine import describe_machine
from bench.prompts import TWENTY_WORDS, data_folder, load_prompts
from bench.sampling import condense, figure, quantile, spread
from bench.servers import Server, echo_command, running, turnout_command

ROUTE, ECHO, LEAN_ECHO = "route", "echo", "lean echo"
# Calls under way: connections and streams on each.
CONCURRENCY = {1: (1, 1), 8: (8, 1), 64: (8, 8)}
MAIN_CLASS = "32"
OTHER_CLASSES = (TWENTY_WORDS, "128", "256", "512", "2048")
DEADLINE_S = 10
WARM_UP_CALLS = 200
LEAST_CALLS = 64
LATENCY_POINTS = 101
# `decision_ns` takes two to four bytes.
SIZE_TOLERANCE_BYTES = 3.0


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        main_rounds: at 32 pieces, with both echoes.
        other_rounds: at other lengths.
        seconds: of one arm's turn.
    """

    main_rounds: int
    other_rounds: int
    main_seconds: float
    other_seconds: float


FULL = Plan(main_rounds=7, other_rounds=3, main_seconds=1.2, other_seconds=0.6)
QUICK = Plan(main_rounds=2, other_rounds=1, main_seconds=0.3, other_seconds=0.1)


class WrongAnswerError(AssertionError):
    """A server answered otherwise than it must."""


class Bodies:
    """The request files of one class of prompts, and what is answered to them."""

    def __init__(self, folder: Path, engine: Engine, prompts: Sequence[str]) -> None:
        self.prompts = prompts
        self.requests = [routing_pb2.RouteRequest(prompt=prompt) for prompt in prompts]
        self.digests = [engine.route(prompt).digest for prompt in prompts]
        self.files = []
        for number, request in enumerate(self.requests):
            path = folder / f"request{number}.bin"
            path.write_bytes(h2load.frame(request.SerializeToString()))
            self.files.append(path)


def run(*, quick: bool) -> dict[str, Any]:
    """Measures everything; two to three minutes, about 20 seconds if `quick`.

    Raises:
        WrongAnswerError: a server's answer is wrong; nothing is reported then.
        LoadError: a call failed.
        ServerError: a server did not start.
    """
    plan = QUICK if quick else FULL
    machine = describe_machine([("h2load", "--version")])
    prompts = load_prompts(max(plan.main_rounds, 8), data_folder())
    engine = Engine.load()
    cells = []
    with tempfile.TemporaryDirectory(prefix="turnout-bench-") as name:
        folder = Path(name)
        with running(turnout_command(), folder / "turnout.log") as route:
            for prompt_class in (MAIN_CLASS, *OTHER_CLASSES):
                is_main = prompt_class == MAIN_CLASS
                rounds = plan.main_rounds if is_main else plan.other_rounds
                bodies = Bodies(folder, engine, prompts.classes[prompt_class][:rounds])
                with _echoes(folder, bodies, route, with_lean=is_main) as echoes:
                    servers = {ROUTE: route, **echoes}
                    seconds = plan.main_seconds if is_main else plan.other_seconds
                    cells += _measure_class(prompt_class, servers, bodies, seconds)
    return {
        "bench": "rpc",
        "quick": quick,
        "machine": machine,
        "bundle_revision": engine.snapshot.bundle.revision.hex(),
        "prompts": prompts.describe(),
        "cells": cells,
    }


@contextlib.contextmanager
def _echoes(folder: Path, bodies: Bodies, route: Server, *, with_lean: bool) -> Iterator[dict[str, Server]]:
    """Echo servers whose answer is our server's to the first prompt: the same size, or a few bytes off."""
    answer = _ask(route, bodies.requests[:1])[0]
    path = folder / "response.bin"
    path.write_bytes(answer.SerializeToString())
    with contextlib.ExitStack() as stack:
        echoes = {}
        for name, lean in ((ECHO, False), (LEAN_ECHO, True))[: 1 + with_lean]:
            command = echo_command(path, lean=lean)
            echoes[name] = stack.enter_context(running(command, folder / f"{name.replace(' ', '_')}.log"))
        yield echoes


def _measure_class(
    prompt_class: str, servers: dict[str, Server], bodies: Bodies, seconds: float
) -> list[dict[str, Any]]:
    """One cell for every concurrency."""
    sizes = _check_answers(servers, bodies)
    cells = []
    for concurrency, (clients, streams) in CONCURRENCY.items():
        calls = {}
        for name, server in servers.items():
            warm = h2load.drive(
                server.port, bodies.files[0], calls=WARM_UP_CALLS, clients=clients, streams=streams
            )
            calls[name] = max(LEAST_CALLS, int(warm.calls_per_s * seconds))
        rounds: list[dict[str, dict[str, float]]] = []
        latencies: dict[str, list[Any]] = {name: [] for name in servers}
        order = list(servers)
        for number, body in enumerate(bodies.files):
            row = {}
            for name in order:
                server = servers[name]
                cpu = server.cpu_ns()
                done = h2load.drive(server.port, body, calls=calls[name], clients=clients, streams=streams)
                cpu = server.cpu_ns() - cpu
                expected = sizes[name][number]
                if abs(done.message_bytes - expected) > SIZE_TOLERANCE_BYTES:
                    raise WrongAnswerError(
                        f"{name}, class {prompt_class!r}: answers of {done.message_bytes:.1f} bytes, "
                        f"expected {expected}"
                    )
                latencies[name].append(done.latencies_us)
                row[name] = _describe(done, cpu)
            rounds.append(row)
            order.append(order.pop(0))
        cells.append(
            {
                "class": prompt_class,
                "concurrency": concurrency,
                "connections": clients,
                "streams_a_connection": streams,
                "request_bytes": [len(request.SerializeToString()) for request in bodies.requests],
                "response_bytes": sizes,
                "arms": {
                    name: _summarise([row[name] for row in rounds], latencies[name]) for name in servers
                },
                "cpu_ratio": {
                    f"{ROUTE} / {name}": spread(
                        [row[ROUTE]["server_cpu_us"] / row[name]["server_cpu_us"] for row in rounds]
                    )
                    for name in servers
                    if name != ROUTE
                },
                "rounds": rounds,
            }
        )
    _check_answers(servers, bodies)
    return cells


def _describe(done: h2load.Run, cpu_ns: int) -> dict[str, float]:
    return {
        "calls": done.calls,
        "calls_per_s": figure(done.calls_per_s),
        "server_cpu_us": figure(cpu_ns / done.calls / 1000),
        "h2load_cpu_us": figure(done.own_cpu_s / done.calls * 1e6),
        "h2load_core_share": figure(done.own_cpu_s / done.seconds),
        "p50_us": quantile(done.latencies_us, 0.50),
        "p99_us": quantile(done.latencies_us, 0.99),
    }


def _summarise(rounds: list[dict[str, float]], latencies: list[Any]) -> dict[str, Any]:
    """Medians over the rounds, and the pooled latencies."""
    medians = {key: figure(float(np.median([row[key] for row in rounds]))) for key in rounds[0]}
    pooled = np.sort(np.concatenate(latencies))
    return {**medians, "calls": len(pooled), "latency_quantiles_us": condense(pooled, LATENCY_POINTS)}


def _check_answers(servers: dict[str, Server], bodies: Bodies) -> dict[str, list[int]]:
    """Asks every server every prompt with a real client, and returns the sizes of the answers.

    Raises:
        WrongAnswerError: our server decides otherwise than the engine in this process, or an echo echoes otherwise.
    """
    sizes = {}
    for name, server in servers.items():
        answers = _ask(server, bodies.requests)
        if name == ROUTE:
            for number, (answer, digest) in enumerate(zip(answers, bodies.digests, strict=True)):
                if answer.digest != digest:
                    raise WrongAnswerError(f"prompt {number}: digest {answer.digest}, in process {digest}")
        elif any(answer != answers[0] for answer in answers) or not answers[0].digest:
            raise WrongAnswerError(f"{name}: answers differ, or are none")
        sizes[name] = [answer.ByteSize() for answer in answers]
    return sizes


def _ask(server: Server, requests: Sequence[routing_pb2.RouteRequest]) -> list[routing_pb2.RouteResponse]:
    with grpc.insecure_channel(server.address) as channel:
        stub = routing_pb2_grpc.RoutingServiceStub(channel)
        return [stub.Route(request, timeout=DEADLINE_S, wait_for_ready=True) for request in requests]


def print_summary(result: dict[str, Any]) -> None:
    """The figures in short, for the terminal."""
    print("class    conc.  arm        calls/s  CPU us a call  p50 us   p99 us  h2load's core share")
    for cell in result["cells"]:
        for name, arm in cell["arms"].items():
            print(
                f"{cell['class']:8} {cell['concurrency']:4}  {name:9} {arm['calls_per_s']:8.0f} "
                f"{arm['server_cpu_us']:12.1f} {arm['p50_us']:9.0f} {arm['p99_us']:9.0f} "
                f"{arm['h2load_core_share']:9.2f}"
            )
        for name, ratio in cell["cpu_ratio"].items():
            print(f"{'':15}CPU {name}: {ratio['median']} ({ratio['min']} to {ratio['max']})")

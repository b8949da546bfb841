"""The servers that are given the same bytes: turnout's two ports, and echoes that decide nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from turnout.v1 import routing_pb2, routing_pb2_grpc
from turnout_fastpath import Engine

from bench.h2load import LoadError
from bench.load.generator import BUILD, MAKE
from bench.rpc import DEADLINE_S, WrongAnswerError
from bench.servers import Server, decision_command, echo_command, running, turnout_command

TURNOUT, MAIN_PORT = "decision port", "grpcio Route"
BARE, CPP, PYTHON = "nghttp2 echo", "C++ echo", "grpcio echo"
ARMS = (TURNOUT, BARE, CPP, PYTHON, MAIN_PORT)
# Answers differ by digest's and time's few bytes.
SIZE_TOLERANCE_BYTES = 64


@contextlib.contextmanager
def serving(folder: Path, prompts: Sequence[str]) -> Iterator[dict[str, Server]]:
    """All arms, up and checked. The echoes answer with the decision port's answer to the first prompt.

    Raises:
        LoadError: the compiled arms are not built.
        ServerError: one did not come up.
        WrongAnswerError: one answers wrongly.
    """
    compiled = {BARE: BUILD / "nghttp2_echo", CPP: BUILD / "grpc_echo"}
    for program in compiled.values():
        if not program.exists():
            raise LoadError(f"{program} is missing: {MAKE}")
    with contextlib.ExitStack() as stack:

        def start(name: str, command: list[str]) -> Server:
            return stack.enter_context(running(command, folder / f"{name.replace(' ', '_')}.log"))

        servers = {TURNOUT: start(TURNOUT, decision_command())}
        [answer] = ask(servers[TURNOUT], prompts[:1])
        response = folder / "response.bin"
        response.write_bytes(answer.SerializeToString())
        for name, program in compiled.items():
            servers[name] = start(name, [str(program), str(response)])
        servers[PYTHON] = start(PYTHON, echo_command(response, lean=False))
        servers[MAIN_PORT] = start(MAIN_PORT, turnout_command())
        check_answers(servers, prompts, answer)
        yield servers


def ask(server: Server, prompts: Sequence[str]) -> list[routing_pb2.RouteResponse]:
    """The answers to prompts, through a stock client."""
    with grpc.insecure_channel(server.address) as channel:
        stub = routing_pb2_grpc.RoutingServiceStub(channel)
        return [
            stub.Route(routing_pb2.RouteRequest(prompt=prompt), timeout=DEADLINE_S, wait_for_ready=True)
            for prompt in prompts
        ]


def check_answers(
    servers: dict[str, Server], prompts: Sequence[str], echoed: routing_pb2.RouteResponse
) -> None:
    """Both ports of turnout decide as the engine in this process does; the echoes answer what they were given.

    Raises:
        WrongAnswerError: they do not.
    """
    engine = Engine.load()
    digests = [engine.route(prompt).digest for prompt in prompts]
    for name, server in servers.items():
        answers = ask(server, prompts)
        if name in (TURNOUT, MAIN_PORT):
            for number, (answer, digest) in enumerate(zip(answers, digests, strict=True)):
                if answer.digest != digest:
                    raise WrongAnswerError(
                        f"{name}, prompt {number}: digest {answer.digest}, in process {digest}"
                    )
        elif any(answer != echoed for answer in answers):
            raise WrongAnswerError(f"{name}: not the answer that it was given")


def resident_mb(server: Server) -> float:
    """Resident memory of a server's process, MB."""
    for line in Path(f"/proc/{server.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    raise OSError(f"process {server.pid} says nothing of its memory")

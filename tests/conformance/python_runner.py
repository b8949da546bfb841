"""Runs cases through the Python client: `python -m tests.conformance.python_runner [--asyncio] cases.json`."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import turnout
from google.protobuf.message import Message
from grpc import StatusCode
from turnout import AsyncClient, Client, Decision, TurnoutError
from turnout.v1 import completion_pb2, routing_pb2

_KINDS: tuple[tuple[type[TurnoutError], str], ...] = (
    (turnout.InvalidRequestError, "invalid_request"),
    (turnout.NoCandidateError, "no_candidate"),
    (turnout.OverloadedError, "overloaded"),
    (turnout.UnavailableError, "unavailable"),
    (turnout.DeadlineExceededError, "deadline_exceeded"),
    (turnout.CallCancelledError, "cancelled"),
    (turnout.AccessDeniedError, "access_denied"),
    (turnout.InternalError, "internal"),
)


def error_form(error: TurnoutError) -> dict[str, Any]:
    """An error as the README has it."""
    kind = next((name for kind, name in _KINDS if isinstance(error, kind)), "other")
    return {
        "kind": kind,
        "code": error.code.name,
        "reason": error.reason.value,
        "field": error.metadata.get("field", ""),
        "metadata": error.metadata,
        "retry_after_s": error.retry_after_s,
    }


def decision_form(decision: Decision) -> dict[str, Any]:
    """A decision by the names of RouteResponse, as far as rows look at it."""
    fields = {
        "decision_id": decision.decision_id,
        "status": int(decision.status),
        "tier": decision.tier,
        "deployment": decision.deployment,
        "fallback_deployments": list(decision.fallback_deployments),
        "strategy": int(decision.strategy),
        "task": int(decision.task),
        "task_probability": decision.task_probability,
        "candidates": [
            {
                key: value
                for key, value in (
                    ("tier", one.tier),
                    ("p_sufficient", one.p_sufficient),
                    ("gain", one.gain),
                    ("estimated_cost_usd", one.estimated_cost_usd),
                    ("eligible", one.eligible),
                )
                if value is not None
            }
            for one in decision.candidates
        ],
        "reasons": [{"kind": int(one.kind), "id": one.id, "score": one.score} for one in decision.reasons],
        "tokens_read": decision.tokens_read,
        "tokens_total": decision.tokens_total,
        "truncated": decision.truncated,
        "propensity": decision.propensity,
        "digest": decision.digest,
        "policy": decision.policy,
    }
    if decision.explanation is not None:
        features = [
            {"name": one.name, "value": one.value, "contribution": one.contribution}
            for one in decision.explanation.features
        ]
        fields["explanation"] = {"features": features}
    return {"json": fields}


def message_form(message: Message) -> dict[str, Any]:
    """A message of the contract."""
    return {"base64": base64.b64encode(message.SerializeToString()).decode()}


def result_form(result: Decision | TurnoutError) -> dict[str, Any]:
    """One item of a batch or stream."""
    if isinstance(result, TurnoutError):
        return {"error": error_form(result)}
    return {"response": decision_form(result)}


def read_requests(case: dict[str, Any]) -> list[Any]:
    """The requests of a case, as messages."""
    kind: type[Message] = routing_pb2.RouteRequest
    if case["operation"] == "complete":
        kind = completion_pb2.CompleteRequest
    elif case["operation"] == "complete_stream":
        kind = completion_pb2.CompleteStreamRequest
    return [kind.FromString(base64.b64decode(one["base64"])) for one in case["requests"]]


class AsyncFace:
    """Runs a case with the asyncio client."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def close(self) -> None:
        """Closes the client."""
        await self._client.close()

    def failed_open(self) -> int:
        """How often the client has failed open."""
        return self._client.fail_open_count.total()

    async def call(self, case: dict[str, Any], outcome: dict[str, Any]) -> None:
        """Makes the call; what comes goes into `outcome` as it comes."""
        requests, options = read_requests(case), {"timeout_s": case.get("timeout_s")}
        most = case.get("cancel_after_events")
        match case["operation"]:
            case "route":
                outcome["response"] = decision_form(await self._client.route(requests[0], **options))
            case "route_or":
                decision = await self._client.route_or(case["default_tier"], requests[0], **options)
                outcome |= {"tier": decision.tier, "fell_back": decision.fell_back}
                outcome["response"] = None if decision.fell_back else decision_form(decision)
            case "route_batch":
                results = await self._client.route_batch(requests, **options)
                outcome["results"] = [result_form(one) for one in results]
            case "route_stream":
                await _collect(
                    self._client.route_stream(requests, **options), outcome, "results", result_form, most
                )
            case "complete":
                outcome["response"] = message_form(await self._client.complete(requests[0], **options))
            case "complete_stream":
                asked = requests[0]
                stream = self._client.complete_stream(
                    asked.request, mode=asked.mode, on_cut=asked.on_cut, **options
                )
                await _collect(stream, outcome, "events", message_form, most)
            case "check_health":
                outcome["health"] = (await self._client.check_health(timeout_s=case.get("timeout_s"))).name


async def _collect(stream: Any, outcome: dict[str, Any], key: str, form: Any, most: int | None) -> None:
    found = outcome[key] = []
    try:
        async for one in stream:
            found.append(form(one))
            if len(found) == most:
                break
    finally:
        await stream.aclose()


class SyncFace:
    """Runs a case with the synchronous client, in a thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def close(self) -> None:
        """Closes the client."""
        await asyncio.to_thread(self._client.close)

    def failed_open(self) -> int:
        """How often the client has failed open."""
        return self._client.fail_open_count.total()

    async def call(self, case: dict[str, Any], outcome: dict[str, Any]) -> None:
        """See AsyncFace.call. A synchronous call is cancelled by closing the client."""
        running = asyncio.create_task(asyncio.to_thread(self._call, case, outcome))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            await self.close()
            await running

    def _call(self, case: dict[str, Any], outcome: dict[str, Any]) -> None:
        requests, options = read_requests(case), {"timeout_s": case.get("timeout_s")}
        most = case.get("cancel_after_events")
        match case["operation"]:
            case "route":
                outcome["response"] = decision_form(self._client.route(requests[0], **options))
            case "route_or":
                decision = self._client.route_or(case["default_tier"], requests[0], **options)
                outcome |= {"tier": decision.tier, "fell_back": decision.fell_back}
                outcome["response"] = None if decision.fell_back else decision_form(decision)
            case "route_batch":
                results = self._client.route_batch(requests, **options)
                outcome["results"] = [result_form(one) for one in results]
            case "route_stream":
                _collect_now(
                    self._client.route_stream(requests, **options), outcome, "results", result_form, most
                )
            case "complete":
                outcome["response"] = message_form(self._client.complete(requests[0], **options))
            case "complete_stream":
                asked = requests[0]
                stream = self._client.complete_stream(
                    asked.request, mode=asked.mode, on_cut=asked.on_cut, **options
                )
                _collect_now(stream, outcome, "events", message_form, most)
            case "check_health":
                outcome["health"] = self._client.check_health(timeout_s=case.get("timeout_s")).name


def _collect_now(stream: Any, outcome: dict[str, Any], key: str, form: Any, most: int | None) -> None:
    found = outcome[key] = []
    try:
        for one in stream:
            found.append(form(one))
            if len(found) == most:
                break
    finally:
        stream.close()


async def run_case(face: SyncFace | AsyncFace, case: dict[str, Any]) -> dict[str, Any]:
    """One call and what became of it."""
    outcome: dict[str, Any] = {}
    before = face.failed_open()
    try:
        calling = asyncio.create_task(face.call(case, outcome))
        if (after_s := case.get("cancel_after_s")) is not None:
            asyncio.get_running_loop().call_later(after_s, calling.cancel)
        await calling
    except TurnoutError as error:
        outcome["error"] = error_form(error)
    except asyncio.CancelledError:
        # asyncio has a word of its own for the caller's cancellation.
        outcome["error"] = error_form(turnout.CallCancelledError(code=StatusCode.CANCELLED))
    outcome["failed_open"] = face.failed_open() - before
    return outcome


@asynccontextmanager
async def opened(case: dict[str, Any], *, use_asyncio: bool) -> AsyncIterator[SyncFace | AsyncFace]:
    """A client for one case."""
    options = {"connections": case.get("connections", 1)}
    face: SyncFace | AsyncFace
    if use_asyncio:
        face = AsyncFace(AsyncClient(case["address"], **options))
    else:
        face = SyncFace(Client(case["address"], **options))
    try:
        yield face
    finally:
        await face.close()


async def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asyncio", action="store_true", help="the asyncio client instead")
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    for case in json.loads(arguments.path.read_text(encoding="utf-8"))["cases"]:
        async with opened(case, use_asyncio=arguments.asyncio) as face:
            outcome = await run_case(face, case)
        print(json.dumps({"id": case["id"], "outcome": outcome}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

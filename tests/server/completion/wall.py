"""The real service before the fault wall: a policy whose deployments are fake models on loopback sockets."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from grpc_status import rpc_status
from turnout.v1 import completion_pb2_grpc
from turnout.v1.completion_pb2 import (
    CompleteFailure,
    CompleteRequest,
    CompleteResponse,
    CompleteStreamRequest,
    CompleteStreamResponse,
)
from turnout_server.serving import Service
from turnout_server.settings import Settings

from tests.faults import FaultServer, Wire

KEY_VARIABLE = "TURNOUT_WALL_KEY"
PROVIDERS = {Wire.OPENAI: "openai", Wire.ANTHROPIC: "anthropic", Wire.GEMINI: "gemini"}
# Nano-dollars a million tokens are these dollars times 10^9; every part has another price, so that none hides another.
PRICES = {
    "small": {
        "version": "2026-11-01",
        "input_usd_per_mtok": 0.151,
        "output_usd_per_mtok": 0.607,
        "cache_read_usd_per_mtok": 0.013,
        "cache_write_usd_per_mtok": 0.191,
        "cache_write_1h_usd_per_mtok": 0.307,
    },
    "frontier": {
        "version": "2026-11-01",
        "input_usd_per_mtok": 5.003,
        "output_usd_per_mtok": 20.011,
        "cache_read_usd_per_mtok": 0.503,
        "cache_write_usd_per_mtok": 6.257,
        "cache_write_1h_usd_per_mtok": 10.007,
    },
}
PARTS = {
    "input_uncached": "input_usd_per_mtok",
    "input_cache_read": "cache_read_usd_per_mtok",
    "input_cache_write_5m": "cache_write_usd_per_mtok",
    "input_cache_write_1h": "cache_write_1h_usd_per_mtok",
    "output_text": "output_usd_per_mtok",
    "output_reasoning": "output_usd_per_mtok",
}
DEADLINE_S = 5.0


@dataclass
class Outcome:
    """What a caller got.

    Attributes:
        text: joined since the last restart.
        whole: whether the call ended well.
        code: of the error.
        reason: of its ErrorInfo.
        metadata: of its ErrorInfo.
        retry_s: of its RetryInfo.
        pushback: of its trailers.
        response: of a call that ended well.
        failure: what was done for one that did not.
        events: names of a stream's events.
        seconds: that it took.
    """

    text: str = ""
    whole: bool = False
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    retry_s: float | None = None
    pushback: str | None = None
    response: CompleteResponse = field(default_factory=CompleteResponse)
    failure: CompleteFailure = field(default_factory=CompleteFailure)
    events: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Wall:
    """Services, their upstream and a client that asks them in turn."""

    def __init__(
        self, upstream: FaultServer, services: Sequence[Service], channels: Sequence[grpc.aio.Channel]
    ) -> None:
        self.upstream = upstream
        self.services = services
        self.service = services[0]
        self._stubs: list[Any] = [completion_pb2_grpc.CompletionServiceStub(channel) for channel in channels]
        self._turn = itertools.cycle(self._stubs)

    @property
    def stub(self) -> Any:
        """The next service's."""
        return next(self._turn)

    def count(self, model: str) -> int:
        """Requests of a model that the upstream itself saw."""
        return self.upstream.ledger.count(model)

    async def ask(
        self,
        request: CompleteRequest | None = None,
        *,
        stream: bool = False,
        timeout_s: float | None = DEADLINE_S,
        mode: int = 0,
        on_cut: int = 0,
    ) -> Outcome:
        """Makes one call to its end."""
        request = CompleteRequest(prompt="Where does the line end?") if request is None else request
        outcome = Outcome()
        began = time.monotonic()
        try:
            if stream:
                asked = CompleteStreamRequest(request=request, mode=mode, on_cut=on_cut)  # type: ignore[arg-type]
                async for event in self.stub.CompleteStream(asked, timeout=timeout_s):
                    _take(event, outcome)
                outcome.whole = outcome.events[-1] == "finished"
            else:
                outcome.response = await self.stub.Complete(request, timeout=timeout_s)
                outcome.text = outcome.response.message.content
                outcome.whole = True
        except grpc.aio.AioRpcError as error:
            _read_error(error, outcome)
        outcome.seconds = time.monotonic() - began
        return outcome


def _take(event: CompleteStreamResponse, outcome: Outcome) -> None:
    kind = event.WhichOneof("event")
    outcome.events.append(str(kind))
    if kind == "text":
        outcome.text += event.text.text
    elif kind == "restarted":
        outcome.text = ""
    elif kind == "finished":
        outcome.response = event.finished
    elif kind == "failed":
        outcome.failure = event.failed


def _read_error(error: grpc.aio.AioRpcError, outcome: Outcome) -> None:
    outcome.code = error.code()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status is not None else ():
        info, retry, failure = ErrorInfo(), RetryInfo(), CompleteFailure()
        if detail.Unpack(info):
            outcome.reason, outcome.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            outcome.retry_s = retry.retry_delay.ToMilliseconds() / 1000
        elif detail.Unpack(failure) and "failed" not in outcome.events:
            outcome.failure = failure
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == "grpc-retry-pushback-ms":
            outcome.pushback = str(value)


def invoice(tier: str, tokens: Any) -> int:
    """A hand invoice of one attempt in nano-dollars: whole femto-dollars, rounded once, half to even."""
    femto = sum(
        getattr(tokens, part) * round(PRICES[tier][price] * 1e9)  # type: ignore[operator]
        for part, price in PARTS.items()
    )
    return round(femto / 1_000_000) if femto % 1_000_000 != 500_000 else femto // 1_000_000 // 2 * 2


def policy_of(
    url: str,
    tiers: Mapping[str, Sequence[str]],
    wire: Wire,
    *,
    strategy: str = "single",
    windows: Mapping[str, int] | None = None,
    priced: bool = True,
    policy: Mapping[str, Any] | None = None,
    endpoints: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A policy file that decides the lowest tier: of each tier's models, a deployment each, named as the model.

    `policy` are more sections of the policy, such as its judge; `endpoints` other addresses by model, in which {url} is
    the upstream's: another address is another account.
    """
    return {
        "version": 1,
        "default_policy": "default",
        "prices": PRICES,
        "tiers": [
            {
                "name": tier,
                **({} if tier == "frontier" else {"head": tier}),
                "chain": [
                    {
                        "name": model,
                        "provider": PROVIDERS[wire],
                        "model": model,
                        "price": ("frontier" if tier == "frontier" else "small") if priced else None,
                        "context_window": (windows or {}).get(model, 1_000_000),
                        "max_output_tokens": 4096,
                        "endpoint": (endpoints or {}).get(model, "{url}").format(url=url),
                        "credentials": KEY_VARIABLE,
                    }
                    for model in models
                ],
            }
            for tier, models in tiers.items()
        ],
        "policies": {
            "default": {
                "safe_tier": next(iter(tiers)),
                "strategy": strategy,
                "bars": {"default": 0.0},
                "sessions": {"mode": "none"},
                **(policy or {}),
            }
        },
    }


@contextlib.asynccontextmanager
async def walled(
    folder: Path,
    bundle: Path,
    small: Sequence[str],
    frontier: Sequence[str] = ("ordinary.frontier",),
    *,
    wire: Wire = Wire.OPENAI,
    strategy: str = "single",
    time_factor: float = 1.0,
    retry_after_s: float = 1.0,
    windows: Mapping[str, int] | None = None,
    priced: bool = True,
    sections: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    endpoints: Mapping[str, str] | None = None,
    workers: int = 1,
    **knobs: Any,
) -> AsyncIterator[Wall]:
    """Services whose small and frontier tiers are these fake models; several share their state where `state` is a file.

    `sections` are further ones of the policy file, `policy` of its one policy; `endpoints` other addresses by model.
    """
    os.environ[KEY_VARIABLE] = "sk-wall"
    async with FaultServer(time_factor=time_factor, retry_after_s=retry_after_s) as upstream:
        document = policy_of(
            upstream.url,
            {"small": small, "frontier": frontier},
            wire,
            strategy=strategy,
            windows=windows,
            priced=priced,
            policy=policy,
            endpoints=endpoints,
        )
        document |= sections or {}
        path = folder / "wall.yaml"
        path.write_text(json.dumps(document))
        told: dict[str, Any] = {"first_token_s": 0.4, "inter_token_s": 0.4, "store": "off"}
        told |= knobs
        settings = Settings(
            host="127.0.0.1", port=0, metrics_port=None, bundle=bundle, policy=path, log_sample=0.0, **told
        )
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        async with contextlib.AsyncExitStack() as stack:
            services, channels = [], []
            for _ in range(workers):
                service = Service(settings)
                stack.push_async_callback(service.close)
                port = await service.port.start()
                stack.push_async_callback(service.port.stop)
                await service.port.open()
                channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
                stack.push_async_callback(channel.close, None)
                services.append(service)
                channels.append(channel)
            yield Wall(upstream, services, channels)

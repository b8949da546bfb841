"""The service under measurement, before the upstream of this folder."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.servers import Server, running, turnout_command

KEY_VARIABLE = "TURNOUT_BENCH_KEY"
UPSTREAM_COMMAND = [sys.executable, "-m", "bench.complete.upstream"]


@dataclass(frozen=True)
class Services:
    """What runs: the upstream, and `turnout serve` before it."""

    upstream: Server
    turnout: Server
    model: str

    @property
    def url(self) -> str:
        """Where a direct call goes."""
        return f"http://127.0.0.1:{self.upstream.port}/chat/completions"


@contextlib.contextmanager
def serving(folder: Path, model: str, *, decision_port: bool = False) -> Iterator[Services]:
    """Starts both; every request is decided small, and small is this model.

    Args:
        folder: for the policy, the logs and the outcome store, which is on, as it is by default.
        model: of the upstream.
        decision_port: True: with the decision port too; the server is the supervisor then.
    """
    with upstream_running(folder) as upstream:
        options = policy_options(folder, upstream, model)
        options += ["--store", str(folder / "outcomes.sqlite"), "--max-completions", "1024"]
        command = turnout_command(*options, decision_port=decision_port)
        with running(command, folder / "turnout.log") as turnout:
            yield Services(upstream, turnout, model)


@contextlib.contextmanager
def upstream_running(folder: Path) -> Iterator[Server]:
    """Starts the upstream, whose log goes to the folder; what is started after it finds its key in the environment."""
    os.environ[KEY_VARIABLE] = "sk-bench"
    with running(UPSTREAM_COMMAND, folder / "upstream.log") as upstream:
        yield upstream


def policy_options(folder: Path, upstream: Server, model: str) -> list[str]:
    """Options of `turnout serve` for a policy, written to the folder, that decides every request small.

    Args:
        folder: for the policy.
        upstream: where every tier is asked.
        model: of the upstream, which is every tier's.
    """
    policy = folder / "policy.json"
    policy.write_text(json.dumps(policy_before(f"http://127.0.0.1:{upstream.port}", model)))
    return ["--policy", str(policy)]


def policy_before(url: str, model: str) -> dict[str, object]:
    """A policy that decides every request small, and small is this model."""
    deployment = {
        "provider": "openai",
        "model": model,
        "price": "price",
        "context_window": 100_000,
        "max_output_tokens": 4096,
        "endpoint": url,
        "credentials": KEY_VARIABLE,
    }
    price = {"version": "2026-11-01", "input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.60}
    return {
        "version": 1,
        "default_policy": "default",
        "prices": {"price": price},
        "tiers": [
            {"name": "small", "head": "small", "chain": [{"name": "small-a", **deployment}]},
            {"name": "frontier", "chain": [{"name": "frontier-a", **deployment}]},
        ],
        "policies": {
            "default": {
                "safe_tier": "small",
                "bars": {"default": 0.0},
                "max_tier": "small",
                "sessions": {"mode": "none"},
            }
        },
    }

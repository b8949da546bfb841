"""A decision for people, and for programs that read standard output."""

from __future__ import annotations

import json

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table
from turnout.v1.routing_pb2 import RouteResponse
from turnout_fastpath import Decision, Explanation

from turnout_server.doors.codec import write_response

# Features shown of an explanation: those that moved the decision most.
MAX_FEATURES = 12


def to_json(decision: Decision) -> str:
    """The decision as a RouteResponse in protobuf's JSON form, with the contract's field names."""
    message = write_response(decision, RouteResponse())
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True), indent=2, ensure_ascii=False)


def print_decision(decision: Decision, console: Console | None = None) -> None:
    """Prints the decision as tables."""
    console = Console() if console is None else console
    console.print(_summary(decision))
    console.print()
    console.print(_candidates(decision))
    console.print()
    console.print(_reasons(decision))
    if decision.explanation is not None:
        console.print()
        console.print(_contributions(decision.explanation))


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def _summary(decision: Decision) -> Table:
    table = _table("", "")
    table.show_header = False
    task = "not judged" if decision.task is None else f"{decision.task} ({decision.task_probability:.2f})"
    tokens = f"{decision.tokens_total} ({decision.tokens_read} read)"
    fallbacks = ", ".join(decision.fallback_deployments)
    rows = {
        "tier": decision.tier,
        "deployment": decision.deployment + (f", then {fallbacks}" if fallbacks else ""),
        "status": decision.status.name.lower(),
        "task": task,
        "strategy": decision.strategy.name.lower(),
        "policy": f"{decision.policy} ({decision.policy_revision})",
        "bundle": decision.bundle_revision,
        "tokens": tokens if decision.truncated else str(decision.tokens_total),
        "time": f"{decision.decision_ns / 1000:.0f} us",
        "decision id": decision.decision_id,
    }
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    return table


def _candidates(decision: Decision) -> Table:
    table = _table("candidate")
    for name in ("p_sufficient", "gain", "cost USD"):
        table.add_column(name, justify="right")
    table.add_column("")
    for candidate in decision.candidates:
        note = "chosen" if candidate.tier == decision.tier else "" if candidate.eligible else "not eligible"
        table.add_row(
            candidate.tier,
            _number(candidate.p_sufficient, ".3f"),
            _number(candidate.gain, "+.3f"),
            _number(candidate.estimated_cost_usd, ".6f"),
            note,
        )
    return table


def _reasons(decision: Decision) -> Table:
    table = _table("reason", "id")
    table.add_column("score", justify="right")
    for reason in decision.reasons:
        table.add_row(reason.kind.name.lower(), reason.id, f"{reason.score:.3f}" if reason.score else "")
    return table


def _contributions(explanation: Explanation) -> Table:
    table = _table("feature")
    for name in ("value", "for the cheapest tier"):
        table.add_column(name, justify="right")
    moved = [feature for feature in explanation.features if feature.contribution]
    moved.sort(key=lambda feature: abs(feature.contribution), reverse=True)
    for feature in moved[:MAX_FEATURES]:
        table.add_row(feature.name, f"{feature.value:g}", f"{feature.contribution:+.3f}")
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)

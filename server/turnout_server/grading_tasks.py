"""Tasks that a policy's `gates` and `judge` name, against those that the bundle has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def find_unknown_tasks(document: Mapping[str, Any], tasks: Iterable[str]) -> list[str]:
    """Tasks that the sections of a resolved document name and the bundle has not, a line each."""
    known = list(tasks)
    return [_describe(path, task, known) for path, task in _named(document) if task not in known]


def _named(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, policy in document["policies"].items():
        for task in policy["gates"]["confidence"]["tasks"]:
            yield f"policies.{name}.gates.confidence.tasks", task
        for task in (policy["judge"] or {}).get("rubrics", ()):
            yield f"policies.{name}.judge.rubrics", task


def _describe(path: str, task: str, known: list[str]) -> str:
    # Not at the top: a process that decides alone needs no pydantic.
    from turnout_server.policy_defects import show, suggest

    return f"{path}: no task {show(task)}; {suggest(task, known)}"

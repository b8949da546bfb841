"""The resolved documents against the compiler that reads them; the bundle's names are stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from turnout_server.policy_file import default_policy_path, load_policy_file, resolve

compiler = pytest.importorskip("turnout_fastpath.policy_compiler", exc_type=ImportError)

ROOT = Path(__file__).parents[2]
TASKS = ["chat", "knowledge", "math", "code", "reasoning", "extraction", "rewriting", "analysis"]


def compile_document(document: dict[str, Any]) -> Any:
    from turnout_fastpath.text_features import FEATURE_NAMES

    return compiler.compile_policy(
        document,
        heads=["small", "mid"],
        tasks=TASKS,
        features=[*FEATURE_NAMES, "tokens", "request_tokens"],
        output_tokens=dict.fromkeys([*TASKS, "any"], 200.0),
        exemplar_sets={"known_hard": ["Prove that the sum converges"]},
    )


@pytest.mark.parametrize(
    "path",
    [default_policy_path(), *sorted((ROOT / "docs/policies").glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_a_document_compiles(path: Path) -> None:
    document = resolve(load_policy_file(path))
    compiled = compile_document(document)
    assert compiled.policy_names == list(document["policies"])
    assert compiled.tier_names == [tier["name"] for tier in document["tiers"]]

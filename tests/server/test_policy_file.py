from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from turnout_server import policy_model
from turnout_server.policy_defects import format_path
from turnout_server.policy_file import (
    PolicyFile,
    PolicyFileError,
    default_policy_path,
    json_schema,
    load_policy_file,
    parse_policy,
    resolve,
    to_json,
)
from turnout_server.strict_yaml import MAX_BYTES

ROOT = Path(__file__).parents[2]
BAD = sorted((ROOT / "tests/server/bad_policies").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "docs/policies").glob("*.yaml"))


@pytest.fixture
def default_document() -> dict[str, Any]:
    return resolve(load_policy_file())


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_file_has_one_defect_which_is_named_by_path(path: Path) -> None:
    expected = path.read_bytes().split(b"\n")[0].decode().removeprefix("# expect: ").removeprefix("(file): ")
    with pytest.raises(PolicyFileError) as caught:
        load_policy_file(path)
    assert len(caught.value.defects) == 1
    assert str(caught.value).startswith(f"{path}: {expected}")
    assert "\n" not in str(caught.value)


def test_what_may_be_a_key_is_never_shown() -> None:
    shown = []
    for path in BAD:
        with pytest.raises(PolicyFileError) as caught:
            load_policy_file(path)
        shown.append(str(caught.value))
    assert "do-not-print-me" not in "\n".join(shown)
    assert sum(b"do-not-print-me" in path.read_bytes() for path in BAD) >= 3


def test_every_defect_has_its_line() -> None:
    text = (
        default_policy_path()
        .read_text()
        .replace("default: 0.92", "default: 1.2")
        .replace("safe_tier: mid", "safe_tier: 1")
    )
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(text, "my.yaml")
    assert str(caught.value).split("\n") == [
        "my.yaml: policies.default.safe_tier: 1 is not text; write it in quotes",
        "my.yaml: policies.default.bars.default: 1.2 is greater than 1",
    ]


def test_a_flood_of_defects_is_cut() -> None:
    text = "\n".join(f"field{i}: 1" for i in range(500))
    with pytest.raises(PolicyFileError) as caught:
        parse_policy(text, "my.yaml")
    lines = str(caught.value).split("\n")
    assert len(lines) == 101
    assert lines[-1] == f"my.yaml: {len(caught.value.defects) - 100} more"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_policy_file(path: Path) -> None:
    document = resolve(load_policy_file(path))
    assert resolve(parse_policy(json.dumps(document), "resolved")) == document


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


def test_the_default_is_what_was_promised(default_document: dict[str, Any]) -> None:
    tiers = {tier["name"]: tier for tier in default_document["tiers"]}
    assert list(tiers) == ["small", "mid", "frontier"]
    assert [tier["head"] for tier in tiers.values()] == ["small", "mid", None]
    for name, tier in tiers.items():
        assert [deployment["region"] for deployment in tier["chain"]] == ["us", "eu"]
        assert {deployment["model"] for deployment in tier["chain"]} == {f"sim-{name}"}
    assert default_document["policies"]["default"]["safe_tier"] == "mid"


def test_the_resolved_default_is_fresh(default_document: dict[str, Any]) -> None:
    resolved = default_policy_path().with_suffix(".json")
    assert resolved.read_text(encoding="utf-8") == to_json(default_document), (
        "run `python -m turnout_server.policy_file --write-default`"
    )


def test_the_schema_is_fresh() -> None:
    committed = (ROOT / "docs/policy.schema.json").read_text(encoding="utf-8")
    assert committed == to_json(json_schema()), (
        "run `python -m turnout_server.policy_file --write-schema docs/policy.schema.json`"
    )


def test_every_field_is_described() -> None:
    schema = json_schema()
    for name, model in {**schema["$defs"], "PolicyFile": schema}.items():
        assert model["description"], name
        assert model["additionalProperties"] is False, name
        for field, details in model["properties"].items():
            assert len(details["description"]) > 10, f"{name}.{field}"


def test_the_limits_are_those_of_the_compiled_structs() -> None:
    package = default_policy_path().parents[1]
    declared: dict[str, int] = {}
    for name in ("core.pxd", "policy.pxd", "keywords.pxd"):
        text = (package / name).read_text()
        declared.update(
            (key, int(value)) for key, value in re.findall(r"^    (MAX_\w+) = (\d+)$", text, re.M)
        )
    for name in ("TIERS", "DEPLOYMENTS", "REGIONS", "BUCKETS", "POLICIES", "KEYWORD_GROUPS"):
        assert getattr(policy_model, f"MAX_{name}") == declared[f"MAX_{name}"], name


def test_the_layout_of_a_file_does_not_matter(default_document: dict[str, Any]) -> None:
    text = yaml.safe_dump(default_document, default_flow_style=True, sort_keys=True)
    assert resolve(parse_policy("\ufeff" + text, "flow")) == default_document


def test_defaults_are_filled_in() -> None:
    text = """
version: 1
default_policy: p
tiers:
  - {name: a, head: h, chain: [{name: d, provider: simulated, model: m, context_window: 9, max_output_tokens: 9}]}
  - {name: b, chain: [{name: e, provider: simulated, model: m, context_window: 9, max_output_tokens: 9}]}
policies:
  p: {safe_tier: b, bars: {default: 1, tasks: {code: 1, math: {a: 0}}}, rules: [{name: r, then: {bar: 1}}]}
"""
    policy = resolve(parse_policy(text, "small"))["policies"]["p"]
    assert policy == {
        "safe_tier": "b",
        "strategy": "single",
        "min_tier": None,
        "max_tier": None,
        "bars": {
            "default": 1.0,
            "tiers": {},
            "tasks": {"code": 1.0, "math": {"a": 0.0}},
            "tenants": {},
            "max_gain": {},
        },
        "rules": [
            {
                "name": "r",
                "description": "",
                "when": {
                    "tenant": [],
                    "user_tier": [],
                    "feature": [],
                    "labels": {},
                    "keywords": [],
                    "tasks": [],
                    "task_probability": 0.0,
                    "needs": [],
                    "answer_use": [],
                    "tokens": None,
                    "request_tokens": None,
                    "features": {},
                },
                "then": {
                    "tier": None,
                    "floor": None,
                    "ceiling": None,
                    "strategy": None,
                    "deployment": None,
                    "bar": 1.0,
                    "bar_shift": None,
                    "forbid_deployments": [],
                    "forbid_regions": [],
                },
            }
        ],
        "buckets": [],
        "sessions": {"mode": "keep_or_raise", "ttl_s": 3600},
        "limits": {"max_request_tokens": None, "budget_spent_ceiling": None, "least_time_ms": 2.0},
        "content_policy_failover": False,
        "prompt_cache": {"enabled": False, "least_tokens": 1024, "lifetime": "5m"},
        "hedging": {
            "enabled": False,
            "delay_s": None,
            "quantile": 0.95,
            "least_delay_s": 0.1,
            "share": 0.05,
        },
        "explore": 0.0,
        "control_share": 0.0,
        "record": {"text": False, "features": False},
        "gates": {
            "skip": [],
            "confidence": {"default": None, "tasks": {}},
            "required": {"forms": [], "keywords": [], "forbidden": [], "pattern": None, "min_chars": 0},
        },
        "judge": None,
        "shadow": None,
        "ensemble": {
            "members": None,
            "chooser": None,
            "share": 0.1,
            "otherwise": "cascade",
            "timeout_s": 60.0,
        },
    }


def test_a_file_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(PolicyFileError, match=f"more than the limit of {MAX_BYTES} bytes"):
        load_policy_file(path)
    with pytest.raises(PolicyFileError, match=f"{MAX_BYTES + 1} bytes, limit: {MAX_BYTES}"):
        parse_policy("#" * (MAX_BYTES + 1), "large")


def test_nesting_that_would_overflow_the_stack_is_refused() -> None:
    for text in ("[" * MAX_BYTES, "{a: " * (MAX_BYTES // 4), "- " * (MAX_BYTES // 2)):
        # A libyaml that has a limit of its own may see the flow collections first: it scans ahead.
        with pytest.raises(PolicyFileError, match=r"nested deeper than the limit|maximum nesting depth"):
            parse_policy(text, "deep")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"none\.yaml: No such file or directory"):
        load_policy_file(tmp_path / "none.yaml")
    with pytest.raises(PolicyFileError, match="Is a directory"):
        load_policy_file(tmp_path)


def test_a_policy_file_is_frozen() -> None:
    policy = load_policy_file()
    with pytest.raises(ValidationError, match="frozen"):
        policy.default_policy = "other"


def test_paths_quote_keys_that_are_no_plain_word() -> None:
    path = ("policies", "a b", "rules", 2, "when", "labels", 'say "x"\n')
    assert format_path(path) == 'policies["a b"].rules[2].when.labels["say \\"x\\"\\n"]'
    assert format_path(("prices", "gpt-4.1", "version")) == 'prices["gpt-4.1"].version'


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="[]{}:,-&*!<|>%@`'\"# \n\tabc019.~")))
def test_any_text_is_a_policy_file_or_a_policy_file_error(text: str) -> None:
    with pytest.raises(PolicyFileError):
        parse_policy(text, "fuzz")


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.binary(max_size=9),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), value=VALUES)
def test_a_default_with_anything_put_in_is_read_or_refused_by_path(
    data: st.DataObject, value: object
) -> None:
    document: Any = resolve(load_policy_file())
    node, path = document, []
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        path.append(data.draw(st.sampled_from(keys)))
        inner = node[path[-1]]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            break
        node = inner
    node[path[-1]] = value
    found: PolicyFile | PolicyFileError
    try:
        found = parse_policy(yaml.safe_dump(document, allow_unicode=True), "fuzz")
    except PolicyFileError as error:
        found = error
    if isinstance(found, PolicyFileError):
        assert found.defects
        assert all("\n" not in str(defect) for defect in found.defects)
    else:
        json.dumps(resolve(found), allow_nan=False)

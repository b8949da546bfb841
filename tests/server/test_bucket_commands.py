"""`turnout bucket`: what is written, and what check finds."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from turnout_server import cli
from turnout_server.policy_editing import PolicyEditError, add_exemplars, write_text
from turnout_server.policy_file import PolicyFileError, default_policy_path, parse_policy
from turnout_server.policy_model import Bucket, Effect
from typer.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parents[2]
FILES = [default_policy_path(), *sorted((ROOT / "docs" / "policies").glob("*.yaml"))]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_else_of_a_file_changes(path: Path) -> None:
    """Only lines are added, but for the list of a policy's buckets; comments, quotes and anchors stay."""
    before = path.read_text(encoding="utf-8")
    tier = parse_policy(before, "x").tiers[-1].name
    after = add_exemplars(
        before, "x", "new-one", ["a: b", "# no comment", "ünï\nline"], effect={"floor": tier}
    )
    changes = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]
    removed = [line for line in changes if line.startswith("-")]
    assert all(line.strip("- ").startswith("buckets:") for line in removed), removed
    policy = parse_policy(after, "x")
    bucket = next(one for one in policy.buckets if one.name == "new-one")
    assert bucket.exemplars == ["a: b", "# no comment", "ünï\nline"]
    assert "new-one" in policy.policies[policy.default_policy].buckets
    # The rest of the policy is as it was.
    old, new = (one.model_dump(exclude={"buckets"}) for one in (parse_policy(before, "x"), policy))
    new["policies"][policy.default_policy]["buckets"].remove("new-one")
    assert new == old


@pytest.mark.parametrize("path", FILES[:2], ids=lambda path: path.stem)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_prompt_is_read_back_as_it_was(path: Path, prompts: list[str]) -> None:
    text = path.read_text(encoding="utf-8")
    tier = parse_policy(text, "x").tiers[-1].name
    try:
        Bucket(name="b", effect=Effect(tier=tier), exemplars=prompts)
    except ValidationError:
        assume(False)
    after = add_exemplars(text, "x", "b", prompts[:1], effect={"tier": tier})
    after = add_exemplars(after, "x", "b", prompts)
    bucket = next(one for one in parse_policy(after, "x").buckets if one.name == "b")
    assert bucket.exemplars == list(dict.fromkeys(prompts))


LAYOUTS = {
    "no list": "",
    "an empty list": "buckets: []\n",
    "flow": "buckets: [{name: a, effect: {tier: t}, exemplars: [x]}]  # why\n",
    "flow over lines": "buckets: [\n  {name: a, effect: {tier: t},\n   exemplars: [x, y]},\n]\n",
    "block": "buckets:\n- name: a\n  effect: {tier: t}\n  # first\n  exemplars:\n  - x  # one\n  # last\n\n",
    "a set alone": "buckets:\n  - exemplar_set: s\n    name: a\n    effect:\n      tier: t\n",
    "a block scalar": "buckets:\n  - {name: a, effect: {tier: t}, exemplars: [x]}\n  - name: c\n    effect: {tier: t}\n"
    "    exemplars:\n      - |-\n        two\n        lines\n",
}


@pytest.mark.parametrize("buckets", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("end", ["\n", ""], ids=["newline", "no-newline"])
def test_any_layout_takes_additions(buckets: str, end: str) -> None:
    chain = "{name: %s, provider: simulated, model: m, context_window: 100, max_output_tokens: 10}"
    tiers = (
        f"tiers: [{{name: s, head: small, chain: [{chain % 'd'}]}}, {{name: t, chain: [{chain % 'e'}]}}]\n"
    )
    policies = "policies:\n  p: {safe_tier: t, bars: {default: 0.5}}"
    for text in (f"version: 1\ndefault_policy: p\n{tiers}{buckets}{policies}{end}",
                 f"version: 1\ndefault_policy: p\n{tiers}{policies}\n{buckets.rstrip()}{end}"):  # fmt: skip
        before = parse_policy(text, "x")
        after = add_exemplars(text, "x", "new", ["p", "q"], effect={"floor": "t"}, threshold=0.9)
        for bucket in before.buckets:
            after = add_exemplars(after, "x", bucket.name, ["p", "r"], threshold=0.7)
        policy = parse_policy(after, "x")
        assert policy.policies["p"].buckets == [*("new",), *(one.name for one in before.buckets)]
        found = {one.name: one for one in policy.buckets}
        assert (found["new"].exemplars, found["new"].threshold) == (["p", "q"], 0.9)
        for bucket in before.buckets:
            assert found[bucket.name].exemplars == [*bucket.exemplars, "p", "r"]
        assert re.findall("#[^\n]*", after) == re.findall("#[^\n]*", text), "every comment is there"


def test_a_bucket_grows_without_repeats() -> None:
    text = default_policy_path().read_text(encoding="utf-8")
    once = add_exemplars(text, "x", "b", ["one", "two", "one"], effect={"tier": "mid"}, threshold=0.9)
    twice = add_exemplars(once, "x", "b", ["two", "three"])
    bucket = next(one for one in parse_policy(twice, "x").buckets if one.name == "b")
    assert (bucket.exemplars, bucket.threshold) == (["one", "two", "three"], 0.9)
    # A set that the bundle ships is added to, too.
    known = add_exemplars(text, "x", "known-hard", ["one"])
    assert next(one for one in parse_policy(known, "x").buckets if one.name == "known-hard").exemplars == [
        "one"
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"bucket": "b"}, PolicyEditError, "is new: it needs a floor, a tier or a task"),
        (
            {"bucket": "known-hard", "effect": {"floor": "mid"}},
            PolicyEditError,
            "has the effect floor frontier",
        ),
        ({"bucket": "b", "effect": {"floor": "huge"}}, PolicyFileError, "no tier 'huge'"),
        ({"bucket": "b", "effect": {"floor": "mid"}, "policies": ["x"]}, PolicyEditError, "no policy 'x'"),
        ({"bucket": "b", "effect": {"floor": "mid"}, "threshold": 2.0}, PolicyFileError, "threshold"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    text = default_policy_path().read_text(encoding="utf-8")
    with pytest.raises(error, match=said):
        add_exemplars(text, "x", prompts=["p"], **arguments)


def test_a_file_is_replaced_whole_with_its_permissions(tmp_path: Path) -> None:
    path, link = tmp_path / "policy.yaml", tmp_path / "link.yaml"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_text(link, "new")
    assert link.is_symlink() and path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.yaml", "policy.yaml"]


@pytest.fixture
def editable(tmp_path: Path) -> Path:
    path = tmp_path / "editable.yaml"
    path.write_text(default_policy_path().read_text(encoding="utf-8"))
    return path


def test_add_from_a_file(editable: Path, bundle: Path, tmp_path: Path) -> None:
    lines, objects = tmp_path / "p.txt", tmp_path / "p.jsonl"
    lines.write_text("what is python\n\nwrite a list\n")
    objects.write_text(json.dumps({"prompt": "why\nhello"}) + "\n")
    arguments = ["bucket", "add", editable, "b", "--bundle", bundle]
    assert run(*arguments, "--floor", "mid", "--prompts", lines).exit_code == 0
    result = run(*arguments, "--prompts", objects, "--prompt", "hello")
    assert result.exit_code == 0, result.stderr
    assert "bucket b: 4 exemplars" in result.stdout
    bucket = next(one for one in parse_policy(editable.read_text(), "x").buckets if one.name == "b")
    assert bucket.exemplars == ["what is python", "write a list", "hello", "why\nhello"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--floor", "mid"], 2, "nothing to add"),
        (["--floor", "mid", "--tier", "mid", "--prompt", "x"], 2, "one effect at a time"),
        (["--floor", "huge", "--prompt", "x"], 1, "no tier 'huge'"),
        (["--task", "dancing", "--prompt", "x"], 1, "no task 'dancing'"),
        (["--floor", "mid", "--prompts", "gone.txt"], 1, "gone.txt: No such file"),
    ],
)
def test_what_cannot_be_added_leaves_the_file_alone(
    editable: Path, bundle: Path, arguments: list[str], code: int, said: str
) -> None:
    before = editable.read_text()
    result = run("bucket", "add", editable, "b", "--bundle", bundle, *arguments)
    assert (result.exit_code, editable.read_text()) == (code, before)
    assert said in result.stderr


def test_check_passes_and_finds_what_a_rule_overrules(editable: Path, bundle: Path, tmp_path: Path) -> None:
    add = ["bucket", "add", editable, "b", "--floor", "mid", "--prompt", "what is python", "--bundle", bundle]
    assert run(*add).exit_code == 0
    fine = run("bucket", "check", editable, "b", "--bundle", bundle)
    assert fine.exit_code == 0, fine.stdout + fine.stderr
    text = editable.read_text()
    rule = (
        "    rules:\n      - name: all-small\n        when: {}\n        then: {tier: small, ceiling: small}\n"
    )
    editable.write_text(text.replace("    rules:\n", rule))
    broken = run("bucket", "check", editable, "b", "--bundle", bundle)
    assert broken.exit_code == 1, broken.stdout
    assert "goes to small, not floor mid: it matches, but rule all-small" in broken.stdout
    document = json.loads(run("bucket", "check", editable, "b", "--bundle", bundle, "--json").stdout)
    assert document["passed"] is False
    assert document["members"][0]["breaches"][0]["matches"] is True


def test_a_paraphrase_that_does_not_match_is_told_but_breaks_nothing(
    editable: Path, bundle: Path, tmp_path: Path
) -> None:
    run("bucket", "add", editable, "b", "--tier", "mid", "--prompt", "what is python", "--bundle", bundle)
    given = tmp_path / "paraphrases.txt"
    given.write_text("what is python\nprove the theorem of the sorts in france, hello\n")
    result = run("bucket", "check", editable, "b", "--paraphrases", given, "--bundle", bundle)
    assert "0 match and are served against the effect" in result.stdout
    assert result.exit_code == 0


def test_list(editable: Path, bundle: Path) -> None:
    run("bucket", "add", editable, "b", "--task", "math", "--prompt", "why", "--bundle", bundle)
    rows = json.loads(run("bucket", "list", editable, "--bundle", bundle, "--json").stdout)
    assert [(row["bucket"], row["effect"], row["used_by"]) for row in rows] == [
        ("known-hard", "floor frontier", ["default"]),
        ("b", "task math", ["default"]),
    ]
    assert all(0 <= row["matched_share"] <= 1 for row in rows)
    assert "known-hard" in run("bucket", "list", editable, "--bundle", bundle).stdout


def test_an_unknown_bucket_is_said(editable: Path, bundle: Path) -> None:
    result = run("bucket", "check", editable, "gone", "--bundle", bundle)
    assert result.exit_code == 1
    assert "no bucket 'gone'; known: known-hard" in result.stderr

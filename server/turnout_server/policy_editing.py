"""Changes a policy file as a careful person would: comments and layout stay, the result is checked, the write is whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from turnout_server.policy_file import parse_policy
from turnout_server.policy_model import Bucket, Effect
from turnout_server.yaml_splicing import add_key, append_item, compose, replace_value, value_of


class PolicyEditError(ValueError):
    """The change cannot be made; the message says why."""


def add_exemplars(
    text: str,
    source: str,
    bucket: str,
    prompts: Sequence[str],
    *,
    effect: dict[str, str] | None = None,
    threshold: float | None = None,
    policies: Sequence[str] = (),
) -> str:
    """The text of a policy file with prompts added to a bucket, which is made if there is none.

    Args:
        text: the file's.
        source: what errors call it.
        bucket: the bucket's name.
        prompts: added in order, those that the bucket has already left out.
        effect: of a new bucket; of one that is there, it must be the same.
        threshold: least similarity; None: as it is, or the default.
        policies: that shall use the bucket; empty means the default one, where no policy uses it yet.

    Raises:
        PolicyEditError: the bucket has another effect, needs one, or a policy is unknown.
        PolicyFileError: the file, or what would become of it, is no valid policy file.
    """
    before = parse_policy(text, source)
    wanted = before.model_dump(mode="json")
    entry = next((one for one in wanted["buckets"] if one["name"] == bucket), None)
    present = [] if entry is None else entry["exemplars"]
    fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in present]
    if entry is None:
        if effect is None:
            raise PolicyEditError(f"bucket {bucket!r} is new: it needs a floor, a tier or a task")
        text = _add_bucket(text, bucket, effect, threshold, fresh)
        entry = Bucket(name=bucket, effect=Effect(**effect), exemplars=fresh).model_dump(mode="json")
        wanted["buckets"].append(entry)
    else:
        kept = {kind: value for kind, value in entry["effect"].items() if value is not None}
        if effect is not None and effect != kept:
            raise PolicyEditError(
                f"bucket {bucket!r} has the effect {_show(kept)}, not {_show(effect)}; change it in the file"
            )
        text = _extend_bucket(text, bucket, threshold, fresh)
        entry["exemplars"] = [*present, *fresh]
    if threshold is not None:
        entry["threshold"] = threshold
    users = [name for name, policy in before.policies.items() if bucket in policy.buckets]
    for name in policies or ([] if users else [before.default_policy]):
        if name not in wanted["policies"]:
            raise PolicyEditError(f"no policy {name!r}; known: {', '.join(wanted['policies'])}")
        if bucket not in wanted["policies"][name]["buckets"]:
            wanted["policies"][name]["buckets"].append(bucket)
            text = _use_bucket(text, name, bucket)
    if parse_policy(text, source).model_dump(mode="json") != wanted:
        # Anchors and merge keys make one place of a file mean several.
        raise PolicyEditError(f"{source}: its layout is beyond this command; add the prompts by hand")
    return text


def _add_bucket(
    text: str, name: str, effect: dict[str, str], threshold: float | None, prompts: list[str]
) -> str:
    entry: dict[str, Any] = {"name": name, "effect": effect}
    if threshold is not None:
        entry["threshold"] = threshold
    entry["exemplars"] = prompts
    root = compose(text)
    listed = value_of(root, "buckets")
    if listed is None:
        return add_key(text, root, "buckets", [entry])
    return append_item(text, _sequence(listed), entry)


def _extend_bucket(text: str, name: str, threshold: float | None, prompts: list[str]) -> str:
    if threshold is not None:
        entry = _bucket_node(text, name)
        node = value_of(entry, "threshold")
        if node is None:
            text = add_key(text, entry, "threshold", threshold)
        else:
            text = replace_value(text, node, threshold)
    for i, prompt in enumerate(prompts):
        entry = _bucket_node(text, name)
        listed = value_of(entry, "exemplars")
        if listed is None:
            return add_key(text, entry, "exemplars", prompts[i:])
        text = append_item(text, _sequence(listed), prompt)
    return text


def _use_bucket(text: str, policy: str, bucket: str) -> str:
    content = _mapping(value_of(_mapping(value_of(compose(text), "policies")), policy))
    listed = value_of(content, "buckets")
    if listed is None:
        return add_key(text, content, "buckets", [bucket])
    return append_item(text, _sequence(listed), bucket)


def _bucket_node(text: str, name: str) -> yaml.MappingNode:
    for node in _sequence(value_of(compose(text), "buckets")).value:
        found = value_of(node, "name") if isinstance(node, yaml.MappingNode) else None
        if found is not None and found.value == name:
            return _mapping(node)
    raise PolicyEditError(f"bucket {name!r} does not stand in the file itself; add the prompts by hand")


def _sequence(node: yaml.Node | None) -> yaml.SequenceNode:
    if not isinstance(node, yaml.SequenceNode):
        raise PolicyEditError("a list is needed where the file has none; add the prompts by hand")
    return node


def _mapping(node: yaml.Node | None) -> yaml.MappingNode:
    if not isinstance(node, yaml.MappingNode):
        raise PolicyEditError("a mapping is needed where the file has none; add the prompts by hand")
    return node


def write_text(path: Path, text: str) -> None:
    """Replaces a file's text whole or not at all; its permissions stay."""
    resolved = path.resolve()
    fresh = resolved.with_name(resolved.name + ".partial")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), resolved.stat().st_mode & 0o7777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(resolved)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _show(effect: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} {value}" for kind, value in effect.items())

"""Changes a policy file as a careful person would: comments and layout stay, the result is checked, the write is whole."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turnout_server.policy_file import parse_policy


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
    editor = _editor(text)
    document = editor.load(text)
    entry = next((one for one in document.get("buckets") or [] if one["name"] == bucket), None)
    if entry is None:
        if effect is None:
            raise PolicyEditError(f"bucket {bucket!r} is new: it needs a floor, a tier or a task")
        entry = {"name": bucket, "effect": dict(effect), "exemplars": []}
        document.setdefault("buckets", []).append(entry)
    elif effect is not None and dict(entry["effect"]) != effect:
        raise PolicyEditError(
            f"bucket {bucket!r} has the effect {_show(entry['effect'])}, not {_show(effect)}; change it in the file"
        )
    present = list(entry.get("exemplars") or [])
    fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in present]
    if "exemplars" in entry and entry["exemplars"] is not None:
        entry["exemplars"].extend(fresh)
    else:
        entry["exemplars"] = fresh
    if threshold is not None:
        entry["threshold"] = threshold
    users = [name for name, policy in before.policies.items() if bucket in policy.buckets]
    for name in policies or ([] if users else [before.default_policy]):
        if name not in document["policies"]:
            raise PolicyEditError(f"no policy {name!r}; known: {', '.join(document['policies'])}")
        policy = document["policies"][name]
        if bucket not in (policy.get("buckets") or []):
            policy.setdefault("buckets", []).append(bucket)
    output = io.StringIO()
    editor.dump(document, output)
    changed = output.getvalue()
    parse_policy(changed, source)
    return changed


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


def _editor(text: str) -> Any:
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 1 << 16
    editor.allow_unicode = True
    if re.search(r"^( *)[^\s#-][^\n]*:\n(?: *(?:#[^\n]*)?\n)*\1 +- ", text, re.MULTILINE):
        # Lists are written two further to the right than their key, as in the policy that ships.
        editor.indent(mapping=2, sequence=4, offset=2)
    return editor


def _show(effect: Any) -> str:
    return ", ".join(f"{kind} {value}" for kind, value in dict(effect).items())

"""What the pages name is there: metrics with their labels, headings that links lead to, tests that prove something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from turnout_server.observability.metrics import FAMILIES, Family

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
# Of the hook of LiteLLM: keys of a request's metadata.
NO_METRICS = {f"turnout_{key}" for key in ("tenant", "decision_id", "tier", "status", "fell_back", "hook")}
PACKAGES = ("turnout_server", "turnout_fastpath")


def quoted() -> Iterator[tuple[Path, str]]:
    """Each page, and each text between backticks on it."""
    for page in PAGES:
        for text in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8")):
            yield page, text


def samples_of(family: Family) -> set[str]:
    if family.bounds:
        return {family.name, *(f"{family.name}_{part}" for part in ("bucket", "sum", "count"))}
    return {family.name} if family.is_gauge else {family.name, f"{family.name}_total"}


def test_metrics_are_shown_by_these_names_and_labels() -> None:
    known = {name: family for family in FAMILIES for name in samples_of(family)}
    wrong = []
    for page, text in quoted():
        for name, labels in re.findall(r"\b(turnout_[a-z0-9_]+)\b(?:\{([^}]*)\})?", text):
            if name in NO_METRICS or name.startswith(PACKAGES):
                continue
            told = {label.partition("=")[0].strip() for label in labels.split(",") if label}
            if name.endswith("_") and any(one.startswith(name) for one in known):
                continue
            if name not in known or not told <= set(known[name].labels):
                wrong.append(f"{page.name}: {text}")
    assert not wrong


def test_links_lead_to_headings() -> None:
    missing = []
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            aim = page.parent / target if target else page
            headings = re.findall(r"^#+ (.+)$", aim.read_text(encoding="utf-8"), re.M)
            if anchor not in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}:
                missing.append(f"{page.name}: {target}#{anchor}")
    assert not missing


def test_proofs_are_tests() -> None:
    """A test without a file is one of the file that was named last."""
    missing = []
    file = ""
    for page, text in quoted():
        named, _, test = text.partition("::")
        if named.endswith(".py"):
            file = named
        if re.fullmatch(r"test_\w+", test):
            found = [base / file for base in (ROOT / "tests" / "server", ROOT) if (base / file).is_file()]
            if not any(f"def {test}(" in one.read_text(encoding="utf-8") for one in found):
                missing.append(f"{page.name}: {text}")
    assert not missing

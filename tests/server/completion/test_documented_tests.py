"""docs/completion.md says which test proves what: each that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests/server"
NAMED = re.compile(r"`([\w/.]*)(?:::(test_\w+))?`")


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs/completion.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|") and ".py" in line]
    found = 0
    for row in rows:
        source = ""
        for file, name in NAMED.findall(row):
            if file.endswith((".py", "/")):
                path = next(at for at in (FOLDER / file, ROOT / file) if at.exists())
                source = path.read_text(encoding="utf-8") if path.is_file() else ""
            if name:
                assert re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE), (name, row)
                found += 1
    assert found >= 30

"""h2spec, the conformance tool of HTTP/2, whole and strict, against the decision port; `make h2spec` runs it alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.server.decision_port.conftest import RunningPort
from tests.server.decision_port.raw_client import ROUTE

MODULE = Path(__file__).parent / "h2spec"
PROGRAM = Path(__file__).parents[3] / "build" / "h2spec"
# Strict cases of release 2.2.1.
CASES = 146
CASE_TIMEOUT_S = 2
DATA_AFTER_THE_END = (
    "libnghttp2 passes over DATA on a stream that is closed, as RFC 9113 (section 5.1) lets it, and tells nobody; the "
    "connection's window is given back"
)
# By section and title. What fails that is not here fails the test; docs/decision-port.md has the same table.
ACCEPTED = {
    ("http2/5.1", "closed: Sends a DATA frame after sending RST_STREAM frame"): DATA_AFTER_THE_END,
    ("http2/5.1", "closed: Sends a DATA frame"): DATA_AFTER_THE_END,
    # These two pass when the DATA arrives before the answer is out.
    ("http2/5.1", "half closed (remote): Sends a DATA frame"): DATA_AFTER_THE_END,
    (
        "http2/6.1",
        'Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state',
    ): DATA_AFTER_THE_END,
}


@pytest.fixture(scope="module")
def h2spec() -> Path:
    """The tool, built from the version that go.mod pins."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go, which builds h2spec, is not installed")
    # A sanitiser that this process runs under is not Go's.
    environ = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"} | {"CGO_ENABLED": "0"}
    command = [go, "build", "-o", str(PROGRAM), "github.com/summerwind/h2spec/cmd/h2spec"]
    subprocess.run(command, cwd=MODULE, env=environ, check=True, timeout=300)
    return PROGRAM


async def test_h2spec_strict(h2spec: Path, running_port: RunningPort, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    options = ["--strict", "-h", "127.0.0.1", "-p", str(running_port.number), "-P", ROUTE]
    options += ["-o", str(CASE_TIMEOUT_S), "-j", str(report)]

    def hold() -> None:
        # It fails on the accepted ones too.
        subprocess.run([h2spec, *options], capture_output=True, timeout=300, check=False)

    await asyncio.to_thread(hold)
    # Of the frames that failed cases name, it writes bytes that no XML may hold.
    cases = list(ET.fromstring(report.read_bytes().replace(b"\0", b"")).iter("testcase"))
    assert len(cases) == CASES
    failed = {
        (str(case.get("package")), str(case.get("classname"))): "".join(case.itertext()).strip()
        for case in cases
        if case.find("error") is not None or case.find("failure") is not None
    }
    assert not [case.get("classname") for case in cases if case.find("skipped") is not None]
    assert {case: said for case, said in failed.items() if case not in ACCEPTED} == {}

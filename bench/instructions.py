"""Instructions of one decision in process, counted by callgrind: a gate that does not depend on the machine's load.

Valgrind emulates a processor without AVX-512, so that ONNX Runtime and the kernels take their AVX2 paths: the counts
are of that processor. They change with compiler, interpreter and ONNX Runtime, whose versions stand in the baseline.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from turnout_fastpath import load_bundle

from bench.decision_driver import STRETCHES
from bench.machine import REPOSITORY, describe_machine
from bench.prompts import load_prompts

LENGTHS = (32, 256, 2048)
PROMPTS = 8
CALLS = 40
QUICK_CALLS = PROMPTS
# The C function behind os.getppid; see decision_driver.py.
MARKER = "getppid"
DECIDING_THREAD = "01"
TIMEOUT_S = 400
TOLERANCE = 0.03
BASELINE = Path(__file__).parent / "baseline_instructions.json"


class CountError(RuntimeError):
    """Callgrind failed, or what it wrote cannot be read."""


def run(*, quick: bool) -> dict[str, Any]:
    """Counts; about a minute, most of it the interpreter's start under emulation.

    Raises:
        CountError: valgrind is missing or failed.
    """
    machine = describe_machine([("valgrind", "--version"), ("cc", "--version")])
    # Not from TURNOUT_DATA: a gate needs the same prompts everywhere.
    prompts = load_prompts(PROMPTS)
    calls = QUICK_CALLS if quick else CALLS
    classes = [prompts.of_pieces(pieces) for pieces in LENGTHS]
    with tempfile.TemporaryDirectory(prefix="turnout-bench-") as folder:
        totals = _count(Path(folder), classes, calls)
    slopes = {str(pieces): slopes_of(totals[i], calls) for i, pieces in enumerate(LENGTHS)}
    counts = {length: round(statistics.median(found)) for length, found in slopes.items()}
    return {
        "bench": "instructions",
        "quick": quick,
        "machine": machine,
        "bundle_revision": load_bundle().revision.hex(),
        "prompts": {"source": prompts.source, "digest": prompts.digest},
        "calls": calls,
        "instructions_per_decision": counts,
        "pairs": {length: [round(slope) for slope in found] for length, found in slopes.items()},
        "baseline": compare(counts, prompts.digest, read_baseline()),
    }


def slopes_of(totals: list[int], calls: int) -> list[float]:
    """Instructions a decision from each pair of stretches, one of `calls` decisions and one of twice as many.

    What a stretch costs besides its decisions falls out of the difference.

    Args:
        totals: (1 + 2 n,) instructions of the warm-up, and of n pairs.
        calls: decisions of a pair's first stretch.
    """
    return [(twice - once) / calls for once, twice in zip(totals[1::2], totals[2::2], strict=True)]


def _count(folder: Path, classes: list[list[str]], calls: int) -> list[list[int]]:
    """Instructions of each stretch between two markers, by class."""
    prompts = folder / "prompts.json"
    prompts.write_text(json.dumps(classes), encoding="utf-8")
    out = folder / "callgrind"
    command = ["valgrind", "--tool=callgrind", f"--dump-before={MARKER}", f"--callgrind-out-file={out}"]
    # ONNX Runtime has a thread of its own, which works now and then; only the thread that decides is counted.
    command += ["--separate-threads=yes"]
    command += [sys.executable, "-m", "bench.decision_driver", str(prompts), str(calls)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            timeout=TIMEOUT_S,
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise CountError("valgrind is not installed (Debian: apt-get install valgrind)") from error
    except subprocess.CalledProcessError as error:
        raise CountError(f"callgrind ended with {error.returncode}: {error.stderr[-1000:]}") from error
    totals = read_dumps(folder, out.name, STRETCHES * len(classes))
    return [totals[i : i + STRETCHES] for i in range(0, len(totals), STRETCHES)]


def read_dumps(folder: Path, name: str, stretches: int) -> list[int]:
    """Totals of the last `stretches` dumps that the marker caused; what comes before them is the start.

    Raises:
        CountError: there are fewer.
    """
    totals = []
    number = 1
    while (path := folder / f"{name}.{number}-{DECIDING_THREAD}").exists():
        text = path.read_text(encoding="utf-8", errors="replace")
        total = re.search(r"^totals: (\d+)", text, re.MULTILINE)
        if f"--dump-before={MARKER}" in text and total is not None:
            totals.append(int(total[1]))
        number += 1
    if len(totals) <= stretches:
        raise CountError(f"callgrind wrote {len(totals)} dumps at {MARKER}, needed: {stretches + 1}")
    return totals[-stretches:]


def read_baseline() -> dict[str, Any] | None:
    """The committed baseline, if there is one."""
    if not BASELINE.exists():
        return None
    baseline: dict[str, Any] = json.loads(BASELINE.read_bytes())
    return baseline


def write_baseline(result: dict[str, Any]) -> None:
    """Makes a result the baseline."""
    kept = {
        "instructions_per_decision": result["instructions_per_decision"],
        "prompts_digest": result["prompts"]["digest"],
        "bundle_revision": result["bundle_revision"],
        "python": result["machine"]["python"],
        "packages": {name: result["machine"]["packages"].get(name) for name in ("numpy", "onnxruntime")},
        "tools": result["machine"]["tools"],
    }
    BASELINE.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def compare(
    counts: dict[str, int], prompts_digest: str, baseline: dict[str, Any] | None
) -> dict[str, Any] | None:
    """What the counts are beside a baseline's; None without one.

    Returns:
        `changes` by length, as shares; `same_prompts`; `holds`: no length costs more than TOLERANCE above its baseline.
    """
    if baseline is None:
        return None
    before = baseline["instructions_per_decision"]
    changes = {length: round(count / before[length] - 1, 5) for length, count in counts.items()}
    same_prompts = prompts_digest == baseline["prompts_digest"]
    return {
        "instructions_per_decision": before,
        "changes": changes,
        "same_prompts": same_prompts,
        "holds": same_prompts and all(change <= TOLERANCE for change in changes.values()),
    }


def differences(result: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """What else changed since the baseline and may explain a change of the counts."""
    machine = result["machine"]
    pairs = {
        "prompts": (baseline["prompts_digest"], result["prompts"]["digest"]),
        "bundle": (baseline["bundle_revision"], result["bundle_revision"]),
        "python": (baseline["python"], machine["python"]),
        **{name: (version, machine["packages"].get(name)) for name, version in baseline["packages"].items()},
        **{name: (version, machine["tools"].get(name)) for name, version in baseline["tools"].items()},
    }
    return [f"{name}: {before} before, {now} now" for name, (before, now) in pairs.items() if before != now]


def check(result: dict[str, Any]) -> bool:
    """Prints how the counts compare with the baseline; false if the gate does not hold."""
    baseline, compared = read_baseline(), result["baseline"]
    if baseline is None or compared is None:
        print(f"no baseline; make one with `python -m bench instructions --write-baseline` ({BASELINE.name})")
        return False
    for line in differences(result, baseline):
        print(f"changed since the baseline: {line}")
    if not compared["same_prompts"]:
        print("the prompts changed: the counts cannot be compared; write the baseline anew")
    for length, change in compared["changes"].items():
        verdict = "more than the tolerance" if change > TOLERANCE else "within the tolerance"
        if change < -TOLERANCE:
            verdict = "faster: write the baseline anew to keep it"
        print(f"{length} pieces: {change:+.2%} ({verdict}, {TOLERANCE:.0%})")
    return bool(compared["holds"])


def print_summary(result: dict[str, Any]) -> None:
    """The figures in short, for the terminal."""
    for length, count in result["instructions_per_decision"].items():
        print(f"{length} pieces: {count:,} instructions a decision")

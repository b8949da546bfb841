"""Arrows between packages run one way, and serving loads nothing that only training needs."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fastpath.documents import document
from tests.fastpath.synthetic import write_synthetic

ROOT = Path(__file__).parent.parent
FASTPATH = ROOT / "fastpath/turnout_fastpath"
SERVER = ROOT / "server/turnout_server"
CLIENT = ROOT / "clients/python/turnout"
HEAVY = {
    "joblib",
    "matplotlib",
    "onnx",
    "pandas",
    "pyarrow",
    "safetensors",
    "scipy",
    "skl2onnx",
    "sklearn",
    "tokenizers",
    "torch",
}
CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+([\w.]+))", re.MULTILINE)


def modules(folder: Path) -> Iterator[Path]:
    """Source files of a package, Cython's too."""
    found = [path for path in folder.rglob("*") if path.suffix in (".py", ".pyi", ".pyx", ".pxd")]
    assert found, folder
    yield from found


def imported(path: Path) -> set[str]:
    """Top-level names of what a file imports, anywhere in it."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".pyx", ".pxd"):
        names = {one or other for one, other in CYTHON_IMPORT.findall(text)}
    else:
        names = set()
        for node in ast.walk(ast.parse(text, str(path))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def offenders(folder: Path, forbidden: set[str], *, but: Path | None = None) -> list[str]:
    """Files of a package that import what they must not."""
    return [
        f"{path.relative_to(ROOT)}: {', '.join(sorted(found))}"
        for path in modules(folder)
        if not (but and path.is_relative_to(but)) and (found := imported(path) & forbidden)
    ]


def test_the_core_knows_neither_service_nor_configuration() -> None:
    forbidden = {
        "grpc",
        "google",
        "turnout",
        "turnout_server",
        "pydantic",
        "yaml",
        "structlog",
        "prometheus_client",
    }
    assert offenders(FASTPATH, forbidden) == []


def test_providers_know_neither_grpc_nor_the_contract() -> None:
    assert offenders(SERVER / "providers", {"grpc", "google", "turnout", "pydantic", "yaml"}) == []


def test_the_client_knows_neither_engine_nor_service() -> None:
    assert offenders(CLIENT, {"numpy", "onnxruntime", "turnout_fastpath", "turnout_server"}) == []


def test_the_fault_wall_knows_nothing_of_what_is_tested_against_it() -> None:
    assert offenders(ROOT / "tests/faults", {"grpc", "turnout", "turnout_fastpath", "turnout_server"}) == []


@pytest.mark.parametrize("folder", [FASTPATH, SERVER, CLIENT], ids=lambda folder: folder.name)
def test_heavy_packages_are_for_training_alone(folder: Path) -> None:
    assert offenders(folder, HEAVY, but=FASTPATH / "training") == []


def test_only_training_imports_training() -> None:
    pattern = re.compile(r"^(?:from|import) turnout_fastpath\.training", re.MULTILINE)
    sources = [path for folder in (FASTPATH, SERVER, CLIENT) for path in modules(folder)]
    found = [path for path in sources if pattern.search(path.read_text(encoding="utf-8"))]
    # An indented import, in a command's function, is no import of the package.
    assert [path for path in found if not path.is_relative_to(FASTPATH / "training")] == []


def run_script(script: str, *arguments: str) -> list[str]:
    """What a fresh process prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed: list[str] = json.loads(done.stdout)
    return printed


def test_a_decision_needs_numpy_and_onnxruntime_alone(tmp_path: Path) -> None:
    script = """
import json, sys
before = set(sys.modules)
for name in ("grpc", "google", "pydantic", "yaml", "turnout", "turnout_server"):
    sys.modules[name] = None
from turnout_fastpath import Engine
assert Engine.load(sys.argv[1], json.loads(sys.argv[2])).route("hello").tier
print(json.dumps(sorted({
    name.partition(".")[0]
    for name, module in sys.modules.items()
    if name not in before and "site-packages" in (getattr(module, "__file__", None) or "")
})))
"""
    bundle = write_synthetic(tmp_path / "bundle")
    assert set(run_script(script, str(bundle), json.dumps(document()))) <= {"numpy", "onnxruntime"}


def test_the_client_runs_without_the_engine() -> None:
    script = """
import json, sys
for name in ("numpy", "onnxruntime", "turnout_fastpath", "turnout_server"):
    sys.modules[name] = None
import turnout
print(json.dumps([turnout.__name__]))
"""
    assert run_script(script) == ["turnout"]


def test_the_messages_need_neither_clients_nor_grpc() -> None:
    script = """
import json, sys
sys.modules["grpc"] = None
import turnout.v1.routing_pb2
print(json.dumps([name for name in sys.modules if name.startswith("turnout")]))
"""
    assert {name for name in run_script(script) if not name.startswith("turnout.v1")} == {"turnout"}


def test_every_name_of_the_client_is_there() -> None:
    script = """
import json, turnout
print(json.dumps([name for name in turnout.__all__ if getattr(turnout, name) is None or name not in dir(turnout)]))
"""
    assert run_script(script) == []


def test_the_decision_port_alone_needs_no_grpc() -> None:
    script = """
import json, sys
sys.modules["grpc"] = None
from turnout_server.decision_serving import DecisionService
from turnout_server.settings import Settings
DecisionService(Settings(store="off", ext_proc=False))
print(json.dumps(sorted(sys.modules)))
"""
    loaded = set(run_script(script))
    assert not [name for name in loaded if name.startswith("turnout_server.completion")]
    assert loaded & {"onnxruntime", "sqlalchemy", "aiohttp"} == set()


def test_serving_loads_no_heavy_package() -> None:
    script = """
import importlib, json, pkgutil, sys
import turnout_fastpath, turnout_server
for module in pkgutil.walk_packages(turnout_server.__path__, "turnout_server."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""
    loaded = {name.partition(".")[0] for name in run_script(script)}
    assert "turnout_server" in loaded
    assert loaded & HEAVY == set()

"""Builds the compiled core. TURNOUT_DEBUG=1 turns every bounds check and sanitiser trap on."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("TURNOUT_DEBUG") == "1"
CORE = "fastpath/turnout_fastpath"
# Roots of import packages, and the folders in them that hold compiled files.
ROOTS = {
    "fastpath": ["turnout_fastpath"],
    "server": ["turnout_server/doors/compiled", "turnout_server/doors/decision_port"],
}
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": not DEBUG,
    "freethreading_compatible": False,
}
SANITISE = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"] if DEBUG else []
# -ffp-contract=off: no fused multiply-add, so that equal inputs give equal bits on every processor.
COMPILE = ["-O1", "-g", "-fno-omit-frame-pointer", *SANITISE] if DEBUG else ["-O3", "-fno-math-errno"]

extensions = [
    Extension(
        ".".join(source.relative_to(root).with_suffix("").parts),
        [str(source)],
        include_dirs=[CORE, str(Path(root, folder))],
        define_macros=[("TURNOUT_DEBUG", "1")] if DEBUG else [],
        extra_compile_args=[*COMPILE, "-ffp-contract=off", "-Wno-unused-function"],
        extra_link_args=SANITISE,
    )
    for root, folders in ROOTS.items()
    for folder in folders
    for source in sorted(Path(root, folder).glob("*.pyx"))
]
setup(
    ext_modules=cythonize(
        extensions,
        include_path=list(ROOTS),
        build_dir="build/debug" if DEBUG else "build/release",
        compiler_directives=DIRECTIVES,
        nthreads=2,
    )
)

"""Builds the compiled core. TURNOUT_DEBUG=1 turns every bounds check and sanitiser trap on.

TURNOUT_SANITISE=address or =thread builds for AddressSanitizer (with UndefinedBehaviorSanitizer) or ThreadSanitizer; the
interpreter then has to be started with the sanitiser's library preloaded (`make address` and `make thread` do both).
"""

import os
import platform
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
SANITISER = os.environ.get("TURNOUT_SANITISE", "undefined" if DEBUG else "")
SANITISE = {
    "": [],
    "undefined": ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    "thread": ["-fsanitize=thread"],
}[SANITISER]
# x86-64-v2: what every x86-64 processor since 2009 has. Wider vectors are chosen while running, by what the processor has.
ARCHITECTURE = ["-march=x86-64-v2"] if platform.machine() in {"x86_64", "AMD64"} else []
# -ffp-contract=off: no fused multiply-add, so that equal inputs give equal bits on every processor.
COMPILE = ["-O1", "-g", "-fno-omit-frame-pointer", *SANITISE] if SANITISER else ["-O3", "-fno-math-errno"]

extensions = [
    Extension(
        ".".join(source.relative_to(root).with_suffix("").parts),
        [str(source)],
        include_dirs=[CORE, str(Path(root, folder))],
        define_macros=[("TURNOUT_DEBUG", "1")] if DEBUG else [],
        extra_compile_args=[*COMPILE, *ARCHITECTURE, "-ffp-contract=off", "-Wno-unused-function"],
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
        build_dir=f"build/{SANITISER}" if SANITISER else "build/release",
        compiler_directives=DIRECTIVES,
        nthreads=2,
    )
)

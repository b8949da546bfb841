"""Builds the compiled core. TURNOUT_DEBUG=1 turns every bounds check and sanitiser trap on."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("TURNOUT_DEBUG") == "1"
CORE = "fastpath/turnout_fastpath"
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
        f"turnout_fastpath.{source.stem}",
        [str(source)],
        include_dirs=[CORE],
        define_macros=[("TURNOUT_DEBUG", "1")] if DEBUG else [],
        extra_compile_args=[*COMPILE, "-ffp-contract=off", "-Wno-unused-function"],
        extra_link_args=SANITISE,
    )
    for source in sorted(Path(CORE).glob("*.pyx"))
]
setup(
    ext_modules=cythonize(
        extensions,
        include_path=["fastpath"],
        build_dir="build/debug" if DEBUG else "build/release",
        compiler_directives=DIRECTIVES,
        nthreads=2,
    )
)

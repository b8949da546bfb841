"""Builds the compiled core. TURNOUT_DEBUG=1 turns every bounds check and sanitiser trap on."""

import os

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

# `policy_compiler` runs once a reload, in checked Python semantics.
extensions = [
    Extension(
        f"turnout_fastpath.{name.removesuffix('.pyx')}",
        [f"{CORE}/{name}"],
        include_dirs=[CORE],
        define_macros=[("TURNOUT_DEBUG", "1")] if DEBUG else [],
        extra_compile_args=[*COMPILE, "-ffp-contract=off", "-Wno-unused-function"],
        extra_link_args=SANITISE,
    )
    for name in sorted(os.listdir(CORE))
    if name.endswith(".pyx")
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

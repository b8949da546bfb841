"""Load tests: every arm on the same bytes, or any server under its address. `python -m bench load`."""

from bench.load.comparison import print_summary, run

__all__ = ["print_summary", "run"]

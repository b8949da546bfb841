"""Benchmarks: what a decision costs, in process and over gRPC, beside what others cost on the same prompts.

`python -m bench --help`; README.md says what each figure means.
"""

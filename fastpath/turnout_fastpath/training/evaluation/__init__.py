"""What a router is worth on rows with known scores: curves, calibration, baselines, intervals, reports.

The definitions are those of docs/evaluation.md. Every measure takes weights of shape (..., n), so that one call
computes it for all replicates of a bootstrap.
"""

"""The offline twin: distil, fit, calibrate, export. Heavy imports live in this package alone, behind an extra."""

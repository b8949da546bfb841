"""Checks on actual answers. No network, and no time that a caller's text or schema could stretch."""

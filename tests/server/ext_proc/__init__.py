"""Tests of the door for Envoy."""

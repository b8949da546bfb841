"""Turnout inside gateways of others."""

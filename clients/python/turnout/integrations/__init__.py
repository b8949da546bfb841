"""Turnout inside gateways of others; each module needs the gateway's own package, and nothing else here does."""

"""Envoy's external processor: an existing gateway asks for a decision on a provider's HTTP request, and routes by it."""

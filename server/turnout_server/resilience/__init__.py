"""What keeps completions dependable: deadlines, retries, breakers, limits, budgets. No gRPC, no HTTP, no event loop."""

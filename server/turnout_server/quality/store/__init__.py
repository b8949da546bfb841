"""The outcome store: what became of each decision, written off the caller's path."""

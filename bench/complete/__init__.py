"""`Complete` beside direct calls of the same upstream: what it adds, how much it carries, what it leaves."""

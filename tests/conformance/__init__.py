"""One table of requests and what must come of them, which every client runs against every door."""

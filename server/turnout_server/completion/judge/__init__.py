"""The LLM judge: what it is asked, what its verdict must look like, and what becomes of it."""

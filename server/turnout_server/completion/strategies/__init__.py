"""How a decision is carried out: one file a strategy, all by the dispatcher."""

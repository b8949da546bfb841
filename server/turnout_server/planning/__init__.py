"""Cost arithmetic, the price table, simulation and plans."""

"""Labels: a user's prompts asked of each tier, the answers graded, and rows written that training reads."""

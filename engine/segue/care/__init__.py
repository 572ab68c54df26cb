"""One person: what happened, folded out of facts, and what is to be done about it."""

"""Who asks, what they asked before and what they said of themselves: each theirs alone."""

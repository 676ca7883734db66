"""Documents in, passages found: reading, splitting, embedding, indexing, searching."""

"""HTTP: the only room that speaks it, besides the composition root."""

"""Faults at random, drawn from a seed and done to several real nodes, and a checker that decides from the history."""

"""Answers from passages: written by Claude, or extracted; with citations that are checked."""

"""Retrieval measured, beside what others published."""

"""Faults done to real server processes."""

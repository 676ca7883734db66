"""Answers as append-only logs; knows neither HTTP nor models."""

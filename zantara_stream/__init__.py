"""Zantara Stream: answers over your own documents, cited and streamed by Server-Sent Events."""

__version__ = "0.1.0"

"""The table of settings that the README shows."""

from __future__ import annotations

from dataclasses import MISSING, fields

from zantara_stream.config import Settings, variable


def settings_table() -> str:
    """The settings as the Markdown table that the README shows."""
    rows = ["| setting | default | unit | what it is |", "|---|---|---|---|"]
    for f in fields(Settings):
        assert f.default is not MISSING
        m = f.metadata
        rows.append(f"| `{variable(f.name)}` | {m['shown']} | {m['unit']} | {m['meaning']} |")
    return "\n".join(rows)

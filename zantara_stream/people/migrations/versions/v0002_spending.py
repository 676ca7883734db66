"""Tokens that are paid on one day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make its table."""
    op.create_table(
        "spending",
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String(32), primary_key=True),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
    )

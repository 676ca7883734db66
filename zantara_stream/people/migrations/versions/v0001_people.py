"""What is kept of people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    _people()
    _facts()
    _conversations()
    _turns()
    _tickets()
    _feedback()


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("owner", sa.String(32), primary_key=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("forgotten", sa.Double(), nullable=False),
    )


def _facts() -> None:
    op.create_table(
        "facts",
        sa.Column("id", sa.String(22), primary_key=True),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("learned", sa.Double(), nullable=False),
        sa.Column("confirmed", sa.Double(), nullable=False),
        sa.Column("formerly", sa.Text(), nullable=False),
        sa.Column("formerly_learned", sa.Double()),
    )
    op.create_index("facts_of", "facts", ["owner"])


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("owner", sa.String(32), primary_key=True),
        sa.Column("session", sa.String(200), primary_key=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.Column("cleared", sa.Double(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("summarised", sa.Double(), nullable=False),
    )
    op.create_index("conversations_used", "conversations", ["updated"])


def _turns() -> None:
    op.create_table(
        "turns",
        sa.Column("answer", sa.String(22), primary_key=True),
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("session", sa.String(200), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("asked", sa.Double(), nullable=False),
        sa.Column("remembers", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ended", sa.Double()),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    op.create_index("turns_of", "turns", ["owner", "session", "asked"])
    op.create_index("turns_open", "turns", ["ended"])


def _tickets() -> None:
    op.create_table(
        "tickets",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("identity", sa.JSON(), nullable=False),
        sa.Column("question", sa.String(64), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("used", sa.Text()),
    )
    op.create_index("tickets_expire", "tickets", ["expires"])


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("answer", sa.String(22), primary_key=True),
        sa.Column("owner", sa.String(32), primary_key=True),
        sa.Column("rating", sa.Integer(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("given", sa.Double(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    op.create_index("feedback_given", "feedback", ["given"])

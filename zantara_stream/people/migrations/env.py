"""What Alembic runs, on the connection that the store has opened."""

from __future__ import annotations

from alembic import context

from zantara_stream.people.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite alters few things in place
)
context.run_migrations()

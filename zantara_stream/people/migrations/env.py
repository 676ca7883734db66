"""What Alembic runs, on the connection that the store has opened."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["tables"],
    render_as_batch=True,  # SQLite alters few things in place
)
context.run_migrations()

"""What both databases need said alike: rows that may be there already, and text that both can store."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

AnyRow = Row[*tuple[Any, ...]]
T = TypeVar("T")


def _insert(connection: AsyncConnection, table: Table, values: dict[str, Any]) -> postgresql.Insert | sqlite.Insert:
    """An insertion in the database's own dialect, which alone says what is done where the row is there."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).values(values)


async def insert_missing(connection: AsyncConnection, table: Table, **values: Any) -> bool:
    """Insert a row where there is none of its primary key; whether it was inserted."""
    done = await connection.execute(_insert(connection, table, values).on_conflict_do_nothing())
    return bool(done.rowcount > 0)


async def upsert(connection: AsyncConnection, table: Table, **values: Any) -> None:
    """Insert a row, or put its values in the place of those that are there."""
    keys = [column.name for column in table.primary_key]
    others = {name: value for name, value in values.items() if name not in keys}
    insert = _insert(connection, table, values)
    await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=others))


async def accumulate(connection: AsyncConnection, table: Table, column: Column[int], **values: Any) -> None:
    """Insert a row, or add the column's value to that of the one that is there."""
    insert = _insert(connection, table, values)
    keys = [key.name for key in table.primary_key]
    more = {column.name: column + insert.excluded[column.name]}
    await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=more))


def storable(value: T) -> T:
    """The same text, or texts in lists and mappings, without what PostgreSQL cannot store: the character NUL."""
    changed: Any = value
    if isinstance(value, str):
        changed = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    elif isinstance(value, dict):
        changed = {name: storable(item) for name, item in value.items()}
    elif isinstance(value, list | tuple):
        changed = [storable(item) for item in value]
    return changed  # type: ignore[no-any-return]

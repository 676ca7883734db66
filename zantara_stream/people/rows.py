"""What both databases need said alike: rows that may be there already, and text that both can store."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

AnyRow = Row[*tuple[Any, ...]]
T = TypeVar("T")


async def insert_missing(connection: AsyncConnection, table: Table, **values: Any) -> bool:
    """Insert a row where there is none of its primary key; whether it was inserted."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    done = await connection.execute(dialect.insert(table).values(values).on_conflict_do_nothing())
    return bool(done.rowcount > 0)


async def upsert(connection: AsyncConnection, table: Table, **values: Any) -> None:
    """Insert a row, or put its values in the place of those that are there."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    keys = [column.name for column in table.primary_key]
    others = {name: value for name, value in values.items() if name not in keys}
    insert = dialect.insert(table).values(values)
    await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=others))


async def accumulate(connection: AsyncConnection, table: Table, column: Column[int], **values: Any) -> None:
    """Insert a row, or add the column's value to that of the one that is there."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(table).values(values)
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

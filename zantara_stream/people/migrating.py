"""The tables of people made, or brought to this version, by Alembic."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from .tables import METADATA, VERSION

Unknown = CommandError  # the tables are of a version that is not among the migrations


def migrate(connection: Connection) -> None:
    """Bring them to `VERSION`. Raises `Unknown`."""
    with as_file(files(__package__).joinpath("migrations")) as folder:
        config = Config(attributes={"connection": connection, "tables": METADATA})
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        command.upgrade(config, VERSION)

"""What a build's folder says of vectors that are kept elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import IndexUnavailable
from .manifest import POINTER, REBUILD


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where they are, how many, and what they add up to."""

    collection: str
    count: int
    sha256: str  # of all vectors by number, in float32
    milvus: str  # where it is, without passwords; for people

    def save(self, folder: Path) -> None:
        """Write it into the build's folder."""
        (folder / POINTER).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Pointer | None:
        """Read it; None for a folder without one. Raises `IndexUnavailable`."""
        try:
            return cls(**json.loads((folder / POINTER).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise IndexUnavailable(f"{folder / POINTER} cannot be read ({error}): {REBUILD}") from error

"""Who asks."""

from __future__ import annotations

import string
from dataclasses import dataclass

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # str.lower makes a k of the Kelvin sign


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the server knows them; one of no `key` is nobody known, and owns nothing but what they can name.

    `key` is made from what was verified of them and says nothing of it. `language` is ISO 639-1. The texts are
    for people, as the operator's file of collaborators has them, or as a token does.
    """

    key: str = ""
    name: str = ""
    nickname: str = ""
    role: str = ""
    department: str = ""
    level: int = 0  # of access, 0 to 3
    language: str = ""
    expertise: str = ""

    @property
    def called(self) -> str:
        """How to address them; "" where that is not known."""
        return self.nickname.strip() or self.name.strip()


NOBODY = Person()


def folded(email: str) -> str:
    """An e-mail address as it is compared: case does not count, and no two letters that differ are taken for one."""
    return email.strip().translate(_SMALL)

"""What is kept of people, as tables. Every row of a person carries their key, and every query asks for it.

    people          what is kept once for a person: the summary of them, and when they had all of it forgotten
    facts           what they said of themselves
    conversations   the turns' covers, by owner and session id; one that was cleared stays as a mark
    turns           a question and its answer, by the answer's id; one without an end is being written
    tickets         one-time passes, by their digest
    feedback        what was thought of an answer, with the answer
    spending        tokens that were paid on a day (days since 1970, UTC), of a person, and of all under ""

Times are unix seconds. `migrations/` makes these tables; a test compares both.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()
VERSION = "0002"  # the newest of `migrations/`

KEY = String(32)  # of a person; "" for what belongs to whoever can name it
NAME = String(200)  # of a session

people = Table(
    "people",
    METADATA,
    Column("owner", KEY, primary_key=True),
    Column("summary", Text, nullable=False),
    Column("forgotten", Double, nullable=False),
)

facts = Table(
    "facts",
    METADATA,
    Column("id", String(22), primary_key=True),
    Column("owner", KEY, nullable=False),
    Column("text", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("learned", Double, nullable=False),
    Column("confirmed", Double, nullable=False),
    Column("formerly", Text, nullable=False),
    Column("formerly_learned", Double),
    Index("facts_of", "owner"),
)

conversations = Table(
    "conversations",
    METADATA,
    Column("owner", KEY, primary_key=True),
    Column("session", NAME, primary_key=True),
    Column("title", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    Column("cleared", Double, nullable=False),
    Column("summary", Text, nullable=False),
    Column("summarised", Double, nullable=False),  # when the last turn was asked that the summary stands for
    Index("conversations_used", "updated"),
)

turns = Table(
    "turns",
    METADATA,
    Column("answer", String(22), primary_key=True),
    Column("owner", KEY, nullable=False),
    Column("session", NAME, nullable=False),  # "" for a question outside of conversations, kept until its end
    Column("question", Text, nullable=False),
    Column("asked", Double, nullable=False),
    Column("remembers", Integer, nullable=False),  # 1 where memory may learn from it
    Column("state", String(16), nullable=False),
    Column("ended", Double),
    Column("text", Text, nullable=False),
    Column("details", JSON, nullable=False),  # model, sources, citations, and how it ended
    Index("turns_of", "owner", "session", "asked"),
    Index("turns_open", "ended"),
)

tickets = Table(
    "tickets",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("identity", JSON, nullable=False),
    Column("question", String(64), nullable=False),  # its digest; "" for any
    Column("expires", Double, nullable=False),
    Column("used", Text),  # for which answer: its name, or its continuity id
    Index("tickets_expire", "expires"),
)

feedback = Table(
    "feedback",
    METADATA,
    Column("answer", String(22), primary_key=True),
    Column("owner", KEY, primary_key=True),
    Column("rating", Integer, nullable=False),
    Column("comment", Text, nullable=False),
    Column("given", Double, nullable=False),
    Column("question", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Index("feedback_given", "given"),
)

spending = Table(
    "spending",
    METADATA,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("owner", KEY, primary_key=True),
    Column("tokens", BigInteger, nullable=False),
)

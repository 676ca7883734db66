"""The life of an answer on one node, as a table.

    running     written here, with its lease
    followed    not finished, and written elsewhere or by nobody yet; what the journal gets is shown here
    closed      its terminal event is in the journal
    left        no longer shown by this node; another one, or this one later, may go on with it

While nobody reads, a running answer's `grace` passes, and then it is stopped; a closed one's `retention`,
and then it is forgotten.
"""

from __future__ import annotations

RUNNING, FOLLOWED, CLOSED, LEFT = "running", "followed", "closed", "left"

# What happens to it.
ENDED = "its terminal event was recorded"
FENCED = "another node took it over"
CLAIMED = "its lease had run out and was taken here"
BROKEN_OFF = "the journal failed, or the node drains"

LIFE: dict[tuple[str, str], str] = {
    (RUNNING, ENDED): CLOSED,
    (RUNNING, FENCED): FOLLOWED,
    (RUNNING, BROKEN_OFF): LEFT,
    (FOLLOWED, CLAIMED): RUNNING,
    (FOLLOWED, ENDED): CLOSED,
    (FOLLOWED, BROKEN_OFF): LEFT,
}

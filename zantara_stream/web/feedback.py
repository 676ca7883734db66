"""What people think of answers."""

from __future__ import annotations

from aiohttp import web

from ..answers.answers import Answers
from ..answers.fold import fold
from ..people.feedback import Feedback, Feedbacks
from .answers import own_answer
from .asker import asker
from .parameters import read_rating, read_values


class Ratings:
    """The handler of `/bali-zero/feedback`."""

    def __init__(self, answers: Answers, feedback: Feedbacks) -> None:
        self._answers = answers
        self._feedback = feedback

    async def rate(self, request: web.Request) -> web.Response:
        """Keep a rating with the answer that it is of, while that is here; a second one takes its place."""
        name, rating, comment = read_rating(await read_values(request))
        answer = await own_answer(self._answers, request, name)
        folded = fold(answer.log.frames())
        given = Feedback(answer.id, rating, comment, answer.opening.question, folded.text, folded.details)
        await self._feedback.give(asker(request).key, given)
        return web.json_response({"answer": answer.id, "rating": rating}, status=201)

"""What people think of answers."""

from __future__ import annotations

from aiohttp import web

from ..answers.answers import Answers
from ..answers.fold import fold
from ..errors import AnswerExpired, AnswerNotFound
from ..people.feedback import Feedback, Feedbacks
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
        owner = asker(request).key
        try:
            answer = await self._answers.get(name, owner)
        except AnswerExpired:
            raise AnswerNotFound from None
        folded = fold(answer.log.frames())
        given = Feedback(answer.id, rating, comment, answer.opening.question, folded.text, folded.details)
        await self._feedback.give(owner, given)
        return web.json_response({"answer": answer.id, "rating": rating}, status=201)

"""Cutting a text that arrives in pieces into what can be spoken already.

Only for streams: a text that is there as a whole is cut by the worker, which knows languages. Here a mark at
the end is enough, and a cut in the wrong place costs a pause. Follows specs/wyoming.md, "Operations".
"""

import re

#: A mark after which a sentence is over; a full stop only before white space, so that 3.5 stays whole.
_END = re.compile(r"[。！？!?…\n]+[」』”’）)\"']*|\.[”’)\"']*(?=\s)")

#: Characters below which a sentence waits for the next one: "Mr." is none.
SHORTEST = 4

#: Characters that a full stop with its closing quotation marks may have.
LOOK_BACK = 8


class Sentences:
    """A text in the making: what is added comes out again in sentences."""

    def __init__(self) -> None:
        self._pending = ""
        #: Characters that were added in all.
        self.length = 0

    def add(self, text: str) -> list[str]:
        """The sentences that this piece makes whole."""
        self.length += len(text)
        # What was there already was looked through, up to a full stop that waits for what follows it.
        looked = max(0, len(self._pending) - LOOK_BACK)
        self._pending += text
        found, start = [], 0
        for end in _END.finditer(self._pending, looked):
            if end.end() - start >= SHORTEST:
                found.append(self._pending[start : end.end()])
                start = end.end()
        self._pending = self._pending[start:]
        return [one for one in found if is_spoken(one)]

    def rest(self) -> list[str]:
        """What is left when nothing more comes."""
        left, self._pending = self._pending, ""
        return [left] if is_spoken(left) else []


def is_spoken(text: str) -> bool:
    """Whether there is anything in a text that sounds."""
    return any(character.isalnum() for character in text)

"""One request on its way through a voice, a sentence at a time.

Between two sentences it can be put away: a ``Place`` is all that is needed to go on, later or elsewhere, as
if nothing had come between. So a long text lets others have their turn, and what they say changes nothing in
it. A streamed sentence hands over its sound in pieces while its codes are drawn, any other when it is whole.
Not for the networks: see synthesize. Follows specs/sampling.md and specs/streaming.md.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from p2pvoice.protocol.errors import UsageError
from p2pvoice.sovits import text
from p2pvoice.sovits.heeding import heeding
from p2pvoice.sovits.lite.model import LiteVoice
from p2pvoice.sovits.lite.windows import LiteWindows
from p2pvoice.sovits.streaming import Audio, Pieces, frames_in
from p2pvoice.sovits.text.pronunciations import of_texts
from p2pvoice.sovits.windows import SoVitsWindows

if TYPE_CHECKING:
    from p2pvoice.sovits.synthesize import Prompt, SpeakText, Spoken, Voice

SEED_LIMIT = 1 << 63
"""Seeds are whole numbers below this."""


@dataclass(frozen=True)
class Place:
    """Where a request stands between two sentences: how many were said, and the generator's state."""

    sentence: int
    state: bytes


class Utterance:
    """A request that is being spoken. Raises UsageError for a text without words in it."""

    def __init__(self, voice: "Voice", request: "SpeakText", place: Place | None = None) -> None:
        self._voice, self._request = voice, request
        self._words = of_texts(voice.words, request.words)
        self._sentences = text.split(
            self._words.hide(request.text), request.split, request.lang, upstream=request.upstream_text
        )
        if not self._sentences:
            raise UsageError("the text has no words in it")
        self._generator = torch.Generator()
        self._next = 0
        if place is None:
            self._generator.manual_seed(
                secrets.randbelow(SEED_LIMIT) if request.seed is None else request.seed
            )
        else:
            self._next = place.sentence
            self._generator.set_state(torch.frombuffer(bytearray(place.state), dtype=torch.uint8))

    @property
    def place(self) -> Place | None:
        """Where it stands; None when all is said."""
        if self._next >= len(self._sentences):
            return None
        return Place(self._next, self._generator.get_state().numpy().tobytes())

    def say(
        self,
        take: Callable[[Audio], None],
        *,
        on_code: Callable[[int], None] | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Say the next sentence, handing its sound to ``take`` in order, with the silence after it.

        ``on_code`` hears of each code as it is drawn, ``check`` is called between the layers of the networks;
        what either raises ends the work. Raises UsageError, UnsupportedLanguageError or SynthesisError.
        """
        voice, request = self._voice, self._request
        voice.give_notice()
        last = self._next == len(self._sentences) - 1
        silence = np.zeros(0 if last else int(voice.sample_rate * request.pause), np.float32)
        with heeding(check, voice.sovits, *([] if voice.bert is None else [voice.bert[0]])):
            style = voice.style((request.reference, *request.also))
            prompt = voice.prompt(request.reference, request.upstream_text)
            said = voice.read(self._sentences[self._next], request.lang, self._words, request.upstream_text)
            draw = partial(self._draw, said, prompt, check)
            if request.stream:
                self._stream(said, style, draw, take, on_code)
                if len(silence):
                    take(silence)
            else:
                audio = voice.decode(draw(on_code), said, style, request, self._generator)
                take(np.concatenate([audio, silence]) if len(silence) else audio)
        self._next += 1

    def _draw(
        self,
        said: "Spoken",
        prompt: "Prompt",
        check: Callable[[], None] | None,
        on_code: Callable[[int], None] | None,
    ) -> list[int]:
        with heeding(check, self._voice.gpt) as leave:

            def heard(code: int) -> None:
                # The sentence is read; from here on every code is a chance to stop, and hooks cost time.
                leave()
                if on_code is not None:
                    on_code(code)

            return self._voice.draw(said, prompt, self._request, self._generator, heard)

    def _stream(
        self,
        said: "Spoken",
        style: Tensor,
        draw: Callable[[Callable[[int], None]], list[int]],
        take: Callable[[Audio], None],
        on_code: Callable[[int], None] | None,
    ) -> None:
        request, network = self._request, self._voice.sovits
        # The noise comes from a generator of its own: that of the request is still busy with the codes.
        state = self._generator.get_state().numpy().tobytes()
        noise = torch.Generator()
        noise.manual_seed(int.from_bytes(hashlib.sha256(state).digest()[:8], "big") % SEED_LIMIT)
        make = LiteWindows if isinstance(network, LiteVoice) else SoVitsWindows
        windows = make(
            network, said.phones, style, speed=request.speed, noise_scale=request.noise_scale, generator=noise
        )
        pieces = Pieces(windows, request.speed)

        def heard(code: int) -> None:
            if on_code is not None:
                on_code(code)
            piece = pieces.add(code)
            if piece is not None:
                take(piece)

        codes = draw(heard)
        take(pieces.end())
        # Decoded as a whole, the sentence would have drawn its noise here; the next one must not notice.
        windows.skip(frames_in(len(codes), request.speed), self._generator)

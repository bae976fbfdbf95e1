"""A voice speaks: from its folder and a text to audio, one piece a sentence.

One ``Voice`` holds its models and the few things computed once (style vectors, phones of the references); no
other state outlives a request. Every request has its own random generator on the CPU, so a seed gives the
same speech again on the same machine, whatever was spoken before. Not for files and labels: the caller has
samples to do with as it likes. Follows specs/sampling.md.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pvoice.protocol.errors import UsageError, VoiceNotLoadableError
from p2pvoice.sovits import text, voicefile
from p2pvoice.sovits.bases import Bases
from p2pvoice.sovits.bert import Bert, Characters, phone_features
from p2pvoice.sovits.declared import LITE
from p2pvoice.sovits.gpt import Text2Semantic
from p2pvoice.sovits.lite.model import LiteVoice
from p2pvoice.sovits.sampling import MAX_CODES, Sampling, exponential_noise, generate
from p2pvoice.sovits.text.pronunciations import NONE, of_texts
from p2pvoice.sovits.utterance import SEED_LIMIT, Utterance
from p2pvoice.sovits.vits import SoVits
from p2pvoice.sovits.voicefile import REFERENCES_LIMIT, VoiceFile

SPEED_RANGE = (0.25, 4.0)
"""How much slower or faster than its reference a voice may speak."""
NOISE_RANGE = (0.0, 2.0)
"""Scale of the decoder's noise."""
PAUSE_LIMIT = 10.0
"""Longest silence between two sentences, in seconds."""
SENTENCE_ENDS = frozenset("，。？！,.?!~:：—…")
"""Marks after which a transcript counts as finished; another one gets a full stop."""

NO_BERT = (
    "the Chinese BERT is not installed, so Mandarin sounds flatter than it could"
    " (p2pvoice base fetch bert, or base add DIR)"
)

Audio = NDArray[np.float32]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpeakText:
    """One request. The defaults are those of the published pipeline; ``seed`` None means any."""

    text: str
    lang: str
    seed: int | None = None
    speed: float = 1.0
    top_k: int = 15
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.35
    noise_scale: float = 0.5
    reference: int = 0
    also: tuple[int, ...] = ()
    """Further references whose style is averaged with that of ``reference``, which alone prompts."""
    split: str = "cut1"
    pause: float = 0.3
    """Seconds of silence between sentences."""
    stream: bool = False
    """Whether sound is made piece by piece while a sentence is still being drawn (specs/streaming.md)."""
    upstream_text: bool = False
    """Whether the text is read as the published front end reads it, where it is wrong, too."""
    words: str = ""
    """The user's pronunciation dictionary, as text; it wins over the voice's."""

    def __post_init__(self) -> None:
        for name, value, (low, high) in (
            ("speed", self.speed, SPEED_RANGE),
            ("noise_scale", self.noise_scale, NOISE_RANGE),
            ("pause", self.pause, (0.0, PAUSE_LIMIT)),
        ):
            if not low <= value <= high:
                raise UsageError(f"{name} must lie within {low} and {high}, not {value}")
        if self.seed is not None and not 0 <= self.seed < SEED_LIMIT:
            raise UsageError(f"a seed is a whole number from 0 to {SEED_LIMIT - 1}")
        if len(self.also) > REFERENCES_LIMIT:
            raise UsageError(f"at most {REFERENCES_LIMIT} references are averaged")
        self.sampling  # noqa: B018  Its own bounds are checked where it is made.

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.top_k, self.top_p, self.temperature, self.repetition_penalty)


@dataclass(frozen=True)
class Spoken:
    """Phones of a stretch of text, [1, L], and their BERT features [1, width, L]; None when all are zero."""

    phones: Tensor
    bert: Tensor | None


@dataclass(frozen=True)
class Prompt:
    """What a reference contributes to every sentence: its phones and its codes [1, N]."""

    spoken: Spoken
    codes: Tensor


class Voice:
    """A loaded voice."""

    def __init__(
        self,
        voice: VoiceFile,
        sovits: SoVits | LiteVoice,
        gpt: Text2Semantic,
        spectrograms: tuple[Tensor, ...],
        bert: tuple[Bert, Characters] | None,
        device: torch.device,
        speakers: tuple[Tensor, ...] = (),
        words: str = "",
    ) -> None:
        self.voice, self.device = voice, device
        self.sovits, self.gpt = sovits.to(device), gpt.to(device)
        self.bert = None if bert is None else (bert[0].to(device), bert[1])
        self.spectrograms, self.speakers = spectrograms, speakers
        self.words = words
        self._prompts: dict[tuple[int, bool], Prompt] = {}
        self._styles: dict[int, Tensor] = {}
        self.notices: list[str] = []
        """What the user should hear about this voice, each thing once."""

    @classmethod
    def load(
        cls,
        folder: Path,
        bases: Bases,
        device: str | None = None,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> Self:
        """Load the voice in a bundle folder, on the GPU where there is one.

        ``check`` is called between the parts and may raise to stop.

        Raises BadCheckpointError, NotFoundError or VoiceNotLoadableError. The BERT is looked for only if the
        voice was made with one.
        """
        bundle = voicefile.load_bundle(folder)
        check()
        network = LiteVoice if bundle.voice.version == LITE else SoVits
        sovits = network.from_tensors(bundle.sovits, bundle.voice.sovits_config()).fold()
        check()
        gpt = Text2Semantic.from_tensors(bundle.gpt, bundle.voice.gpt_config())
        if gpt.settings.vocab != sovits.settings.codes + 1:
            raise VoiceNotLoadableError(
                f"the GPT knows {gpt.settings.vocab - 1} codes and the decoder {sovits.settings.codes}"
            )
        check()
        wanted = bundle.voice.bases.bert
        bert = None if wanted is None else bases.bert(wanted)
        if bert is not None and bert[0].settings.width != gpt.settings.bert_dim:
            raise VoiceNotLoadableError("this voice was made with another BERT than the installed one")
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(
            bundle.voice, sovits, gpt, bundle.spectrograms, bert, chosen, bundle.speakers, bundle.words
        )

    @property
    def sample_rate(self) -> int:
        return self.sovits.settings.sample_rate

    def speak(self, request: SpeakText, *, on_code: Callable[[int], None] | None = None) -> Iterator[Audio]:
        """The audio of a text, sentence by sentence: float32 within -1 and 1, silence after all but the last.

        Nothing is computed before the first piece is asked for, and abandoning the iterator stops the work;
        ``on_code`` hears of every 40 ms and may raise to stop within a sentence. Raises UsageError,
        UnsupportedLanguageError or SynthesisError.
        """
        utterance = Utterance(self, request)
        while utterance.place is not None:
            said: list[Audio] = []
            utterance.say(said.append, on_code=on_code)
            yield from said

    @torch.inference_mode()
    def draw(
        self,
        said: Spoken,
        prompt: Prompt,
        request: SpeakText,
        generator: torch.Generator,
        on_code: Callable[[int], None] | None,
    ) -> list[int]:
        """The codes of a sentence."""
        return generate(
            self.gpt,
            torch.cat([prompt.spoken.phones, said.phones], dim=1),
            self._join(prompt.spoken, said),
            prompt.codes,
            request.sampling,
            exponential_noise(generator),
            early_stop=MAX_CODES,
            on_code=on_code,
        )

    @torch.inference_mode()
    def decode(
        self, codes: list[int], said: Spoken, style: Tensor, request: SpeakText, generator: torch.Generator
    ) -> Audio:
        """The sound of a sentence's codes as a whole."""
        samples = self.sovits.decode(
            torch.tensor([codes], device=self.device),
            said.phones,
            style,
            speed=request.speed,
            noise_scale=request.noise_scale,
            generator=generator,
        )
        audio = samples[0, 0].float().cpu().numpy()
        # GPT-SoVITS's generator ends in tanh; a lite voice may be louder than full scale.
        return np.clip(audio / max(1.0, float(np.abs(audio).max(initial=0.0))), -1.0, 1.0)

    @torch.inference_mode()
    def style(self, references: Sequence[int]) -> Tensor:
        """The mean of the styles of some references, [1, gin, 1]; UsageError for one that is not there."""
        for index in references:
            self._check(index)
            if index not in self._styles:
                spectrogram = self.spectrograms[index].float().to(self.device)[None]
                if self.speakers:
                    speaker = self.speakers[index].float().to(self.device)[None]
                    self._styles[index] = self.sovits.style(spectrogram, speaker=speaker)
                else:
                    self._styles[index] = self.sovits.style(spectrogram)
        return torch.stack([self._styles[index] for index in references]).mean(0)

    def _check(self, index: int) -> None:
        count = len(self.voice.references)
        if not 0 <= index < count:
            raise UsageError(f"this voice has {count} references; there is no number {index}")

    @torch.inference_mode()
    def prompt(self, index: int, upstream: bool = False) -> Prompt:
        """What a reference contributes to every sentence; UsageError when there is none of that number."""
        self._check(index)
        key = index, upstream
        if key not in self._prompts:
            reference = self.voice.references[index]
            transcript = reference.text.strip("\n")
            if transcript[-1] not in SENTENCE_ENDS:
                transcript += "." if reference.lang == "en" else "。"
            self._prompts[key] = Prompt(
                self.read(transcript, reference.lang, of_texts(self.words, ""), upstream),
                torch.tensor([reference.codes], device=self.device),
            )
        return self._prompts[key]

    @torch.inference_mode()
    def read(
        self, sentence: str, lang: str, words: text.Pronunciations = NONE, upstream: bool = False
    ) -> Spoken:
        """A sentence as the networks want it."""
        phones = text.phonemize(sentence, lang, self.voice.version, words=words, upstream=upstream)
        ids = torch.tensor([phones.ids], device=self.device)
        mandarin = [part for part in phones.parts if part.language == "zh" and part.word2ph is not None]
        if not mandarin or self.voice.bases.bert is None:
            return Spoken(ids, None)
        if self.bert is None:
            if NO_BERT not in self.notices:
                self.notices.append(NO_BERT)
                log.warning(NO_BERT)
            return Spoken(ids, None)
        features = ids.new_zeros((1, self.gpt.settings.bert_dim, ids.shape[1]), dtype=torch.float32)
        for part in mandarin:
            assert part.word2ph is not None
            columns = slice(part.start, part.start + part.length)
            features[0, :, columns] = phone_features(*self.bert, part.norm_text, part.word2ph)
        return Spoken(ids, features)

    def _join(self, prompt: Spoken, said: Spoken) -> Tensor | None:
        """BERT features of prompt and sentence together; None when neither has any."""
        if prompt.bert is None and said.bert is None:
            return None
        width = self.gpt.settings.bert_dim
        both = [
            spoken.bert if spoken.bert is not None else torch.zeros(1, width, spoken.phones.shape[1])
            for spoken in (prompt, said)
        ]
        return torch.cat([features.to(self.device) for features in both], dim=2)

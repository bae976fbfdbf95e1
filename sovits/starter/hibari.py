"""The first teacher: hibari-tts, an English synthesiser whose parts can be bent into other speakers.

hibari (Apache-2.0) predicts, for a string of tokens, a duration for each, then for every 12.5 ms an F0 value
and filter envelopes, from which signal processing makes the audio. Here its graph is cut at the durations,
and its envelopes are stretched, tilted and made more or less breathy: two hundred speakers for the price of
one. What this module is not for: who the speakers are. Follows specs/starter.md.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float32]

PAD: Final = 0
_DURATIONS: Final = "/Clip_output_0"


@dataclass(frozen=True)
class Bend:
    """How one speaker's envelopes differ from the teacher's, which are natural logs of magnitudes."""

    formants: float = 1.0
    """What every formant frequency is multiplied by."""
    tilt: float = 0.0
    """More bass (positive) or more treble."""
    breath: float = 0.0
    """Added to the noise."""
    colour: tuple[float, ...] = ()
    """An equaliser: added at evenly spaced frequencies from 0 to 12 kHz."""


class Hibari:
    """The two halves of the network, before and after its durations."""

    UNIT: Final = 1 / 50
    """Seconds for which we play one unit of the durations given: half a code step, where it meant 25 ms."""
    GRAIN: Final = 5
    """So many units are whole frames of 12.5 ms."""

    def __init__(self, model: Path | None = None):
        import hibari
        import onnx
        import onnxruntime

        assets = Path(hibari.__file__).parent / "assets"
        self.vocabulary: dict[str, int] = json.loads((assets / "vocab.json").read_text("utf-8"))
        graph = onnx.load(str(model or assets / "hibari.onnx"))
        before = onnx.ModelProto()
        before.CopyFrom(graph)
        before.graph.output.append(onnx.helper.make_empty_tensor_value_info(_DURATIONS))
        graph.graph.node.remove(next(node for node in graph.graph.node if _DURATIONS in node.output))
        given = onnx.helper.make_tensor_value_info(_DURATIONS, onnx.TensorProto.FLOAT, ["tokens"])
        graph.graph.input.append(given)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._before, self._after = (
            onnxruntime.InferenceSession(
                part.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            for part in (before, graph)
        )
        self._inputs = {value.name for value in self._after.get_inputs()}

    def ids(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Token numbers between the two pads that the network expects."""
        return np.array([[PAD, *(self.vocabulary[token] for token in tokens), PAD]], np.int64)

    def durations(self, tokens: Sequence[str]) -> Curve:
        """Units (25 ms) of each token, the two pads included."""
        feeds = {"ids": self.ids(tokens), "speed": np.ones(1, np.float32)}
        return np.asarray(self._before.run([_DURATIONS], feeds)[0], np.float32).ravel()

    def envelopes(self, tokens: Sequence[str], units: Sequence[int]) -> list[NDArray[np.float32]]:
        """Five envelopes [601, frames] and the F0 curve, 80 a second, when each token lasts ``units``.

        A unit has two frames, which we play in 10 ms each, so they are drawn anew every 12.5 ms.
        """
        feeds = {
            "ids": self.ids(tokens),
            "speed": np.ones(1, np.float32),
            _DURATIONS: np.asarray(units, np.float32),
        }
        made = self._after.run(None, {name: value for name, value in feeds.items() if name in self._inputs})
        *smooth, phase, f0 = (np.asarray(value[0], np.float32) for value in made[:6])
        count = f0.shape[-1]
        at = np.clip((np.arange(round(count * 0.8)) + 0.5) * 1.25 - 0.5, 0, count - 1)
        low = at.astype(int)
        share = (at - low).astype(np.float32)
        high = np.minimum(low + 1, count - 1)
        drawn = [rows[:, low] * (1 - share) + rows[:, high] * share for rows in smooth]
        # Angles and a curve with holes have no mean.
        nearest = np.round(at).astype(int)
        return [*drawn, phase[:, nearest], f0.reshape(-1, count)[:, nearest]]

    @staticmethod
    def audio(
        envelopes: Sequence[NDArray[np.float32]], bend: Bend, f0: Curve, random: np.random.Generator
    ) -> Curve:
        """The waveform at 24 kHz of bent envelopes over another pitch curve."""
        from hibari import dsp

        harmonic, rotation, noise, free, phase = envelopes[:5]
        place = np.linspace(0, 1, len(harmonic))
        shape = bend.tilt * (1 - 2 * place)
        if bend.colour:
            shape = shape + np.interp(place, np.linspace(0, 1, len(bend.colour)), bend.colour)
        shape = shape[:, None].astype(np.float32)
        return np.asarray(
            dsp.synth(
                _stretched(harmonic, bend.formants) + shape,
                _stretched(rotation, bend.formants),
                _stretched(noise, bend.formants) + shape + np.float32(bend.breath),
                _stretched(free, bend.formants) + shape,
                phase,
                f0.astype(np.float32),
                random,
            ),
            np.float32,
        )


def _stretched(rows: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Envelopes [bins, frames] whose frequencies are multiplied by ``factor``."""
    source = np.arange(len(rows)) / factor
    low = np.clip(source.astype(int), 0, len(rows) - 1)
    high = np.clip(low + 1, 0, len(rows) - 1)
    share = np.clip(source - low, 0, 1)[:, None].astype(np.float32)
    return rows[low] * (1 - share) + rows[high] * share

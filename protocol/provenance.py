"""How a release came about and what was found of it: the training record and the measured fields.

Both are optional parts of a manifest, bounded here, and said by the author: nothing in them is proven by
being signed. Whole numbers and text only, since the encoding knows no floats. Follows specs/manifest.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

from p2pvoice.protocol.entries import check_number, check_pattern
from p2pvoice.protocol.errors import ManifestError, UsageError
from p2pvoice.protocol.fields import Fields, check_text
from p2pvoice.protocol.ids import parse_release_id

TRAINING_KINDS = ("trained", "tuned", "distilled")
"""How weights can have been made: of clips of a speaker, of a few sentences, of another voice's speech."""

COUNT_LIMIT = (1 << 30) - 1
"""Seconds and steps of a training: more than thirty years."""

LAYERS_LIMIT = 64
"""Names of trained parts."""

LAYER_LENGTH = 80
"""Characters of one trained part's name."""

CLIPS_LIMIT = 100_000
"""Clips a training may have been fed."""

DECLARATION_LENGTH = 500
"""Characters in which an author says where the data came from."""

MEASURED_LIMIT = 64
"""Measured fields of one release."""

VALUE_LENGTH = 200
"""Characters of a measured value."""

UNIT_LENGTH = 16
"""Characters of a unit."""

METHOD_LENGTH = 120
"""Characters that name what measured."""

CONFIDENCE_LIMIT = 100
"""Confidence is a percentage."""

FIELD_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,47}")
"""The form of a measured field's name."""

ABSENT: Any = object()
"""Stands for a key that a manifest does not have."""

_LAYER = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.*-]{{0,{LAYER_LENGTH - 1}}}")


@dataclass(frozen=True)
class TrainingData:
    """What a training was fed: clips, seconds of speech in them, and the author's words on their origin."""

    clips: int
    seconds: int
    declaration: str
    extra: Mapping[str, Any] = default(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_number(self.clips, 0, CLIPS_LIMIT, "the number of clips")
        check_number(self.seconds, 0, COUNT_LIMIT, "the seconds of training data")
        check_text(self.declaration, "the declaration of training data", DECLARATION_LENGTH, lines=True)

    def facts(self) -> dict[str, Any]:
        """What is known here, as plain numbers and text."""
        return {"clips": self.clips, "seconds": self.seconds, "declaration": self.declaration}

    def to_map(self) -> dict[str, Any]:
        """The data as they stand in a training record."""
        return dict(self.extra) | self.facts()

    @classmethod
    def from_map(cls, value: object) -> "TrainingData":
        """Read them out of a decoded training record."""
        fields = Fields(value, "the training data")
        clips, seconds = fields.number("clips"), fields.number("seconds")
        return cls(clips, seconds, fields.text("declaration"), fields.rest())


@dataclass(frozen=True)
class TrainingRecord:
    """How a release's weights were made.

    ``base`` is the release id or bundle id of what it started from, ``seconds`` and ``steps`` what was
    computed, ``layers`` the parts that were trained.
    """

    kind: str
    base: str
    seconds: int
    steps: int
    layers: tuple[str, ...]
    data: TrainingData
    extra: Mapping[str, Any] = default(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.kind not in TRAINING_KINDS:
            raise ManifestError(f"a voice is {', '.join(TRAINING_KINDS)}")
        try:
            parse_release_id(self.base)
        except UsageError as error:
            raise ManifestError("the base of a training is named by its release id or bundle id") from error
        check_number(self.seconds, 0, COUNT_LIMIT, "the seconds of a training")
        check_number(self.steps, 0, COUNT_LIMIT, "the steps of a training")
        if not 1 <= len(self.layers) <= LAYERS_LIMIT:
            raise ManifestError(f"{len(self.layers)} trained layers; 1 to {LAYERS_LIMIT} are allowed")
        for layer in self.layers:
            check_pattern(layer, _LAYER, "a trained layer")
        if len(set(self.layers)) != len(self.layers):
            raise ManifestError("the trained layers name something twice")

    def facts(self) -> dict[str, Any]:
        """What is known here, as plain numbers and text: to be shown."""
        return {
            "kind": self.kind,
            "base": self.base,
            "seconds": self.seconds,
            "steps": self.steps,
            "layers": list(self.layers),
            "data": self.data.facts(),
        }

    def to_map(self) -> dict[str, Any]:
        """The record as it stands in a manifest."""
        return dict(self.extra) | self.facts() | {"data": self.data.to_map()}

    @classmethod
    def from_map(cls, value: object) -> "TrainingRecord":
        """Read a record out of a decoded manifest."""
        fields = Fields(value, "the training record")
        return cls(
            kind=fields.text("kind"),
            base=fields.text("base"),
            seconds=fields.number("seconds"),
            steps=fields.number("steps"),
            layers=fields.texts("layers", LAYERS_LIMIT),
            data=TrainingData.from_map(fields.any("data")),
            extra=fields.rest(),
        )


@dataclass(frozen=True)
class Measured:
    """One figure: its field, its value as shown, its unit, what measured it, and a confidence in per cent."""

    field: str
    value: str
    unit: str
    method: str
    confidence: int
    extra: Mapping[str, Any] = default(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_pattern(self.field, FIELD_NAME, "a measured field")
        check_text(self.value, "a measured value", VALUE_LENGTH, minimum=1)
        check_text(self.unit, "a unit", UNIT_LENGTH)
        check_text(self.method, "the method of a measurement", METHOD_LENGTH, minimum=1)
        check_number(self.confidence, 0, CONFIDENCE_LIMIT, "a confidence")

    def facts(self) -> dict[str, Any]:
        """What is known here, as plain numbers and text: to be shown."""
        return {
            "field": self.field,
            "value": self.value,
            "unit": self.unit,
            "method": self.method,
            "confidence": self.confidence,
        }

    def to_map(self) -> dict[str, Any]:
        """The figure as it stands in a manifest."""
        return dict(self.extra) | self.facts()

    @classmethod
    def from_map(cls, value: object) -> "Measured":
        """Read a figure out of a decoded manifest."""
        fields = Fields(value, "a measured field")
        return cls(
            fields.text("field"),
            fields.text("value"),
            fields.text("unit"),
            fields.text("method"),
            fields.number("confidence"),
            fields.rest(),
        )


def read_training(value: object) -> TrainingRecord | None:
    """The training record of a manifest; None when there is none."""
    return None if value is ABSENT else TrainingRecord.from_map(value)


def read_measured(value: object) -> tuple[Measured, ...]:
    """The measured fields of a manifest. A list that is there is not empty, so that it has one spelling."""
    if value is ABSENT:
        return ()
    if not isinstance(value, list) or not 1 <= len(value) <= MEASURED_LIMIT:
        raise ManifestError(f"the measured fields are a list of 1 to {MEASURED_LIMIT}")
    return tuple(Measured.from_map(row) for row in value)

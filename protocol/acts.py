"""Acts: what one operation on a voice does, as frozen records with their own bounds.

For building acts and for reading their bodies out of decoded operations. An act that exists is within its
limits; whether its signer may do it is replay.py's. An act that this version cannot read is kept as it is,
so that the chain behind it goes on. Follows specs/operations.md, "Acts".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from p2pvoice.protocol.errors import ManifestError
from p2pvoice.protocol.fields import Fields, check_text
from p2pvoice.protocol.ids import DIGEST_SIZE, Digest

TEXT_LENGTH = 4000
"""Characters of the text of an act."""

TITLE_LENGTH = 200
"""Characters of an issue's title."""

LABEL_LENGTH = 32
"""Characters of one label."""

LABELS_LIMIT = 16
"""Labels that one act adds or removes, and that an issue carries."""

VERDICTS = ("accept", "reject")
"""What a review can say of a proposal."""

MODES = ("take", "average", "layers")
"""How a proposal can be merged."""

NAME_LENGTH = 32
"""Characters of an act's name."""

_NAME = re.compile(rf"[a-z0-9-]{{1,{NAME_LENGTH}}}")


@dataclass(frozen=True)
class Star:
    """The signer likes the voice."""

    NAME: ClassVar[str] = "star"

    def body(self) -> dict[str, Any]:
        return {}

    @classmethod
    def read(cls, fields: Fields) -> "Star":
        return cls()


@dataclass(frozen=True)
class Unstar:
    """The signer takes their star back."""

    NAME: ClassVar[str] = "unstar"

    def body(self) -> dict[str, Any]:
        return {}

    @classmethod
    def read(cls, fields: Fields) -> "Unstar":
        return cls()


@dataclass(frozen=True)
class Comment:
    """Words on the voice, or on a comment, an issue or a proposal when ``target`` names one."""

    text: str
    target: Digest | None = None
    NAME: ClassVar[str] = "comment"

    def __post_init__(self) -> None:
        _words(self.text, minimum=1)
        if self.target is not None:
            _digest(self.target, "the target")

    def body(self) -> dict[str, Any]:
        return {"text": self.text} | ({"target": self.target} if self.target is not None else {})

    @classmethod
    def read(cls, fields: Fields) -> "Comment":
        return cls(fields.text("text"), fields.optional_blob("target"))


@dataclass(frozen=True)
class Edit:
    """New words for a comment, an issue or a proposal of the signer's; ``title`` is for an issue."""

    target: Digest
    text: str
    title: str | None = None
    NAME: ClassVar[str] = "edit"

    def __post_init__(self) -> None:
        _digest(self.target, "the target")
        _words(self.text)
        if self.title is not None:
            check_text(self.title, "the title", TITLE_LENGTH, minimum=1)

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"target": self.target, "text": self.text}
        return body | ({"title": self.title} if self.title is not None else {})

    @classmethod
    def read(cls, fields: Fields) -> "Edit":
        return cls(fields.blob("target"), fields.text("text"), fields.optional_text("title"))


@dataclass(frozen=True)
class Retract:
    """Ask readers to hide a comment, an issue or a proposal of the signer's."""

    target: Digest
    NAME: ClassVar[str] = "retract"

    def __post_init__(self) -> None:
        _digest(self.target, "the target")

    def body(self) -> dict[str, Any]:
        return {"target": self.target}

    @classmethod
    def read(cls, fields: Fields) -> "Retract":
        return cls(fields.blob("target"))


@dataclass(frozen=True)
class Issue:
    """Something is wrong with the voice, or could be better."""

    title: str
    text: str = ""
    NAME: ClassVar[str] = "issue"

    def __post_init__(self) -> None:
        check_text(self.title, "the title", TITLE_LENGTH, minimum=1)
        _words(self.text)

    def body(self) -> dict[str, Any]:
        return {"title": self.title, "text": self.text}

    @classmethod
    def read(cls, fields: Fields) -> "Issue":
        return cls(fields.text("title"), fields.text("text"))


@dataclass(frozen=True)
class Label:
    """Labels put on an issue, and taken off it."""

    target: Digest
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    NAME: ClassVar[str] = "label"

    def __post_init__(self) -> None:
        _digest(self.target, "the target")
        for labels in (self.add, self.remove):
            if len(labels) > LABELS_LIMIT or len(set(labels)) != len(labels):
                raise ManifestError(f"at most {LABELS_LIMIT} different labels are given at once")
            for label in labels:
                check_text(label, "a label", LABEL_LENGTH, minimum=1)

    def body(self) -> dict[str, Any]:
        return {"target": self.target, "add": list(self.add), "remove": list(self.remove)}

    @classmethod
    def read(cls, fields: Fields) -> "Label":
        return cls(
            fields.blob("target"),
            fields.texts("add", LABELS_LIMIT),
            fields.texts("remove", LABELS_LIMIT),
        )


@dataclass(frozen=True)
class Close:
    """Close an issue, or withdraw a proposal of the signer's."""

    target: Digest
    text: str = ""
    NAME: ClassVar[str] = "close"

    def __post_init__(self) -> None:
        _digest(self.target, "the target")
        _words(self.text)

    def body(self) -> dict[str, Any]:
        return {"target": self.target, "text": self.text}

    @classmethod
    def read(cls, fields: Fields) -> "Close":
        return cls(fields.blob("target"), fields.text("text"))


@dataclass(frozen=True)
class Reopen:
    """Open an issue again, or offer a withdrawn proposal again."""

    target: Digest
    text: str = ""
    NAME: ClassVar[str] = "reopen"

    def __post_init__(self) -> None:
        _digest(self.target, "the target")
        _words(self.text)

    def body(self) -> dict[str, Any]:
        return {"target": self.target, "text": self.text}

    @classmethod
    def read(cls, fields: Fields) -> "Reopen":
        return cls(fields.blob("target"), fields.text("text"))


@dataclass(frozen=True)
class Proposal:
    """Offer ``release`` for the voice; ``base`` is the release of the voice that it was made from."""

    release: Digest
    base: Digest
    text: str
    NAME: ClassVar[str] = "proposal"

    def __post_init__(self) -> None:
        _digest(self.release, "the proposed release")
        _digest(self.base, "the base of a proposal")
        _words(self.text, minimum=1)

    def body(self) -> dict[str, Any]:
        return {"release": self.release, "base": self.base, "text": self.text}

    @classmethod
    def read(cls, fields: Fields) -> "Proposal":
        return cls(fields.blob("release"), fields.blob("base"), fields.text("text"))


@dataclass(frozen=True)
class Review:
    """What the signer thinks of a proposal: the owner's verdict decides, others' are advice."""

    target: Digest
    verdict: str
    text: str = ""
    NAME: ClassVar[str] = "review"

    def __post_init__(self) -> None:
        _digest(self.target, "the target")
        if self.verdict not in VERDICTS:
            raise ManifestError(f"a review says {' or '.join(VERDICTS)}")
        _words(self.text)

    def body(self) -> dict[str, Any]:
        return {"target": self.target, "verdict": self.verdict, "text": self.text}

    @classmethod
    def read(cls, fields: Fields) -> "Review":
        return cls(fields.blob("target"), fields.text("verdict"), fields.text("text"))


@dataclass(frozen=True)
class Merge:
    """The proposal went into the voice, as ``release``."""

    target: Digest
    release: Digest
    mode: str
    NAME: ClassVar[str] = "merge"

    def __post_init__(self) -> None:
        _digest(self.target, "the target")
        _digest(self.release, "the merged release")
        if self.mode not in MODES:
            raise ManifestError(f"a proposal is merged by {', '.join(MODES)}")

    def body(self) -> dict[str, Any]:
        return {"target": self.target, "release": self.release, "mode": self.mode}

    @classmethod
    def read(cls, fields: Fields) -> "Merge":
        return cls(fields.blob("target"), fields.blob("release"), fields.text("mode"))


@dataclass(frozen=True)
class Unknown:
    """An act that this version cannot read, by its name or its body; it is passed on and changes nothing."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ManifestError(f"the name of an act has 1 to {NAME_LENGTH} of a-z, 0-9 and -")

    def body(self) -> dict[str, Any]:
        return dict(self.values)


_Known: TypeAlias = (
    Star | Unstar | Comment | Edit | Retract | Issue | Label | Close | Reopen | Proposal | Review | Merge
)

Act: TypeAlias = _Known | Unknown
"""Whatever an operation can do."""

_BY_NAME: Mapping[str, type[_Known]] = {
    kind.NAME: kind
    for kind in (
        Star, Unstar, Comment, Edit, Retract, Issue, Label, Close, Reopen, Proposal, Review, Merge,
    )
}  # fmt: skip


def name_of(act: Act) -> str:
    """The name under which an act travels."""
    return act.name if isinstance(act, Unknown) else act.NAME


def read_act(name: str, body: object) -> Act:
    """The act of this name with this body. ManifestError when either has no form that an act can have.

    A known act whose body is out of form or bounds is Unknown. It must not break its chain: whether a body
    is good can depend on a reader's age, since acts gain values and Unicode gains characters, and then
    readers would keep different chains for ever.
    """
    fields = Fields(body, f"the body of {name[:NAME_LENGTH]!r}")
    unknown = Unknown(name, dict(fields.rest()))
    kind = _BY_NAME.get(name)
    if kind is None:
        return unknown
    try:
        return kind.read(fields)
    except ManifestError:
        return unknown


def _words(text: object, *, minimum: int = 0) -> None:
    check_text(text, "the text", TEXT_LENGTH, minimum=minimum, lines=True)


def _digest(value: object, what: str) -> None:
    if not isinstance(value, bytes) or len(value) != DIGEST_SIZE:
        raise ManifestError(f"{what} is not a digest of {DIGEST_SIZE} bytes")

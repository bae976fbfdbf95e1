"""The worker's measuring operations: describe, similarity, stability.

A subject is a recording or a bundle's folder; a voice is heard by what it says. What the figures mean is
sovits.measure's to say. Follows specs/measurement.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pvoice.node.worker import Worker


def describe(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """Measure a recording, or a voice by its reference clips."""
    raise NotImplementedError


def similarity(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """The cosine between the speaker embeddings of two subjects."""
    raise NotImplementedError


def stability(worker: "Worker", arguments: dict[str, Any]) -> dict[str, Any]:
    """How well a voice stays itself over sentences, devices and languages."""
    raise NotImplementedError

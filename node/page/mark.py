"""An author's mark: a small drawing that follows from the key, so that two keys are told apart at a glance.

Rays around a circle, like a sound that leaves a point, mirrored at the vertical. It stands beside the key's
fingerprint and never in its place: a drawing that looks alike can be searched for. Follows specs/page.md.
"""

import hashlib
import math
from dataclasses import dataclass

RAYS = 13
"""Rays of one half; the outermost two lie on the axis."""


@dataclass(frozen=True)
class Mark:
    """The drawing in a square of 100 by 100: two paths to stroke, with the hue of each in degrees."""

    inner: str
    outer: str
    hue: int
    second: int


def mark_of(author: str) -> Mark:
    """The mark of an author id."""
    digest = hashlib.sha256(b"p2pvoice mark\0" + author.encode()).digest()
    rays: tuple[list[str], list[str]] = ([], [])
    for number in range(RAYS):
        value = digest[number]
        length = 9 + (value & 15) * 1.35
        which = rays[value >> 4 & 1]
        angle = math.pi * number / (RAYS - 1)
        for side in (1,) if number in (0, RAYS - 1) else (1, -1):
            x, y = side * math.sin(angle), -math.cos(angle)
            which.append(
                f"M{50 + 16 * x:.1f} {50 + 16 * y:.1f}"
                f"L{50 + (16 + length) * x:.1f} {50 + (16 + length) * y:.1f}"
            )
    hue = (digest[RAYS] << 8 | digest[RAYS + 1]) % 360
    return Mark("".join(rays[0]), "".join(rays[1]), hue, (hue + 40 + digest[RAYS + 2] % 100) % 360)

"""What the page's scripts may ask of the RPC: a closed list, by method and path as they were sent.

Whatever is not here is not there for a browser: keys, signing a consent, revoking, bases, shutting down.
The path is matched before it is unquoted, so that no spelling of another path gets through. Follows
specs/page.md, "What the page may ask".
"""

import re

_NAME = r"[^/]+"
"""A name in a path: whatever it quotes, it is one segment."""

ALLOWED: tuple[tuple[str, str], ...] = (
    ("GET", "/v1/status"),
    ("GET", "/v1/peers"),
    ("GET", "/v1/find"),
    ("GET", "/v1/voices"),
    ("GET", "/v1/voices/{}"),
    ("GET", "/v1/voices/{}/preview"),
    ("GET", "/v1/voices/{}/holders"),
    ("GET", "/v1/voices/{}/lineage"),
    ("POST", "/v1/voices/{}/fetch"),
    ("POST", "/v1/voices/{}/update"),
    ("DELETE", "/v1/voices/{}"),
    ("GET", "/v1/voices/{}/comments"),
    ("POST", "/v1/voices/{}/act"),
    ("POST", "/v1/operations/{}/act"),
    ("POST", "/v1/speak"),
    ("PUT", "/v1/uploads"),
    ("GET", "/v1/trainings"),
    ("POST", "/v1/trainings"),
    ("POST", "/v1/trainings/{}/resume"),
    ("POST", "/v1/trainings/{}/stop"),
    ("DELETE", "/v1/trainings/{}"),
    ("POST", "/v1/publish"),
    ("GET", "/v1/doctor"),
    ("GET", "/v1/following"),
    ("POST", "/v1/following"),
    ("DELETE", "/v1/following/{}"),
)
"""Method and path; ``{}`` is one quoted name."""

_PATTERNS = [
    (method, re.compile(re.escape(path).replace(r"\{\}", _NAME).encode())) for method, path in ALLOWED
]


def is_allowed(method: str, raw_path: bytes) -> bool:
    """Whether the page may ask this; ``raw_path`` is the path as it was sent, without a query."""
    method = "GET" if method == "HEAD" else method
    return any(method == one and pattern.fullmatch(raw_path) for one, pattern in _PATTERNS)

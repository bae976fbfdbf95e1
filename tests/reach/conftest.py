"""Fixtures: real daemons, as the node's own tests make them."""

from ..node.conftest import clip, daemons, encoder

__all__ = ["clip", "daemons", "encoder"]

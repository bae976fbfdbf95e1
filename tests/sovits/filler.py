"""Weights that anybody can rebuild, as the package's own benchmark makes them: see p2pvoice.sovits.bench.filler."""

from p2pvoice.sovits.bench.filler import fill, filled, unit

__all__ = ["fill", "filled", "unit"]

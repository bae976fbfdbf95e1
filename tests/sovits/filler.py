"""Weights that anybody can rebuild; they live in the package, whose benchmark needs them as well."""

from p2pvoice.sovits.bench.filler import fill, filled, unit

__all__ = ["fill", "filled", "unit"]

"""Inference as fast as the machine allows: exact rewrites, compiled backends behind one interface, a private cache."""

from .rewritten import rewritten

__all__ = ["rewritten"]

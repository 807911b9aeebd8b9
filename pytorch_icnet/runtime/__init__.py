"""Inference as fast as the machine allows: exact rewrites, compiled backends behind one interface, a private cache."""

from .devices import PRECISIONS
from .engine import BACKENDS, Engine, engine
from .rewritten import rewritten

__all__ = ["BACKENDS", "PRECISIONS", "Engine", "engine", "rewritten"]

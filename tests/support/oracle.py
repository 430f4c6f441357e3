"""The Python versions of what may be compiled, to compare the compiled ones with."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from types import ModuleType
from unittest.mock import patch


@cache
def python_frames() -> ModuleType:
    """A second copy of ``proto.frames`` that found no compiled module."""
    return _without("proto.frames", "proto._frames")


@cache
def python_sieve() -> ModuleType:
    """A second copy of ``proto.sieve`` that found no compiled module."""
    return _without("proto.sieve", "proto._sieve")


def _without(name: str, compiled: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {compiled: None}):
        spec.loader.exec_module(module)
    assert module.ACCELERATED is False
    return module

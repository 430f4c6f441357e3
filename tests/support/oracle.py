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
    spec = importlib.util.find_spec("proto.frames")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.dict(sys.modules, {"proto._frames": None}):
        spec.loader.exec_module(module)
    assert module.ACCELERATED is False
    return module

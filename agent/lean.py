"""Importing a library without the optional ones that it would load besides."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Inside, the named modules cannot be imported (unless they are already loaded)."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python says "not importable"
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)

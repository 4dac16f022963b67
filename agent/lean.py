"""Little memory: importing a library without the optional ones that it would load besides; giving freed memory back."""

import ctypes
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


def give_back() -> None:
    """Give freed memory back to the system, where the C library can: loading a model frees tens of megabytes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

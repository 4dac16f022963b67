"""Files that live as long as somebody works on them; what a killed process left is cleared after a day."""

import shutil
import time
from pathlib import Path

LEFT_S = 86_400.0


def clear_left(folder: Path, prefix: str, now_s: float | None = None) -> int:
    """Remove what begins with `prefix` and has not been touched for LEFT_S; how many."""
    before_s = (time.time() if now_s is None else now_s) - LEFT_S
    left = [p for p in folder.glob(prefix + "*") if _touched_s(p) < before_s]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(left)


def _touched_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # somebody else clears too
        return time.time()

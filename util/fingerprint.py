"""What tells a file from another one: the sum of its content, and, without reading it, its size and time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

CHUNK = 2**20  # bytes read at once


def digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):  # hashlib.file_digest came with Python 3.11
            found.update(chunk)
    return found.hexdigest()


def stamp(path: Path) -> list[Any]:
    """What changes when a file does: path, bytes, time of its last change in nanoseconds. OSError without a file."""
    about = path.stat()
    return [str(path.absolute()), about.st_size, about.st_mtime_ns]

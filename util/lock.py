"""One command at a time writes in a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"
HELD = (errno.EACCES, errno.EAGAIN)


@contextmanager
def alone_in(folder: Path, remedy: str) -> Iterator[None]:
    """A context in which no other process that asks so writes in the folder, which is made where there is none.

    ValueError, with the remedy, where another one does. Where the platform or the file system has no locks nothing is
    kept out. Leaves an empty file LOCK: were it removed, two processes could hold one lock each."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            import fcntl  # Windows has none

            # Locks of lockf belong to a process; those of flock would be kept by workers that outlive a killed parent.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError as error:
            if error.errno in HELD:
                raise ValueError(f"{folder}: another command is writing there; {remedy}") from None
        yield

"""Put the files of visdom's page in place from the npm registry, so that its server starts without internet."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from util.command_line import parse, run_command
from util.text import plural
from util.visdom.files import FILES, missing, put_in_place, static_folder


@dataclass(frozen=True)
class VisdomOfflineOptions:
    """Put the scripts, styles and fonts of visdom's page in place, from the npm registry. What is there stays."""

    registry: str | None = None
    """Address of the npm registry; by default what npm_config_registry names, else npm's own."""
    check: bool = False
    """Only say what is missing; exit status 1 if anything is."""


def main() -> int:
    """Put visdom's scripts beside it; returns the exit status."""
    options = parse(VisdomOfflineOptions)
    static = static_folder()
    total = sum(len(files) for files in FILES.values())
    absent = missing(static)
    if options.check:
        print(f"{total - len(absent)} of {total} files are in {static}")
        for place in absent:
            print(f"missing   {place}")
        return 1 if absent else 0
    try:
        written = put_in_place(static, options.registry, print)
    except OSError as error:
        raise OSError(
            f"{error}. Or run this where a registry is reached, and copy its folder {static} (25 MB) to this machine"
        ) from None
    print(f"{plural(written, 'file')} written, {total - written} were there: visdom's page is complete in {static}")
    print(f"start it  {sys.executable} -m visdom.server -bind_local, or train.py with --start_visdom")
    return 0


if __name__ == "__main__":
    run_command(main)

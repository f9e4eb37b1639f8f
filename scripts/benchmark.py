"""Speed of the project on this machine: python -m scripts.benchmark train|generate|fuse|metrics|data."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from options.cli import run_command

BENCHMARKS = {
    "train": ("scripts.benchmarks.train", "training steps: images a second, milliseconds of each stage, FLOP/s"),
    "generate": ("scripts.benchmarks.generate", "test.py: the network alone, and the whole command on a folder"),
    "fuse": ("scripts.benchmarks.fuse", "fuse.py with both methods: reading, the network, writing, the whole command"),
    "metrics": ("scripts.benchmarks.metrics", "every fusion metric in both conventions, milliseconds an image"),
    "data": ("scripts.benchmarks.data", "reading and augmenting: images a second of each worker"),
}


def usage() -> str:
    """What can be measured, one line each."""
    lines = [f"  {name:9} {what}" for name, (_, what) in BENCHMARKS.items()]
    return "\n".join(
        ["usage: python -m scripts.benchmark WHAT [--device DEVICE] [--out FILE.json] ...", "", *lines, ""]
        + ["python -m scripts.benchmark WHAT --help names the options of each."]
    )


def main(argv: Sequence[str]) -> int:
    """The command: the first word names the benchmark, the others are its options."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] not in BENCHMARKS:
        raise ValueError(f"{argv[0]}: no such benchmark; give {', '.join(BENCHMARKS)}")
    # One benchmark is imported, not all: each needs packages that the others do not.
    return importlib.import_module(BENCHMARKS[argv[0]][0]).main(list(argv[1:]))


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))

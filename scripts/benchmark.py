"""Speed of the project on this machine: python -m scripts.benchmark train|generate|fuse|metrics|data."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from util.command_line import run_command, run_subcommand

BENCHMARKS = {
    "train": ("scripts.benchmarks.train", "training steps: images a second, milliseconds of each stage, FLOP/s"),
    "generate": ("scripts.benchmarks.generate", "test.py: the network alone, and the whole command on a folder"),
    "fuse": ("scripts.benchmarks.fuse", "fuse.py with both methods: reading, the network, writing, the whole command"),
    "metrics": ("scripts.benchmarks.metrics", "every fusion metric in both conventions, milliseconds an image"),
    "data": ("scripts.benchmarks.data", "reading and augmenting: images a second of each worker"),
}


def main(argv: Sequence[str]) -> int:
    """Run one benchmark: the first word names it, the others are its options."""
    return run_subcommand(
        "python -m scripts.benchmark WHAT [--device DEVICE] [--out FILE.json] ...", BENCHMARKS, "benchmark", argv
    )


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))

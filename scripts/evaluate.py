"""Scores of results: python -m scripts.evaluate fusion|generation|detection."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from util.command_line import run_command, run_subcommand

EVALUATIONS = {
    "fusion": ("scripts.evaluate_fusion", "fused images against their sources, in one of two conventions"),
    "generation": ("scripts.evaluate_generation", "generated infrared images against real ones"),
    "detection": ("scripts.evaluate_detection", "detectors trained on generated, real and grey images"),
}


def main(argv: Sequence[str]) -> int:
    """Run one evaluation: the first word names it, the others are its options."""
    return run_subcommand("python -m scripts.evaluate WHAT [--out FILE.json] ...", EVALUATIONS, "evaluation", argv)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))

"""Scores of results: python -m scripts.evaluate fusion|generation|detection."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence

from options.cli import run_command

EVALUATIONS = {
    "fusion": ("scripts.evaluate_fusion", "fused images against their sources, in one of two conventions"),
    "generation": ("scripts.evaluate_generation", "generated infrared images against real ones"),
    "detection": ("scripts.evaluate_detection", "detectors trained on generated, real and grey images"),
}


def usage() -> str:
    """What can be evaluated, one line each."""
    lines = [f"  {name:11} {what}" for name, (_, what) in EVALUATIONS.items()]
    return "\n".join(
        ["usage: python -m scripts.evaluate WHAT [--out FILE.json] ...", "", *lines, ""]
        + ["python -m scripts.evaluate WHAT --help names the options of each."]
    )


def main(argv: Sequence[str]) -> int:
    """The command: the first word names what is evaluated, the others are its options."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] not in EVALUATIONS:
        raise ValueError(f"{argv[0]}: no such evaluation; give {', '.join(EVALUATIONS)}")
    # One is imported, not all: each needs packages that the others do not.
    path = EVALUATIONS[argv[0]][0]
    if importlib.util.find_spec(path) is None:
        raise ValueError(f"{path} is not in this copy of the code: fetch it with git")
    return importlib.import_module(path).main(list(argv[1:]))


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))

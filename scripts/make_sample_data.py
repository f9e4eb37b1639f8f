"""Write the sample data set: street scenes seen by a visible and a thermal camera, laid out as FLIR ADAS v2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data.sample import make
from options.data import SAMPLE_ROOT
from options.shared import Options
from util.command_line import parse, run_command
from util.files import check_folder


@dataclass(frozen=True)
class SampleOptions(Options):
    """Write the sample data set: street scenes seen by a visible and a thermal camera, laid out as FLIR ADAS v2."""

    out: Path = SAMPLE_ROOT
    """Folder to write."""
    train: int = 200
    """Scenes to train on."""
    val: int = 20
    """Scenes to validate on."""
    test: int = 40
    """Scenes to test on, in videos of five."""
    seed: int = 0
    """The same seed writes the same bytes."""
    workers: int | None = None
    """Processes; all cores unless given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_at_least(train=0, val=0, test=0, seed=0, workers=1)
        if not self.train + self.val + self.test:
            raise ValueError("--train 0 --val 0 --test 0: give at least one scene")


def main(argv: list[str] | None = None) -> None:
    """Render the sample data set as argv says, sys.argv unless given; returns the exit status."""
    o = parse(SampleOptions, argv)
    check_folder("--out", o.out)
    make(o.out, o.train, o.val, o.test, o.seed, o.workers)
    print(f"data      {o.out}: {o.train} train, {o.val} val, {o.test} test scenes")


if __name__ == "__main__":
    run_command(main)

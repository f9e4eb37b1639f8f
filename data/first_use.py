"""The sample data set is made where it is first asked for."""

from __future__ import annotations

from pathlib import Path

from options.data import SAMPLE_ROOT

TRAIN, VAL, TEST, SEED = 200, 20, 40, 0


def ensure_sample(dataroot: Path) -> None:
    """Make the sample data set if dataroot is its default place and nothing is there yet."""
    if dataroot == SAMPLE_ROOT and not dataroot.exists():
        from data.sample import make  # the renderer is of no use to any other start

        print(f"{dataroot} does not exist yet: making the sample data set there", flush=True)
        make(dataroot, TRAIN, VAL, TEST, SEED, None)

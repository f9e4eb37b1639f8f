"""Options of test.py: which run generates, from which images, to where."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from options.data import SAMPLE_ROOT, DataOptions, DataSetsOptions
from options.shared import (
    GeneratorOptions,
    LearnedMetricOptions,
    PrecisionOptions,
    ResultsOptions,
    Split,
    check_run_name,
)


@dataclass(frozen=True)
class GenerateOptions(LearnedMetricOptions, PrecisionOptions, ResultsOptions, GeneratorOptions):
    """Generate: the run whose networks are used, its weights, where images go."""

    split: Split | None = None
    """Split of a data set, by default test."""
    scale: Literal["train", "input"] = "train"
    """train: the networks see images at the size they were trained at, and what they make is resized to the
    input's size. input: they draw every image at its own size, sharper; efficientnet_unet tells what things are at the
    size it was trained at all the same."""
    num_test: int | None = None
    """Generate at most that many images, evenly spread; every image by default."""
    batch_size: int | None = None
    """Images in a batch, at most; those of a batch have one size. By default as many as are fastest: up to 64 on
    CUDA, about 2^22 pixels; on the CPU one, or several small ones."""
    num_threads: int | None = None
    """Worker processes that read images, and threads that write them; 0 reads in the main process. By default as
    many as this process has processors, at most 16."""
    tile: int | None = None
    """Side in pixels of the largest image that is seen whole, and of the tiles that larger ones are cut into;
    1536 by default (more for U-Nets). Memory depends on it, not on the image."""
    tile_statistics: Literal["sample", "exact"] = "sample"
    """What the instance norms of tiles use. sample: statistics of 36 crops spread over the image, which leave a
    result some grey levels from that without tiles. exact: those of the whole image, norm after norm, which takes
    some ten times as long; the result is that without tiles. Neither has seams."""
    compile: Literal["off", "default", "reduce-overhead", "max-autotune"] = "off"
    """Compile the networks in a mode of torch.compile: a minute for each size of images, then faster."""
    evaluate: bool = False
    """Score what was made with more metrics (MS-SSIM, LPIPS, FID, KID), to evaluation.json, .csv and .html."""

    @property
    def result_name(self) -> str:
        """Name of the results' folder."""
        return self.name or (self.weights.stem if self.weights else "to_infrared")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None:
            check_run_name(self.name)
        self.check_at_least(batch_size=1, num_threads=0, tile=1, num_test=1)


@dataclass(frozen=True)
class TestDataOptions(DataSetsOptions):
    """Data: a data set's root folder, a folder of any images, or image files. Options not given here are those
    the run was trained with."""

    __test__ = False  # no test case of pytest's

    dataroot: tuple[Path, ...] = (SAMPLE_ROOT,)
    """Root folders of data sets, folders of images (and folders of them), or files; of a run, by default, its own data
    sets."""


@dataclass(frozen=True)
class TestOptions:
    """Generate infrared images from visible ones: RESULTS_DIR/NAME/infrared/STEM.png, one channel, the
    input's own size; scores and baselines where real infrared images exist; a gallery page."""

    __test__ = False

    generate: GenerateOptions = field(default_factory=GenerateOptions)
    data: TestDataOptions = field(default_factory=TestDataOptions)

    def with_range(self, infrared_range: str | None) -> TestOptions:
        """With the range that 8-bit infrared was brought to when the weights were trained, if that is known."""
        if infrared_range not in ("asis", "percentile", "standard"):
            return self
        return replace(self, data=replace(self.data, infrared_range=infrared_range))

    def with_data(self, options: DataOptions, root: str | None) -> TestOptions:
        """With a run's data options as the defaults; root: what --dataroot gives."""
        return replace(self, data=TestDataOptions(**options.values_for(root)))

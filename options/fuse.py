"""Options of fuse.py: which images are fused, by which network, to where."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from options.data import SAMPLE_ROOT, DataOptions, DataSetsOptions
from options.shared import Options, PrecisionOptions, ResultsOptions, Split, WeightsOptions, check_run_name


@dataclass(frozen=True)
class SourceOptions(Options):
    """Images: two folders paired by stem, two files, two videos, or the pairs of a data set (--dataroot)."""

    visible: Path | None = None
    """Folder of visible images, one image or one video."""
    infrared: Path | None = None
    """Folder of infrared images with the same stems, one image or one video. Where no stems are equal, endings
    that name the side, such as _RGB and _PreviewData or _vi and _ir, are left away."""
    generator: str | None = None
    """NAME_OR_FILE of what makes the infrared images, where --infrared is left out: a run in checkpoints_dir, or a
    weights file, .safetensors, of train.py or scripts.import_weights; --generator alone means the generator that comes
    with the project. They are the images that test.py --name NAME or test.py --weights FILE writes."""
    norm_statistics: Literal["image", "trained"] | None = None
    """Of --generator: as test.py --norm_statistics."""
    split: Split | None = None
    """Split of a data set, by default test."""
    num_test: int | None = None
    """Fuse at most that many pairs, evenly spread, or of a video that many frames, the first; all by default."""
    num_threads: int = 4
    """Worker processes that read images (0 reads in the main process), and threads that write them."""

    def __post_init__(self) -> None:
        if self.infrared is not None and self.generator is not None:
            raise ValueError(
                "--infrared and --generator: give the infrared images or what makes them, a run or a file, not both"
            )
        if self.generator == "":
            raise ValueError('--generator "": name a run or a file, or nothing for the one that comes with the project')
        if self.infrared is not None and self.visible is None:
            raise ValueError("--infrared without --visible: give both")
        if self.visible is not None and self.infrared is None and self.generator is None:
            raise ValueError(
                "--visible without --infrared: give the infrared images, or --generator RUN or FILE to make them"
            )
        if self.visible is not None and self.split is not None:
            raise ValueError(f"--split {self.split} belongs to a data set: give --dataroot one, or leave it out")
        if self.norm_statistics is not None and self.generator is None:
            raise ValueError(
                f"--norm_statistics {self.norm_statistics} is of a --generator, and none is given: leave it out"
            )
        self.check_at_least(num_test=1, num_threads=0)


@dataclass(frozen=True)
class NetworkOptions(PrecisionOptions, WeightsOptions):
    """Network: whose weights fuse, and how they run."""

    model: str = "stdfusion_net"
    """Method whose weights in models/weights fuse, where neither --name nor --weights is given: stdfusion_net
    or fusion_gan."""
    batch_size: int | None = None
    """Images in a batch, at most; those of a batch have one size. By default as test.py: up to 64 on CUDA, about
    2^22 pixels; on the CPU one, or several small ones."""
    tile: int | None = None
    """Side of the tiles that images are cut into, pixels, each seen with as much around it as makes the result that
    of the whole image; 0 never cuts. By default 184 on the CPU, where such tiles stay in the cache, and 1024 on
    CUDA."""

    @property
    def result_name(self) -> str:
        """Name of the results' folder."""
        return self.name or (self.weights.stem if self.weights else self.model)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and self.weights is not None:
            raise ValueError("--name and --weights: give the run or the file, not both")
        if self.name is not None:
            check_run_name(self.name)
        self.check_at_least(batch_size=1)
        if self.tile is not None and self.tile != 0 and not self.tile >= 16:
            raise ValueError(f"--tile is {self.tile}: give at least 16 pixels, or 0 for whole images")


@dataclass(frozen=True)
class OutputOptions(ResultsOptions):
    """Results: where they go and what is written. Of a video, which is always made anew, the gallery shows 12 frames
    at most."""

    range: Literal["auto", "minmax", "clip"] = "auto"
    """Grey levels of the network's output. minmax: each image is stretched to 0..255, as the released scripts
    do. clip: as it is. auto: as the weights say they were made for, else clip."""
    gray: bool = False
    """Write one channel for colour images too."""
    evaluate: bool = False
    """Score the fused images, beside the average, the maximum and the two sources, in scores.json and .csv."""


@dataclass(frozen=True)
class FuseDataOptions(DataSetsOptions):
    """Data: the pairs of a data set, and how infrared counts become grey levels. With --name, options not
    given here are those the run was trained with."""

    dataroot: tuple[Path, ...] = (SAMPLE_ROOT,)
    """Root folders of data sets whose pairs are fused, where --visible is not given; of a run, by default, its own data
    sets."""


@dataclass(frozen=True)
class FuseOptions:
    """Fuse visible and infrared images: RESULTS_DIR/NAME/fused/STEM.png, the visible image's own size, in
    colour where it has colour; scores with --evaluate; a gallery page. Videos give STEM.mp4."""

    sources: SourceOptions = field(default_factory=SourceOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    data: FuseDataOptions = field(default_factory=FuseDataOptions)

    def with_data(self, options: DataOptions, root: str | None) -> FuseOptions:
        """With a run's data options as the defaults; root: what --dataroot gives."""
        return replace(self, data=FuseDataOptions(**options.values_for(root)))

    def with_range(self, infrared_range: Literal["asis", "percentile"]) -> FuseOptions:
        """With another range to which 8-bit infrared is brought as it is read."""
        return replace(self, data=replace(self.data, infrared_range=infrared_range))

"""Options of test.py: which run generates, from which images, to where."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from options.data import SAMPLE_ROOT, DataOptions
from util.command_line import check_epoch


@dataclass(frozen=True)
class GenerateOptions:
    """Generate: the run whose networks are used, its weights, where images go."""

    name: str | None = None
    """Name of the run; its networks and preprocessing are read from its options.json. Without it, and without
    --weights, the generator that comes with the project makes the images."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    results_dir: Path = Path("results")
    """Results go to results_dir/name, where no run is named to results_dir/STEM of the weights file."""
    epoch: str = "auto"
    """Weights: best, last or the number of an epoch that was kept; auto is best where validation chose one,
    else last."""
    weights: Path | None = None
    """Weights file of a generator instead of a run. Images are seen at the size that the file says it was trained at;
    where it says none, as one of scripts.import_weights, at their own."""
    norm_statistics: Literal["image", "trained"] | None = None
    """Statistics of batch norms. image: of each image itself, as pytorch-CycleGAN-and-pix2pix's test.py does by default
    (whose dropout is left out here). trained: those kept in training. By default as the weights say: image for those
    that scripts.import_weights wrote, else trained."""
    split: Literal["train", "val", "test", "all"] = "test"
    """Split of a data set."""
    scale: Literal["train", "input"] = "train"
    """train: the networks see images at the size they were trained at, and what they make is resized to the
    input's size. input: they see every image at its own size."""
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
    gallery: int = 1000
    """Images shown in index.html, evenly spread; 0 writes no gallery."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda or cuda:N."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the networks; auto is bf16 where the device computes it natively, else fp32."""

    compile: Literal["off", "default", "reduce-overhead", "max-autotune"] = "off"
    """Compile the networks in a mode of torch.compile: a minute for each size of images, then faster."""
    evaluate: bool = False
    """Score what was made with more metrics (MS-SSIM, LPIPS, FID, KID), to evaluation.json, .csv and .html."""
    inception_weights: Path | None = None
    """--evaluate: file of the Inception network for FID and KID; by default it is downloaded."""
    lpips_weights: Path | None = None
    """--evaluate: file of torchvision's AlexNet for LPIPS; by default it is downloaded."""
    overwrite: bool = False
    """Make every image anew. Otherwise those that the same weights and options have made already are kept."""

    @property
    def result_name(self) -> str:
        """Name of the results' folder."""
        return self.name or (self.weights.stem if self.weights else "to_infrared")

    def __post_init__(self) -> None:
        limits = (("batch_size", 1), ("num_threads", 0), ("gallery", 0), ("tile", 1))
        for name, low in limits:
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise ValueError(f"--{name} is {getattr(self, name)}: give a whole number of at least {low}")
        if self.num_test is not None and not self.num_test >= 1:
            raise ValueError(f"--num_test is {self.num_test}: give at least 1, or leave it out for every image")
        check_epoch(self.epoch)


@dataclass(frozen=True)
class TestDataOptions(DataOptions):
    """Data: a data set's root folder, a folder of any images, or image files. Options not given here are those
    the run was trained with."""

    __test__ = False  # no test case of pytest's

    dataroot: tuple[Path, ...] = (SAMPLE_ROOT,)
    """Root folder of a data set, a folder of images (and folders of them), or files."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.dataroot:
            raise ValueError("--dataroot has no value: give a data set's root, a folder of images, or image files")

    def for_root(self) -> DataOptions:
        """These options for the first dataroot."""
        values = {f.name: getattr(self, f.name) for f in fields(DataOptions)}
        return DataOptions(**values | {"dataroot": self.dataroot[0]})

    @classmethod
    def like(cls, options: DataOptions, root: str | None) -> TestDataOptions:
        """A run's options. Its layout and folders only hold for its own data: for another root (the one given on
        the command line, if any) they are found anew."""
        values = {f.name: getattr(options, f.name) for f in fields(DataOptions)}
        values["dataroot"] = (options.roots[0].dataroot,)
        if root is not None and Path(root).resolve() not in [one.dataroot.resolve() for one in options.roots]:
            values |= {"layout": "auto", "visible_dir": None, "infrared_dir": None, "rgb_to_thermal_map": None}
        return cls(**values)


@dataclass(frozen=True)
class TestOptions:
    """Generate infrared images from visible ones: RESULTS_DIR/NAME/infrared/STEM.png, one channel, the
    input's own size; scores and baselines where real infrared images exist; a gallery page."""

    __test__ = False

    generate: GenerateOptions = field(default_factory=GenerateOptions)
    data: TestDataOptions = field(default_factory=TestDataOptions)

    def with_range(self, infrared_range: str | None) -> TestOptions:
        """With the range that 8-bit infrared was brought to when the weights were trained, if that is known."""
        if infrared_range not in ("asis", "percentile"):
            return self
        return replace(self, data=replace(self.data, infrared_range=infrared_range))

    def with_data(self, options: DataOptions, root: str | None) -> TestOptions:
        """With a run's data options as the defaults; root: what --dataroot gives."""
        return replace(self, data=TestDataOptions.like(options, root))

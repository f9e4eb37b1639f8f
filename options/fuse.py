"""Options of fuse.py: which images are fused, by which network, to where."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from options.data import SAMPLE_ROOT, DataOptions
from util.command_line import check_epoch


@dataclass(frozen=True)
class SourceOptions:
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
    split: Literal["train", "val", "test", "all"] = "test"
    """Split of a data set."""
    num_test: int | None = None
    """Fuse at most that many pairs, evenly spread; every pair by default."""
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
        if self.norm_statistics is not None and self.generator is None:
            raise ValueError(
                f"--norm_statistics {self.norm_statistics} is of a --generator, and none is given: leave it out"
            )
        if self.num_test is not None and not self.num_test >= 1:
            raise ValueError(f"--num_test is {self.num_test}: give at least 1, or leave it out for every pair")
        if not self.num_threads >= 0:
            raise ValueError(f"--num_threads is {self.num_threads}: give a whole number of at least 0")


@dataclass(frozen=True)
class NetworkOptions:
    """Network: whose weights fuse, and how they run."""

    model: str = "stdfusion_net"
    """Method whose weights in models/weights fuse, where neither --name nor --weights is given: stdfusion_net
    or fusion_gan."""
    name: str | None = None
    """Run of train.py whose weights fuse; its networks are read from its options.json."""
    weights: Path | None = None
    """Weights file, .safetensors, that fuses, e.g. one that scripts.import_weights wrote."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    epoch: str = "auto"
    """Weights of the run: best, last or the number of an epoch that was kept; auto is best where validation
    chose one, else last."""
    batch_size: int | None = None
    """Images in a batch, at most; those of a batch have one size. By default as test.py: up to 64 on CUDA, about
    2^22 pixels; on the CPU one, or several small ones."""
    tile: int | None = None
    """Side of the tiles that images are cut into, pixels, each seen with as much around it as makes the result that
    of the whole image; 0 never cuts. By default 144 on the CPU, where such tiles stay in the cache, and 1024 on
    CUDA."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda or cuda:N."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the networks; auto is bf16 where the device computes it natively, else fp32."""

    def __post_init__(self) -> None:
        if self.name is not None and self.weights is not None:
            raise ValueError("--name and --weights: give the run or the file, not both")
        check_epoch(self.epoch)
        if self.batch_size is not None and not self.batch_size >= 1:
            raise ValueError(f"--batch_size is {self.batch_size}: give a whole number of at least 1")
        if self.tile is not None and self.tile != 0 and not self.tile >= 16:
            raise ValueError(f"--tile is {self.tile}: give at least 16 pixels, or 0 for whole images")


@dataclass(frozen=True)
class OutputOptions:
    """Results: where they go and what is written."""

    results_dir: Path = Path("results")
    """Results go to results_dir/name, or results_dir/model where no run is named."""
    range: Literal["auto", "minmax", "clip"] = "auto"
    """Grey levels of the network's output. minmax: each image is stretched to 0..255, as the released scripts
    do. clip: as it is. auto: as the weights say they were made for, else clip."""
    gray: bool = False
    """Write one channel for colour images too."""
    evaluate: bool = False
    """Score the fused images, beside the average, the maximum and the two sources, in scores.json and .csv."""
    gallery: int = 1000
    """Pairs shown in index.html, evenly spread; 0 writes no gallery. Of a video, 12 frames at most."""
    overwrite: bool = False
    """Make every image anew. Otherwise those that the same weights and options have made already are kept;
    videos are always made anew."""

    def __post_init__(self) -> None:
        if not self.gallery >= 0:
            raise ValueError(f"--gallery is {self.gallery}: give a whole number of at least 0")


@dataclass(frozen=True)
class FuseDataOptions(DataOptions):
    """Data: the pairs of a data set, and how infrared counts become grey levels. With --name, options not
    given here are those the run was trained with."""

    dataroot: Path | None = None
    """Root folder of a data set whose pairs are fused; the sample data set where --visible is not given."""

    def for_root(self) -> DataOptions:
        """These options as a data set's own; the sample data set where none is given."""
        values = {f.name: getattr(self, f.name) for f in fields(DataOptions)}
        return DataOptions(**values | {"dataroot": self.dataroot or SAMPLE_ROOT})

    @classmethod
    def like(cls, options: DataOptions, root: str | None) -> FuseDataOptions:
        """A run's options; its place, layout and folders only hold for its own data, which root may name again."""
        values = {f.name: getattr(options, f.name) for f in fields(cls) if hasattr(options, f.name)}
        values["dataroot"] = None
        if root is None or Path(root) not in [one.dataroot for one in options.roots]:
            values |= {"layout": "auto", "visible_dir": None, "infrared_dir": None, "rgb_to_thermal_map": None}
        return cls(**values)


@dataclass(frozen=True)
class FuseOptions:
    """Fuse visible and infrared images: RESULTS_DIR/NAME/fused/STEM.png, the visible image's own size, in
    colour where it has colour; scores with --evaluate; a gallery page. Videos give STEM.mp4."""

    sources: SourceOptions = field(default_factory=SourceOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    data: FuseDataOptions = field(default_factory=FuseDataOptions)

    def __post_init__(self) -> None:
        if self.sources.visible is not None and self.data.dataroot is not None:
            raise ValueError("--visible and --dataroot: give folders or files, or a data set, not both")

    def with_data(self, options: DataOptions, root: str | None) -> FuseOptions:
        """With a run's data options as the defaults; root: what --dataroot gives."""
        return replace(self, data=FuseDataOptions.like(options, root))

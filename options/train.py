"""Options of train.py that belong to no method: the run, the input, the loop."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from options.data import TrainDataOptions
from options.display import DisplayOptions
from options.shared import Options, PrecisionOptions, check_run_name


@dataclass(frozen=True)
class RunOptions(PrecisionOptions):
    """Run: its name, its place, the device."""

    name: str = "experiment_name"
    """Name of the run; everything of it lies in checkpoints_dir/name."""
    model: str = "cycle_gan"
    """Method."""
    checkpoints_dir: Path = Path("checkpoints")
    """Folder of all runs."""
    continue_train: bool = False
    """Go on exactly where the run of this name stopped."""
    init_from: str | None = None
    """Start from trained weights: a run in checkpoints_dir (its best ones, else the last), or a weights file by its
    ending, .safetensors. Networks alone; what they lack, as a discriminator, and the optimizers begin anew."""
    options: Path | None = None
    """Take the options of this options.json; others on the command line come on top."""
    seed: int = 0
    """Seed of weights, order, crops and everything else random, at least 0."""
    channels_last: Literal["auto", "on", "off"] = "auto"
    """Memory layout of the networks; auto is on for CUDA in bf16 or fp16."""
    cuda_graph: bool = True
    """On a CUDA GPU, with images of one size: record a training step once and replay it, which takes a fraction of the
    time at small batches, since the host starts one graph instead of thousands of kernels."""
    compile: Literal["auto", "off", "default"] = "auto"
    """Compile the networks by torch.compile: the first steps take minutes, the others less. auto is default for long
    runs on a CUDA GPU with images of one size, unless networks have instance norms and channels_last; else off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_run_name(self.name)
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"--seed is {self.seed}: give a whole number in [0, 2^31)")


@dataclass(frozen=True)
class InputOptions(Options):
    """Input: how images are resized, cropped, flipped, ordered and batched."""

    preprocess: Literal["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"] = (
        "scale_width_and_crop"
    )
    """resize_and_crop: to a load_size square, then a random crop. crop: a random crop only. scale_width:
    to load_size wide, aspect kept. scale_width_and_crop: that, then a random crop. none: as it is."""
    load_size: int = 320
    """Size that images are resized to, pixels (half a FLIR image, aspect kept, by default)."""
    crop_size: int = 256
    """Side of the random crop, pixels."""
    flip: bool = True
    """Mirror images left to right at random."""
    scale_jitter: float = 0.0
    """Resize images by a further random factor from 1 - scale_jitter to 1 + scale_jitter before the crop, in [0, 0.5],
    so that networks see things near and far; no smaller than the crop."""
    color_jitter: float = 0.0
    """Change the visible image's brightness, contrast, gamma and colour balance at random, by about this share, in
    [0, 1], so that networks bear other cameras and other light."""
    sampling: Literal["unpaired", "paired", "mixed"] = "unpaired"
    """unpaired draws the two images independently; paired draws aligned pairs, with one common crop; mixed draws
    pairs for --paired_share of the images, and the others independently."""
    paired_share: float = 0.25
    """--sampling mixed: share of the images that are pairs, in (0, 1)."""
    patch_stride: int | None = None
    """Paired sampling: take every crop_size patch at this stride, pixels, of images at their own size, instead
    of one random crop of each image; an epoch is all patches."""
    batch_size: int = 1
    """Images of each kind in a step, on each device."""
    serial_batches: bool = False
    """Take the images in their order instead of shuffled."""
    max_dataset_size: int | None = None
    """Use at most that many training images of each kind, of each data set."""
    num_threads: int = 4
    """Worker processes that read images; 0 reads in the main process."""
    cache: Literal["off", "memory", "disk"] = "off"
    """Keep decoded images, at the size they are resized to, for later epochs. memory: in shared memory, for all
    workers and ranks of a machine. disk: in cache_dir, for later runs too."""
    cache_dir: Path | None = None
    """Folder of --cache disk on a local disk, which runs may share; none: cache in the run's own folder."""
    cache_gb: float = 4.0
    """Most that the cache takes, GB. On disk what earlier runs have not used for longest makes room; what does not fit
    then is decoded every time."""

    def __post_init__(self) -> None:
        for name, high in (("scale_jitter", 0.5), ("color_jitter", 1)):
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"--{name} is {getattr(self, name)}: give a share in [0, {high}]")
        if not 0 < self.paired_share < 1:
            raise ValueError(f"--paired_share is {self.paired_share}: give a share in (0, 1)")
        self.check_at_least(load_size=16, crop_size=16, batch_size=1, num_threads=0, max_dataset_size=1, patch_stride=1)
        self.check_positive("cache_gb")
        if self.cache_dir is not None and self.cache != "disk":
            remedy = "add it, or give --cache_dir None"
            raise ValueError(f"--cache_dir {self.cache_dir} is of use with --cache disk only: {remedy}")
        if self.preprocess in ("resize_and_crop", "scale_width_and_crop") and self.crop_size > self.load_size:
            raise ValueError(
                f"--crop_size {self.crop_size} is larger than --load_size {self.load_size}: "
                "lower the one or raise the other"
            )
        if self.patch_stride is not None and self.sampling != "paired":
            raise ValueError("--patch_stride cuts patches of aligned pairs: add --sampling paired")
        if self.patch_stride is not None and (self.preprocess not in ("crop", "none") or self.scale_jitter):
            given = "--scale_jitter" if self.scale_jitter else f"--preprocess {self.preprocess}"
            remedy = "leave it out" if self.scale_jitter else "give --preprocess crop"
            raise ValueError(f"--patch_stride cuts patches of images at their own size, and {given} resizes: {remedy}")
        if not self.crops and self.batch_size > 1:
            raise ValueError(
                f"--preprocess {self.preprocess} leaves images of many sizes, which cannot share a batch: "
                "use --batch_size 1 or a mode that crops"
            )

    @property
    def crops(self) -> bool:
        """Whether all training images have one size."""
        return self.preprocess not in ("scale_width", "none") or self.patch_stride is not None


@dataclass(frozen=True)
class LoopOptions(Options):
    """Loop: how long, how fast, and when to save, validate and show."""

    n_epochs: int = 100
    """Epochs at the first learning rate."""
    n_epochs_decay: int = 100
    """Epochs over which the rate then falls to zero (lr_policy linear)."""
    lr: float = 2e-4
    """First learning rate of Adam."""
    beta1: float = 0.5
    """Momentum of Adam, in [0, 1)."""
    lr_policy: Literal["linear", "step", "plateau", "cosine"] = "linear"
    """linear: constant, then falling to zero. step: a tenth every lr_decay_iters epochs. plateau: a fifth when
    the validation score stalls. cosine: half a cosine from lr to zero over all epochs."""
    lr_decay_iters: int = 50
    """Epochs between the drops of lr_policy step."""
    clip_grad: float | None = None
    """Largest gradient norm of each player; none clips nothing."""
    accumulate: int = 1
    """Batches whose gradients are averaged into one step, for steps larger than memory holds."""
    ema: float | None = None
    """Decay of a running average of the generators' weights, in (0, 1), e.g. 0.999; then validation and the
    exported weights use the average. cycle_gan and pix2pix have 0.999."""
    save_epoch_freq: int = 5
    """Epochs between checkpoints, and between weights kept by epoch."""
    save_minutes: float = 10.0
    """Minutes between checkpoints inside an epoch."""
    val_epoch_freq: int = 1
    """Epochs between validations; 0 for none."""
    val_size: int = 200
    """Validate on at most that many pairs, evenly spread over the val split."""
    best_metric: str = "auto"
    """Validation score that decides which weights are kept as best: ssim, psnr, mae, cc or edge_cc of generated
    images (auto: cc, which no gain changes); EN, SD, SF, AG, MI, SCD, VIF, Qabf or SSIM of fused ones (auto: Qabf)."""
    samples: int = 4
    """Validation images shown in the gallery."""
    log_seconds: float = 10.0
    """Seconds between progress lines where the output is not a terminal."""

    def __post_init__(self) -> None:
        self.check_at_least(n_epochs=0, n_epochs_decay=0, val_epoch_freq=0, samples=0)
        self.check_at_least(save_epoch_freq=1, lr_decay_iters=1, val_size=1, accumulate=1)
        if not self.n_epochs + self.n_epochs_decay >= 1:
            raise ValueError("--n_epochs and --n_epochs_decay are both 0: give at least one epoch")
        self.check_positive("lr", "save_minutes", "log_seconds", "clip_grad")
        if not 0 <= self.beta1 < 1:
            raise ValueError(f"--beta1 is {self.beta1}: give a number in [0, 1)")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"--ema is {self.ema}: give a decay in (0, 1), e.g. 0.999")
        if self.lr_policy == "plateau" and not self.val_epoch_freq:
            raise ValueError("--lr_policy plateau watches the validation score: give --val_epoch_freq of at least 1")

    @property
    def epochs(self) -> int:
        """Count the epochs of both parts of the schedule."""
        return self.n_epochs + self.n_epochs_decay


@dataclass(frozen=True)
class TrainOptions:
    """Train a method. Everything of the run is written to CHECKPOINTS_DIR/NAME."""

    run: RunOptions = field(default_factory=RunOptions)
    data: TrainDataOptions = field(default_factory=TrainDataOptions)
    input: InputOptions = field(default_factory=InputOptions)
    loop: LoopOptions = field(default_factory=LoopOptions)
    display: DisplayOptions = field(default_factory=DisplayOptions)
    method: Any = None

    def __post_init__(self) -> None:
        if self.input.sampling != "unpaired" and self.data.pairs == "none":
            raise ValueError(f"--sampling {self.input.sampling} needs pairs: leave out --pairs none")
        if self.input.serial_batches and self.data.dataroot_weights:
            raise ValueError("--serial_batches takes every image in its order, and --dataroot_weights draws: give one")
        if self.run.compile not in ("auto", "off") and not self.input.crops:
            raise ValueError(
                f"--compile {self.run.compile} compiles for images of one size, which --preprocess "
                f"{self.input.preprocess} does not give: choose a mode that crops"
            )
        accepted = getattr(self.method, "samplings", ("unpaired", "paired", "mixed"))
        if self.input.sampling not in accepted:
            raise ValueError(
                f"--sampling {self.input.sampling}: what this method compares needs aligned pairs; give --sampling "
                f"{' or '.join(accepted)}"
            )
        one_size = self.input.crops or self.input.sampling == "paired"
        if getattr(self.method, "gan_mode", None) == "wgangp" and not one_size:
            raise ValueError(
                "--gan_mode wgangp judges what lies between two images, and --preprocess "
                f"{self.input.preprocess} gives unpaired ones of different sizes: choose a mode that crops"
            )
        scale, crop = getattr(self.method, "draw_scale", 1.0), self.input.crop_size
        if scale > 1 and (self.input.preprocess not in ("resize_and_crop", "scale_width_and_crop") or crop % 32):
            raise ValueError(
                f"--draw_scale {scale} reads crops larger than --crop_size {crop}, at which scenes are seen: give a "
                "multiple of 32, and --preprocess scale_width_and_crop or resize_and_crop"
            )
        patch = getattr(self.method, "patch_size", None)
        smallest = getattr(self.method, "smallest_crop", 0)
        if self.input.crops and crop < smallest:
            raise ValueError(
                f"--crop_size {crop}: the discriminator judges images of at least {smallest} pixels; give that, or a "
                "discriminator of fewer layers (--netD n_layers --n_layers_D, or --netD pixel)"
            )
        if patch is not None and (patch != crop or not self.input.crops):
            raise ValueError(
                f"--patch_size {patch}, --crop_size {crop} and --preprocess {self.input.preprocess}: the discriminator "
                "judges square patches; make the two sizes equal, and choose a mode that crops"
            )


@cache
def for_method(options_class: type) -> type[TrainOptions]:
    """TrainOptions whose `method` group is the given dataclass of options."""
    group = ("method", options_class, field(default_factory=options_class))
    made = make_dataclass("TrainOptions", [group], bases=(TrainOptions,), frozen=True)
    made.__doc__ = TrainOptions.__doc__
    return made

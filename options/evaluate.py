"""Options of scripts.evaluate fusion and generation: which images are scored, how, to where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


def methods_of(option: str, given: tuple[str, ...]) -> dict[str, Path]:
    """DIR, or NAME=DIR of each of several methods -> name -> folder. ValueError for a name given twice or none."""
    if not given:
        raise ValueError(f"--{option} is missing: give a folder of images, or several as NAME=DIR NAME=DIR")
    found: dict[str, Path] = {}
    for word in given:
        name, equals, path = word.partition("=")
        if not equals:
            if len(given) > 1:
                raise ValueError(f"--{option} {word}: several folders need names, as a={word}")
            name, path = option, word
        if not name or not path:
            raise ValueError(f"--{option} {word}: give NAME=DIR")
        if name in found:
            raise ValueError(f"--{option} {word}: the name {name} is given twice")
        found[name] = Path(path)
    return found


def words_of(given: tuple[str, ...]) -> tuple[str, ...]:
    """Words that are parted by blanks or commas."""
    return tuple(word for part in given for word in part.split(",") if word)


@dataclass(frozen=True)
class ScoringOptions:
    """What every evaluation of images is told."""

    out: Path
    """Every image's values; FILE.csv, FILE.html and FILE_images/ go beside it."""
    num_threads: int | None = None
    """Threads that read and score; 0 scores in the main thread. By default as many as this process has processors,
    at most 16."""
    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda or cuda:N."""

    def __post_init__(self) -> None:
        if self.out.suffix != ".json":
            raise ValueError(f"--out is {self.out}: give a file that ends in .json; table and page go beside it")
        if self.num_threads is not None and not self.num_threads >= 0:
            raise ValueError(f"--num_threads is {self.num_threads}: give a whole number of at least 0")


@dataclass(frozen=True)
class EvaluateFusionOptions(ScoringOptions):
    """Score fused images against their sources, beside the average, the maximum and the two sources alone."""

    fused: tuple[str, ...] = ()
    """Folder of fused images, paired by stem; several methods as NAME=DIR NAME=DIR. A stem may end in _NAME. Of a
    results folder of fuse.py its fused images."""
    visible: Path | None = None
    """Folder of the visible images, or one image."""
    infrared: Path | None = None
    """Folder of the infrared images, or one image."""
    metrics: tuple[str, ...] = ()
    """Metrics by name, parted by blanks or commas; all of the convention's by default."""
    convention: Literal["standard", "vifb"] = "standard"
    """standard: the saved 8-bit grey image. vifb: formulas and colour handling of the benchmark VIFB."""
    out: Path = Path("results/evaluation/fusion.json")

    def __post_init__(self) -> None:
        methods_of("fused", self.fused)
        if self.visible is None or self.infrared is None:
            missing = "visible" if self.visible is None else "infrared"
            raise ValueError(f"--{missing} is missing: give the folder of the {missing} images that were fused")
        super().__post_init__()


@dataclass(frozen=True)
class EvaluateGenerationOptions(ScoringOptions):
    """Score generated infrared images against real ones, beside luminance, inverted luminance and a constant."""

    generated: tuple[str, ...] = ()
    """Folder of generated images, paired by stem; several methods as NAME=DIR NAME=DIR. Of a results folder of
    test.py its generated images."""
    real: Path | None = None
    """Folder of the real infrared images."""
    visible: Path | None = None
    """Folder of the visible images, for the baselines luminance and inverted luminance."""
    constant: float | None = None
    """Grey level, 0 to 255, of the baseline constant; the mean of the real images by default. A fair one is the mean
    of the training images."""
    inception_weights: Path | None = None
    """FID and KID: file of the Inception network, weights-inception-2015-12-05-6726825d.pth of torch-fidelity; by
    default it is downloaded."""
    lpips_weights: Path | None = None
    """LPIPS: file of torchvision's AlexNet, alexnet-owt-7be5be79.pth; by default it is downloaded."""
    out: Path = Path("results/evaluation/generation.json")

    def __post_init__(self) -> None:
        methods_of("generated", self.generated)
        if self.real is None:
            raise ValueError("--real is missing: give the folder of the real infrared images")
        if self.constant is not None and not 0 <= self.constant <= 255:
            raise ValueError(f"--constant is {self.constant}: give a grey level from 0 to 255")
        super().__post_init__()

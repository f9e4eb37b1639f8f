"""Preprocess modes: the size images are brought to, random crops and flips, one common transform for a pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from data.images import to_tensor
from options.recorded import from_dict
from options.train import InputOptions, TrainOptions
from util.images import resize
from util.json_file import JsonError, parse_json

LARGEST = 1536**2
"""Pixels up to which whole images are enlarged: pictures a few pixels high would come to hundreds of megapixels."""


@dataclass(frozen=True)
class Preprocess:
    """How images are brought to size. See InputOptions for the modes; sizes in pixels. scale_jitter: of training
    images, which are read at the largest size that it gives. whole: images that no crop is taken from, which are not
    enlarged beyond LARGEST pixels."""

    mode: str
    load_size: int
    crop_size: int
    flip: bool
    scale_jitter: float = 0.0
    whole: bool = False

    @classmethod
    def from_options(cls, options: InputOptions, training: bool = False, larger: float = 1.0) -> Preprocess:
        """The transform that the input options ask for; sizes are jittered in training alone. larger: by what sizes are
        multiplied, crops to a multiple of 8."""
        jitter = options.scale_jitter if training else 0.0
        load, crop = options.load_size, options.crop_size
        if larger != 1:
            crop = 8 * round(crop * larger / 8)
            load = max(crop, round(load * larger))
        return cls(options.preprocess, load, crop, options.flip, jitter, not training)

    @classmethod
    def of_weights(cls, metadata: Mapping[str, str], path: str) -> Preprocess | None:
        """How the generator of a weights file saw images when it was trained; None where the file, whose metadata and
        path these are, does not say."""
        if "input" not in metadata:
            return None
        try:
            return cls.from_options(from_dict(InputOptions, parse_json(metadata["input"], "input"), path))
        except JsonError:
            raise ValueError(f"{path}: the input options in it cannot be read; write it anew") from None

    @classmethod
    def of_generator(cls, trained: TrainOptions | None, metadata: Mapping[str, str]) -> Preprocess | None:
        """How a generator sees images: as its run's options say, else as its weights file does. metadata: of the file,
        with its path as "weights"."""
        return cls.from_options(trained.input) if trained else cls.of_weights(metadata, metadata["weights"])

    @property
    def crops(self) -> bool:
        """Whether all images end in crop_size squares."""
        return self.mode in ("resize_and_crop", "crop", "scale_width_and_crop")

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of an image once resized, before any crop: the scale at which networks see it, or the largest
        of them where it is jittered."""
        largest = 1 + self.scale_jitter
        if self.mode == "resize_and_crop":
            return round(self.load_size * largest), round(self.load_size * largest)
        scale = largest * (self.load_size / width if self.mode.startswith("scale_width") else 1.0)
        if self.crops:  # a crop must fit inside
            scale = max(scale, self.crop_size / width, self.crop_size / height)
        if self.whole:
            scale = min(scale, max(1.0, math.sqrt(LARGEST / (height * width))))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _jittered(self, height: int, width: int, generator: torch.Generator) -> tuple[int, int]:
        """The largest working size times a random factor; a crop still fits inside."""
        if not self.scale_jitter:
            return height, width
        least = (1 - self.scale_jitter) / (1 + self.scale_jitter)
        factor = least + (1 - least) * float(torch.rand((), generator=generator))
        if self.crops:
            factor = max(factor, self.crop_size / height, self.crop_size / width)
        return round(height * factor), round(width * factor)

    def __call__(
        self, images: Sequence[torch.Tensor], generator: torch.Generator, corner: tuple[int, int] | None = None
    ) -> list[torch.Tensor]:
        """Crop and flip [C, H, W] images of one scene and size alike, resized before by a random factor where sizes are
        jittered; random numbers from the generator.

        images: as a Reader gives them, of the working size, or of their own with a corner: (top, left) of the crop,
        which then is not random."""
        side = self.crop_size
        if corner is not None:
            top, left = corner
            images = [image[..., top : top + side, left : left + side] for image in images]
        else:
            height, width = images[-1].shape[-2:]
            size = self._jittered(height, width, generator)
            images = [resize(image, size) for image in images]
        if self.crops and corner is None:
            top = int(torch.randint(size[0] - side + 1, (), generator=generator))
            left = int(torch.randint(size[1] - side + 1, (), generator=generator))
            images = [image[..., top : top + side, left : left + side] for image in images]
        if self.flip and bool(torch.rand((), generator=generator) < 0.5):
            images = [image.flip(-1) for image in images]
        return [image.contiguous() for image in images]


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """uint8 [H, W(, 3)] -> uint8 [C, H, W], a quarter of the memory of floats; uint16 -> float32 in [-1, 1]."""
    if array.dtype != np.uint8:
        return to_tensor(array)
    return torch.from_numpy(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))


def grey_tensor(array: np.ndarray) -> torch.Tensor:
    """uint8 or uint16 [H, W] -> uint8 [1, H, W], rounded."""
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return as_tensor(array)


def to_size(array: np.ndarray, size: Sequence[int]) -> torch.Tensor:
    """resize(as_tensor(array), size), without a copy of the full size."""
    if array.dtype != np.uint8:
        return resize(to_tensor(array), size)
    channels = torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
    return resize(channels, size).contiguous()


def jitter_colour(visible: torch.Tensor, amount: float, generator: torch.Generator) -> torch.Tensor:
    """[3, H, W] uint8 -> the same with random brightness, contrast, gamma, balance and saturation, some without colour,
    as cameras see that weigh red, green and blue in any way; float images, in [-1, 1], likewise. amount: about the
    largest relative change; half of it is the share made grey."""
    brightness, contrast, gamma, red, blue, grey = (2 * torch.rand(6, generator=generator) - 1).tolist()
    levels = torch.linspace(0, 1, 256)
    curve = (levels ** math.exp(amount * gamma) - 0.5) * math.exp(amount * contrast) + 0.5
    curve = curve * math.exp(amount * brightness)
    gains = torch.tensor([math.exp(0.5 * amount * red), 1.0, math.exp(0.5 * amount * blue)])
    curves = (curve[None] * gains[:, None]).clamp(0, 1)  # [3, 256]
    if visible.dtype == torch.uint8:
        table = (curves * 255).round().to(torch.uint8)
        changed = torch.stack([curve[channel.int()] for curve, channel in zip(table, visible, strict=True)])
        mixed = changed.float()
    else:
        places = ((visible + 1) * 127.5).round().clamp(0, 255).int()
        mixed = torch.stack([curve[channel] for curve, channel in zip(curves * 2 - 1, places, strict=True)])
    share = 1.0 if grey > 1 - amount else max(0.0, amount * grey)
    weights = -torch.rand(3, generator=generator).clamp(min=1e-6).log()
    one = (mixed * (weights / weights.sum())[:, None, None]).sum(0, keepdim=True)
    mixed = torch.lerp(mixed, one.expand_as(mixed), share)
    return mixed.round().to(torch.uint8) if visible.dtype == torch.uint8 else mixed

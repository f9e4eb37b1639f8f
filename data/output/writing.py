"""Results on their way from the device to files: brought to their sizes and colours, copied without the caller waiting,
written in threads, and only so many at once."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.images import to_uint8, write_image
from data.transforms import as_tensor
from data.visible_images import BATCH_PIXELS
from util.images import by_strips, grey_bytes, luminance, resize
from util.training.progress import Counting

WAITING_BYTES = 64 << 20  # of images that may wait to be written
PREVIEW_WIDTH = 640  # pixels; copies for the gallery are no wider
PREVIEW_HEIGHT = 16384  # nor higher: JPEG ends at 65,500, and browsers do not show much more
STRIP = 512  # rows that are coloured at once

Wait = Callable[[], object]
"""Returns once what was fetched has arrived."""


def at_own_size(made: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """[N, 1, h, w] in [-1, 1] or uint8 -> N uint8 [1, H, W], each of its size, on the same device."""
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, (height, width) in enumerate(sizes):  # lists, where a loader pins memory
        places[height, width].append(place)
    images: dict[int, torch.Tensor] = {}
    for (height, width), group in places.items():
        count = max(1, BATCH_PIXELS // (height * width))
        for part in (group[start : start + count] for start in range(0, len(group), count)):
            resized = resize(made if len(part) == len(made) else made[part], (height, width))
            images |= zip(part, by_strips(grey_bytes, resized), strict=True)
    return [images[place] for place in range(len(sizes))]


def coloured(visible: torch.Tensor, fused: torch.Tensor, gray: bool) -> np.ndarray:
    """Visible uint8 [3, H, W], fused luminance [1, H, W] in [-1, 1] -> uint8 [H, W, 3], the visible image's Cb and Cr
    with the fused Y, or [H, W] where the visible image has no colour."""
    if gray or (torch.equal(visible[0], visible[1]) and torch.equal(visible[1], visible[2])):
        return to_uint8(fused)
    strips = []
    for colour, light in zip(visible.split(STRIP, 1), fused.split(STRIP, 1), strict=True):
        colour = colour.float() / 127.5 - 1
        # With Cb and Cr kept, B - Y and R - Y are, and so is G - Y: all channels shift alike.
        strips.append(to_uint8(colour + (light - luminance(colour))))
    return np.concatenate(strips)


def copy_small(path: Path, image: torch.Tensor | np.ndarray) -> None:
    """Write a small copy of an image, [C, H, W] uint8 or in [-1, 1], or an array uint8 [H, W(, 3)], so that results can
    be moved and looked at alone."""
    if isinstance(image, np.ndarray):
        image = as_tensor(image)
    height, width = image.shape[-2:]
    scale = min(1.0, PREVIEW_WIDTH / width, PREVIEW_HEIGHT / height)
    image = resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))
    write_image(path, to_uint8(image))


def fetch(tensors: Sequence[torch.Tensor | None], device: torch.device) -> tuple[list[torch.Tensor | None], Wait]:
    """The tensors on their way from the device to the CPU, and a function that waits until they are there: on CUDA,
    where they go to pinned memory, the caller does not."""
    fetched = [None if tensor is None else tensor.to("cpu", non_blocking=True) for tensor in tensors]
    if device.type != "cuda":
        return fetched, bool
    arrived = torch.cuda.Event()
    arrived.record()
    return fetched, arrived.synchronize


class Writers:
    """A context of threads that write results. At its end all are written, or an error of theirs is raised."""

    def __init__(self, threads: int, limit: int = WAITING_BYTES) -> None:
        """limit: bytes that may wait; `submit` waits where more would."""
        self.pool, self.limit = ThreadPoolExecutor(max(1, threads)), limit
        self.waiting: deque[tuple[Future, int]] = deque()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            with Counting(len(self.waiting), "writing") if self.waiting else nullcontext() as bar:
                while self.waiting and kind is None:
                    self.waiting.popleft()[0].result()
                    bar.update()
        finally:
            self.pool.shutdown(cancel_futures=True)

    def submit(self, size: int, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in a thread; size: bytes that its arguments hold."""
        self.waiting.append((self.pool.submit(function, *arguments), size))
        while self.waiting and (self.waiting[0][0].done() or sum(held for _, held in self.waiting) > self.limit):
            self.waiting.popleft()[0].result()

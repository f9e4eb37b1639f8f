"""How far targets, such as persons, stand out of their surroundings in an image: what fusion is for, and what no other
score sees."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage

LEAST = 150  # pixels of targets; with fewer the contrast is noise
RING = (3, 10)  # distance from the nearest target, px: nearer ones may be its blurred edge


class TargetContrast:
    """Mean grey level inside the targets of an image minus that of the ring around them all, in any image of the scene.

    counted: whether there are enough targets, and is a ring."""

    def __init__(self, targets: np.ndarray) -> None:
        """targets: [H, W] bool."""
        distance = ndimage.distance_transform_edt(~targets)
        ring = (distance >= RING[0]) & (distance <= RING[1])
        self.counted = bool(np.count_nonzero(targets) >= LEAST and ring.any())
        self.inside, self.ring = torch.from_numpy(targets), torch.from_numpy(ring)

    def __call__(self, grey: torch.Tensor) -> float:
        """[..., H, W] luminance in 0..255 -> grey levels, below 0 where targets are darker; nan where not counted."""
        if not self.counted:
            return math.nan
        inside, ring = (float(grey[..., part.to(grey.device)].mean()) for part in (self.inside, self.ring))
        return inside - ring

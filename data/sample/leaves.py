"""Noise fields and leaf masks: made once, read by everything that is not smooth."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw

NOISE_SIZE = 512
MASK_SIZE = 192
CROWNS, BUSHES, PALMS, BARE = range(8), range(8, 12), range(12, 15), range(15, 18)


def _fractal(rng: np.random.Generator, size: int, slope: float) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * frequency**-slope
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, (size, size))
    return (field / field.std()).astype(np.float32)


@cache
def noise(slope: float) -> np.ndarray:
    """[NOISE_SIZE, NOISE_SIZE] periodic noise, mean 0, standard deviation 1; slope 0 is white, 2 is cloudy."""
    return _fractal(np.random.default_rng(round(slope * 1000) + 7), NOISE_SIZE, slope)


def look_up(slope: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The noise at texel coordinates [N], nearest texel."""
    column = x.astype(np.int32) & (NOISE_SIZE - 1)
    row = y.astype(np.int32) & (NOISE_SIZE - 1)
    return noise(slope).take(row * NOISE_SIZE + column)


def hashed(*parts: np.ndarray | int) -> np.ndarray:
    """Whole numbers to numbers in [0, 1) that look random: one value per window, slab or tile."""
    mixed = np.uint32(0)
    for part, prime in zip(parts, (73856093, 19349663, 83492791), strict=False):
        mixed = mixed ^ (np.asarray(part).astype(np.int32).astype(np.uint32) * np.uint32(prime))
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(2246822519)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(3266489917)
    return ((mixed ^ (mixed >> np.uint32(16))) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _crown(rng: np.random.Generator, bush: bool) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : MASK_SIZE * 1j, -1 : 1 : MASK_SIZE * 1j]
    depth = np.full_like(x, -1.0)
    for _ in range(11 if bush else 16):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform()) * 0.62
        cx, cy, r = np.cos(angle) * reach, np.sin(angle) * reach * 0.9, rng.uniform(0.22, 0.42)
        if bush:
            cy = abs(cy) * 0.8
        depth = np.maximum(depth, 1 - np.hypot(x - cx, y - cy) / r)
    rough = _fractal(rng, MASK_SIZE, 1.1) * 0.20 + _fractal(rng, MASK_SIZE, 0.3) * 0.07
    return depth + rough > (0.02 if bush else 0.10)


def _palm(rng: np.random.Generator) -> np.ndarray:
    image = Image.new("L", (MASK_SIZE, MASK_SIZE))
    pen, half = ImageDraw.Draw(image), MASK_SIZE / 2

    def dot(x: float, y: float, wide: float, tall: float) -> None:
        pen.ellipse(
            [half * (1 + x - wide), half * (1 + y - tall), half * (1 + x + wide), half * (1 + y + tall)], fill=255
        )

    dot(0.0, -0.05, 0.16, 0.2)
    for angle in np.linspace(-0.35, np.pi + 0.35, 17) + rng.normal(0, 0.06, 17):
        reach, fall = rng.uniform(0.75, 1.0), rng.uniform(0.5, 0.95)
        for t in np.linspace(0, 1, 26):
            thick = 0.075 * np.sqrt(np.sin(np.pi * min(t * 0.92 + 0.08, 1)))
            x, y = np.cos(angle) * reach * t, -np.sin(angle) * reach * t * 0.8 + fall * t * t * 0.75
            dot(x, y, thick, thick / 0.75)
    return (np.asarray(image) > 0) & (_fractal(rng, MASK_SIZE, 0.2) > -1.1)


def _bare(rng: np.random.Generator) -> np.ndarray:
    image = Image.new("L", (MASK_SIZE, MASK_SIZE))
    pen = ImageDraw.Draw(image)
    twigs = [(MASK_SIZE / 2, MASK_SIZE, -np.pi / 2 + rng.normal(0, 0.1), MASK_SIZE * 0.27, 6.0)]
    while twigs:
        px, py, angle, length, width = twigs.pop()
        qx, qy = px + np.cos(angle) * length, py + np.sin(angle) * length
        pen.line((px, py, qx, qy), fill=255, width=max(1, round(width)))
        if length > 5:
            for turn in rng.normal([-0.5, 0.1, 0.55], 0.22):
                twigs.append((qx, qy, angle + turn, length * rng.uniform(0.6, 0.82), width * 0.62))
    return np.asarray(image) > 0


@cache
def leaf_mask(stamp: int) -> Image.Image:
    """A mask of mode "L", 0 or 255: CROWNS, BUSHES, PALMS and BARE are the stamps there are."""
    rng = np.random.default_rng(stamp + 100)
    if stamp in PALMS:
        mask = _palm(rng)
    elif stamp in BARE:
        mask = _bare(rng)
    else:
        mask = _crown(rng, stamp in BUSHES)
    return Image.fromarray(mask.astype(np.uint8) * np.uint8(255))


@cache
def relief(stamp: int) -> np.ndarray:
    """[3, MASK_SIZE, MASK_SIZE]: slope to the right, slope up, and openness in [0, 1] of a crown's clumps of leaves."""
    solid = np.asarray(leaf_mask(stamp), np.float32) / 255
    rng = np.random.default_rng(stamp + 900)
    y, x = np.mgrid[-1 : 1 : MASK_SIZE * 1j, -1 : 1 : MASK_SIZE * 1j]
    clumps = _fractal(rng, MASK_SIZE, 1.6)
    fine = _fractal(rng, MASK_SIZE, 0.5)
    slope_y, slope_x = np.gradient(clumps)
    right = 0.55 * x - 3.0 * slope_x + 0.25 * fine
    up = -0.55 * y + 3.0 * slope_y + 0.25 * np.roll(fine, 37, axis=0)
    openness = np.clip(0.62 + 0.16 * clumps + 0.12 * fine - 0.18 * y, 0.12, 1.0)
    return np.stack([right, up, openness * solid + (1 - solid) * 0.5]).astype(np.float32)

"""The two cameras' electronics: light to an 8-bit colour image, temperature to counts and to 8-bit grey."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from data.sample.camera import HEIGHT, WIDTH, Camera
from data.sample.climate import Climate
from data.sample.mesh import Light

KELVIN_PER_COUNT = 0.04
NETD = 0.05  # kelvin, temporal noise of one pixel
_BAND = 64  # rows at a time: their arrays stay in the processor's cache


@cache
def _white() -> np.ndarray:
    """A long run of normal noise; drawing afresh for every image would cost more than all else here."""
    return np.random.default_rng(77).standard_normal(1 << 22, np.float32)


def _noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    count, run = int(np.prod(shape)), _white()
    start = int(rng.integers(len(run) - count))
    return run[start : start + count].reshape(shape)


@cache
def _flare(size: int) -> np.ndarray:
    """[2 * size + 1] squared: a bright core, a wide veil and faint rays."""
    y, x = np.mgrid[-size : size + 1, -size : size + 1].astype(np.float32) / size
    radius = np.hypot(x, y)
    rays = 1 + 0.5 * np.cos(6 * np.arctan2(y, x)) ** 8
    veil = np.exp(-((radius / 0.09) ** 2)) + 0.05 * np.exp(-radius * 6.5) * rays
    return np.maximum(veil - 0.05 * np.exp(-6.5), 0) * np.clip((1 - radius) * 4, 0, 1)


def add_glare(visible: np.ndarray, lights: list[tuple[Light, bool]], camera: Camera, wet: float) -> None:
    """Add the glare of lamps in view to linear light [3, H, W]; on a wet road also their streaks."""
    for light, in_view in lights:
        local = camera.to_camera(light.position[None])
        if not in_view or local[0, 2] < 1.0:
            continue
        u, v = np.round(camera.to_pixels(local)[0]).astype(int)
        size = int(np.clip(120 * light.glare / (1 + local[0, 2] * 0.035), 5, 110))
        kernel = _flare(size)
        peak = min(light.glare, 1.6) * 1.6
        _add(visible, kernel, u, v, np.array(light.rgb) * peak)
        if wet > 0 and light.position[1] > 0.3:
            ground = camera.to_camera((light.position * [1, -1, 1])[None])
            row = int(camera.to_pixels(ground)[0][1])
            tall = np.exp(-np.abs(np.linspace(-2, 2, 90, dtype=np.float32)))[:, None]
            wide = np.exp(-(np.linspace(-2.2, 2.2, 9, dtype=np.float32) ** 2))[None]
            _add(visible, tall * wide, u, row, np.array(light.rgb) * peak * 0.16 * wet)


def _add(visible: np.ndarray, kernel: np.ndarray, u: int, v: int, rgb: np.ndarray) -> None:
    half_y, half_x = kernel.shape[0] // 2, kernel.shape[1] // 2
    top, left = v - half_y, u - half_x
    y0, y1 = max(top, 0), min(top + kernel.shape[0], HEIGHT)
    x0, x1 = max(left, 0), min(left + kernel.shape[1], WIDTH)
    if y0 < y1 and x0 < x1:
        visible[:, y0:y1, x0:x1] += kernel[y0 - top : y1 - top, x0 - left : x1 - left] * rgb[:, None, None].astype(
            np.float32
        )


def _smooth(field: np.ndarray, side: float) -> np.ndarray:
    """Blur [..., H, W] with weights side, 1, side along both axes, ends repeated."""
    scale = 1 / (1 + 2 * side)
    padded = np.concatenate([field[..., :1, :], field, field[..., -1:, :]], axis=-2)
    field = (padded[..., 1:-1, :] + side * (padded[..., :-2, :] + padded[..., 2:, :])) * scale
    padded = np.concatenate([field[..., :1], field, field[..., -1:]], axis=-1)
    return (padded[..., 1:-1] + side * (padded[..., :-2] + padded[..., 2:])) * scale


@cache
def _vignette() -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    return (1 - 0.16 * (x * x + y * y)).astype(np.float32)


def visible_image(light: np.ndarray, climate: Climate, rng: np.random.Generator) -> np.ndarray:
    """Linear light [3, H, W] -> uint8 [H, W, 3]: exposure, blur, noise, tone curve."""
    metered = light[:, HEIGHT // 4 :: 4, ::4].mean(axis=0)
    level = np.minimum(metered, np.quantile(metered, 0.9)).mean()
    target = {"day": 0.40, "dawn/dusk": 0.21, "night": 0.10}[climate.hours]
    highest = {"day": 3.0, "dawn/dusk": 4.0, "night": 3.5}[climate.hours]
    gain = np.clip(target / (level + 1e-6), 0.2, highest) * rng.uniform(0.88, 1.14)
    cast = np.array(
        {"day": (1.0, 1.0, 0.98), "dawn/dusk": (1.0, 0.98, 1.02), "night": (1.06, 1.0, 0.86)}[climate.hours]
    )
    linear = _smooth(light, 0.22)
    scale = -1.25 * (gain * cast[:, None, None]).astype(np.float32)
    photons = {"day": 0.008, "dawn/dusk": 0.016, "night": 0.022}[climate.hours]
    read = {"day": 0.002, "dawn/dusk": 0.005, "night": 0.007}[climate.hours]
    black = 0.03
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for top in range(0, HEIGHT, _BAND):
        rows = slice(top, top + _BAND)
        bright = np.sqrt(1 - np.exp(np.minimum(linear[:, rows] * _vignette()[rows] * scale, 0)))
        bright += 0.35 * (bright * bright * (3 - 2 * bright) - bright)
        grey = _noise(rng, _BAND, WIDTH)
        colour = _noise(rng, 3, _BAND // 2, WIDTH // 2).repeat(2, axis=1).repeat(2, axis=2)
        bright += (grey + 0.45 * colour) * (photons * 0.6 + read * (1 - bright))
        eight = np.clip((black + bright * (1 - black)) * 255 + 0.5, 0, 255).astype(np.uint8)
        image[rows] = eight.transpose(1, 2, 0)
    return image


def thermal_counts(kelvin: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apparent temperature [H, W] -> uint16 [H, W] counts of 0.04 K: optics, fixed pattern and temporal noise."""
    seen = _smooth(_smooth(kelvin, 0.30), 0.12)
    columns = _noise(rng, 1, WIDTH) * 0.012
    rows = _noise(rng, HEIGHT, 1) * 0.008
    noise = _noise(rng, HEIGHT, WIDTH) * NETD
    return np.clip(np.round((seen + columns + rows + noise) / KELVIN_PER_COUNT), 0, 2**14 - 1).astype(np.uint16)


# Kelvin around the median that grey levels are spent on: less of the cold sky, all of a person.
_BELOW, _LEAST, _ABOVE = 15 / KELVIN_PER_COUNT, 8 / KELVIN_PER_COUNT, 24 / KELVIN_PER_COUNT


def gain_control(counts: np.ndarray) -> np.ndarray:
    """Counts [H, W] -> uint8 [H, W], white hot: plateau equalisation mixed with a linear map, detail enhanced."""
    low, middle, high = np.quantile(counts[::2, ::2], [0.003, 0.5, 0.9992])
    low, high = int(low), int(min(max(high, middle + _LEAST), middle + _ABOVE))
    knee = max(low, middle - _BELOW)
    clipped = np.clip(counts, low, high).astype(np.int32) - low
    histogram = np.bincount(clipped[::2, ::2].ravel(), minlength=high - low + 1).astype(np.float64)
    plateau = np.minimum(histogram, 1.5 * histogram.mean())
    equal = np.cumsum(plateau) / plateau.sum()
    line = np.interp(np.arange(low, high + 1), [low, knee, high], [0.0, 0.10 * (knee > low), 1.0])
    curve = (0.42 * equal + 0.58 * line).astype(np.float32) * 250
    grey = curve[clipped]
    wide = Image.fromarray(grey.astype(np.uint8)).filter(ImageFilter.BoxBlur(9))
    detail = 0.7 * (grey - _smooth(_smooth(grey, 1.0), 1.0)) + 0.32 * (grey - np.asarray(wide, np.float32))
    return np.clip(grey + detail + 0.5, 0, 255).astype(np.uint8)

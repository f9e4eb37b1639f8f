"""Textures of roofs, leaves, wheels and hills, each for both cameras at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.sample.leaves import MASK_SIZE, hashed, look_up, relief
from data.sample.road import faded, stripes


@dataclass
class Surface:
    """What N samples show: rgb, glow [3, N]; all else [N]. tilt: [2, N] of the normal toward (along, up)."""

    a: np.ndarray
    b: np.ndarray
    depth: np.ndarray
    rgb: np.ndarray
    glow: np.ndarray
    kelvin: np.ndarray
    heat: np.ndarray
    cool: np.ndarray
    emissivity: np.ndarray
    gloss: np.ndarray
    open: np.ndarray
    """Share of sky and sun that reaches the sample past its neighbours."""
    tilt: np.ndarray


def roof(s: Surface, where: np.ndarray, p: np.ndarray, focal: float) -> None:
    """Tiled or shingled slopes. p: [8, n] row height (m), seed."""
    a, b = s.a[where], s.b[where]
    pixel = s.depth[where] / focal
    row = np.floor(b / p[0])
    tile = hashed(row, np.floor(a / 0.3 + 0.5 * row), p[1]) - 0.5
    lines = stripes(b, 0.30, 0.05, pixel)
    moss = look_up(1.5, a * 9 + p[1] * 19, b * 9)
    s.rgb[:, where] *= np.clip(1 + 0.25 * tile * faded(pixel, 0.1) - 0.35 * lines + 0.08 * moss, 0.4, 1.5)
    s.kelvin[where] += 0.5 * moss + 0.6 * tile * faded(pixel, 0.1) - 0.4 * lines


def foliage(s: Surface, where: np.ndarray, p: np.ndarray) -> None:
    """Leaves in clumps. p: [8, n] stamp or -1 for a clipped hedge, seed."""
    a, b = s.a[where], s.b[where]
    for stamp in np.unique(p[0]):
        pick = p[0] == stamp
        at = where[pick]
        ga, gb, seed = a[pick], b[pick], p[1][pick]
        if stamp < 0:
            fine = look_up(0.5, ga * 60 + seed * 7, gb * 60)
            clump = look_up(1.3, ga * 40 + seed * 5, gb * 40)
            s.tilt[0, at] += 0.6 * fine
            s.tilt[1, at] += 0.4 * clump + 0.2
            s.open[at] *= np.clip(0.66 + 0.16 * clump + 0.15 * fine, 0.1, 1)
        else:
            column = np.clip((ga * 0.5 + 0.5) * MASK_SIZE, 0, MASK_SIZE - 1).astype(np.int32)
            row = np.clip((0.5 - gb * 0.5) * MASK_SIZE, 0, MASK_SIZE - 1).astype(np.int32)
            right, up, openness = relief(int(stamp)).reshape(3, -1)[:, row * MASK_SIZE + column]
            clump = (openness - 0.6) * 4
            s.tilt[0, at] += right
            s.tilt[1, at] += up
            s.open[at] *= openness
        hue = look_up(1.0, ga * 30 + seed * 11, gb * 30)
        s.rgb[:, at] *= np.stack([1 + 0.12 * hue, 1 + 0.06 * hue, 1 - 0.10 * hue])
        s.kelvin[at] += 0.35 * clump + 0.2 * hue


def wheel(s: Surface, where: np.ndarray, p: np.ndarray) -> None:
    """A wheel seen from its side. p: [8, n] rim radius share, spokes, tyre kelvin gain, brake kelvin gain, rim grey."""
    a, b = s.a[where], s.b[where]
    rim_share, spokes, tyre, brake, grey = p[:5]
    radius = np.hypot(a, b)
    rim = np.clip((rim_share - radius) * 18 + 0.5, 0, 1)
    between = np.clip(np.cos(np.arctan2(b, a) * spokes) * 3 - 0.6, 0, 1) * (radius > 0.18) * (radius < rim_share * 0.92)
    bright = grey * (1 - 0.85 * between) + 0.02 * between
    s.rgb[:, where] += (bright - s.rgb[:, where]) * rim
    s.gloss[where] += rim * 0.15
    s.kelvin[where] += tyre * (0.4 + 0.6 * (radius > 0.75)) * (1 - rim) + brake * rim * (0.5 + 0.5 * between)
    s.emissivity[where] -= 0.12 * rim * (1 - between)


def hill(s: Surface, where: np.ndarray, p: np.ndarray) -> None:
    """Far slopes and tree lines. p: [8, n] texels per metre, seed."""
    x, y = s.a[where] * p[0] + p[1] * 53, s.b[where] * p[0]
    rough, clump = look_up(0.6, x * 2, y * 2), look_up(1.4, x, y)
    s.rgb[:, where] *= np.clip(1 + 0.14 * rough + 0.16 * clump, 0.3, 2)
    s.kelvin[where] += 0.5 * clump + 0.3 * rough

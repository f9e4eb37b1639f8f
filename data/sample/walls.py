"""Walls with rows of windows and shop fronts, lit or dark, for both cameras at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.sample.climate import Climate
from data.sample.leaves import hashed, look_up
from data.sample.road import band, faded, stripes
from data.sample.textures import Surface

BRICK, PLASTER, PANEL, SIDING = 0, 1, 2, 3


def _masonry(a: np.ndarray, b: np.ndarray, pixel: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factor on the reflectance and kelvin added, [N] each, by bricks, boards, panels, stains and dirt."""
    floor_height, _, style, seed, _, _, height, _ = p
    grain = look_up(0.8, a * 40 + seed * 31, b * 40) * faded(pixel, 0.05)
    stain = look_up(1.6, a * 7 + seed * 77, b * 5)
    streak = look_up(1.2, a * 24 + seed * 13, b * 1.2)
    factor = 1 + 0.05 * grain + 0.07 * stain + 0.035 * streak
    kelvin = 0.25 * stain + 0.12 * grain
    brick = np.flatnonzero(style == BRICK)
    if len(brick):
        row, fine = np.floor(b[brick] / 0.075), pixel[brick]
        bond = hashed(row, np.floor(a[brick] / 0.22 + row * 0.5)) - 0.5
        factor[brick] += 0.25 * stripes(b[brick], 0.075, 0.014, fine) + 0.35 * bond * faded(fine, 0.06)
    board = np.flatnonzero(style == SIDING)
    if len(board):
        edges = stripes(b[board], 0.22, 0.035, pixel[board])
        factor[board] -= 0.35 * edges
        kelvin[board] -= 0.3 * edges
    panel = np.flatnonzero(style == PANEL)
    if len(panel):
        joints = stripes(a[panel], 2.4, 0.04, pixel[panel]) + stripes(b[panel], 1.6, 0.04, pixel[panel])
        factor[panel] -= 0.35 * np.minimum(joints, 1)
    storey = np.floor(b / floor_height)
    slab = band(b - storey * floor_height, -0.01, 0.20, pixel) * (storey > 0) * (style != SIDING)
    plinth = band(b, -1.0, 0.55, pixel)
    factor = factor * (1 - 0.14 * slab) * (1 - 0.22 * plinth) * (1 - 0.30 * np.exp(-np.maximum(b, 0) * 1.6))
    factor = factor * (1 - 0.25 * np.exp(-np.maximum(height - b, 0) * 2.0))
    return np.clip(factor, 0.3, 1.5), kelvin + slab * 0.7 + 0.4 * plinth


@dataclass(frozen=True)
class _Opening:
    """The opening in the wall that each sample is near, all [n]. across, up: metres from its middle line, its floor."""

    across: np.ndarray
    up: np.ndarray
    half: np.ndarray
    low: np.ndarray
    high: np.ndarray
    front: np.ndarray
    """Whether it is a shop front."""
    column: np.ndarray
    storey: np.ndarray

    def within(self, grow: float, pixel: np.ndarray) -> np.ndarray:
        """Share of each pixel inside the opening widened by grow metres on all sides."""
        sides = np.clip((self.half + grow - self.across) / pixel + 0.5, 0, 1)
        above = np.clip((self.up - self.low + grow) / pixel + 0.5, 0, 1)
        return sides * above * np.clip((self.high + grow - self.up) / pixel + 0.5, 0, 1)


def _windows(s: Surface, where: np.ndarray, pixel: np.ndarray, p: np.ndarray, o: _Opening, climate: Climate) -> None:
    seed, lit_share, front = p[3], p[4], o.front
    frame, glass = o.within(0.09, pixel), o.within(0.0, pixel)
    middle = o.up - (o.low + o.high) / 2
    bars = np.maximum(band(o.across, -0.03, 0.03, pixel), band(middle, -0.03, 0.03, pixel) * ~front)
    glass = glass * (1 - bars)
    sill = band(o.up - o.low, -0.20, -0.09, pixel) * np.clip((o.half + 0.16 - o.across) / pixel + 0.5, 0, 1) * ~front
    draw, other = hashed(o.column, o.storey, seed), hashed(o.storey, o.column, seed + 9)
    curtain = (other > 0.6) & ~front
    white = np.where(hashed(seed, 5) < 0.6, 0.62, 0.12).astype(np.float32)
    inner = np.where(curtain, 0.22, 0.035 + 0.04 * other)
    inner = inner * (1 - 0.5 * np.clip((o.up - o.high + 0.35) * 3, 0, 1))  # the lintel's shade
    a, b = s.a[where], s.b[where]
    goods = np.abs(look_up(0.9, a * 25 + seed * 13, b * 25)) * 0.10 * front
    rgb = s.rgb[:, where]
    rgb += (0.45 - rgb) * (sill * 0.7)
    rgb += (white - rgb) * frame
    rgb += (np.stack([inner + goods, inner + goods * 0.9, inner * 1.05 + goods * 0.8]) - rgb) * glass
    s.rgb[:, where] = rgb
    s.gloss[where] += glass * (0.28 - s.gloss[where])
    s.emissivity[where] += glass * (0.86 - s.emissivity[where])
    lit = ((draw < lit_share) | (front & (other < 0.75))) & climate.lamps_on
    if climate.lamps_on:
        warm = np.stack([np.ones_like(draw), 0.62 + 0.25 * other, 0.28 + 0.5 * other * draw / (lit_share + 0.05)])
        strength = np.where(front, 0.55, 0.30 + 0.35 * other) * np.where(curtain, 0.6, 1.0)
        strength = np.clip(strength * (1 + 0.35 * look_up(1.2, a * 22 + seed, b * 22)), 0.05, 1)
        s.glow[:, where] += warm * (glass * lit * strength * (0.55 if climate.hours == "dawn/dusk" else 1.0))
    indoor = np.where(lit, 2.4, 0.6) + 1.2 * (draw - 0.5)
    cold_out = float(np.clip((288.0 - climate.air) / 15.0, 0.0, 1.0))
    s.kelvin[where] += glass * (indoor * (0.4 + cold_out) - 0.5) + (frame - glass) * (0.7 * cold_out - 0.2)
    s.heat[where] *= 1 - 0.6 * glass


def facade(s: Surface, where: np.ndarray, p: np.ndarray, climate: Climate, focal: float) -> None:
    """A wall. p: [8, n] floor height, bay width (0: no window), style, seed, lit share, shop, wall height, width."""
    a, b, pixel = s.a[where], s.b[where], s.depth[where] / focal
    factor, kelvin = _masonry(a, b, pixel, p)
    s.rgb[:, where] *= factor
    s.kelvin[where] += kelvin
    floor_height, bay, style, seed, _, shop, height, width = p
    wide = np.where(bay > 0.5, bay, 1.0)
    storey, column = np.floor(b / floor_height), np.floor(a / wide)
    whole = (bay > 0.5) & ((storey + 1) * floor_height <= height + 0.1) & ((column + 1) * bay <= width + 0.05)
    blank = (hashed(column, seed) < 0.12) & (shop == 0)
    front = (shop > 0) & (storey == 0)
    half = np.where(front, 0.42, np.where(style == PANEL, 0.40, 0.29)) * bay
    low = np.where(front, 0.35, np.where(style == PANEL, 0.75, 0.95))
    high = np.where(front, 2.55, np.minimum(floor_height - 0.45, 2.35))
    up, across = b - storey * floor_height, np.abs(a - column * wide - wide / 2)
    close = (across < half + 0.2) & (up > low - 0.25) & (up < high + 0.15)
    here = np.flatnonzero(whole & ~blank & close & (a > 0.1) & (a < width - 0.1) & (b > 0))
    if len(here):
        opening = _Opening(*(x[here] for x in (across, up, half, low, high, front, column, storey)))
        _windows(s, where[here], pixel[here], p[:, here], opening, climate)

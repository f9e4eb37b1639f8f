"""The ground plane: road, markings, kerbs, pavements and what lies beyond them, as functions of the place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.sample.climate import Climate
from data.sample.leaves import hashed, look_up
from data.sample.mesh import Look


@dataclass(frozen=True)
class Road:
    """A street along z; lengths in metres, sideways from the middle of the road, which bends as bend * z^2."""

    half_width: float
    walk: float
    """Width of each pavement; 0 for a country road."""
    bend: float
    lanes: int
    parking: bool
    centre: str
    """double_yellow, dashed or none."""
    crossing: float | None
    """z of the middle of a cross street."""
    cross_half: float
    zebras: tuple[float, ...]
    """z where each zebra crossing begins; they are 3 m deep."""
    asphalt: Look
    concrete: Look
    kerb: Look
    left: Look
    right: Look
    """The surface beyond each pavement."""
    paint: Look
    worn: float
    slabs: float
    grassy: tuple[bool, bool]

    def place(self, side: float, z: float, y: float = 0.0) -> np.ndarray:
        """World place that lies side metres right of the middle of the road."""
        return np.array([side + self.bend * z * z, y, z])

    def heading(self, z: float) -> float:
        """Direction of the road at z, rad to the right of the z axis."""
        return float(np.arctan(2 * self.bend * z))


def band(x: np.ndarray, low: float, high: float, width: np.ndarray) -> np.ndarray:
    """Share of a pixel of that width at x that lies in [low, high]."""
    return np.clip((x - low) / width + 0.5, 0, 1) - np.clip((x - high) / width + 0.5, 0, 1)


def stripes(x: np.ndarray, period: float, on: float, width: np.ndarray) -> np.ndarray:
    """Share of a pixel at x that lies in stripes [k * period, k * period + on]."""

    def filled(y: np.ndarray) -> np.ndarray:
        turns = np.floor(y / period)
        return turns * on + np.minimum(y - turns * period, on)

    return (filled(x + width / 2) - filled(x - width / 2)) / width


def faded(footprint: np.ndarray, size: float) -> np.ndarray:
    """Contrast left of a texture of that grain size seen through pixels of that footprint, both metres."""
    return size / (size + footprint)


def _markings(road: Road, side: np.ndarray, z: np.ndarray, fx: np.ndarray, fz: np.ndarray) -> tuple:
    """Coverage by white and by yellow paint."""
    dash = stripes(z, 9.0, 3.0, fz)
    white, yellow = np.zeros_like(side), np.zeros_like(side)
    edge = road.half_width - (2.3 if road.parking else 0.35)
    if road.centre == "double_yellow":
        yellow = band(np.abs(side), 0.09, 0.21, fx)
    elif road.centre == "dashed":
        white = band(np.abs(side), -0.07, 0.07, fx) * dash
    lane = edge / road.lanes
    for k in range(1, road.lanes):
        white = white + band(np.abs(side), k * lane - 0.06, k * lane + 0.06, fx) * dash
    if road.parking:
        bays = band(np.abs(side), edge, road.half_width, fx) * stripes(z, 6.0, 0.12, fz)
        white = white + bays + band(np.abs(side), edge - 0.05, edge + 0.05, fx) * stripes(z, 6.0, 1.2, fz)
    else:
        white = white + band(np.abs(side), edge - 0.06, edge + 0.06, fx)
    keep = np.ones_like(side)
    if road.crossing is not None:
        keep = 1 - band(z, road.crossing - road.cross_half - 5.5, road.crossing + road.cross_half + 5.5, fz)
    white, yellow = white * keep, yellow * keep
    inner = band(side, -road.half_width + 0.4, road.half_width - 0.4, fx)
    for start in road.zebras:
        white = white * (1 - band(z, start - 2.2, start + 3.4, fz))
        yellow = yellow * (1 - band(z, start - 2.2, start + 3.4, fz))
        white = white + band(z, start, start + 3.0, fz) * stripes(side + 40.0, 1.2, 0.6, fx) * inner
        white = white + band(z, start - 1.7, start - 1.3, fz) * band(side, 0.2, road.half_width - 0.4, fx)
    return np.minimum(white, 1), np.minimum(yellow, 1)


def ground(
    road: Road, climate: Climate, x: np.ndarray, z: np.ndarray, depth: np.ndarray, focal: float, eye: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The ground at [N] places -> reflectance [3, N], kelvin, heat, emissivity, gloss, all [N]."""
    side = x - road.bend * z * z
    fx, fz = depth / focal, np.minimum(depth * depth / (focal * eye), 30.0)
    away = np.abs(side)
    cross = np.zeros_like(side)
    beside = np.zeros_like(side)
    if road.crossing is not None:
        c, h = road.crossing, road.cross_half
        cross = band(z, c - h, c + h, fz)
        beside = band(z, c - h - max(road.walk, 0.5), c + h + max(road.walk, 0.5), fz) - cross
    on_road = np.maximum(band(away, -1.0, road.half_width, fx), cross)
    rest = 1 - on_road
    kerb = band(away, road.half_width, road.half_width + 0.22, fx) * rest if road.walk else np.zeros_like(side)
    walk = np.maximum(band(away, road.half_width + 0.22, road.half_width + 0.22 + road.walk, fx), beside) * rest
    walk = np.minimum(walk, 1 - on_road - kerb) if road.walk else np.zeros_like(side)
    left = np.where(side < 0, 1 - on_road - kerb - walk, 0)
    right = np.where(side >= 0, 1 - on_road - kerb - walk, 0)
    values = np.zeros((6, len(side)), np.float32)
    for weight, look in zip(
        (on_road, kerb, walk, left, right),
        (road.asphalt, road.kerb, road.concrete, road.left, road.right),
        strict=True,
    ):
        row = np.array([*look.rgb, look.kelvin - climate.air, look.heat, look.emissivity], np.float32)
        values += row[:, None] * weight

    blotch = look_up(1.6, x * 9.0, z * 5.0)
    patchy = look_up(1.0, x * 40.0, z * 14.0) * faded(fz, 0.25)
    fine = look_up(0.15, x * 160.0, z * 90.0) * faded(np.sqrt(fx * fz), 0.012)
    lane = (road.half_width - (2.3 if road.parking else 0.3)) / road.lanes
    in_lane = np.abs(away - np.floor(away / lane) * lane - lane / 2)
    track = np.exp(-(((in_lane - 0.75) / 0.28) ** 2)) * on_road
    oil = np.exp(-((in_lane / 0.35) ** 2)) * on_road * (0.7 + 0.5 * blotch)
    crack = np.exp(-((look_up(1.8, x * 26.0 + 90, z * 17.0) / 0.05) ** 2)) * faded(fz, 0.06) * on_road * road.worn
    grass = left * road.grassy[0] + right * road.grassy[1]
    rough = 1 + 0.05 * blotch + (0.05 + 0.10 * grass) * patchy + (0.10 + 0.16 * grass) * fine
    rough = rough + 0.05 * track - 0.10 * oil - 0.35 * crack
    warmer = np.zeros_like(side)
    paved = np.flatnonzero(walk)
    if len(paved):
        along, across, far = z[paved], side[paved], fz[paved]
        joints = stripes(along, road.slabs, 0.03, far)
        joints += stripes(np.abs(across) - road.half_width, road.slabs, 0.03, fx[paved])
        joints = np.minimum(joints, 1)
        slab = hashed(np.floor(along / road.slabs), np.floor(across / road.slabs)) - 0.5
        rough[paved] += walk[paved] * (0.10 * slab * faded(far, 0.5) - 0.30 * joints)
        warmer[paved] = walk[paved] * (0.5 * slab + 0.7 * joints)
    rgb = values[:3] * np.clip(rough, 0.3, 1.8)
    kelvin = (
        values[3]
        + np.float32(climate.air)
        + 0.35 * blotch
        + 0.30 * patchy
        + 0.12 * fine
        + 0.55 * track
        - 0.2 * oil
        + 0.8 * crack
    )
    kelvin = kelvin + grass * (0.7 * patchy + 0.4 * fine) + warmer
    gloss = (0.02 + climate.wet * on_road * np.clip(0.25 + 0.22 * blotch, 0, 0.6)).astype(np.float32)

    white, yellow = np.zeros_like(side), np.zeros_like(side)
    driven = np.flatnonzero(on_road)
    white[driven], yellow[driven] = _markings(road, side[driven], z[driven], fx[driven], fz[driven])
    keep = np.clip(1.0 - road.worn * (0.25 + 0.30 * patchy + 0.2 * fine), 0.25, 1.0) * on_road
    white, yellow = white * keep, yellow * keep
    tint = np.array(road.paint.rgb, np.float32)[:, None]
    rgb = rgb * (1 - white - yellow) + tint * white + tint * np.array([[1.0], [0.62], [0.12]], np.float32) * yellow
    paint = white + yellow
    heat = values[4] * (1 - 0.30 * paint)
    emissivity = values[5] - 0.02 * paint
    return rgb.astype(np.float32), kelvin - 0.5 * paint, heat, emissivity, gloss

"""Blocks of flats, shops, offices and houses with roofs, doors, garages and chimneys."""

from __future__ import annotations

import numpy as np

from data.sample.climate import Climate
from data.sample.mesh import RGB, Kind, Light, Look, Mesh, Thing, box, join, polygons
from data.sample.walls import BRICK, PANEL, PLASTER, SIDING

WALLS: dict[int, list[RGB]] = {
    BRICK: [(0.28, 0.11, 0.07), (0.34, 0.16, 0.10), (0.22, 0.13, 0.09), (0.42, 0.32, 0.22)],
    PLASTER: [
        (0.62, 0.56, 0.44),
        (0.55, 0.52, 0.48),
        (0.60, 0.42, 0.26),
        (0.50, 0.40, 0.34),
        (0.66, 0.64, 0.60),
        (0.40, 0.44, 0.46),
    ],
    PANEL: [(0.38, 0.40, 0.42), (0.24, 0.26, 0.29), (0.50, 0.50, 0.48), (0.32, 0.24, 0.18)],
    SIDING: [(0.64, 0.64, 0.62), (0.45, 0.52, 0.56), (0.58, 0.52, 0.38), (0.30, 0.36, 0.32), (0.40, 0.16, 0.13)],
}
MATERIAL = {BRICK: "brick", PLASTER: "plaster", PANEL: "concrete", SIDING: "wood"}


def wall(
    climate: Climate,
    style: int,
    rgb: RGB,
    shift: float,
    floor: float,
    bay: float,
    seed: int,
    lit: float,
    shop: bool,
    height: float,
    width: float,
) -> Look:
    """The look of one wall; bay 0 leaves the windows out."""
    params = (floor, bay, float(style), float(seed), lit, float(shop), height, width)
    return climate.look(MATERIAL[style], rgb, shift, kind=Kind.FACADE, params=params)


def _uprights(
    lines: list[tuple[np.ndarray, np.ndarray]], base: float, top: float, looks: list[Look], inside: np.ndarray
) -> Mesh:
    """Upright rectangles over ground lines (from, to), from height base to top, facing away from inside."""
    flat = np.array([1.0, 0.0, 1.0])
    low, high = np.array([0.0, base, 0.0]), np.array([0.0, top, 0.0])
    shapes = [np.array([a * flat + low, b * flat + low, b * flat + high, a * flat + high]) for a, b in lines]
    return polygons(shapes, looks, outward_from=inside, metric=True)


def _around(corners: np.ndarray, looks: list[Look], height: float, base: float = 0.0) -> Mesh:
    lines = [(corners[k], corners[(k + 1) % 4]) for k in range(4)]
    return _uprights(lines, base, height, looks, corners.mean(axis=0) + [0, (base + height) / 2, 0])


def footprint(place: np.ndarray, heading: float, along: float, deep: float, side: float) -> np.ndarray:
    """Corners [4, 3]: front near, front far, back far, back near. place: middle of the front; side: 1 is right."""
    forward = np.array([np.sin(heading), 0, np.cos(heading)])
    out = np.array([np.cos(heading), 0, -np.sin(heading)]) * side
    a, b = place - forward * along / 2, place + forward * along / 2
    return np.array([a, b, b + out * deep, a + out * deep])


def block(
    rng: np.random.Generator, climate: Climate, corners: np.ndarray, eye: np.ndarray, lit: float, tall: tuple[int, int]
) -> Thing:
    """A flat-roofed city building on footprint corners; tall: fewest and most floors."""
    style = int(rng.choice([BRICK, PLASTER, PANEL], p=[0.4, 0.38, 0.22]))
    rgb = tuple(np.array(WALLS[style][rng.integers(len(WALLS[style]))]) * rng.uniform(0.8, 1.15))
    floor, bay = rng.uniform(2.9, 3.5), rng.uniform(2.1, 3.4)
    height = floor * int(rng.integers(tall[0], tall[1] + 1)) + 0.5
    shop, seed, shift = rng.uniform() < 0.55, int(rng.integers(1, 500)), rng.normal(0.4, 0.6)
    looks = []
    for k in range(4):
        width = float(np.linalg.norm(corners[(k + 1) % 4] - corners[k]))
        fit = width / max(1, round(width / bay))
        looks.append(wall(climate, style, rgb, shift, floor, fit, seed + k, lit, shop and k == 0, height, width))
    parts = [_around(corners, looks, height)]
    distance = float(np.linalg.norm((corners - eye)[:, [0, 2]], axis=1).min())
    caster = np.concatenate([corners, corners + [0, height, 0]])
    if distance > 65:
        return Thing(parts[0], distance, 1, casters=[caster], foot=corners[0])
    middle = corners.mean(axis=0)
    cornice = climate.look("concrete", tuple(np.array(rgb) * 0.6), 0.3)
    rim = middle + (corners - middle) * [1.02, 1, 1.02]
    parts.append(_around(rim, [cornice] * 4, height + 0.15, height - 0.35))
    if shop:
        parts += _awnings(rng, climate, corners, middle)
    for _ in range(int(rng.integers(0, 3))):
        spot = middle + (corners[rng.integers(4)] - middle) * rng.uniform(0.1, 0.7)
        hot = float(rng.choice([0.5, 9.0, 22.0], p=[0.5, 0.3, 0.2])) if climate.air < 290 else 1.0
        stack = climate.look("brick", (0.22, 0.12, 0.09), hot * 0.3)
        cap = climate.look("plastic", (0.1, 0.08, 0.07), hot)
        chimney = box(0.8, 1.3, 0.8, [stack] * 4 + [cap]).placed(spot + [0, height, 0])
        parts.append(join([chimney, box(0.4, 0.4, 0.4, cap).placed(spot + [0, height + 1.3, 0])]))
    return Thing(join(parts), distance, 1, casters=[caster], foot=corners[0])


def _awnings(rng: np.random.Generator, climate: Climate, corners: np.ndarray, middle: np.ndarray) -> list[Mesh]:
    out = corners[0] - corners[3]
    out = out / (np.linalg.norm(out) + 1e-9)
    parts = []
    count = int(rng.integers(1, 3))
    rgb = [(0.35, 0.04, 0.04), (0.04, 0.16, 0.10), (0.05, 0.08, 0.22), (0.5, 0.45, 0.35), (0.03, 0.03, 0.03)][
        rng.integers(5)
    ]
    glow = rng.uniform(0.3, 1.0) if climate.lamps_on and rng.uniform() < 0.6 else 0.0
    tint = np.array([(1, 0.9, 0.7), (1, 0.3, 0.2), (0.3, 0.8, 1.0), (0.4, 1, 0.5)][rng.integers(4)]) * glow
    for k in range(count):
        t0, t1 = (k + 0.08) / count, (k + 0.92) / count
        a, b = (corners[0] + (corners[1] - corners[0]) * t for t in (t0, t1))
        lift = np.array([0, 2.75, 0])
        cloth = climate.look("cloth", rgb, 0.5)
        reach = out * 1.1
        shape = np.array([a + lift - [0, 0.35, 0] + reach, b + lift - [0, 0.35, 0] + reach, b + lift, a + lift])
        sign = climate.look("plastic", tuple(np.array(rgb) * 0.8 + 0.1), 0.8 * (glow > 0), emission=tuple(tint * 0.6))
        parts.append(_uprights([(a + out * 0.06, b + out * 0.06)], 2.8, 3.3, [sign], middle))
        parts.append(polygons([shape], [cloth], two_sided=True))
    return parts


def house(rng: np.random.Generator, climate: Climate, corners: np.ndarray, eye: np.ndarray, lit: float) -> Thing:
    """A gabled house of one or two floors on footprint corners, with door, garage and chimney."""
    style = int(rng.choice([BRICK, PLASTER, SIDING], p=[0.25, 0.4, 0.35]))
    rgb = tuple(np.array(WALLS[style][rng.integers(len(WALLS[style]))]) * rng.uniform(0.85, 1.1))
    floors = int(rng.choice([1, 2], p=[0.5, 0.5]))
    floor, seed, shift = 2.8, int(rng.integers(1, 500)), rng.normal(0.0, 0.5)
    height = floor * floors + 0.2
    looks = []
    for k in range(4):
        width = float(np.linalg.norm(corners[(k + 1) % 4] - corners[k]))
        fit = width / max(1, round(width / 3.4))
        looks.append(wall(climate, style, rgb, shift, floor, fit, seed + k, lit, False, height, width))
    parts = [_around(corners, looks, height)]
    near, far, back_far, back_near = (c + [0, height, 0] for c in corners)
    rise = rng.uniform(1.6, 3.0)
    plain = wall(climate, style, rgb, shift + 0.3, floor, 0.0, seed, 0.0, False, height, 1.0)
    tiles = [(0.22, 0.10, 0.06), (0.10, 0.09, 0.09), (0.30, 0.16, 0.10), (0.16, 0.15, 0.15)][rng.integers(4)]
    slope = climate.look("roof", tiles, rng.normal(0, 0.5), kind=Kind.ROOF, params=(0.30, float(seed)))
    inside = corners.mean(axis=0) + [0, height * 0.8, 0]
    if rng.uniform() < 0.6:
        a, b = (near + back_near) / 2 + [0, rise, 0], (far + back_far) / 2 + [0, rise, 0]
        gables, slopes = [[near, back_near, a], [far, back_far, b]], [[near, far, b, a], [back_near, back_far, b, a]]
    else:
        a, b = (near + far) / 2 + [0, rise, 0], (back_near + back_far) / 2 + [0, rise, 0]
        gables, slopes = [[near, far, a], [back_near, back_far, b]], [[near, back_near, b, a], [far, back_far, b, a]]
    eaves = [[*_overhang(np.array(s))] for s in slopes]
    parts.append(polygons([np.array(g) for g in gables], [plain, plain], outward_from=inside, metric=True))
    parts.append(polygons([np.array(s) for s in eaves], [slope, slope], outward_from=inside, metric=True))
    parts += _doors(rng, climate, corners)
    lights = []
    if climate.lamps_on and rng.uniform() < 0.5:
        porch = corners[0] + (corners[1] - corners[0]) * 0.45 + [0, 2.4, 0]
        porch = porch + (corners[0] - corners[3]) / np.linalg.norm(corners[0] - corners[3]) * 0.3
        lights.append(Light(porch, (1.0, 0.75, 0.4), 0.35, 0.5, 4.0))
    if rng.uniform() < 0.6:
        hot = float(rng.choice([0.5, 14.0])) if climate.air < 287 else 0.8
        spot = (a + b) / 2 + (b - a) * rng.uniform(-0.3, 0.3)
        stack, cap = climate.look("brick", (0.25, 0.12, 0.09), hot * 0.3), climate.look("brick", (0.1, 0.08, 0.07), hot)
        parts.append(join([box(0.6, 1.6, 0.6, stack, -0.6).placed(spot), box(0.36, 0.25, 0.36, cap, 1.0).placed(spot)]))
    distance = float(np.linalg.norm((corners - eye)[:, [0, 2]], axis=1).min())
    caster = np.concatenate([corners, corners + [0, height, 0], [a, b]])
    return Thing(join(parts), distance, 1, casters=[caster], lights=lights, foot=corners[0])


def _overhang(slope: np.ndarray) -> np.ndarray:
    """The slope grown past the walls, downhill and at its ends."""
    eave0, eave1, ridge1, ridge0 = slope
    down = (eave0 - ridge0) * 0.12
    end = (eave1 - eave0) / np.linalg.norm(eave1 - eave0) * 0.35
    return np.array([eave0 + down - end, eave1 + down + end, ridge1 + end, ridge0 - end]) + [0, 0.06, 0]


def _doors(rng: np.random.Generator, climate: Climate, corners: np.ndarray) -> list[Mesh]:
    out = (corners[0] - corners[3]) / np.linalg.norm(corners[0] - corners[3])
    line = corners[1] - corners[0]
    width = float(np.linalg.norm(line))
    inside = corners.mean(axis=0)
    wood = [(0.25, 0.10, 0.05), (0.10, 0.05, 0.03), (0.05, 0.10, 0.16), (0.3, 0.05, 0.04)][rng.integers(4)]
    door = climate.look("wood", wood, 0.8, grain=0.1)
    at = rng.uniform(0.42, 0.52)
    here = corners[0] + line * at + out * 0.05
    parts = [_uprights([(here, here + line / width)], 0.1, 2.2, [door], inside)]
    if rng.uniform() < 0.55:
        params = (2.3, 0.0, float(SIDING), 3.0, 0.0, 0.0, 2.3, 3.0)
        gate = climate.look("metal", (0.55, 0.54, 0.52), 0.3, kind=Kind.FACADE, params=params)
        here = corners[0] + line * (0.06 if rng.uniform() < 0.5 else 0.94 - 2.7 / width) + out * 0.06
        parts.append(_uprights([(here, here + line / width * 2.7)], 0.05, 2.25, [gate], inside))
    return parts

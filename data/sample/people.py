"""People on foot: silhouettes of tapering limbs that face the camera."""

from __future__ import annotations

import numpy as np

from data.sample.climate import Climate
from data.sample.mesh import RGB, Look, Mesh, Thing

SKINS: list[RGB] = [(0.50, 0.34, 0.26), (0.42, 0.27, 0.19), (0.27, 0.16, 0.10), (0.13, 0.075, 0.05)]
HAIRS: list[RGB] = [(0.02, 0.015, 0.012), (0.06, 0.035, 0.02), (0.20, 0.13, 0.06), (0.25, 0.24, 0.23)]
CLOTHES: list[RGB] = [
    (0.02, 0.02, 0.025),
    (0.03, 0.04, 0.09),
    (0.10, 0.12, 0.16),
    (0.45, 0.45, 0.44),
    (0.40, 0.04, 0.04),
    (0.08, 0.20, 0.36),
    (0.06, 0.16, 0.08),
    (0.45, 0.30, 0.05),
    (0.25, 0.18, 0.12),
    (0.60, 0.58, 0.52),
    (0.30, 0.08, 0.20),
    (0.62, 0.66, 0.05),
]
TROUSERS: list[RGB] = [
    (0.02, 0.02, 0.025),
    (0.03, 0.045, 0.10),
    (0.06, 0.09, 0.17),
    (0.16, 0.22, 0.32),
    (0.10, 0.10, 0.10),
    (0.28, 0.23, 0.16),
    (0.42, 0.41, 0.39),
    (0.14, 0.10, 0.07),
]
_TURN = np.linspace(-np.pi / 2, np.pi / 2, 7)


def limbs(parts: np.ndarray, looks: list[Look], place: np.ndarray, eye: np.ndarray) -> Mesh:
    """parts: [K, 6] x0, y0, r0, x1, y1, r1 in metres on an upright plane at place, facing the eye."""
    toward = np.array([eye[0] - place[0], 0.0, eye[2] - place[2]])
    toward /= np.linalg.norm(toward) + 1e-9
    right = np.array([-toward[2], 0.0, toward[0]])
    if right[0] < 0:
        right = -right
    n = len(parts)
    start, end, r0, r1 = parts[:, 0:2], parts[:, 3:5], parts[:, 2], parts[:, 5]
    axis = end - start
    length = np.linalg.norm(axis, axis=1, keepdims=True) + 1e-6
    axis = axis / length
    angle = np.arctan2(axis[:, 1], axis[:, 0])[:, None]
    round_end = end[:, None] + r1[:, None, None] * np.stack([np.cos(angle + _TURN), np.sin(angle + _TURN)], axis=2)
    back = angle + np.pi + _TURN
    round_start = start[:, None] + r0[:, None, None] * np.stack([np.cos(back), np.sin(back)], axis=2)
    outline = np.concatenate([round_end, round_start], axis=1)
    points = place + outline[..., :1] * right + outline[..., 1:] * np.array([0.0, 1.0, 0.0])
    middle = (start + end) / 2
    across = np.stack([axis[:, 1], -axis[:, 0]], axis=1)
    across *= np.where(across[:, :1] < 0, -1.0, 1.0)
    radius = np.maximum(r0, r1)[:, None]

    def world(flat: np.ndarray) -> np.ndarray:
        return flat[:, :1] * right + flat[:, 1:] * np.array([0.0, 1.0, 0.0])

    return Mesh(
        points.reshape(-1, 3),
        [points.shape[1]] * n,
        place + world(middle),
        world(across / radius),
        world(axis / (length / 2 + radius)),
        np.tile(toward, (n, 1)),
        np.tile([1.1, 0.25], (n, 1)),
        looks,
        [-1] * n,
        [True] * n,
    )


def _pick(rng: np.random.Generator, colours: list[RGB]) -> RGB:
    return colours[rng.integers(len(colours))]


class Wardrobe:
    """What one person wears, how tall they are; drawn once so that it stays the same from frame to frame."""

    def __init__(self, rng: np.random.Generator, climate: Climate) -> None:
        celsius = climate.air - 273.15
        self.height = float(np.clip(rng.normal(1.71, 0.09), 1.45, 1.95)) * (0.68 if rng.uniform() < 0.06 else 1.0)
        warm = 0.40 if celsius > 18 else 0.32 if celsius > 9 else 0.25
        self.skin = climate.skin(_pick(rng, SKINS))
        self.hands = climate.skin(self.skin.rgb, chill=rng.uniform(0.5, 3.5))
        self.hair = climate.cloth(_pick(rng, HAIRS), 0.55)
        self.long_hair = rng.uniform() < 0.35
        self.top = climate.cloth(_pick(rng, CLOTHES), warm + rng.uniform(0.05, 0.20))
        self.bottom = climate.cloth(_pick(rng, TROUSERS), warm + rng.uniform(0.05, 0.18))
        self.shoes = climate.cloth(_pick(rng, CLOTHES[:4]), 0.15)
        self.short_sleeves = celsius > 17 and rng.uniform() < 0.7
        self.shorts = celsius > 20 and rng.uniform() < 0.4
        self.coat = celsius < 12 and rng.uniform() < 0.4
        self.hat = climate.cloth(_pick(rng, CLOTHES), 0.35) if rng.uniform() < (0.4 if celsius < 8 else 0.12) else None
        self.bag = climate.cloth(_pick(rng, CLOTHES), 0.06) if rng.uniform() < 0.3 else None
        self.bag_side = float(rng.choice([-1.0, 1.0]))
        self.wide = float(rng.uniform(0.92, 1.14))


def body_parts(w: Wardrobe, phase: float, side_on: float, facing: float) -> tuple[np.ndarray, list[Look]]:
    """Limbs of a walker; phase: of the step (rad), side_on: share of the stride seen, facing: 1 sees the face."""
    h, k = w.height, w.wide
    hip, shoulder, neck, head = 0.52 * h, 0.815 * h, 0.855 * h, 0.925 * h
    swing = np.sin(phase)
    wide = (0.092 - 0.035 * abs(side_on)) * h * k
    parts: list[tuple[float, ...]] = []
    looks: list[Look] = []

    def add(x0: float, y0: float, r0: float, x1: float, y1: float, r1: float, look: Look) -> None:
        parts.append((x0, y0, r0, x1, y1, r1))
        looks.append(look)

    def leg(sign: float) -> None:
        stride = sign * swing * 0.30 * side_on
        bend = max(0.0, -sign * np.cos(phase)) * 0.16
        x0 = sign * 0.048 * h * (1 - abs(side_on) * 0.8)
        knee = (x0 + np.sin(stride) * 0.25 * h + np.sign(side_on) * bend * 0.10 * h, hip - np.cos(stride) * 0.245 * h)
        lift = bend * 0.14 * h + (0.03 * h * max(0.0, sign * swing) * (1 - abs(side_on)))
        foot = (x0 + np.sin(stride * 1.25) * 0.48 * h - np.sign(side_on) * bend * 0.42 * h, 0.035 * h + lift)
        shin = w.skin if w.shorts else w.bottom
        add(*foot, 0.026 * h, foot[0] + (side_on or 0.2 * sign) * 0.055 * h, foot[1] - 0.012 * h, 0.020 * h, w.shoes)
        add(*knee, 0.036 * h * k, *foot, 0.024 * h, shin)
        add(x0, hip, 0.056 * h * k, *knee, 0.038 * h * k, w.bottom)

    def arm(sign: float) -> None:
        stride = -sign * swing * 0.42 * side_on
        x0 = sign * wide * (1 - abs(side_on) * 0.75) * 1.05
        out = sign * 0.02 * h * (1 - abs(side_on))
        elbow = (x0 + np.sin(stride) * 0.17 * h + out, shoulder - 0.02 * h - np.cos(stride) * 0.165 * h)
        hand = (
            elbow[0] + (np.sin(stride) * 0.14 + side_on * 0.05) * h + out * 0.3,
            elbow[1] - np.cos(stride) * 0.135 * h,
        )
        add(*hand, 0.021 * h, hand[0], hand[1] - 0.03 * h, 0.017 * h, w.hands)
        add(*elbow, 0.026 * h * k, *hand, 0.020 * h, w.skin if w.short_sleeves else w.top)
        add(x0, shoulder - 0.025 * h, 0.031 * h * k, *elbow, 0.026 * h * k, w.top)

    far, near = (-1.0, 1.0) if side_on >= 0 else (1.0, -1.0)
    arm(far)
    leg(far)
    leg(near)
    add(-wide * 0.30, hip + 0.02 * h, 0.062 * h * k, wide * 0.30, hip + 0.02 * h, 0.062 * h * k, w.bottom)
    low = hip - 0.16 * h if w.coat else hip + 0.035 * h
    for x in (-0.45, 0.45):
        add(x * wide * 0.8, low, 0.058 * h * k, x * wide * 1.25, shoulder - 0.035 * h, 0.052 * h * k, w.top)
    add(0, low + 0.02 * h, 0.066 * h * k, 0, shoulder - 0.05 * h, 0.075 * h * k, w.top)
    add(-wide * 0.62, shoulder - 0.022 * h, 0.034 * h, wide * 0.62, shoulder - 0.022 * h, 0.034 * h, w.top)
    if w.bag is not None:
        x = w.bag_side * wide * 1.2
        add(x, hip + 0.16 * h, 0.055 * h, x, hip + 0.06 * h, 0.065 * h, w.bag)
    add(0, shoulder - 0.01 * h, 0.032 * h, 0, neck + 0.02 * h, 0.030 * h, w.skin)
    lean = side_on * 0.012 * h
    if w.long_hair:
        add(-lean, head - 0.085 * h, 0.046 * h, -lean, head + 0.008 * h, 0.058 * h, w.hair)
    if facing > 0 or abs(side_on) > 0.5:
        add(-lean * 0.6, head + 0.012 * h, 0.052 * h, -lean * 0.6, head + 0.018 * h, 0.054 * h, w.hair)
        add(lean, head - 0.030 * h, 0.040 * h, lean, head + 0.006 * h, 0.047 * h, w.skin)
    else:
        add(0, head - 0.026 * h, 0.041 * h, 0, head - 0.02 * h, 0.041 * h, w.skin)
        add(0, head - 0.012 * h, 0.048 * h, 0, head + 0.016 * h, 0.054 * h, w.hair)
    if w.hat is not None:
        add(0, head + 0.035 * h, 0.052 * h, 0, head + 0.045 * h, 0.046 * h, w.hat)
        if facing > 0 or abs(side_on) > 0.5:
            add(-0.045 * h, head + 0.022 * h, 0.012 * h, 0.045 * h + lean * 2, head + 0.022 * h, 0.012 * h, w.hat)
    arm(near)
    return np.array(parts), looks


def _caster(place: np.ndarray, wide: float, height: float) -> np.ndarray:
    return place + np.array([(x * wide, y, 0.0) for x in (-1, 1) for y in (0.02, height)] + [(0, height, wide)])


def standing_figure(mesh: Mesh, place: np.ndarray, eye: np.ndarray, category: str, wide: float, height: float) -> Thing:
    """A living or rolling thing of that width and height (m) at place, as a hot target."""
    distance = float(np.hypot(place[0] - eye[0], place[2] - eye[2]))
    return Thing(mesh, distance, 2, category, salient=True, casters=[_caster(place, wide, height)], foot=place)


def person(w: Wardrobe, place: np.ndarray, velocity: np.ndarray, phase: float, eye: np.ndarray) -> Thing:
    """Someone who walks with that velocity [x, z] (m/s) or stands."""
    sight = np.array([place[0] - eye[0], place[2] - eye[2]])
    sight = sight / (np.linalg.norm(sight) + 1e-9)
    speed = float(np.linalg.norm(velocity))
    course = velocity / speed if speed > 0.05 else np.array([0.0, 1.0]) * (-1.0 if phase % 2 < 1 else 1.0)
    side_on = float(course @ [sight[1], -sight[0]])
    parts, looks = body_parts(
        w, phase, side_on if speed > 0.05 else 0.15 * np.sign(side_on + 0.01), -float(course @ sight)
    )
    return standing_figure(limbs(parts, looks, place, eye), place, eye, "person", 0.22, w.height)

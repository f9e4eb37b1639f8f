"""Vehicles in traffic: paint, warm engines, lamps and their light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.sample.climate import Climate
from data.sample.coachwork import body
from data.sample.mesh import Kind, Light, Look, Thing
from data.sample.shapes import SHAPES, Shape

PAINTS = [
    (0.70, 0.71, 0.72),
    (0.70, 0.71, 0.72),
    (0.32, 0.33, 0.35),
    (0.12, 0.125, 0.13),
    (0.02, 0.02, 0.022),
    (0.02, 0.02, 0.022),
    (0.05, 0.09, 0.24),
    (0.34, 0.03, 0.03),
    (0.10, 0.16, 0.20),
    (0.33, 0.28, 0.20),
    (0.04, 0.13, 0.08),
    (0.55, 0.16, 0.03),
]


@dataclass(frozen=True)
class Condition:
    """running: the engine is hot; braking, lamps: lights on; warmth: kelvin of a bonnet above the air."""

    running: bool
    braking: bool
    lamps: bool
    warmth: float


def _looks(rng: np.random.Generator, climate: Climate, shape: Shape, state: Condition) -> dict[str, Look]:
    rgb = PAINTS[rng.integers(len(PAINTS))]
    if shape.category == "bus":
        rgb = [(0.55, 0.06, 0.05), (0.70, 0.70, 0.68), (0.60, 0.38, 0.03), (0.10, 0.25, 0.45)][rng.integers(4)]
    shift = rng.normal(0, 0.6)
    hot, on = state.warmth, state.lamps
    level = 1.0 if climate.hours == "night" else 0.6
    return {
        "paint": climate.look("metal", rgb, shift + hot * 0.06, gloss=0.10, grain=0.015),
        "bonnet": climate.look("metal", rgb, shift + hot * 0.8, gloss=0.12, grain=0.015),
        "nose": climate.look("plastic", rgb, shift + hot * 0.25, gloss=0.06, grain=0.02, spot=hot * 0.5),
        "grille": climate.look("plastic", (0.015, 0.015, 0.016), hot * 1.2, grain=0.2, spot=hot * 0.4),
        "tail": climate.look("plastic", rgb, shift + hot * 0.08, gloss=0.06, grain=0.02),
        "glass": climate.look("glass", (0.02, 0.022, 0.024), (2.5 if state.running else 0.0), gloss=0.22, grain=0.0),
        "trim": climate.look("plastic", (0.02, 0.02, 0.02), shift + hot * 0.15),
        "under": climate.look("plastic", (0.008, 0.008, 0.008), hot * 0.35, heat=0.0, cool=0.0, spot=hot * 0.15),
        "tyre": climate.look("rubber", (0.018, 0.018, 0.018), 7.0 * state.running + 0.1 * hot, heat=0.0),
        "head": climate.look(
            "plastic",
            (0.55, 0.56, 0.58),
            hot * 0.25 + 2 * on,
            gloss=0.2,
            emission=(6 * on * level, 5.6 * on * level, 4.8 * on * level),
        ),
        "rear": climate.look(
            "plastic",
            (0.30, 0.015, 0.012),
            0.8 * on + 1.5 * state.braking,
            gloss=0.08,
            emission=((0.8 * on + 2.6 * state.braking) * level, 0.03, 0.02),
        ),
        "plate": climate.look("bare_metal", (0.62, 0.60, 0.50), 0.0, grain=0.3),
        "pipe": climate.look("bare_metal", (0.06, 0.06, 0.06), hot * 2.2, spot=hot * 1.5),
        "wheel": climate.look(
            "rubber",
            (0.018, 0.018, 0.018),
            0.0,
            kind=Kind.WHEEL,
            params=(
                float(rng.uniform(0.62, 0.72)),
                float(rng.integers(5, 9)),
                8.0 * state.running + 0.1 * hot,
                16.0 * state.running + 0.2 * hot,
                float(rng.uniform(0.25, 0.5)),
            ),
        ),
        "cargo": climate.look(
            "plastic", [(0.66, 0.66, 0.64), (0.5, 0.08, 0.06), (0.12, 0.22, 0.42)][rng.integers(3)], 0.0
        ),
    }


def vehicle(
    rng: np.random.Generator,
    climate: Climate,
    name: str,
    place: np.ndarray,
    heading: float,
    state: Condition,
    eye: np.ndarray,
) -> Thing:
    """A vehicle of that name in SHAPES standing at place, driving toward heading (rad right of z)."""
    shape = SHAPES[name]
    mesh = body(name, _looks(rng, climate, shape, state)).placed(place, heading)
    hull = np.array([(x * shape.width / 2, y, z * shape.length / 2) for x in (-1, 1) for y in (0.1, shape.height * 0.62)
                     for z in (-1, 1)] + [(x * shape.width * 0.4, shape.height, z) for x in (-1, 1)
                     for z in (shape.cabin[1][0] * shape.length, shape.cabin[2][0] * shape.length)])  # fmt: skip
    c, s = np.cos(heading), np.sin(heading)
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    lights = []
    if state.lamps:
        y = shape.height * 0.42 if shape.category == "car" else 0.9
        for x in (-0.76, 0.76):
            head = np.array([x * shape.width / 2, y, shape.length / 2 + 0.05]) @ turn + place
            tail = np.array([x * shape.width / 2, y * 1.15, -shape.length / 2 - 0.05]) @ turn + place
            toward = turn[2]
            if (eye - head) @ toward > 0:
                lights.append(Light(head, (1.0, 0.95, 0.85), 0.85))
            if (eye - tail) @ toward < 0:
                lights.append(Light(tail, (1.0, 0.10, 0.06), 0.28 + 0.25 * state.braking))
        for far, pool in ((4.0, 1.2), (9.0, 0.7), (16.0, 0.3)):
            ahead = np.array([0, 0, shape.length / 2 + far]) @ turn + place
            lights.append(Light(ahead, (1.0, 0.95, 0.85), 0.0, pool, 2.2 + far * 0.16))
    distance = float(np.hypot(place[0] - eye[0], place[2] - eye[2]))
    return Thing(
        mesh,
        distance,
        2,
        shape.category,
        salient=state.running,
        casters=[hull @ turn + place],
        lights=lights,
        foot=place,
    )

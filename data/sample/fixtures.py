"""What stands along a street: lamps, traffic lights, signs, poles with wires, hydrants, bins, cones, fences."""

from __future__ import annotations

import numpy as np

from data.sample.climate import Climate
from data.sample.mesh import RGB, Kind, Light, Look, Mesh, Thing, box, join, polygons
from data.sample.plants import trunk


def _distance(place: np.ndarray, eye: np.ndarray) -> float:
    return float(np.hypot(place[0] - eye[0], place[2] - eye[2]))


def _thin(place: np.ndarray, wide: float, tall: float, base: float = 0.0) -> np.ndarray:
    return place + np.array(
        [(x * wide / 2, y, z * wide / 2) for x in (-1, 1) for y in (base, base + tall) for z in (-1, 1)]
    )


def board(place: np.ndarray, shapes: list[np.ndarray], looks: list[Look], toward: np.ndarray) -> Mesh:
    """Flat polygons one over the other, facing direction toward [x, z]. shapes: [n, 2] right and up (m)."""
    ahead = np.array([toward[0], 0.0, toward[1]])
    ahead = ahead / (np.linalg.norm(ahead) + 1e-9)
    right = np.array([-ahead[2], 0.0, ahead[0]])
    faces = [place + s[:, :1] * right + s[:, 1:] * np.array([0.0, 1.0, 0.0]) for s in shapes]
    return polygons(faces, looks, outward_from=place - ahead)


def ngon(count: int, radius: float, up: float, turn: float = 0.0) -> np.ndarray:
    """A regular polygon around height up: [count, 2]."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False) + turn
    return np.stack([radius * np.cos(t), up + radius * np.sin(t)], axis=1)


def rectangle(wide: float, low: float, high: float, middle: float = 0.0) -> np.ndarray:
    """Corners [4, 2]."""
    return np.array(
        [(middle - wide / 2, low), (middle + wide / 2, low), (middle + wide / 2, high), (middle - wide / 2, high)]
    )


def street_lamp(
    climate: Climate, place: np.ndarray, toward_road: float, eye: np.ndarray, tint: RGB, height: float
) -> Thing:
    """A mast with an arm over the road; toward_road: -1 or 1 along x."""
    steel = climate.look("bare_metal", (0.22, 0.23, 0.23), 0.2, emissivity=0.85)
    on = climate.lamps_on
    head = climate.look("plastic", (0.35, 0.35, 0.35), 7.0 * on, emission=tuple(np.array(tint) * 8.0 * on))
    arm = 1.6
    top = place + [0, height, 0]
    tip = top + [toward_road * arm, 0.15, 0]
    bar = polygons(
        [np.array([top - [0, 0.05, 0], tip - [0, 0.05, 0], tip + [0, 0.05, 0], top + [0, 0.05, 0]])],
        [steel],
        two_sided=True,
    )
    lamp = box(0.55, 0.14, 0.3, [steel] * 4 + [head]).placed(tip)
    glow = polygons(
        [np.array([tip + [x * 0.26, -0.01, z * 0.15] for x, z in ((-1, -1), (1, -1), (1, 1), (-1, 1))])],
        [head],
        two_sided=True,
    )
    lights = [Light(tip + [0, -0.05, 0], tint, 0.75, 1.0, 6.5)] if on else []
    mesh = join([trunk(place, 0.08, height, eye, steel), bar, lamp, glow])
    return Thing(mesh, _distance(place, eye), casters=[_thin(place, 0.12, height)], lights=lights, foot=place)


def traffic_light(climate: Climate, place: np.ndarray, state: int, eye: np.ndarray, over: float = 0.0) -> Thing:
    """A signal that faces down the road; state 0 red, 1 amber, 2 green; over: length of an arm along x, m."""
    steel = climate.look("bare_metal", (0.05, 0.06, 0.055), 0.3, emissivity=0.88)
    shell = climate.look("plastic", (0.012, 0.014, 0.012), 1.2)
    tall = 5.6 if over else 3.4
    parts = [trunk(place, 0.07, tall, eye, steel)]
    spots = [place]
    if over:
        a, b = place + [0, tall, 0], place + [over, tall + 0.2, 0]
        parts.append(
            polygons(
                [np.array([a - [0, 0.06, 0], b - [0, 0.06, 0], b + [0, 0.06, 0], a + [0, 0.06, 0]])],
                [steel],
                two_sided=True,
            )
        )
        spots.append(place + [over * 0.92, 0, 0])
    lights = []
    hues = [(1.0, 0.07, 0.04), (1.0, 0.55, 0.05), (0.08, 1.0, 0.45)]
    for spot in spots:
        base = tall - 0.9 if over and spot is not place else 2.4
        shapes, looks = [rectangle(0.36, base, base + 1.05)], [shell]
        for k in range(3):
            lit = k == state
            shapes.append(ngon(10, 0.115, base + 0.86 - 0.33 * k))
            emission = tuple(np.array(hues[k]) * (4.0 if lit else 0.02))
            looks.append(
                climate.look("plastic", tuple(np.array(hues[k]) * 0.08), 5.0 if lit else 1.0, emission=emission)
            )
        parts.append(board(spot + [0, 0, -0.12], shapes, looks, np.array([0.0, -1.0])))
        lights.append(
            Light(spot + [0, base + 0.86 - 0.33 * state, -0.2], hues[state], 0.10 if climate.hours == "day" else 0.42)
        )
    return Thing(
        join(parts),
        _distance(place, eye),
        category="light",
        casters=[_thin(place, 0.15, tall)],
        lights=lights,
        foot=place,
    )


def sign(rng: np.random.Generator, climate: Climate, place: np.ndarray, eye: np.ndarray) -> Thing:
    """A traffic sign on a post: stop, warning, speed limit, or a blue or green board."""
    steel = climate.look("bare_metal", (0.30, 0.30, 0.30), 0.0, emissivity=0.8)

    def paint(*rgb: float) -> Look:
        return climate.look("bare_metal", rgb, 0.0, emissivity=0.86, grain=0.02)

    kind, up = int(rng.integers(5)), rng.uniform(2.0, 2.5)
    white, red, black = paint(0.7, 0.7, 0.7), paint(0.5, 0.02, 0.02), paint(0.02, 0.02, 0.02)
    if kind == 0:
        shapes, looks = (
            [ngon(8, 0.40, up, np.pi / 8), ngon(8, 0.36, up, np.pi / 8), rectangle(0.5, up - 0.08, up + 0.08)],
            [white, red, white],
        )
    elif kind == 1:
        shapes, looks = (
            [ngon(4, 0.46, up), ngon(4, 0.40, up), rectangle(0.08, up - 0.2, up + 0.2)],
            [black, paint(0.65, 0.42, 0.02), black],
        )
    elif kind == 2:
        shapes, looks = (
            [
                rectangle(0.6, up - 0.4, up + 0.4),
                rectangle(0.13, up - 0.18, up + 0.1, -0.12),
                rectangle(0.13, up - 0.18, up + 0.1, 0.12),
            ],
            [white, black, black],
        )
    elif kind == 3:
        shapes, looks = (
            [ngon(14, 0.36, up), ngon(14, 0.28, up), rectangle(0.3, up - 0.05, up + 0.05)],
            [red, white, black],
        )
    else:
        shapes, looks = (
            [rectangle(1.1, up - 0.3, up + 0.3), rectangle(0.8, up - 0.06, up + 0.1)],
            [paint(0.02, 0.16, 0.09), white],
        )
    parts = [
        trunk(place, 0.035, up + 0.3, eye, steel),
        board(place + [0, 0, -0.06], shapes, looks, np.array([0.0, -1.0])),
    ]
    return Thing(
        join(parts),
        _distance(place, eye),
        category="sign",
        casters=[_thin(place, 0.1, up), _thin(place, 0.6, 0.7, up - 0.35)],
        foot=place,
    )


def pole(climate: Climate, place: np.ndarray, next_place: np.ndarray | None, eye: np.ndarray, height: float) -> Thing:
    """A wooden utility pole with a cross arm, and wires to the next one."""
    wood = climate.look("wood", (0.14, 0.10, 0.07), 1.0, grain=0.2)
    wire = climate.look("plastic", (0.02, 0.02, 0.02), 0.5)
    arm = (
        np.array([(x, height - 0.6 + y, 0.0) for x, y in ((-1.1, -0.06), (1.1, -0.06), (1.1, 0.06), (-1.1, 0.06))])
        + place
    )
    parts = [trunk(place, 0.14, height, eye, wood), polygons([arm], [wood], two_sided=True)]
    if next_place is not None:
        t = np.linspace(0, 1, 9)[:, None]
        for x, y in ((-1.0, -0.45), (0.0, -0.3), (1.0, -0.45), (0.0, -1.9)):
            line = (
                place + (next_place - place) * t + [x, height + y, 0] - np.array([0, 1.0, 0]) * (4 * t * (1 - t)) * 0.7
            )
            thick = np.array([0.0, 0.014, 0.0])
            parts.append(polygons([np.concatenate([line - thick, (line + thick)[::-1]])], [wire], two_sided=True))
    return Thing(join(parts), _distance(place, eye), casters=[_thin(place, 0.25, height)], foot=place)


def hydrant(climate: Climate, place: np.ndarray, eye: np.ndarray) -> Thing:
    """A fire hydrant."""
    iron = climate.look("metal", (0.45, 0.05, 0.03), -0.8, gloss=0.04)
    mesh = join([trunk(place, 0.14, 0.7, eye, iron), box(0.42, 0.12, 0.14, iron, 0.42).placed(place)])
    return Thing(mesh, _distance(place, eye), category="hydrant", casters=[_thin(place, 0.28, 0.7)], foot=place)


def bin_or_box(rng: np.random.Generator, climate: Climate, place: np.ndarray, eye: np.ndarray) -> Thing:
    """A wheeled bin, a post box or a switch cabinet."""
    kind = int(rng.integers(3))
    if kind == 0:
        rgb = [(0.03, 0.10, 0.05), (0.03, 0.05, 0.15), (0.06, 0.06, 0.06)][rng.integers(3)]
        mesh = box(0.6, 1.05, 0.7, climate.look("plastic", rgb, 0.3))
    elif kind == 1:
        mesh = box(0.5, 1.2, 0.5, climate.look("metal", (0.04, 0.07, 0.22), 0.2, gloss=0.04))
    else:
        mesh = box(1.1, 1.3, 0.5, climate.look("metal", (0.30, 0.33, 0.30), 3.5, grain=0.05))
    mesh = mesh.placed(place, rng.normal(0, 0.15))
    return Thing(mesh, _distance(place, eye), casters=[_thin(place, 0.6, 1.1)], foot=place)


def cone(climate: Climate, place: np.ndarray, eye: np.ndarray) -> Thing:
    """A traffic cone."""
    orange, white = climate.look("plastic", (0.75, 0.16, 0.02), 0.0), climate.look("plastic", (0.7, 0.7, 0.7), 0.0)
    toward = np.array([eye[0] - place[0], eye[2] - place[2]])
    shapes = [
        rectangle(0.4, 0.0, 0.05),
        np.array([(-0.15, 0.05), (0.15, 0.05), (0.03, 0.72), (-0.03, 0.72)]),
        np.array([(-0.095, 0.3), (0.095, 0.3), (0.062, 0.48), (-0.062, 0.48)]),
    ]
    return Thing(
        board(place, shapes, [orange, orange, white], toward),
        _distance(place, eye),
        casters=[_thin(place, 0.2, 0.6)],
        foot=place,
    )


def rail(climate: Climate, points: np.ndarray, eye: np.ndarray, style: str) -> list[Thing]:
    """A guard rail, a hedge or a garden wall along points [n, 3] on the ground, one thing for each stretch."""
    rail_look = climate.look("bare_metal", (0.40, 0.41, 0.42), 0.0, emissivity=0.75)
    hedge = climate.look("leaf", (0.06, 0.11, 0.035), 0.0, kind=Kind.FOLIAGE, params=(-1.0, 17.0))
    stone = climate.look("concrete", (0.40, 0.37, 0.32), 0.0, grain=0.15)
    low, high, look = {"rail": (0.45, 0.78, rail_look), "hedge": (0.0, 1.25, hedge), "wall": (0.0, 0.9, stone)}[style]
    things = []
    for a, b in zip(points, points[1:], strict=False):
        faces = [np.array([a + [0, low, 0], b + [0, low, 0], b + [0, high, 0], a + [0, high, 0]])]
        if style == "rail":
            faces.append(np.array([a + [-0.05, 0, 0], a + [0.05, 0, 0], a + [0.05, 0.7, 0], a + [-0.05, 0.7, 0]]))
        else:
            deep = np.array([0.7 if style == "hedge" else 0.25, 0, 0]) * np.sign(a[0] - eye[0])
            faces.append(
                np.array([a + [0, high, 0], b + [0, high, 0], b + deep + [0, high, 0], a + deep + [0, high, 0]])
            )
            if a[2] > eye[2]:
                faces.append(np.array([a, a + deep, a + deep + [0, high, 0], a + [0, high, 0]]))
        bend = (0.0, 0.5 if style == "rail" else 0.1)
        mesh = polygons(faces, [look] * len(faces), bulge=[bend] * len(faces), two_sided=True)
        caster = np.array([a + [0, low, 0], b + [0, low, 0], a + [0, high, 0], b + [0, high, 0]])
        things.append(Thing(mesh, _distance((a + b) / 2, eye), casters=[caster], foot=a))
    return things

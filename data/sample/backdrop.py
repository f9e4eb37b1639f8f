"""What lies flat or far: the ground plane, its manholes and puddles, hills, tree lines and far blocks."""

from __future__ import annotations

import numpy as np

from data.sample.mesh import Kind, Look, Thing, polygons
from data.sample.place import Place


def horizon(place: Place, eye: np.ndarray) -> list[Thing]:
    """Hills, a far line of trees and, in town, far blocks; from far to near."""
    rng, climate = place.rng(10), place.climate
    things: list[Thing] = []
    layers = [
        (1400.0, rng.uniform(15, 150), (0.09, 0.12, 0.09), 6.0),
        (520.0, rng.uniform(8, 30), (0.06, 0.10, 0.05), 3.0),
    ]
    town = place.style in ("canyon", "shops")
    for k, (far, tall, rgb, rough) in enumerate(layers):
        x = np.linspace(-1.1 * far, 1.1 * far, 90)
        swell = sum(
            rng.uniform(0.2, 1) / n * np.sin(x / far * n * rng.uniform(2, 4) + rng.uniform(0, 6)) for n in (1, 2, 4)
        )
        top = np.clip(tall * (0.55 + 0.35 * swell), 2, None) + np.abs(rng.normal(0, rough, 90))
        if k == 1 and town:
            top = np.repeat(rng.uniform(6, 34, 45), 2)[:90]
            rgb = (0.20, 0.19, 0.18)
        z = np.full(90, far)
        ridge = np.stack([x, top, z], axis=1)
        base = np.array([[1.1 * far, -8.0, far], [-1.1 * far, -8.0, far]])
        look = climate.look("hill", rgb, 0.0, kind=Kind.HILL, params=(0.5 if k else 0.15, float(rng.integers(300))))
        mesh = polygons([np.concatenate([ridge, base]) + [eye[0], 0, eye[2]]], [look], two_sided=True, metric=True)
        things.append(Thing(mesh, far, 0))
    return things


def ground(place: Place, eye: np.ndarray) -> Thing:
    """The one face of the ground plane; road.ground says what lies where."""
    shape = np.array([(-40.0, 0, 0.2), (40.0, 0, 0.2), (2600.0, 0, 3000.0), (-2600.0, 0, 3000.0)]) + [eye[0], 0, eye[2]]
    mesh = polygons(
        [shape], [place.climate.look("asphalt", (0.1, 0.1, 0.1), kind=Kind.GROUND)], outward_from=np.array([0, -9.0, 0])
    )
    mesh.origin[:], mesh.along[:], mesh.up[:] = 0.0, [1.0, 0, 0], [0, 0, 1.0]
    return Thing(mesh, 5000.0, 0)


def patches(place: Place, near: float, far: float) -> Thing | None:
    """Manholes, repairs, puddles and driveways: flat shapes on the ground, as one thing."""
    rng, climate, road = place.rng(11), place.climate, place.road
    shapes, looks = [], []
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)

    def add(middle: np.ndarray, outline: np.ndarray, look: Look) -> None:
        if near < middle[2] < far:
            shapes.append(middle + np.stack([outline[:, 0], np.zeros(len(outline)), outline[:, 1]], axis=1))
            looks.append(look)

    for z in np.arange(-10, 230, 19.0):
        x, at = rng.uniform(-0.7, 0.7) * road.half_width, z + rng.uniform(0, 9)
        size = rng.uniform(0.9, 2.6, 2) / 2
        tone = tuple(np.array(road.asphalt.rgb) * rng.choice([0.72, 0.82, 1.18]))
        if rng.uniform() < 0.28:
            corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * size * [1, rng.uniform(1, 3)]
            add(road.place(x, at), corners, climate.look("asphalt", tone, 0.9, kind=Kind.PATCH, grain=0.05))
        if place.style != "open" and rng.uniform() < 0.8:
            hole = road.place(rng.uniform(-0.6, 0.6) * road.half_width, at + 4)
            warm = 3.5 if climate.hours != "day" else 1.2
            circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
            add(hole, circle * 0.40, climate.look("concrete", (0.16, 0.155, 0.15), 0.4, kind=Kind.PATCH))
            add(
                hole,
                circle * 0.33,
                climate.look("bare_metal", (0.09, 0.085, 0.08), warm, kind=Kind.PATCH, emissivity=0.88, grain=0.3),
            )
        if climate.wet > 0 and rng.uniform() < 0.6:
            wobble = 1 + 0.25 * np.sin(turn * 3 + rng.uniform(0, 6)) + 0.15 * np.sin(turn * 5 + rng.uniform(0, 6))
            pool = np.stack([np.cos(turn), np.sin(turn) * 1.6], axis=1) * wobble[:, None] * rng.uniform(0.3, 1.1)
            side = rng.choice([-1, 1]) * (road.half_width - rng.uniform(0.3, 1.8))
            add(
                road.place(side, at + 7),
                pool,
                climate.look(
                    "water", (0.02, 0.022, 0.024), -1.5, kind=Kind.PATCH, gloss=0.45, emissivity=0.94, grain=0.0
                ),
            )
    if not shapes:
        return None
    return Thing(polygons(shapes, looks, outward_from=np.array([0.0, -50.0, 0.0])), 4000.0, 0)

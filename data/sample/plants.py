"""Trees, palms, bushes and hedges."""

from __future__ import annotations

import numpy as np

from data.sample import leaves
from data.sample.climate import Climate
from data.sample.mesh import Kind, Look, Mesh, Thing, join

GREENS = {
    "spring": [(0.10, 0.17, 0.04), (0.13, 0.20, 0.05), (0.08, 0.14, 0.04)],
    "summer": [(0.06, 0.12, 0.03), (0.08, 0.13, 0.04), (0.05, 0.10, 0.035)],
    "autumn": [(0.25, 0.13, 0.03), (0.30, 0.19, 0.04), (0.10, 0.12, 0.04), (0.22, 0.08, 0.03)],
    "winter": [(0.05, 0.09, 0.04), (0.06, 0.10, 0.045)],
}


def crown(place: np.ndarray, width: float, height: float, stamp: int, eye: np.ndarray, look: Look) -> Mesh:
    """A leaf mask that stands upright at place (middle of its lower edge) and faces the eye, sizes in metres."""
    toward = np.array([eye[0] - place[0], 0.0, eye[2] - place[2]])
    toward /= np.linalg.norm(toward) + 1e-9
    right = np.array([-toward[2], 0.0, toward[0]])
    if right @ [1, 0, 0] < 0:
        right = -right
    half, top = right * width / 2, np.array([0, height, 0])
    corners = np.array([place - half, place + half, place + half + top, place - half + top])
    return Mesh(
        corners, [4], (place + top / 2)[None], right[None] / (width / 2), np.array([[0, 2 / height, 0]]),
        toward[None], np.array([[0.45, 0.45]]), [look], [stamp], [True],
    )  # fmt: skip


def trunk(place: np.ndarray, radius: float, height: float, eye: np.ndarray, look: Look, lean: float = 0.0) -> Mesh:
    """A tapering round post that faces the eye."""
    toward = np.array([eye[0] - place[0], 0.0, eye[2] - place[2]])
    toward /= np.linalg.norm(toward) + 1e-9
    right = np.array([toward[2], 0.0, -toward[0]])
    top = place + np.array([lean * height, height, 0.0])
    thick = right * radius
    return Mesh(
        np.array([place - thick, place + thick, top + thick * 0.6, top - thick * 0.6]),
        [4],
        place[None],
        right[None] / radius,
        np.array([[0, 1 / height, 0]]),
        toward[None],
        np.array([[1.2, 0.0]]),
        [look],
        [-1],
        [True],
    )


def _ball(place: np.ndarray, width: float, height: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = np.stack([np.cos(turn) * width * 0.42, np.full(8, height / 2), np.sin(turn) * width * 0.42], axis=1)
    return place + np.concatenate([ring, [[0, height * 0.1, 0], [0, height * 0.95, 0]]])


def tree(rng: np.random.Generator, climate: Climate, place: np.ndarray, eye: np.ndarray, palm: bool = False) -> Thing:
    """A leafy tree, a palm, or in winter often a bare one."""
    seed = float(rng.integers(0, 500))
    bare = not palm and climate.season == "winter" and rng.uniform() < 0.55
    choices = GREENS[climate.season]
    rgb = tuple(np.array(choices[rng.integers(len(choices))]) * rng.uniform(0.8, 1.2))
    bark = climate.look("bark", tuple(np.array([0.13, 0.10, 0.07]) * rng.uniform(0.7, 1.6)), 0.6, grain=0.25)
    if palm:
        height, width = rng.uniform(6, 13), rng.uniform(3.2, 4.6)
        stem = trunk(place, 0.2, height, eye, bark, rng.normal(0, 0.02))
        stamp = int(rng.choice(leaves.PALMS))
        leaf = climate.look("leaf", (0.09, 0.12, 0.04), 0.3, kind=Kind.FOLIAGE, params=(float(stamp), seed))
        top = place + np.array([0, height - width * 0.42, 0])
        parts, crown_base, tall = [stem, crown(top, width, width * 0.9, stamp, eye, leaf)], top, width
    elif bare:
        height = rng.uniform(5, 11)
        width = height * rng.uniform(0.7, 0.95)
        stamp = int(rng.choice(leaves.BARE))
        twig = climate.look("bark", bark.rgb, 0.2, kind=Kind.FOLIAGE, params=(float(stamp), seed))
        parts = [crown(place, width, height, stamp, eye, twig)]
        crown_base, tall = place + np.array([0, height * 0.3, 0]), height * 0.4
        width *= 0.5
    else:
        stem_height, width = rng.uniform(1.6, 3.0), rng.uniform(3.2, 7.5)
        tall = width * rng.uniform(0.8, 1.25)
        leaf = climate.look("leaf", rgb, rng.normal(0, 0.4), kind=Kind.FOLIAGE)
        crown_base = place + np.array([0, stem_height - tall * 0.08, 0])
        parts = [trunk(place, 0.06 + width * 0.022, stem_height + tall * 0.4, eye, bark, rng.normal(0, 0.03))]
        first, second = rng.choice(list(leaves.CROWNS), 2, replace=False)
        for stamp, shift, size in ((int(first), -0.12, 1.0), (int(second), 0.14, 0.8)):
            own = climate.look(
                "leaf", rgb, leaf.kelvin - climate.air, kind=Kind.FOLIAGE, params=(float(stamp), seed + stamp)
            )
            base = crown_base + np.array(
                [shift * width * rng.uniform(0.2, 1), (1 - size) * tall * rng.uniform(0, 0.9), 0]
            )
            parts.append(crown(base, width * size, tall * size, stamp, eye, own))
    distance = float(np.hypot(place[0] - eye[0], place[2] - eye[2]))
    post = place + np.array([[-0.15, 0, 0], [0.15, 0, 0], [0.15, 3, 0], [-0.15, 3, 0]])
    return Thing(join(parts), distance, casters=[_ball(crown_base, width, tall), post], foot=place)


def bush(rng: np.random.Generator, climate: Climate, place: np.ndarray, eye: np.ndarray, size: float = 1.0) -> Thing:
    """A rounded shrub about size metres high."""
    stamp = int(rng.choice(leaves.BUSHES))
    choices = GREENS["summer" if climate.season != "autumn" else "autumn"]
    rgb = tuple(np.array(choices[rng.integers(len(choices))]) * rng.uniform(0.8, 1.5))
    leaf = climate.look(
        "leaf", rgb, rng.normal(0, 0.4), kind=Kind.FOLIAGE, params=(float(stamp), float(rng.integers(500)))
    )
    width = size * rng.uniform(1.2, 2.2)
    mesh = crown(place - np.array([0, size * 0.14, 0]), width, size * 1.2, stamp, eye, leaf)
    distance = float(np.hypot(place[0] - eye[0], place[2] - eye[2]))
    return Thing(mesh, distance, casters=[_ball(place, width, size)], foot=place)

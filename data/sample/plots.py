"""What stands along a street: buildings and gardens, the cross street, lamps, trees, poles and signs."""

from __future__ import annotations

import numpy as np

from data.sample import fixtures, plants
from data.sample.buildings import block, footprint, house
from data.sample.mesh import Thing
from data.sample.place import Place

AHEAD = 170.0  # metres of street that are built ahead of the camera


def _free(place: Place, z0: float, z1: float) -> bool:
    """Whether plots may stand between z0 and z1: not on a cross street."""
    c = place.road.crossing
    if c is None:
        return True
    reach = place.road.cross_half + max(place.road.walk, 1.0)
    return z1 < c - reach or z0 > c + reach


def _plot(place: Place, side: int, k: int, z0: float, z1: float, eye: np.ndarray) -> list[Thing]:
    """What stands on one plot beside the road between z0 and z1."""
    rng, climate, road = place.rng(3, side + 1, k), place.climate, place.road
    middle, along = (z0 + z1) / 2, z1 - z0
    heading = road.heading(middle)
    things: list[Thing] = []
    if place.style in ("canyon", "shops") or (place.style == "park" and not road.grassy[(side + 1) // 2]):
        back = 0.0 if rng.uniform() < 0.8 else rng.uniform(0.5, 3.0)
        tall = (3, 7) if place.style == "canyon" else (1, 3)
        front = road.place(side * (place.edge + back), middle)
        things.append(
            block(
                rng,
                climate,
                footprint(front, heading, along - rng.choice([0.0, 0.3, 2.5]), rng.uniform(10, 16), side),
                eye,
                place.lit,
                tall,
            )
        )
    elif place.style == "suburb":
        back, width = rng.uniform(5.0, 9.0), min(along - 5.0, rng.uniform(9, 14))
        front = road.place(side * (place.edge + back), middle)
        things.append(
            house(
                rng,
                climate,
                footprint(front, heading + rng.normal(0, 0.03), width, rng.uniform(7, 10), side),
                eye,
                place.lit,
            )
        )
        for _ in range(int(rng.integers(1, 4))):
            spot = road.place(side * (place.edge + back - rng.uniform(0.8, 1.6)), rng.uniform(z0 + 1, z1 - 1))
            things.append(plants.bush(rng, climate, spot, eye, rng.uniform(0.6, 1.3)))
        if rng.uniform() < 0.65:
            spot = road.place(side * (place.edge + rng.uniform(1.2, 3.5)), rng.uniform(z0 + 1, z1 - 1))
            things.append(plants.tree(rng, climate, spot, eye, place.palms and rng.uniform() < 0.6))
        for _ in range(2):
            if rng.uniform() < 0.7:
                spot = road.place(side * (place.edge + back + rng.uniform(12, 22)), rng.uniform(z0, z1))
                tree = plants.tree(rng, climate, spot, eye)
                tree.layer = 1
                things.append(tree)
        if rng.uniform() < 0.35:
            line = np.array([road.place(side * (place.edge + 0.5), z) for z in np.linspace(z0 + 1.5, z1 - 4.0, 4)])
            things += fixtures.rail(climate, line, eye, str(rng.choice(["hedge", "wall"])))
    else:
        count = rng.integers(1, 4) if place.style == "open" else rng.integers(2, 5)
        for _ in range(int(count)):
            far = rng.uniform(2.5, 18.0) if place.style == "park" else rng.uniform(7.0, 40.0)
            spot = road.place(side * (place.edge + far), rng.uniform(z0, z1))
            if rng.uniform() < 0.72:
                things.append(plants.tree(rng, climate, spot, eye, place.palms and rng.uniform() < 0.4))
            else:
                things.append(plants.bush(rng, climate, spot, eye, rng.uniform(0.7, 1.8)))
    return things


def _cross_street(place: Place, eye: np.ndarray) -> list[Thing]:
    """Buildings along the cross street, seen past the corners, and the traffic lights."""
    road, climate = place.road, place.climate
    if road.crossing is None:
        return []
    things: list[Thing] = []
    start = road.crossing + road.cross_half + max(road.walk, 1.0)
    for side in (-1, 1):
        x = place.edge + 17.0
        for k in range(3):
            rng = place.rng(4, side + 1, k)
            wide = rng.uniform(12, 22)
            front = road.place(side * (x + wide / 2), start)
            corners = footprint(front, np.pi / 2, wide - 1.0, 12.0, -1)
            if place.style == "suburb":
                things.append(house(rng, climate, corners + [0, 0, 5.0], eye, place.lit))
            elif place.style == "park" and rng.uniform() < 0.5:
                things.append(plants.tree(rng, climate, front + [0, 0, 3.0], eye))
            else:
                things.append(
                    block(rng, climate, corners, eye, place.lit, (3, 6) if place.style == "canyon" else (1, 3))
                )
            x += wide
    if place.style != "suburb" and place.rng(5).uniform() < 0.8:
        out = road.half_width + 0.7
        before, after = road.crossing - road.cross_half - 1.2, road.crossing + road.cross_half + 1.0
        arm = place.rng(6).uniform() < 0.5
        for x, z, over in ((out, before, 0.0), (-out, after, 0.0), (out, after, -out * 0.75 if arm else 0.0)):
            things.append(fixtures.traffic_light(climate, road.place(x, z), place.signal, eye, over))
    return things


def _posts(place: Place, eye: np.ndarray, near: float, far: float) -> list[Thing]:
    """Lamps, street trees, poles, signs and boxes along both kerbs."""
    road, climate = place.road, place.climate
    things: list[Thing] = []
    step = 14.0
    for k in range(int(np.floor(near / step)), int(far / step) + 1):
        for side in (-1, 1):
            rng = place.rng(7, side + 1, k + 100)
            z = k * step + rng.uniform(-1, 1)
            spot = road.place(side * (road.half_width + 0.65), z)
            if not (near < z < far) or not _free(place, z, z):
                continue
            if place.lamp_side[(side + 1) // 2] and (k + (side > 0)) % 2 == 0:
                things.append(
                    fixtures.street_lamp(
                        climate, spot, -side, eye, place.lamp_tint, 5.6 if place.style == "suburb" else 6.8
                    )
                )
            elif place.style in ("canyon", "shops", "park") and rng.uniform() < 0.42:
                things.append(plants.tree(rng, climate, spot + [side * 0.3, 0, 0], eye, place.palms))
            for chance, reach, make in (
                (0.22, 4.0, lambda s, r: fixtures.sign(r, climate, s, eye)),
                (0.20 if road.walk else 0.0, 8.0, lambda s, r: fixtures.bin_or_box(r, climate, s, eye)),
                (0.08 if road.walk else 0.0, 6.0, lambda s, r: fixtures.hydrant(climate, s, eye)),
            ):
                if rng.uniform() < chance:
                    out = 0.5 if road.walk else 1.8
                    things.append(make(road.place(side * (road.half_width + out), z + reach), rng))
            if place.poles and side == 1 and k % 2 == 0:
                gap = 2 * step
                spots = [road.place(road.half_width + max(road.walk, 2.0) + 0.6, k * step + d) for d in (0.0, gap)]
                things.append(fixtures.pole(climate, spots[0], spots[1], eye, 8.5))
    if place.rng(8).uniform() < 0.12:
        rng = place.rng(9)
        start = rng.uniform(10, 40)
        things += [
            fixtures.cone(climate, road.place(road.half_width - 0.7 - 0.12 * k, start + 2.2 * k), eye) for k in range(6)
        ]
    return things


def standing(place: Place, eye: np.ndarray) -> list[Thing]:
    """All that does not move, near enough to be seen from eye."""
    near, far = eye[2] - 12.0, eye[2] + AHEAD
    things: list[Thing] = []
    for side in (-1, 1):
        z, k = -20.0, 0
        while z < far:
            rng = place.rng(2, side + 1, k)
            along = rng.uniform(16, 22) if place.style == "suburb" else rng.uniform(11, 24)
            if z + along > near and _free(place, z, z + along):
                things += _plot(place, side, k, z, z + along, eye)
            z, k = z + along, k + 1
            c = place.road.crossing
            if c is not None and not _free(place, z, z + 11.0) and z < c + place.road.cross_half:
                z = c + place.road.cross_half + max(place.road.walk, 1.0) + 0.1
    things += _cross_street(place, eye) + _posts(place, eye, near, eye[2] + 120.0)
    if place.style == "open":
        for side in (-1, 1):
            if place.rng(12, side + 1).uniform() < 0.5:
                line = np.array(
                    [place.road.place(side * (place.road.half_width + 1.0), z) for z in np.arange(near, far, 6.0)]
                )
                things += fixtures.rail(place.climate, line, eye, "rail")
    return things

"""Who moves through a street: vehicles, people, cyclists and dogs, each where time has brought them."""

from __future__ import annotations

import numpy as np

from data.sample import people, riders
from data.sample.mesh import Thing
from data.sample.place import Place
from data.sample.shapes import SHAPES
from data.sample.vehicles import Condition, vehicle

_NAMES = ["sedan", "hatch", "suv", "estate", "van", "pickup"]
_SHARES = [0.24, 0.20, 0.26, 0.12, 0.09, 0.09]


def _state(rng: np.random.Generator, place: Place, running: bool, braking: bool) -> Condition:
    dark = place.climate.hours != "day"
    lamps = running and (dark or rng.uniform() < 0.15)
    warmth = rng.uniform(11, 20) if running else float(rng.choice([0.0, 3.0, 9.0], p=[0.75, 0.15, 0.10]))
    return Condition(running, braking, lamps, warmth * (1.0 if place.climate.air < 292 else 0.8))


def _parked(place: Place, eye: np.ndarray) -> list[Thing]:
    road = place.road
    things: list[Thing] = []
    share = {"canyon": 0.65, "shops": 0.6, "park": 0.5, "suburb": 0.28, "open": 0.0}[place.style]
    if place.style in ("canyon", "shops", "park") and not road.parking:
        share = 0.0
    for k in range(int((eye[2] - 6) // 6), int((eye[2] + 95) // 6)):
        for side in (-1, 1):
            rng = place.rng(20, side + 1, k + 50)
            z = k * 6 + 3 + rng.uniform(-0.4, 0.4)
            c = road.crossing
            blocked = (
                c is not None and abs(z - c) < road.cross_half + 9 or any(abs(z - q - 1.5) < 6 for q in road.zebras)
            )
            if rng.uniform() > share or blocked or z - eye[2] < 6.0:
                continue
            name = str(rng.choice(_NAMES, p=_SHARES))
            spot = road.place(side * (road.half_width - SHAPES[name].width / 2 - rng.uniform(0.12, 0.35)), z)
            heading = road.heading(z) + (0.0 if side > 0 or rng.uniform() < 0.1 else np.pi) + rng.normal(0, 0.015)
            thing = vehicle(rng, place.climate, name, spot, heading, _state(rng, place, False, False), eye)
            thing.track = 1000 + k * 2 + side
            things.append(thing)
    return things


def _driving(place: Place, eye: np.ndarray, start: float, time: float, speed: float) -> list[Thing]:
    road = place.road
    things: list[Thing] = []
    lane = (road.half_width - (2.3 if road.parking else 2.0 if place.style == "suburb" else 0.4)) / road.lanes
    busy = {"canyon": 0.75, "shops": 0.7, "suburb": 0.35, "park": 0.6, "open": 0.75}[place.style]
    stopped = speed < 0.5
    for direction in (1, -1):
        for k in range(road.lanes):
            z, n = start + place.rng(21, direction + 1, k).uniform(8, 20 if stopped else 34), 0
            while z < start + 150:
                rng = place.rng(22, direction + 1, k, n)
                name = str(
                    rng.choice([*_NAMES, "bus", "truck"], p=[*(0.88 * s for s in np.array(_SHARES)), 0.06, 0.06])
                )
                ahead = z - start
                pace = direction * (speed + rng.normal(0, 0.4)) if direction > 0 else -rng.uniform(6, 13)
                if direction < 0:
                    pace = pace * (0.0 if stopped and rng.uniform() < 0.4 else 1.0)
                spot_z = z + pace * time
                c = road.crossing
                if stopped and direction > 0 and c is not None and z + 3 > c - road.cross_half - 5.8 and start < c:
                    break
                there = spot_z - eye[2]
                reach = SHAPES[name].length / 2 + 2.5
                crossing = any(abs(spot_z - q - 1.5) < reach for q in road.zebras)
                if (
                    rng.uniform() < busy
                    and not crossing
                    and there > (6.5 if k == 0 or direction < 0 else 4.5)
                    and there < 140
                ):
                    x = direction * (lane * (k + 0.5)) + rng.normal(0, 0.12)
                    heading = road.heading(spot_z) + (0.0 if direction > 0 else np.pi) + rng.normal(0, 0.01)
                    braking = direction > 0 and (stopped or rng.uniform() < 0.25)
                    thing = vehicle(
                        rng, place.climate, name, road.place(x, spot_z), heading, _state(rng, place, True, braking), eye
                    )
                    thing.track = 2000 + (direction + 1) * 100 + k * 40 + n
                    things.append(thing)
                z += (
                    (rng.uniform(7, 10) if stopped and direction > 0 else rng.uniform(13, 40))
                    + ahead * 0.12
                    + SHAPES[name].length
                )
                n += 1
    return things


def _crossing_traffic(place: Place, eye: np.ndarray, time: float) -> list[Thing]:
    road = place.road
    if road.crossing is None or place.signal == 2:
        return []
    things: list[Thing] = []
    for k in range(3):
        rng = place.rng(23, k)
        direction = 1 if k % 2 == 0 else -1
        x = rng.uniform(-28, 28) + direction * rng.uniform(4, 9) * time
        z = road.crossing + direction * -road.cross_half * 0.5
        if rng.uniform() < 0.7 and z - eye[2] > 9:
            name = str(rng.choice([*_NAMES, "bus"], p=[*(0.92 * s for s in np.array(_SHARES)), 0.08]))
            thing = vehicle(
                rng, place.climate, name, road.place(x, z), direction * np.pi / 2, _state(rng, place, True, False), eye
            )
            thing.track = 3000 + k
            thing.layer = 2 if abs(x) < place.edge else 1
            things.append(thing)
    return things


def _walkers(place: Place, eye: np.ndarray, start: float, time: float) -> list[Thing]:
    road, climate = place.road, place.climate
    crowd = {"canyon": 15, "shops": 17, "suburb": 7, "park": 11, "open": 2}[place.style]
    if climate.hours == "night":
        crowd = max(1, round(crowd * 0.75))
    things: list[Thing] = []
    zebras = [z for z in road.zebras if start + 5 < z < start + 60]
    for k in range(crowd):
        rng = place.rng(24, k)
        wardrobe = people.Wardrobe(rng, climate)
        phase = rng.uniform(0, 6.28) + time * 6.0
        side = float(rng.choice([-1.0, 1.0]))
        still = rng.uniform() < 0.2
        if zebras and rng.uniform() < 0.45:
            direction = float(rng.choice([-1.0, 1.0]))
            velocity = np.array([direction * rng.uniform(1.0, 1.6), 0.0])
            x = rng.uniform(-1, 1) * (road.half_width + 1.5) + velocity[0] * time
            z = zebras[rng.integers(len(zebras))] + rng.uniform(0.4, 2.6)
        else:
            walk = np.array([rng.normal(0, 0.05), float(rng.choice([-1.0, 1.0])) * rng.uniform(0.9, 1.6)])
            velocity = np.zeros(2) if still else walk
            out = rng.uniform(0.7, max(road.walk, 1.6))
            x = side * (road.half_width + out)
            z = start + 6.0 + 44.0 * rng.uniform() ** 1.6 + velocity[1] * time
        spot = road.place(x, z)
        pair = rng.uniform() < 0.22
        for j in range(2 if pair else 1):
            who = wardrobe if j == 0 else people.Wardrobe(rng, climate)
            at = spot + np.array([0.55 * j, 0, 0.12 * j])
            if at[2] - eye[2] > 3.5:
                thing = people.person(who, at, velocity, phase + j * 1.4, eye)
                thing.track = 4000 + 2 * k + j
                things.append(thing)
        if rng.uniform() < 0.10 and not zebras and spot[2] - eye[2] > 4:
            rgb = [(0.25, 0.16, 0.08), (0.03, 0.03, 0.03), (0.5, 0.45, 0.36)][rng.integers(3)]
            thing = riders.dog(climate, rgb, spot + [0.8, 0, 0.3], 1.0 if velocity[0] >= 0 else -1.0, phase, eye)
            thing.track = 4500 + k
            things.append(thing)
    return things


def _cyclists(place: Place, eye: np.ndarray, start: float, time: float) -> list[Thing]:
    things: list[Thing] = []
    for k in range(3):
        rng = place.rng(25, k)
        if rng.uniform() > {"open": 0.15}.get(place.style, 0.4):
            continue
        direction = float(rng.choice([-1.0, 1.0]))
        z = start + rng.uniform(8, 40) + direction * rng.uniform(3, 6) * time
        side = direction * (place.road.half_width - (2.9 if place.road.parking else 0.8))
        if z - eye[2] < 5:
            continue
        course = np.array([np.sin(place.road.heading(z)), np.cos(place.road.heading(z))]) * direction
        rgb = [(0.4, 0.03, 0.03), (0.02, 0.02, 0.02), (0.05, 0.2, 0.4), (0.6, 0.6, 0.6)][rng.integers(4)]
        wardrobe = people.Wardrobe(rng, place.climate)
        bicycle, rider = riders.cyclist(
            wardrobe, place.climate, rgb, place.road.place(side, z), course, rng.uniform(0, 6) + 8 * time, eye
        )
        bicycle.track, rider.track = 5000 + 2 * k, 5001 + 2 * k
        bicycle.salient, bicycle.distance = False, rider.distance + 0.01
        things += [bicycle, rider]
    return things


def moving(place: Place, eye: np.ndarray, start: float, time: float, speed: float) -> list[Thing]:
    """All that can move. eye: camera place; start: its z when time (s) was 0; speed: of the camera's car, m/s."""
    return [
        *_parked(place, eye),
        *_driving(place, eye, start, time, speed),
        *_crossing_traffic(place, eye, time),
        *_walkers(place, eye, start, time),
        *_cyclists(place, eye, start, time),
    ]

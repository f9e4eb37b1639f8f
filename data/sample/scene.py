"""One moment in one street, seen by both cameras: the images, the boxes and the mask of hot targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from data.sample.backdrop import ground, horizon, patches
from data.sample.camera import HEIGHT, WIDTH, Camera
from data.sample.climate import Hours
from data.sample.mesh import Thing
from data.sample.place import Place, draw_place
from data.sample.plots import standing
from data.sample.raster import Raster, draw, rasterise
from data.sample.sensors import add_glare, gain_control, thermal_counts, visible_image
from data.sample.shading import Setting, shade
from data.sample.shadows import contact_shade, ground_shadow, lamp_light
from data.sample.traffic import moving

SMALLEST = 4  # pixels; smaller objects get no box


@dataclass(frozen=True)
class Box:
    """A seen object. left, top, width, height: pixels; visible: share of it that nothing hides, in (0, 1]."""

    category: str
    left: float
    top: float
    width: float
    height: float
    visible: float
    track: int


@dataclass(frozen=True)
class RenderedPair:
    """Both views of one scene, pixel for pixel; H = 512, W = 640.

    visible: uint8 [H, W, 3]; thermal: uint8 [H, W], white hot; counts: uint16 [H, W], 0.04 K each;
    mask: uint8 [H, W], 255 on people, animals and running vehicles.
    """

    visible: np.ndarray
    thermal: np.ndarray
    counts: np.ndarray
    mask: np.ndarray
    boxes: list[Box]
    place: Place


def _boxes(things: list[Thing], raster: Raster) -> list[Box]:
    boxes = []
    for k, thing in enumerate(things):
        if thing.category is None:
            continue
        shapes = raster.shapes[raster.first[k] : raster.first[k + 1]]
        corners = [s for s in shapes if s is not None]
        if not corners:
            continue
        every = np.concatenate(corners)
        low = np.clip(np.floor(every.min(axis=0)) - 1, 0, [WIDTH, HEIGHT]).astype(int)
        high = np.clip(np.ceil(every.max(axis=0)) + 1, 0, [WIDTH, HEIGHT]).astype(int)
        if min(high - low) < SMALLEST:
            continue
        (x0, y0), (x1, y1) = low, high
        faces = raster.faces[y0:y1, x0:x1]
        own = ((faces > raster.first[k]) & (faces <= raster.first[k + 1])).any(axis=2)
        columns, rows = np.flatnonzero(own.any(axis=0)), np.flatnonzero(own.any(axis=1))
        if len(columns) < SMALLEST or len(rows) < SMALLEST:
            continue
        alone = Image.new("L", (int(x1 - x0), int(y1 - y0)))
        draw(alone, shapes, thing.mesh.stamps, [1] * len(shapes), 1, low)
        share = min(1.0, own.sum() / max(1, int(np.asarray(alone).sum())))
        if share < 0.1:
            continue
        left, top = float(x0 + columns[0]), float(y0 + rows[0])
        wide, tall = float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1)
        boxes.append(Box(thing.category, left, top, wide, tall, float(share), thing.track))
    return boxes


def _in_view(raster: Raster, camera: Camera, index: int, position: np.ndarray) -> bool:
    """Whether the lamp at position belongs to the nearest thing there, or shines over it from the sky."""
    local = camera.to_camera(position[None])
    if local[0, 2] < 1:
        return False
    u, v = np.round(camera.to_pixels(local)[0]).astype(int)
    if not (0 <= u < WIDTH and 0 <= v < HEIGHT):
        return False
    around = raster.faces[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
    return bool((raster.owner[around] == index).any())


def _arrange(place: Place, start: float, time: float, speed: float, eye: np.ndarray) -> list[Thing]:
    backdrop = [*horizon(place, eye), ground(place, eye)]
    flat = patches(place, eye[2] + 1.0, eye[2] + 90.0)
    objects = standing(place, eye) + moving(place, eye, start, time, speed)
    objects = [t for t in objects if t.distance < 200]
    objects.sort(key=lambda t: (t.layer, -t.distance))
    return backdrop + ([flat] if flat else []) + objects


def view(place: Place, time: float = 0.0) -> RenderedPair:
    """The street as the car that carries the cameras sees it, time seconds into its video."""
    rng = place.rng(30)
    road, climate = place.road, place.climate
    lane = (road.half_width - (2.3 if road.parking else 2.0 if place.style == "suburb" else 0.4)) / road.lanes
    start = float(rng.uniform(0, 8))
    waiting = road.crossing is not None and place.signal == 0 and rng.uniform() < 0.6
    speed = 0.0 if waiting else float(rng.uniform(2.5, 8.0))
    z = start + speed * time
    side = lane * (rng.integers(road.lanes) + 0.5) + rng.normal(0, 0.3)
    yaw = road.heading(z) + rng.normal(0, 0.045) + 0.01 * np.sin(time)
    eye = road.place(side, z, float(rng.uniform(1.35, 1.85)))
    camera = Camera.looking(
        tuple(eye), yaw, rng.uniform(-0.02, 0.055), rng.normal(0, 0.006), float(rng.uniform(600, 765))
    )
    things = _arrange(place, start, time, speed, eye)
    raster = rasterise(things, camera)
    shadow, lit = np.zeros(HEIGHT * WIDTH, np.float32), np.ones(len(things), np.float32)
    if climate.sun_rgb.max() > 0.15:
        shadow, lit = ground_shadow(things, camera, climate.to_sun, 90.0)
    dark = climate.hours != "day"
    owner_lit = lit[np.maximum(raster.owner[1:], 0)]
    setting = Setting(
        camera, climate, road, {"canyon": 0.45, "shops": 0.28, "suburb": 0.18, "park": 0.25, "open": 0.06}[place.style],
        owner_lit, shadow, contact_shade(things, camera),
        lamp_light(things, eye, {"night": 0.34, "dawn/dusk": 0.14}.get(climate.hours, 0.0)) if dark else None,
        {"night": 34.0, "dawn/dusk": 5.0}.get(climate.hours, 0.0), float(rng.uniform(0, 500)) + time * 0.2,
    )  # fmt: skip
    light, kelvin = shade(raster, setting)
    lights = [
        (light_, _in_view(raster, camera, k, light_.position))
        for k, t in enumerate(things)
        for light_ in t.lights
        if light_.glare
    ]
    add_glare(light, lights, camera, climate.wet)
    noise = place.rng(31, round(time * 1000))
    counts = thermal_counts(kelvin, noise)
    hot = np.array([t.salient for t in things] + [False], np.float32)[raster.owner]
    mask = (raster.resolve(hot[raster.face]) >= 0.5) * np.uint8(255)
    return RenderedPair(
        visible_image(light, climate, noise), gain_control(counts), counts, mask, _boxes(things, raster), place
    )


def render(seed: int, time_of_day: Hours | None = None, time: float = 0.0) -> RenderedPair:
    """The scene of a seed, at a time of day of its own choice unless given, time seconds into its video."""
    return view(draw_place(seed, time_of_day), time)

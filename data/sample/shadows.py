"""Where the sun does not reach the ground, where things touch it, and where lamps light it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data.sample.camera import HEIGHT, WIDTH, Camera, clip_near
from data.sample.mesh import Thing
from data.sample.shading import LampLight


def _hull(points: np.ndarray) -> np.ndarray:
    """Convex hull of [n, 2], in order around it."""
    ordered = sorted(map(tuple, points.tolist()))
    chains = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for x, y in sequence:
            while len(chain) > 1 and (chain[-1][0] - chain[-2][0]) * (y - chain[-2][1]) <= (
                chain[-1][1] - chain[-2][1]
            ) * (x - chain[-2][0]):
                chain.pop()
            chain.append((x, y))
        chains += chain[:-1]
    return np.array(chains)


def _drop(
    pen: ImageDraw.ImageDraw, camera: Camera, points: np.ndarray, direction: np.ndarray, value: int, scale: float = 1.0
) -> None:
    """Paint the shadow of points [n, 3] that parallel light along direction throws on the ground."""
    fallen = points - direction * (points[:, 1:2] / direction[1])
    hull = _hull(fallen[:, [0, 2]])
    if len(hull) < 3:
        return
    local = camera.to_camera(np.stack([hull[:, 0], np.zeros(len(hull)), hull[:, 1]], axis=1))
    local = clip_near(local)
    if len(local) >= 3:
        pen.polygon((camera.to_pixels(local) * scale).clip(-20000, 20000).ravel().tolist(), fill=value)


def _share(image: Image.Image, blur: float) -> np.ndarray:
    return np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), np.float32).ravel() / 255


def ground_shadow(
    things: list[Thing], camera: Camera, to_sun: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shadow [H * W] in [0, 1] on the ground in view, and the share [things] of sun that buildings leave to each."""
    image = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(image)
    for thing in things:
        if thing.layer == 1 and thing.distance < reach * 1.5:
            for points in thing.casters:
                _drop(pen, camera, points, to_sun, 255)
    shade = np.asarray(image)
    lit = np.ones(len(things), np.float32)
    for k, thing in enumerate(things):
        if thing.layer == 2 and thing.foot is not None:
            local = camera.to_camera(thing.foot[None])
            if local[0, 2] > 1:
                u, v = camera.to_pixels(local)[0].astype(int)
                if 0 <= u < WIDTH and 0 <= v < HEIGHT:
                    lit[k] = 1.0 - shade[v, u] / 255
    for thing in things:
        if thing.layer == 2 and thing.distance < reach:
            for points in thing.casters:
                _drop(pen, camera, points, to_sun, 255)
    return _share(image, 0.9), lit


def contact_shade(things: list[Thing], camera: Camera) -> np.ndarray:
    """[H * W] in [0, 1]: the ground that things standing on it keep from the sky."""
    image = Image.new("L", (WIDTH // 2, HEIGHT // 2))
    pen = ImageDraw.Draw(image)
    down = np.array([0.0, 1.0, 0.0])
    for thing in things:
        if thing.layer == 2 and thing.distance < 60:
            for points in thing.casters:
                if points[:, 1].min() < 0.5:
                    middle = points.mean(axis=0)
                    value = 255 if thing.category in ("car", "bus", "truck") else 120
                    _drop(pen, camera, middle + (points - middle) * [1.06, 1, 1.06], down, value, 0.5)
    return _share(image, 1.3).reshape(HEIGHT // 2, WIDTH // 2).repeat(2, axis=0).repeat(2, axis=1).ravel()


def lamp_light(things: list[Thing], eye: np.ndarray, strength: float) -> LampLight:
    """The light of all lamps on a grid of the ground around the eye."""
    step, columns, rows = 1.0, 90, 170
    x0, z0 = eye[0] - 45.0, eye[2] - 10.0
    x = x0 + (np.arange(columns, dtype=np.float32) + 0.5) * step
    z = (z0 + (np.arange(rows, dtype=np.float32) + 0.5) * step)[:, None]
    grid = np.zeros((3, rows, columns), np.float32)
    for thing in things:
        for light in thing.lights:
            if light.pool:
                square = (x - np.float32(light.position[0])) ** 2 + (z - np.float32(light.position[2])) ** 2
                pool = light.pool / (1 + square / np.float32(light.reach**2)) ** 2
                for c in range(3):
                    grid[c] += pool * np.float32(light.rgb[c] * strength)
    return LampLight(grid, float(x0), float(z0), step)

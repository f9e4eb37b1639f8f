"""Surfaces to light: one description, read once for the visible and once for the thermal camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.sample.camera import WIDTH, Camera
from data.sample.climate import Climate, brightness, radiance
from data.sample.mesh import Kind
from data.sample.raster import Raster
from data.sample.road import Road
from data.sample.sky import sky
from data.sample.surfaces import cosines, face_table, surface
from data.sample.textures import Surface

_CHUNK = 65536  # samples at a time: their arrays stay in the processor's cache


@dataclass(frozen=True)
class LampLight:
    """Light of lamps on the ground. grid: [3, rows, columns]; x0, z0 its corner (m); step (m)."""

    grid: np.ndarray
    x0: float
    z0: float
    step: float

    def at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """[3, N] at world places, fading above the height of lamps."""
        rows, columns = self.grid.shape[1:]
        i = np.clip((z - self.z0) / self.step, 0, rows - 1).astype(np.int32)
        j = np.clip((x - self.x0) / self.step, 0, columns - 1).astype(np.int32)
        return self.grid.reshape(3, -1)[:, i * columns + j] * np.exp(-np.maximum(y - 4.5, 0) / 2.5)


@dataclass
class Setting:
    """All that samples are shaded with. lit: [faces] share of sun that reaches each; shadow, contact: [H * W]."""

    camera: Camera
    climate: Climate
    road: Road
    skyline: float
    """Sine of the elevation below which mirrored rays meet buildings or trees, not sky."""
    lit: np.ndarray
    shadow: np.ndarray
    contact: np.ndarray
    lamplight: LampLight | None
    beam: float
    """Strength of the headlights of the car that carries the camera; 0 is off."""
    cloud_shift: float


@dataclass
class _Seen:
    """Directions of N samples: ray [3, N] with forward part 1; mirrored: sine of the mirrored ray's elevation."""

    ray: np.ndarray
    sun: np.ndarray
    to_sky: np.ndarray
    to_eye: np.ndarray
    mirrored: np.ndarray
    touched: np.ndarray
    """Share of the sky that things standing on the ground keep from it."""


def _column(rgb: np.ndarray) -> np.ndarray:
    return rgb[:, None].astype(np.float32)


def _visible(setting: Setting, s: Surface, d: _Seen) -> np.ndarray:
    """Linear light [3, N] that reaches the visible camera."""
    climate, camera = setting.climate, setting.camera
    horizon, zenith = _column(climate.horizon_rgb), _column(climate.zenith_rgb)
    open_sky = s.open * (1 - 0.75 * d.touched)
    light = _column(climate.sky_rgb) * ((0.55 + 0.45 * d.to_sky) * open_sky)
    light += _column(climate.sun_rgb * 0.16 + climate.sky_rgb * 0.22) * (0.5 - 0.5 * d.to_sky)
    light += _column(climate.sun_rgb) * (d.sun * (0.35 + 0.65 * s.open))
    if setting.lamplight is not None:
        place = _column(camera.position) + d.ray * s.depth
        light += setting.lamplight.at(*place) * (0.7 + 0.3 * d.to_sky)
    if setting.beam:
        side = (d.ray[0] * camera.rotation[0, 0] + d.ray[2] * camera.rotation[0, 2]).astype(np.float32)
        cutoff = 0.06 + 0.94 / (1 + np.exp((d.ray[1] + 0.005) * 90))
        spread = np.exp(-((side / 0.28) ** 2)) + 0.25 * np.exp(-((side / 0.6) ** 2))
        far = s.depth + 3
        beam = setting.beam * cutoff * spread * np.sqrt(np.maximum(d.to_eye, 0.01)) / (far * np.sqrt(far))
        light += np.array([[1.0], [0.95], [0.82]], np.float32) * beam
    seen = s.rgb * light + s.glow
    glossy = np.flatnonzero(s.gloss > 0.01)
    if len(glossy):
        gloss, toward = s.gloss[glossy], d.mirrored[glossy]
        steep = (1 - np.clip(d.to_eye[glossy], 0, 1)) ** 2
        up = np.sqrt(np.clip(toward, 0, 1))
        above = horizon * (1 - up) + zenith * up
        below = _column(climate.sky_rgb * 0.22 + climate.sun_rgb * 0.05)
        clear = np.clip((toward - setting.skyline) * 6 + 0.5, 0.05, 1)
        seen[:, glossy] += (gloss + 0.6 * gloss * steep * steep) * (below + (above - below) * clear)
    veil = np.exp(-s.depth * np.float32(climate.haze))
    return seen * veil + horizon * np.float32(0.85 if climate.hours == "day" else 0.6) * (1 - veil)


def _apparent(setting: Setting, s: Surface, d: _Seen) -> np.ndarray:
    """Apparent temperature (K) [N]: emitted, plus mirrored sky or surroundings, through the air between."""
    climate = setting.climate
    own = s.kelvin + s.heat * (d.sun - 0.1 * d.touched) - s.cool * np.maximum(d.to_sky, 0) * (0.5 + 0.5 * s.open)
    overhead = climate.sky_kelvin(np.maximum(d.mirrored, 0), climate.clouds)
    clear = np.clip((d.mirrored - setting.skyline) * 5 + 0.5, 0, 1)
    around = climate.air + (overhead - climate.air) * clear
    grazing = (1 - np.clip(d.to_eye + 0.05, 0, 1)) ** 2
    emissivity = s.emissivity * (1 - 0.35 * grazing * grazing)
    leaving = emissivity * radiance(own) + (1 - emissivity) * radiance(around)
    path = np.exp(-s.depth / 2500.0)
    return brightness(leaving * path + radiance(np.float32(climate.air)) * (1 - path))


def shade(raster: Raster, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Linear visible light [3, H, W] and apparent temperature in kelvin [H, W]."""
    climate, camera = setting.climate, setting.camera
    table = face_table(raster.mesh, camera, climate.to_sun)
    visible = np.empty((3, len(raster.face)), np.float32)
    kelvin = np.empty(len(raster.face), np.float32)
    above, solid = np.flatnonzero(raster.face == 0), np.flatnonzero(raster.face)
    for start in range(0, len(above), _CHUNK):
        at = above[start : start + _CHUNK]
        ray = camera.rays(raster.u[at], raster.v[at])
        ray /= np.sqrt((ray * ray).sum(axis=0))
        visible[:, at], kelvin[at] = sky(climate, ray, setting.cloud_shift)
    for start in range(0, len(solid), _CHUNK):
        at = solid[start : start + _CHUNK]
        face, u, v = raster.face[at].astype(np.intp) - 1, raster.u[at], raster.v[at]
        s = surface(table, face, u, v, camera, climate, setting.road)
        to_sun, to_sky, to_eye = cosines(table, face, s)
        ray = camera.rays(u, v)
        dip = ray[1] / np.sqrt((ray * ray).sum(axis=0))
        pixel = v.astype(np.int32) * WIDTH + u.astype(np.int32)
        flat = (table.kinds[face] == Kind.GROUND) | (table.kinds[face] == Kind.PATCH)
        to_eye = np.where(flat, -dip, to_eye)
        sun = np.maximum(to_sun, 0) * np.where(flat, 1 - setting.shadow[pixel], setting.lit[face])
        mirrored = dip + 2 * np.maximum(to_eye, 0) * to_sky
        seen = _Seen(ray, sun, to_sky, to_eye, mirrored, np.where(flat, setting.contact[pixel], 0))
        visible[:, at], kelvin[at] = _visible(setting, s, seen), _apparent(setting, s, seen)
    return raster.resolve(visible), raster.resolve(kelvin)

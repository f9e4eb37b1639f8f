"""The sky for both cameras: gradient, glow and clouds, and how cold it looks."""

from __future__ import annotations

import numpy as np

from data.sample.climate import Climate
from data.sample.leaves import look_up


def _tint(*rgb: float) -> np.ndarray:
    return np.array(rgb, np.float32)[:, None]


def _clouds(climate: Climate, ray: np.ndarray, shift: float) -> np.ndarray:
    high = np.maximum(ray[1], 0.015)
    x, z = ray[0] / high * 34 + shift, ray[2] / high * 34
    field = look_up(1.7, x, z) + 0.25 * look_up(1.2, x * 3, z * 3)
    level = np.float32(np.interp(1 - climate.clouds, np.linspace(0, 1, 5), [-2.2, -0.6, 0, 0.6, 2.2]))
    soft = np.clip(ray[1] * 9, 0, 1)
    return np.clip((field - level) * 0.8 + 0.3, 0, 1) * soft + climate.clouds * (1 - soft)


def sky(climate: Climate, ray: np.ndarray, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Visible light [3, N] and apparent kelvin [N] along unit rays [3, N]; shift moves the clouds."""
    cloud = _clouds(climate, ray, shift)
    lift = np.clip(ray[1], 0, 1) ** 0.55
    horizon, zenith = (c[:, None].astype(np.float32) for c in (climate.horizon_rgb, climate.zenith_rgb))
    rgb = horizon * (1 - lift) + zenith * lift
    toward = np.clip(sum(np.float32(climate.to_sun[k]) * ray[k] for k in range(3)), 0, 1)
    mix = cloud * (0.25 + 0.75 * climate.clouds)
    if climate.hours == "day":
        rgb = rgb + _tint(1.0, 0.9, 0.7) * (0.5 * toward**24 + 1.5 * toward**250) * (1 - climate.clouds)
        tone, mix = _tint(1.0, 1.02, 1.05) * (0.95 + 0.25 * (cloud - 0.5)), cloud
    elif climate.hours == "dawn/dusk":
        rgb = rgb * 0.8 + _tint(0.9, 0.42, 0.12) * (toward**4 * (1 - lift) * (1 - 0.6 * climate.clouds))
        tone = _tint(0.52, 0.42, 0.42) * (0.7 + 0.5 * (1 - lift))
    else:
        tone = horizon * (0.6 + 0.4 * cloud)
    return rgb + (tone - rgb) * mix, climate.sky_kelvin(ray[1], cloud)

"""Time of day and weather: the light for the visible camera, the temperatures for the thermal one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.sample.mesh import RGB, Look

Hours = Literal["day", "dawn/dusk", "night"]
ZERO_CELSIUS = 273.15

# Per material: kelvin gained under a high sun if black, heat kept at dusk, heat kept at night, radiative cooling of
# a level surface under a clear sky, emissivity in 8-14 um. Orders of magnitude of road weather stations.
MATERIALS: dict[str, tuple[float, float, float, float, float]] = {
    "asphalt": (21.0, 7.0, 3.5, 2.0, 0.95),
    "concrete": (19.0, 5.0, 2.5, 2.0, 0.94),
    "grass": (6.0, -0.5, -2.0, 2.5, 0.98),
    "dirt": (14.0, 2.0, 0.0, 2.5, 0.96),
    "water": (3.0, 1.0, 0.5, 1.0, 0.97),
    "brick": (17.0, 4.5, 3.0, 1.5, 0.94),
    "plaster": (19.0, 3.5, 2.2, 1.5, 0.93),
    "wood": (16.0, 1.5, 0.5, 2.0, 0.93),
    "roof": (24.0, 1.0, -2.0, 5.0, 0.93),
    "glass": (4.0, 1.0, 0.5, 1.0, 0.86),
    "metal": (17.0, 0.5, -1.0, 3.0, 0.88),
    "bare_metal": (9.0, 0.5, -0.5, 2.0, 0.72),
    "plastic": (16.0, 1.0, 0.0, 2.5, 0.94),
    "rubber": (18.0, 2.0, 0.5, 1.0, 0.95),
    "leaf": (4.5, 0.4, -0.3, 1.5, 0.97),
    "bark": (8.0, 2.0, 1.5, 1.0, 0.95),
    "cloth": (11.0, 0.0, 0.0, 0.5, 0.96),
    "skin": (2.0, 0.0, 0.0, 0.0, 0.98),
    "hill": (7.0, 1.5, 1.0, 1.0, 0.97),
}


def _unit(v: list[float]) -> np.ndarray:
    return np.array(v) / np.linalg.norm(v)


@dataclass(frozen=True)
class Climate:
    """One moment's weather. Light is linear, 1 is white paper under a plain bright sky; temperatures kelvin."""

    hours: Hours
    weather: str
    season: str
    air: float
    clouds: float
    """Covered share of the sky, [0, 1]."""
    to_sun: np.ndarray
    sun_rgb: np.ndarray
    sky_rgb: np.ndarray
    """Light of the whole sky on a level surface."""
    zenith_rgb: np.ndarray
    horizon_rgb: np.ndarray
    sky_zenith: float
    """Apparent temperature straight up, in the thermal band."""
    sun_heat: float
    """1 under a high clear sun, 0 at night: scales the solar heating."""
    haze: float
    """Extinction of visible light, per metre."""
    wet: float
    lamps_on: bool

    def look(self, material: str, rgb: RGB, shift: float = 0.0, **rest: object) -> Look:
        """A surface of that material and colour (linear reflectance), shift kelvin off the usual."""
        gain, dusk, night, cooling, emissivity = MATERIALS[material]
        kept = {"day": 0.12 * gain * self.sun_heat, "dawn/dusk": dusk, "night": night}[self.hours]
        dark = 1.15 - 0.9 * (0.3 * rgb[0] + 0.5 * rgb[1] + 0.2 * rgb[2])
        clear = 1.0 - 0.85 * self.clouds
        values = {
            "kelvin": self.air + kept * (dark if self.hours == "day" else 1.0) + shift,
            "heat": gain * dark * self.sun_heat * (1.0 - 0.8 * self.clouds**2),
            "cool": cooling * clear,
            "emissivity": emissivity,
        }
        return Look(rgb=rgb, **(values | rest))  # type: ignore[arg-type]

    def skin(self, rgb: RGB, chill: float = 0.0) -> Look:
        """Bare skin: warmer than clothes, a little cooler in cold air."""
        kelvin = 306.6 - 0.10 * max(0.0, 298.0 - self.air) - chill
        return Look(rgb, kelvin, heat=1.0 * self.sun_heat, emissivity=0.98, grain=0.03)

    def cloth(self, rgb: RGB, warmth: float) -> Look:
        """Clothes that let warmth, in [0, 1], of the step from air to skin through."""
        kelvin = self.air + (305.5 - self.air) * warmth
        return self.look("cloth", rgb, grain=0.05, kelvin=kelvin)

    def sky_kelvin(self, elevation: np.ndarray, cover: np.ndarray | float) -> np.ndarray:
        """Apparent sky temperature; elevation: its sine, cover: cloud in [0, 1]; warmer near the horizon."""
        lift = np.clip(elevation, 0.0, 1.0) ** 0.45
        clear = self.air - 1.5 - (self.air - self.sky_zenith) * lift
        cloud = self.air - 3.0 - 11.0 * lift
        return clear + (cloud - clear) * cover


def _weather(rng: np.random.Generator) -> tuple[str, float]:
    name = str(rng.choice(["clear", "partly_cloudy", "cloudy"], p=[0.45, 0.3, 0.25]))
    return name, {"clear": 0.04, "partly_cloudy": rng.uniform(0.25, 0.5), "cloudy": rng.uniform(0.9, 1.0)}[name]


def draw_climate(rng: np.random.Generator, hours: Hours) -> Climate:
    """A plausible season and weather for the time of day."""
    season = str(rng.choice(["winter", "spring", "summer", "autumn"]))
    weather, clouds = _weather(rng)
    mean = {"winter": 4.0, "spring": 13.0, "summer": 21.0, "autumn": 12.0}[season]
    air = ZERO_CELSIUS + mean + rng.normal(0, 2.0) + {"day": 2.5, "dawn/dusk": 0.0, "night": -3.5}[hours]
    height = {"day": rng.uniform(0.38, 1.0), "dawn/dusk": rng.uniform(0.0, 0.05), "night": -0.5}[hours]
    turn = rng.uniform(0, 2 * np.pi)
    to_sun = _unit([np.sin(turn) * np.cos(height), np.sin(height), np.cos(turn) * np.cos(height)])
    bright = 1.0 - clouds**1.5
    if hours == "day":
        sun = np.array([1.0, 0.93, 0.80]) * 2.6 * bright * (0.5 + 0.5 * np.sin(height))
        sky = np.array([0.55, 0.66, 0.84]) * 0.62 + np.array([0.5, 0.5, 0.5]) * clouds
        zenith = np.array([0.20, 0.40, 0.85]) * (1 - clouds) + np.array([0.78, 0.82, 0.88]) * clouds
        horizon = np.array([0.95, 1.05, 1.15]) * (1 - clouds) + np.array([1.0, 1.03, 1.06]) * clouds
        heat = rng.uniform(0.55, 1.0) * np.sin(height) ** 0.7 * (1.0 - 0.85 * clouds)
    elif hours == "dawn/dusk":
        warm = rng.uniform(0.4, 1.0) * (1 - 0.7 * clouds)
        sun = np.array([1.0, 0.55, 0.25]) * 0.05 * bright
        sky = np.array([0.24, 0.23, 0.30]) * 0.40
        zenith = np.array([0.10, 0.15, 0.30]) * (1 - clouds) + np.array([0.22, 0.22, 0.27]) * clouds
        horizon = np.array([0.40, 0.36, 0.38]) + warm * np.array([0.55, 0.16, -0.08])
        heat = 0.02
    else:
        sun = np.zeros(3)
        sky = np.array([0.010, 0.011, 0.016]) * rng.uniform(0.6, 1.6)
        zenith = np.array([0.006, 0.008, 0.016]) + clouds * np.array([0.014, 0.011, 0.010])
        horizon = np.array([0.030, 0.026, 0.030]) + clouds * np.array([0.03, 0.02, 0.012])
        heat = 0.0
    return Climate(
        hours, weather, season, float(air), float(clouds), to_sun, sun, sky, zenith, horizon,
        sky_zenith=float(air - rng.uniform(38.0, 52.0)), sun_heat=float(heat),
        haze=float(rng.choice([1 / 2500, 1 / 900, 1 / 350], p=[0.4, 0.4, 0.2])),
        wet=float(rng.uniform(0.4, 1.0) * (rng.uniform() < 0.3) * (clouds > 0.3)), lamps_on=hours != "day",
    )  # fmt: skip


# 8-14 um band radiance as one effective wavelength, 10.5 um: c2 / wavelength in kelvin. Invertible in closed form.
_BAND = 1370.0


def radiance(kelvin: np.ndarray) -> np.ndarray:
    """Black-body radiance in the thermal band, arbitrary unit."""
    return 1.0 / np.expm1(_BAND / kelvin)


def brightness(radiance: np.ndarray) -> np.ndarray:
    """The temperature (K) of the black body with that radiance."""
    return _BAND / np.log1p(1.0 / radiance)

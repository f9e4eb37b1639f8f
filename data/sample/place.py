"""A street at one time of day: its style, weather, road and lamps, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.sample.climate import Climate, Hours, draw_climate
from data.sample.mesh import RGB
from data.sample.road import Road

Style = Literal["canyon", "shops", "suburb", "park", "open"]
SCENES: dict[str, str] = {
    "canyon": "city_street", "shops": "city_street", "suburb": "residential", "park": "city_street", "open": "highway",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A street at one time of day; seed: all that stands there follows from it."""

    seed: int
    style: Style
    climate: Climate
    road: Road
    lamp_tint: RGB
    lit: float
    """Share of lit windows."""
    palms: bool
    lamp_side: tuple[bool, bool]
    poles: bool
    signal: int
    """State of the traffic lights: 0 red, 1 amber, 2 green."""

    def rng(self, *key: int) -> np.random.Generator:
        """The generator of one item of this place."""
        return np.random.default_rng([self.seed, *key])

    @property
    def edge(self) -> float:
        """Metres from the middle of the road to where plots begin."""
        return self.road.half_width + 0.22 + self.road.walk


def draw_place(seed: int, hours: Hours | None = None) -> Place:
    """A street for the seed, at a time of day of its own choice unless hours says."""
    rng = np.random.default_rng([seed, 1])
    times: list[Hours] = ["day", "dawn/dusk", "night"]
    pick = times[int(rng.choice(3, p=[0.5, 0.2, 0.3]))]
    climate = draw_climate(rng, hours or pick)
    style = str(rng.choice(["canyon", "shops", "suburb", "park", "open"], p=[0.24, 0.22, 0.27, 0.13, 0.14]))
    town = style in ("canyon", "shops", "park")
    lanes = int(rng.choice([1, 2], p=[0.7, 0.3])) if style != "suburb" else 1
    parking = style in ("canyon", "shops") and rng.uniform() < 0.75 or style == "park" and rng.uniform() < 0.4
    half = 3.3 * lanes + (2.3 if parking else 0.5) + (1.7 if style == "suburb" else 0.0)
    crossing = (
        float(rng.uniform(22, 60))
        if town and rng.uniform() < 0.6 or style == "suburb" and rng.uniform() < 0.25
        else None
    )
    cross_half = float(rng.choice([3.5, 5.0, 7.0]))
    zebras: list[float] = []
    if crossing is not None and town:
        zebras = [crossing - cross_half - 4.2, crossing + cross_half + 1.2]
    elif town and rng.uniform() < 0.5:
        zebras = [float(rng.uniform(12, 35))]
    tone = rng.uniform(0.75, 1.35)
    grey = np.array([0.115, 0.115, 0.118]) * tone * rng.uniform(0.97, 1.03, 3)
    grass: RGB = {
        "summer": (0.11, 0.15, 0.05),
        "winter": (0.13, 0.13, 0.07),
        "spring": (0.08, 0.15, 0.035),
        "autumn": (0.13, 0.13, 0.05),
    }[climate.season]
    walk = float(rng.uniform(2.4, 4.2)) if town else float(rng.uniform(1.3, 1.8)) if style == "suburb" else 0.0
    concrete = tuple(np.array([0.30, 0.29, 0.27]) * rng.uniform(0.8, 1.25))
    grassy = {"canyon": (False, False), "shops": (False, False), "park": (bool(rng.uniform() < 0.5), True)}.get(
        style, (True, True)
    )
    lawn = climate.look("grass", grass, rng.normal(0, 0.4))
    yard = climate.look("concrete", tuple(np.array(concrete) * 0.85), -0.2)
    road = Road(
        half,
        walk,
        float(rng.normal(0, 1) / (9000 if town else 2500)),
        lanes,
        bool(parking),
        str(rng.choice(["double_yellow", "dashed", "none"], p=[0.4, 0.4, 0.2] if style != "open" else [0.6, 0.4, 0.0])),
        crossing,
        cross_half,
        tuple(zebras),
        climate.look("asphalt", tuple(grey), 0.6),
        climate.look("concrete", concrete, 0.2),
        climate.look("concrete", tuple(np.array(concrete) * 1.25), 0.3),
        lawn if grassy[0] else yard,
        lawn if grassy[1] else yard,
        climate.look("plastic", (0.62, 0.62, 0.60)),
        float(rng.uniform(0.2, 1.1)),
        float(rng.choice([1.2, 1.5, 2.0])),
        grassy,
    )
    tints: list[RGB] = [(1.0, 0.62, 0.22), (1.0, 0.72, 0.36), (1.0, 0.88, 0.68), (0.85, 0.95, 1.0)]
    sides = rng.choice(3)
    return Place(
        seed,
        style,
        climate,
        road,
        tints[rng.integers(4)],  # type: ignore[arg-type]
        float(rng.uniform(0.25, 0.6)) if climate.hours == "dawn/dusk" else float(rng.uniform(0.12, 0.45)),
        bool(climate.season == "summer" and rng.uniform() < 0.5),
        (sides != 0 and style != "open", sides != 1 and style != "open"),
        bool(style in ("suburb", "open") and rng.uniform() < 0.7),
        int(rng.choice([0, 2, 1], p=[0.5, 0.4, 0.1])),
    )

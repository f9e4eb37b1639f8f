"""The kinds of vehicles and their measures."""

from __future__ import annotations

from dataclasses import dataclass

Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Shape:
    """A vehicle along z (front at +length / 2), metres. deck, cabin: (z, y) as shares of length and height."""

    category: str
    length: float
    width: float
    height: float
    wheel: float
    axles: tuple[float, ...]
    sill: float
    """Height of the lower edge of the body, m."""
    deck: Outline
    """Upper edge of the body below the windows, from rear to front."""
    cabin: Outline
    """Rear foot, rear top, front top, front foot."""
    inset: float = 0.17
    """How much narrower than the body the roof is on each side, m."""
    taper: float = 0.15
    """How much narrower the ends are than the middle, share."""
    solid: bool = False
    """No rear side windows."""
    box: tuple[float, float, float] | None = None
    """A cargo box: rear and front end as shares of length, height in m."""


SHAPES: dict[str, Shape] = {
    "sedan": Shape("car", 4.65, 1.82, 1.45, 0.32, (-0.29, 0.30), 0.24,
        ((-0.5, 0.60), (-0.47, 0.69), (-0.32, 0.71), (0.17, 0.66), (0.40, 0.56), (0.47, 0.50), (0.5, 0.42)),
        ((-0.36, 0.70), (-0.19, 0.985), (0.03, 1.0), (0.20, 0.655))),
    "hatch": Shape("car", 4.05, 1.76, 1.50, 0.31, (-0.31, 0.31), 0.24,
        ((-0.5, 0.54), (-0.48, 0.63), (0.20, 0.62), (0.40, 0.55), (0.47, 0.49), (0.5, 0.40)),
        ((-0.475, 0.63), (-0.36, 0.98), (0.02, 1.0), (0.23, 0.61))),
    "suv": Shape("car", 4.7, 1.92, 1.76, 0.37, (-0.30, 0.30), 0.30,
        ((-0.5, 0.55), (-0.485, 0.63), (0.20, 0.625), (0.42, 0.58), (0.48, 0.52), (0.5, 0.43)),
        ((-0.48, 0.63), (-0.42, 0.97), (0.03, 1.0), (0.21, 0.62)), 0.16),
    "estate": Shape("car", 4.75, 1.83, 1.48, 0.32, (-0.29, 0.30), 0.24,
        ((-0.5, 0.58), (-0.48, 0.66), (0.17, 0.65), (0.40, 0.56), (0.47, 0.50), (0.5, 0.42)),
        ((-0.475, 0.66), (-0.40, 0.97), (0.03, 1.0), (0.20, 0.645))),
    "van": Shape("car", 5.3, 2.0, 2.25, 0.35, (-0.31, 0.33), 0.30,
        ((-0.5, 0.50), (-0.49, 0.52), (0.34, 0.515), (0.45, 0.44), (0.49, 0.40), (0.5, 0.33)),
        ((-0.495, 0.52), (-0.485, 0.985), (0.15, 1.0), (0.36, 0.51)), 0.12, 0.10, True),
    "pickup": Shape("car", 5.5, 1.96, 1.82, 0.39, (-0.31, 0.31), 0.36,
        ((-0.5, 0.60), (-0.485, 0.62), (0.20, 0.61), (0.44, 0.58), (0.485, 0.53), (0.5, 0.45)),
        ((-0.14, 0.615), (-0.09, 0.97), (0.06, 1.0), (0.21, 0.605)), 0.16, 0.08),
    "bus": Shape("bus", 11.5, 2.5, 3.1, 0.48, (-0.30, 0.30), 0.32,
        ((-0.5, 0.40), (-0.495, 0.42), (0.495, 0.42), (0.5, 0.40)),
        ((-0.497, 0.42), (-0.49, 0.985), (0.48, 1.0), (0.498, 0.42)), 0.06, 0.03),
    "truck": Shape("truck", 8.0, 2.4, 2.5, 0.48, (-0.30, -0.16, 0.34), 0.45,
        ((-0.5, 0.34), (0.25, 0.35), (0.27, 0.47), (0.48, 0.46), (0.5, 0.40)),
        ((0.26, 0.47), (0.265, 0.98), (0.43, 1.0), (0.495, 0.46)), 0.08, 0.04, True, (-0.5, 0.24, 3.35)),
}  # fmt: skip

"""What plots share: how far an axis goes, its ticks and their labels, the colours of series."""

from __future__ import annotations

import math
from collections.abc import Iterable

COLOURS = 6  # .s0 to .s5 in gallery.css; later series repeat them dashed


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], low < high."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough * (1 - 1e-9))
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high], 0 < low < high; 1-2-5 or linear ticks where they are fewer than 3."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**k for k in exponents for factor in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            return ticks[:: 1 + (len(ticks) - 1) // 7]
    return [tick for tick in linear_ticks(low, high) if tick > 0]


def tick_label(value: float) -> str:
    """E.g. 0.05, 250, 20k, 1.5M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if size * (1 if unit == "M" else 10) <= abs(value) < 1e9:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def spread(values: Iterable[float]) -> tuple[float, float]:
    """Lowest and highest value, moved apart where they are (nearly) the same."""
    values = list(values)
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        apart = 0.1 * abs(low) or 1.0
        return low - apart, high + apart
    return low, high


def series_class(index: int) -> str:
    """Classes of gallery.css that tell the index-th series from the others."""
    return f"s{index % COLOURS} d{index // COLOURS % 3}"

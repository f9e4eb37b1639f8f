"""Pictures of more than 8 bits: counts of a thermal camera, or of a visible one, as grey levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from options.data import DataOptions

COUNT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow modes of more than 8 bits, which Pillow's own convert() would clip to white."""

_DEPTHS = (255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True)
class ThermalRange:
    """How 16-bit counts become grey. low, high in kelvin; percentiles in [0, 100]."""

    mode: Literal["kelvin", "percentile"] = "kelvin"
    low: float = 253.15
    high: float = 323.15
    kelvin_per_count: float = 0.04
    percentile_low: float = 1.0
    percentile_high: float = 99.0

    @classmethod
    def from_options(cls, options: DataOptions) -> ThermalRange:
        """The range that the data options ask for."""
        return cls(
            mode=options.thermal_range,
            low=options.kelvin_low,
            high=options.kelvin_high,
            kelvin_per_count=options.kelvin_per_count,
            percentile_low=options.percentile_low,
            percentile_high=options.percentile_high,
        )


def bytes_from_counts(counts: np.ndarray) -> np.ndarray:
    """uint8 of a visible picture of more than 8 bits; full scale: the smallest camera depth to hold it."""
    values = np.nan_to_num(counts.astype(np.float64))
    top = values.max()
    fractions = counts.dtype.kind == "f" and top <= 1
    full = 1.0 if fractions else next((depth for depth in _DEPTHS if top <= depth), top)
    return np.rint(np.clip(values / full, 0, 1) * 255).astype(np.uint8)


def grey_from_counts(counts: np.ndarray, thermal: ThermalRange) -> np.ndarray:
    """uint16 over the window's full scale; what lies outside saturates at the window's ends.
    ValueError if the counts are no temperatures."""
    values = np.nan_to_num(counts.astype(np.float32))
    if thermal.mode == "percentile":
        low, high = np.percentile(values, (thermal.percentile_low, thermal.percentile_high))
    else:
        values = values * np.float32(thermal.kelvin_per_count)
        middle = float(np.median(values))
        if not 150 <= middle <= 1000:
            raise ValueError(
                f"median {middle:.0f} K at {thermal.kelvin_per_count:g} kelvin per count is no temperature: "
                "give --kelvin_per_count (0.01 for centikelvin, 1 for kelvin) or --thermal_range percentile",
            )
        low, high = thermal.low, thermal.high
    span = max(float(high) - float(low), 1e-6)
    return np.rint(np.clip((values - low) / span, 0, 1) * 65535).astype(np.uint16)

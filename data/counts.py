"""Pictures of more than 8 bits: counts of a thermal camera, or of a visible one, as grey levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from options.data import DataOptions
from util.images import standard_exposure

COUNT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow modes of more than 8 bits, which Pillow's own convert() would clip to white."""

_DEPTHS = (255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True)
class ThermalRange:
    """How 16-bit counts become grey. low, high in kelvin; percentiles in [0, 100]. eight_bit: whether 8-bit pictures
    are stretched between the percentiles too; standard: whether both kinds are brought to the standard exposure."""

    mode: Literal["kelvin", "percentile"] = "kelvin"
    low: float = 253.15
    high: float = 323.15
    kelvin_per_count: float = 0.04
    percentile_low: float = 1.0
    percentile_high: float = 99.0
    kelvin_offset: float = 0.0
    eight_bit: Literal["asis", "percentile", "standard"] = "asis"

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
            kelvin_offset=options.kelvin_offset,
            eight_bit=options.infrared_range,
        )

    def text(self) -> str:
        """Say in words to which range images are brought."""
        percentiles = f"between the percentiles {self.percentile_low:g} and {self.percentile_high:g}"
        eight = {"asis": "as saved", "percentile": percentiles, "standard": "in the standard exposure"}[self.eight_bit]
        counts = percentiles if self.mode == "percentile" else f"from {self.low:g} to {self.high:g} K"
        return f"8-bit ones {eight}, counts {counts}"


def white_of(top: float, fractions: bool) -> float:
    """The value shown white in visible pictures of more than 8 bits whose largest is `top`: that of the smallest camera
    depth to hold it, or 1. fractions: whether they are floats."""
    return 1.0 if fractions and top <= 1 else next((depth for depth in _DEPTHS if top <= depth), top)


def largest(counts: np.ndarray) -> float:
    """The largest number of an array; 0 where it has none."""
    return float(np.max(counts, where=np.isfinite(counts), initial=0))


def bytes_from_counts(counts: np.ndarray, white: float | None = None) -> np.ndarray:
    """uint8 of a visible picture of more than 8 bits. white: the value shown white; None for that of its largest."""
    if white is None:
        white = white_of(largest(counts), counts.dtype.kind == "f")
    return np.rint(np.clip(np.nan_to_num(counts.astype(np.float64)) / white, 0, 1) * 255).astype(np.uint8)


def grey_from_counts(counts: np.ndarray, thermal: ThermalRange) -> np.ndarray:
    """uint16 over the window's full scale; what lies outside saturates at the window's ends, and what is no number is
    black. ValueError if the counts are no temperatures."""
    values = counts.astype(np.float32)
    valid = values[np.isfinite(values)]
    if not valid.size:
        raise ValueError("holds no number: all is NaN or declared to be no data")
    if thermal.mode == "percentile":
        low, high = np.percentile(valid, (thermal.percentile_low, thermal.percentile_high))
    else:
        scale, offset = np.float32(thermal.kelvin_per_count), np.float32(thermal.kelvin_offset)
        values = values * scale + offset
        middle = float(np.median(valid)) * float(scale) + float(offset)
        if not 150 <= middle <= 1000:
            raise ValueError(
                f"median {middle:.0f} K at {thermal.kelvin_per_count:g} kelvin per count is no temperature: "
                "give --kelvin_per_count (0.01 for centikelvin, 1 for kelvin; for degrees Celsius 1, and "
                "--kelvin_offset 273.15) or --thermal_range percentile",
            )
        low, high = thermal.low, thermal.high
    span = max(float(high) - float(low), 1e-6)
    values = np.where(np.isnan(values), np.float32(low), values)
    shares = np.clip((values - low) / span, 0, 1)
    if thermal.eight_bit == "standard":
        shares = _standard(shares)
    return np.rint(shares * 65535).astype(np.uint16)


def stretched(grey: np.ndarray, thermal: ThermalRange) -> np.ndarray:
    """uint8 [H, W] of an 8-bit picture, stretched between its percentiles or exposed anew, if the range says so."""
    if thermal.eight_bit == "asis":
        return grey
    if thermal.eight_bit == "standard":
        return np.rint(_standard(grey / np.float32(255)) * 255).astype(np.uint8)
    low, high = np.percentile(grey, (thermal.percentile_low, thermal.percentile_high))
    levels = (np.arange(256) - low) / max(float(high) - float(low), 1.0)
    return np.rint(np.clip(levels, 0, 1) * 255).astype(np.uint8)[grey]


def _standard(shares: np.ndarray) -> np.ndarray:
    """[H, W] in [0, 1] -> float32 in [0, 1], in the standard exposure."""
    levels = torch.from_numpy(shares.astype(np.float32))[None, None] * 2 - 1
    return standard_exposure(levels)[0, 0].add(1).div(2).numpy()

"""Numbers as a reader wants them: four digits, and equally many decimals in a column."""

from __future__ import annotations

import math
from collections.abc import Sequence


def format_number(value: float) -> str:
    """Four significant digits, or n/a, ∞, -∞."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else "∞" if value > 0 else "-∞"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.4g}"


def format_column(cells: Sequence[str | float]) -> list[str]:
    """Text as it is; numbers as by format_number, then with equally many decimals: four digits of the largest, or two
    decimals."""
    texts = [cell if isinstance(cell, str) else format_number(cell) for cell in cells]
    plain = [not isinstance(cell, str) and math.isfinite(cell) for cell in cells]
    plain = [p and "e" not in text for p, text in zip(plain, texts, strict=True)]
    decimals = max((len(t.partition(".")[2]) for t, p in zip(texts, plain, strict=True) if p), default=0)
    largest = max((abs(cell) for cell, p in zip(cells, plain, strict=True) if p), default=0.0)
    decimals = min(decimals, max(2, 3 - math.floor(math.log10(largest)))) if largest else 0
    return [f"{c:.{decimals}f}" if p else t for c, t, p in zip(cells, texts, plain, strict=True)]

"""Text as a reader wants it: counted nouns, names in one line, durations, numbers of four digits, metrics as papers
spell them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

METRIC_TITLES = {"psnr": "PSNR", "ssim": "SSIM", "mae": "MAE", "cc": "CC", "edge_cc": "edge CC"}


def plural(count: int, noun: str) -> str:
    """Count in words, e.g. 1 image, 2 images, 3 boxes."""
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith("x") else "s")


def one_line(text: object) -> str:
    """A text, such as a path, as it stands in a line: control characters and ends of lines as \\n and so on."""
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda m: m[0].encode("unicode_escape").decode(), str(text))


def reason(error: Exception, longest: int = 120) -> str:
    """What an error says, in one line: its first that is no heading, or its type's name where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[1] if lines[0].endswith(":") and lines[1:] else lines[0])[:longest]


def first_few(names: Iterable[str], limit: int = 3) -> str:
    """The first names, and dots where there are more."""
    names = [one_line(name) for name in names]
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def metric_title(metric: str) -> str:
    """How pages and tables spell a metric, whose name in options and JSON may be in lower case."""
    return METRIC_TITLES.get(metric, metric)


def duration(seconds: float) -> str:
    """Write seconds as a person would, e.g. 42 s, 3 min 5 s, 2 h 10 min."""
    seconds = int(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


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
    largest = max((abs(float(cell)) for cell, p in zip(cells, plain, strict=True) if p), default=0.0)
    decimals = min(decimals, max(2, 3 - math.floor(math.log10(largest)))) if largest else 0
    return [f"{c:.{decimals}f}" if p else t for c, t, p in zip(cells, texts, plain, strict=True)]

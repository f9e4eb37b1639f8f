"""Words as a reader wants them: counted nouns, and metrics as papers spell them."""

from __future__ import annotations

import re
from collections.abc import Iterable

METRIC_TITLES = {"psnr": "PSNR", "ssim": "SSIM", "mae": "MAE", "cc": "CC", "edge_cc": "edge CC"}


def plural(count: int, noun: str) -> str:
    """E.g. 1 image, 2 images, 3 boxes."""
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith("x") else "s")


def one_line(text: object) -> str:
    """A text, such as a path, as it stands in a line: control characters and ends of lines as \\n and so on."""
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda m: m[0].encode("unicode_escape").decode(), str(text))


def first_few(names: Iterable[str], limit: int = 3) -> str:
    """The first names, and dots where there are more."""
    names = [one_line(name) for name in names]
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def metric_title(metric: str) -> str:
    """How pages and tables spell a metric, whose name in options and JSON may be in lower case."""
    return METRIC_TITLES.get(metric, metric)

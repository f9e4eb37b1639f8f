"""Scores of generated infrared images on disk, of one method or several, beside the baselines."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from data.counts import ThermalRange
from data.images import ImageError, Source, pixel_size, read_infrared, read_visible
from data.output.generated import copy_small
from data.threads import in_threads
from data.transforms import as_tensor, grey_tensor, resize
from data.visible_images import LARGE
from util.colour import luminance
from util.files import remove_parts
from util.metrics.generation import cc, edge_cc, mae, ms_ssim, psnr, ssim
from util.metrics.learned import LPIPS_SIDE, LearnedMetrics, features_of, fid_warning, lpips_scores, set_scores
from util.metrics.score_sheet import ScoreSheet
from util.metrics.strips import by_strips
from util.pages.evaluation_page import shown_images, write_evaluation_page
from util.text import plural

HIGHER_IS_BETTER = {
    "PSNR": True, "SSIM": True, "MS-SSIM": True, "MAE": False, "CC": True, "edge CC": True, "LPIPS": False,
    "FID": False, "KID": False,
}  # fmt: skip
SMALLEST_SIDES = {"SSIM": 11, "edge CC": 3, "MS-SSIM": 161, "LPIPS": LPIPS_SIDE}
OF_SETS = ("FID", "KID")
TRIVIAL = ("luminance", "inverted luminance", "constant")
CONVENTION = (
    "8-bit grey levels, at the real image's size; PSNR and SSIM peak 255; SSIM Gaussian 11x11 sigma 1.5; MS-SSIM five "
    "scales, least side 161; LPIPS AlexNet, above 16 megapixels the mean over strips; MAE in grey levels; CC Pearson "
    "correlation of grey levels, edge CC of Sobel magnitudes: none of a constant image"
)


@dataclass(frozen=True)
class Case:
    """A real image, its visible partner where it has one, and what each method made of it."""

    stem: str
    real: Source
    generated: Mapping[str, Source | Path]
    visible: Source | None = None


@dataclass
class Scored:
    """What score_cases found; a set's features by method, the real ones under None."""

    sheet: ScoreSheet
    errors: list[ImageError] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def is_large(source: Source) -> bool:
    """Whether an image is so large that it is scored alone. ImageError if unreadable."""
    width, height = pixel_size(source.path)
    return width * height > LARGE


def mean_grey(cases: Sequence[Case], thermal: ThermalRange, num_threads: int | None) -> float:
    """Mean grey level, 0..255, of the real images; of those that can be read."""

    def total(case: Case) -> tuple[float, int]:
        try:
            image = _real(case, thermal)
        except ImageError:
            return 0.0, 0
        return float(image.numpy().sum(dtype="float64")), image.numel()

    sums = [found for _, found in in_threads(total, cases, num_threads, "mean grey")]
    count = sum(pixels for _, pixels in sums)
    return sum(grey for grey, _ in sums) / count if count else 127.5


def _real(case: Case, thermal: ThermalRange) -> torch.Tensor:
    return grey_tensor(read_infrared(case.real, thermal))


def _made(source: Source | Path, thermal: ThermalRange) -> torch.Tensor:
    """uint8 [1, H, W] of an image that was generated: as it was written, whatever range 8-bit real ones come to."""
    return grey_tensor(read_infrared(source, replace(thermal, eight_bit="asis")))


def _grey(source: Source | Path, thermal: ThermalRange, size: tuple[int, int]) -> tuple[torch.Tensor, bool]:
    """uint8 [1, H, W] of the size, and whether it had to be resized."""
    image = _made(source, thermal)
    return resize(image, size), tuple(image.shape[-2:]) != size


def candidates(
    case: Case, thermal: ThermalRange, constant: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor], bool]:
    """Real uint8 [1, H, W]; method or baseline -> uint8 [1, H, W] of its size; whether any was resized. ImageError
    for what cannot be read."""
    real = _real(case, thermal)
    size = tuple(real.shape[-2:])
    found = {name: _grey(source, thermal, size) for name, source in case.generated.items()}
    rows = {name: image for name, (image, _) in found.items()}
    if case.visible is not None:
        visible = resize(as_tensor(read_visible(case.visible)), size)
        light = by_strips(lambda part: luminance(part.float()).round().to(torch.uint8), visible)
        rows |= {"luminance": light, "inverted luminance": 255 - light}
    rows["constant"] = torch.full_like(real, round(constant))
    return real, rows, any(resized for _, resized in found.values())


def image_scores(image: torch.Tensor, real: torch.Tensor, learned: LearnedMetrics) -> dict[str, float]:
    """Every metric of an image, of [1, 1, H, W] in 0..255, twice; nan where it has none (too small, constant)."""
    functions = {"PSNR": psnr, "SSIM": ssim, "MS-SSIM": ms_ssim, "MAE": mae, "CC": cc, "edge CC": edge_cc}
    if learned.lpips is not None:
        functions["LPIPS"] = lambda a, b: lpips_scores(learned, a, b)
    large = {name: min(real.shape[-2:]) >= SMALLEST_SIDES.get(name, 1) for name in functions}
    return {name: float(f(image, real)[0]) if large[name] else math.nan for name, f in functions.items()}


def score_cases(
    cases: Sequence[Case],
    thermal: ThermalRange,
    learned: LearnedMetrics,
    constant: float,
    device: torch.device,
    num_threads: int | None,
) -> Scored:
    """All cases; constant: grey level, 0..255. Those of which a file cannot be read are left out, in `errors`.
    ValueError where that is all."""
    scored = Scored(ScoreSheet(HIGHER_IS_BETTER, TRIVIAL))
    features: dict[str | None, list[torch.Tensor]] = {}
    small: dict[str, int] = {}
    one_large = threading.Lock()  # several at once would not fit in memory

    def score(case: Case) -> tuple[Any, ...] | ImageError:
        try:
            with one_large if is_large(case.real) else nullcontext():
                return score_one(case)
        except ImageError as error:
            return error

    def score_one(case: Case) -> tuple[Any, ...]:
        real, rows, resized = candidates(case, thermal, constant)
        real, rows = real.to(device)[None], {name: image.to(device)[None] for name, image in rows.items()}
        scores = {name: image_scores(image, real, learned) for name, image in rows.items()}
        found = {}
        if learned.inception is not None:
            found = {name: features_of(learned, image) for name, image in ({None: real} | rows).items()}
        return scores, found, resized, tuple(real.shape[-2:])

    sizes = set()
    with torch.inference_mode():
        for case, result in in_threads(score, cases, num_threads, "scoring"):
            if isinstance(result, ImageError):
                scored.errors.append(result)
                continue
            scores, found, resized, size = result
            sizes.add(size)
            for name, values in scores.items():
                scored.sheet.add(name, case.stem, values)
            for name, row in found.items():
                features.setdefault(name, []).append(row)
            scored.resized += [case.stem] if resized else []
            for metric, side in SMALLEST_SIDES.items():
                small[metric] = small.get(metric, 0) + (min(size) < side)
    if not scored.sheet.rows:
        raise ValueError(f"none of {len(cases)} images could be scored: {scored.errors[0]}")
    _explain(scored, learned, features, small, sizes)
    return scored


def _explain(
    scored: Scored,
    learned: LearnedMetrics,
    features: Mapping[str | None, Sequence[torch.Tensor]],
    small: Mapping[str, int],
    sizes: set[tuple[int, int]],
) -> None:
    """FID and KID of the sets, what they depend on, and why values are missing."""
    sheet, count = scored.sheet, len(next(iter(scored.sheet.rows.values())))
    stacked = {name: torch.cat(list(rows)) for name, rows in features.items()}
    for name in sheet.rows:
        both = set_scores(stacked[name], stacked[None]) if stacked else dict.fromkeys(OF_SETS, math.nan)
        sheet.of_sets[name] = both
    for metric, number in small.items():
        if number and metric not in learned.unavailable:
            side = SMALLEST_SIDES[metric]
            sheet.why_none[metric] = f"{number} of {count} images have a side of less than {side} pixels"
    sheet.why_none |= {metric: f"unavailable: {why}" for metric, why in learned.unavailable.items()}
    scored.facts = {"convention": CONVENTION, "range": "as saved, 8 bit"}
    if learned.about:
        scored.facts["learned"] = learned.about
    if stacked:
        sides = sorted({f"{width}x{height}" for height, width in sizes})
        facts = {
            "generated images": count,
            "real images": count,
            "sizes": sides[:5],
            "features": stacked[None].shape[1],
        }
        scored.facts["FID depends on"] = facts | learned.about.get("FID", {})
        if count < 2:
            sheet.why_none |= dict.fromkeys(OF_SETS, "needs at least two images")
        elif warning := fid_warning(count, count, stacked[None].shape[1]):
            scored.notes.append(warning)


def print_scores(scored: Scored, constant: str) -> None:
    """The table, the ranking, what FID depends on, and what is missing."""
    sheet = scored.sheet
    images = plural(len(next(iter(sheet.rows.values()))), "image")
    print(f"\nmean ± standard deviation over {images}; constant: {constant}\n")
    print(sheet.text())
    if len(sheet.methods) > 1:
        print(f"\n{sheet.ranking_text()}")
    if depends := scored.facts.get("FID depends on"):
        print("FID       of " + ", ".join(f"{name} {_short(value)}" for name, value in depends.items()))
    for note in scored.notes:
        print(f"note      {note}")
    if scored.resized:
        print(f"note      generated images were resized to their real image's size in {len(scored.resized)} cases")


def _short(value: Any) -> str:
    text = " ".join(value) if isinstance(value, list) else str(value)
    return text[:12] if len(text) == 64 else text


def write_scores(
    out: Path, title: str, scored: Scored, cases: Sequence[Case], thermal: ThermalRange, facts: Mapping[str, Any]
) -> Path:
    """out (.json), .csv and .html beside it, and small copies of the images that the page shows; returns the page."""
    sheet, page = scored.sheet, out.with_suffix(".html")
    sheet.write(out, scored.facts | dict(facts))
    shown, copies, images = shown_images(sheet), {}, out.with_name(f"{out.stem}_images")
    for folder in images.glob("*"):
        remove_parts(folder)
    for case in cases:
        if case.stem not in shown:
            continue
        pictures = {} if case.visible is None else {"visible": as_tensor(read_visible(case.visible))}
        pictures |= {name: _made(source, thermal) for name, source in case.generated.items()}
        pictures["real"] = _real(case, thermal)
        for label, picture in pictures.items():
            path = images / label / f"{case.stem}.jpg"
            copy_small(path, picture)
            copies.setdefault(case.stem, {})[label] = path
    about = {name: str(value) for name, value in (scored.facts | dict(facts)).items() if not isinstance(value, Mapping)}
    if depends := scored.facts.get("FID depends on"):
        about["FID depends on"] = ", ".join(f"{name} {_short(value)}" for name, value in depends.items())
    about |= {"note": "; ".join(scored.notes)} if scored.notes else {}
    write_evaluation_page(page, title, sheet, copies.__getitem__, about)
    return page

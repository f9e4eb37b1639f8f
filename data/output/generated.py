"""What test.py writes: generated images, copies of inputs for the gallery, scores; and what of it is there already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from data.images import ImageError, to_uint8, write_image
from data.inputs import Job
from data.output.finished import inputs_of, remove_forgotten, stands
from data.output.made import Made, are_scores
from data.transforms import resize
from data.visible_images import BATCH_PIXELS
from util.colour import grey_bytes
from util.device import Compute
from util.files import remove_parts
from util.metrics.generation import METRICS, Generate, generation_scores
from util.metrics.score_sheet import mean_and_std
from util.metrics.strips import by_strips
from util.pages.image_rows import Row
from util.text import metric_title

PREVIEW_WIDTH = 640  # pixels; copies for the gallery are no wider
PREVIEW_HEIGHT = 16384  # nor higher: JPEG ends at 65,500, and browsers do not show much more
GENERATED = "generated"
PIPELINE = 1
"""Part of what test.py and scripts.augment record of their images: raise it when the same weights, options and files
give other pixels or scores, whatever part of the code that is due to, so that images made before are made anew."""
KINDS = {"infrared": ".png", "visible": ".jpg", "real": ".jpg"}  # folder of results -> how its files end


def groups(sizes: Sequence[tuple[int, int]], limit: int = BATCH_PIXELS) -> list[tuple[tuple[int, int], list[int]]]:
    """(size, positions in `sizes` where it stands), at most `limit` pixels in a group unless one has more."""
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, size in enumerate(sizes):
        places[tuple(size)].append(place)  # a loader that pins memory makes lists of tuples
    found = []
    for size, group in places.items():
        count = max(1, limit // (size[0] * size[1]))
        found += [(size, group[i : i + count]) for i in range(0, len(group), count)]
    return found


def at_own_size(made: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """[N, 1, h, w] in [-1, 1] or uint8 -> N uint8 [1, H, W], each of its size, on the same device."""
    images: dict[int, torch.Tensor] = {}
    for size, places in groups(sizes):
        part = made if len(places) == len(made) else made[places]
        images |= zip(places, by_strips(grey_bytes, resize(part, size)), strict=True)
    return [images[place] for place in range(len(sizes))]


def _batch(images: Sequence[torch.Tensor]) -> torch.Tensor:
    return images[0][None] if len(images) == 1 else torch.stack(list(images))  # one large image is not copied


def _row(candidate: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return torch.stack(list(generation_scores(candidate, real).values()))


def _baseline(method: Generate, visible: torch.Tensor, compute: Compute) -> torch.Tensor:
    return by_strips(lambda part: grey_bytes(method(compute.images(part))), visible)


def score_batch(
    made: torch.Tensor, items: Sequence[Mapping[str, Any]], methods: Mapping[str, Generate], compute: Compute
) -> list[torch.Tensor | None]:
    """Scores [1 + methods, metrics] of each image, on the device, the generated one first and resized to its real
    image; None where there is no real one. made: [N, 1, h, w] in [-1, 1] or uint8."""
    scores: list[torch.Tensor | None] = [None] * len(items)
    paired = [place for place, item in enumerate(items) if "real" in item]
    for size, group in groups([tuple(items[place]["real"].shape[-2:]) for place in paired], BATCH_PIXELS // 8):
        places = [paired[i] for i in group]
        real, visible = (
            _batch([items[place][name] for place in places]).to(compute.device, non_blocking=True)
            for name in ("real", "visible_at_real")
        )
        # 8-bit images, and parts of large ones at a time: as floats, those of 100 megapixels would not fit.
        real = by_strips(grey_bytes, real)
        shown = by_strips(grey_bytes, resize(made[places].to(compute.device, non_blocking=True), size))
        table = [_row(shown, real)]
        table += [_row(_baseline(method, visible, compute), real) for method in methods.values()]
        for place, of_image in zip(places, torch.stack(table).unbind(2), strict=True):
            scores[place] = of_image
    return scores


def scored_methods(baselines: Iterable[str]) -> tuple[str, ...]:
    """What is scored: the generated images first."""
    return GENERATED, *baselines


def fits(record: Mapping[str, Any], baselines: Iterable[str]) -> bool:
    """Whether a record read back is as `Results.write` makes it."""
    scores = record.get("scores")
    return scores == {} or are_scores(scores, scored_methods(baselines), METRICS)


class Results:
    """A folder of results: what is made, and what earlier commands made there."""

    def __init__(self, folder: Path, shown: set[str], made: Made, methods: Mapping[str, Generate]) -> None:
        """shown: stems of the images in the gallery. methods: baselines that are scored beside."""
        self.folder, self.shown, self.made = folder, shown, made
        self.methods = scored_methods(methods)
        self.scores: dict[str, dict[str, dict[str, float]]] = {}  # method -> stem -> metric -> value
        self.rows: dict[str, Row] = {}
        self.errors: list[ImageError] = []

    def written(self, stem: str) -> Path:
        """Where a generated image goes."""
        return self._file("infrared", stem)

    def _file(self, kind: str, stem: str) -> Path:
        return self.folder / kind / f"{stem}{KINDS[kind]}"

    def _previews(self, job: Job) -> dict[str, Path]:
        stem = job.visible.stem
        copies = {"visible": self._file("visible", stem), "generated": self.written(stem)}
        return copies | ({"infrared": self._file("real", stem)} if job.real else {})

    def take_finished(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that are still to be done; scores and gallery rows of the others are taken over."""
        for kind in ("", *KINDS):
            remove_parts(self.folder / kind)
        remove_forgotten(self.made, jobs, lambda stem: [self._file(kind, stem) for kind in KINDS])
        left = []
        for job in jobs:
            stem = job.visible.stem
            record = self.made.records.get(stem)
            needed = self._previews(job).values() if stem in self.shown else [self.written(stem)]
            if stands(record, job, needed):
                self._keep(job, record.get("scores", {}))
            else:
                left.append(job)
        return left

    def _keep(self, job: Job, scores: Mapping[str, Mapping[str, float]]) -> None:
        stem = job.visible.stem
        for method, values in scores.items():
            self.scores.setdefault(method, {})[stem] = dict(values)
        if stem in self.shown:
            named = {metric_title(metric): value for metric, value in scores.get(GENERATED, {}).items()}
            self.rows[stem] = Row(stem, self._previews(job), named)

    def write(
        self, item: Mapping[str, Any], image: torch.Tensor, scores: torch.Tensor | None, wait: Callable[[], object]
    ) -> None:
        """One generated image uint8 [1, H, W], its scores as of score_batch, what the gallery shows of it; runs in a
        writer thread. wait: until image and scores have arrived on the CPU."""
        wait()
        job, stem = item["job"], item["job"].visible.stem
        try:
            inputs = inputs_of(job)
        except ImageError as error:
            self.errors.append(error)
            return
        previews = self._previews(job)
        write_image(previews["generated"], image[0].numpy())
        if stem in self.shown:
            copy_small(previews["visible"], item["shown"])
            if "infrared" in previews:
                copy_small(previews["infrared"], item["real"])
        values = {} if scores is None else self._named(scores)
        self._keep(job, values)
        self.made.add(stem, {"inputs": inputs, "scores": values})

    def _named(self, scores: torch.Tensor) -> dict[str, dict[str, float]]:
        rows = scores.tolist()
        return {method: dict(zip(METRICS, row, strict=True)) for method, row in zip(self.methods, rows, strict=True)}

    def means(self) -> dict[str, dict[str, float]]:
        """Method -> metric -> mean over the images that have a value; nan where none has."""
        return {
            method: {m: mean_and_std(v[m] for v in images.values())[0] for m in METRICS}
            for method, images in self.scores.items()
        }


def copy_small(path: Path, image: torch.Tensor) -> None:
    """A small copy of an image [C, H, W], uint8 or in [-1, 1], so that results can be moved and looked at alone."""
    height, width = image.shape[-2:]
    scale = min(1.0, PREVIEW_WIDTH / width, PREVIEW_HEIGHT / height)
    image = resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))
    write_image(path, to_uint8(image))

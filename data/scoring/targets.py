"""The label images of fused scenes, and whose contrast is measured in which of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.images import ImageError, list_images, pixel_size, read_classes, view_size
from data.scoring.cases import Cases, EvaluationCase
from data.scoring.methods import by_stem
from data.threads import of_headers
from options.data import class_numbers
from util.metrics.target_contrast import TargetContrast
from util.text import first_few

PARTS = {"contrast": re.compile(""), "contrast day": re.compile(r"\dD$"), "contrast night": re.compile(r"\dN$")}
"""Metric -> the end of the stems of its images: those of MSRS and MFNet tell day from night."""


def with_labels(found: Cases, folder: Path | None) -> Cases:
    """The cases with label images of the visible image's size: of the folder, or else those of their data set; and
    lines about what is missing. ValueError where the folder has none for them."""
    cases = found.cases
    stems = [case.stem for case in cases]
    if folder is not None:
        try:
            there = list_images(folder)
        except ValueError as error:
            raise ValueError(f"--labels: {error}") from None
        labels = by_stem(stems, "labels", there)
        if not labels:
            names = first_few(source.path.name for source in there)
            raise ValueError(f"--labels {folder}: no image ({names}) has the stem of a pair ({first_few(stems)})")
        cases = [replace(case, labels=labels[case.stem].path if case.stem in labels else None) for case in cases]
    having = [case for case in cases if case.labels is not None]
    bare = [case.stem for case in cases if case.labels is None] if having else []
    missing = [f"no label image for {len(bare)} of {len(cases)} pairs ({first_few(bare)})"] if bare else []
    unlike = [case for case, fits in zip(having, of_headers(_fits, having), strict=True) if fits is False]
    if unlike:
        line = f"{len(unlike)} of {len(having)} label images have another size than their visible image"
        line += f" ({first_few(case.labels.name for case in unlike)})"
        if folder is not None and len(unlike) == len(having):
            raise ValueError(f"--labels {folder}: {line}: give those of these images")
        missing.append(f"{line}: no contrast there")
    dropped = {case.stem for case in unlike}
    cases = [replace(case, labels=None) if case.stem in dropped else case for case in cases]
    return replace(found, cases=cases, missing=found.missing + missing)


def _fits(case: EvaluationCase) -> bool:
    """Whether the label image has the visible image's size. ImageError, which scoring tells, of an unreadable one."""
    return pixel_size(case.labels) == view_size(case.visible)[::-1]


@dataclass(frozen=True)
class Targets:
    """Whose contrast is measured: the name of their class; metric -> the stems of its images that have labels."""

    name: str
    metrics: Mapping[str, Sequence[str]]

    @classmethod
    def among(cls, cases: Sequence[EvaluationCase], name: str) -> Targets | None:
        """Of the cases that have label images; None where none has."""
        stems = [case.stem for case in cases if case.labels is not None]
        found = {metric: [stem for stem in stems if end.search(stem)] for metric, end in PARTS.items()}
        return cls(name, {metric: its for metric, its in found.items() if its}) if stems else None

    def contrast(self, case: EvaluationCase, size: tuple[int, int]) -> TargetContrast | None:
        """That of a case whose images are of size (height, width); None where it has no label image. ImageError for one
        that cannot be read."""
        if case.labels is None:
            return None
        classes = read_classes(case.labels)
        if classes.shape != size:
            raise ImageError(case.labels, "its header and its pixels differ in size: save it anew")
        return TargetContrast(classes == class_numbers("label_class", (self.name,))[0])

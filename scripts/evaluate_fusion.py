"""Scores of fused images, of one method or several: python -m scripts.evaluate fusion --help names every option."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from data.counts import ThermalRange
from data.images import ImageError, Source, probe, read_infrared
from data.inputs import Job, ensure_sample, find_pairs, of_data_set, pair_jobs
from data.layouts import find
from data.output.generated import copy_small
from data.remarks import headers_of, note_palettes
from data.scoring.fusion_record import note_sources, range_policy, record_of
from data.scoring.fusion_scores import TRIVIAL, FusionScores
from data.scoring.scored import GREY_MODES, join_methods, read_saved, results_of
from data.threads import in_threads
from data.transforms import grey_tensor, resize
from data.views import CUTS, note_views, size_remedy, text
from options.evaluate import EvaluateFusionOptions, methods_of, words_of
from util.command_line import parse
from util.device import choose
from util.files import check_file, remove_parts
from util.pages.evaluation_page import MARK, shown_images, write_evaluation_page, written_beside
from util.text import first_few, plural


@dataclass(frozen=True)
class Case:
    """One pair and what each method made of it."""

    stem: str
    job: Job
    fused: Mapping[str, Source]


def find_cases(options: EvaluateFusionOptions) -> tuple[list[Case], list[str], str]:
    """Pairs that every method has fused, lines about what is missing, and where the pairs are from. ValueError where
    nothing pairs."""
    data, split = options.data.for_root(), options.split or "test"
    if data is None:
        found = find_pairs(options.visible, options.infrared).seen_alike(options.data.visible_bits)
        left_out = "images have no partner"
        where = f"{options.visible} and {options.infrared}"
        remedy = "give both the same name, or --dataroot the data set they were fused of"
    else:
        ensure_sample(data.dataroot)
        found, left_out = of_data_set(find(data), split, pair_jobs, "pairs"), "files of the data set cannot be used"
        where = f"{found.summary}; --split {split}"
        remedy = "give the --split and data options that they were fused with"
    if found.skipped and options.data.strict:
        raise found.skipped[0]
    jobs = {job.visible.stem: job for job in found.jobs}
    folders = methods_of("fused", options.fused)
    if data is None and len(folders) == 1 and len(jobs) == 1:
        (stem, job), (name, folder) = *jobs.items(), *folders.items()
        if len(sources := results_of(folder, "fused")) == 1:
            return [Case(stem, job, {name: sources[0]})], [], where  # three files, of any names
    joined, lines = join_methods(list(jobs), folders, "fused", "fused", "pair", remedy)
    if found.skipped:
        lines.insert(0, f"{len(found.skipped)} {left_out} ({first_few(e.path.name for e in found.skipped)})")
    return [Case(stem, jobs[stem], methods) for stem, methods in joined.items()], lines, where


def read_sources(job: Job, convention: str, thermal: ThermalRange) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Visible uint8 [1 or 3, H, W]; infrared of its size, of one channel, in VIFB's convention of those it was saved
    with; whether it was resized."""
    visible = read_saved(job.visible)
    if convention == "vifb" and probe(job.real.path)[0] not in GREY_MODES:
        infrared = read_saved(job.real)
    else:
        infrared = grey_tensor(read_infrared(job.real, thermal))
    size = tuple(visible.shape[-2:])
    return visible, resize(infrared, size), tuple(infrared.shape[-2:]) != size


class Evaluation:
    """Scores of all cases, and what went wrong."""

    def __init__(self, options: EvaluateFusionOptions) -> None:
        """ValueError for a metric that the convention does not know."""
        self.sheet = FusionScores(words_of(options.metrics) or None, options.convention)
        self.device = choose(options.device, "fp32").device
        self.thermal = ThermalRange.from_options(options.data)
        self.of_data_set, self.strict = options.data.dataroot is not None, options.data.strict
        self.errors: list[ImageError] = []
        self.resized: list[str] = []

    def _score(self, case: Case) -> tuple[dict[str, dict[str, float]], tuple[int, int], bool] | ImageError:
        try:
            visible, infrared, resized = read_sources(case.job, self.sheet.convention, self.thermal)
            fused = {name: read_saved(source) for name, source in case.fused.items()}
            size = tuple(visible.shape[-2:])
            for name, image in fused.items():
                if (found := tuple(image.shape[-2:])) != size:
                    remedy = size_remedy(found, case.job.visible, self.of_data_set)
                    reason = f"is {text(found)}, its visible image {text(size)}: {remedy}"
                    raise ImageError(case.fused[name].path, reason)
        except ImageError as error:
            return error
        fused = {name: image.to(self.device) for name, image in fused.items()}
        rows = self.sheet.compute(fused, visible.to(self.device), infrared.to(self.device))
        return rows, size, resized

    def run(self, cases: Sequence[Case], num_threads: int | None) -> None:
        """Score all. ValueError where none can be read."""
        for case, result in in_threads(self._score, cases, num_threads, "scoring"):
            if isinstance(result, ImageError):
                if self.strict:
                    raise result
                self.errors.append(result)
                continue
            rows, size, resized = result
            self.sheet.take(case.stem, rows, size)
            self.resized += [case.stem] if resized else []
        if not self.sheet.rows:
            raise ValueError(f"none of {len(cases)} pairs could be scored: {self.errors[0]}")
        self.sheet.explain()


def write_page(options: EvaluateFusionOptions, evaluation: Evaluation, cases: Sequence[Case], facts: dict) -> Path:
    """The page, and small copies of the images that it shows."""
    sheet, page = evaluation.sheet, options.out.with_suffix(".html")
    images = options.out.with_name(f"{options.out.stem}_images")
    copies: dict[str, dict[str, Path]] = {}
    shown = shown_images(sheet)
    for folder in images.glob("*"):
        remove_parts(folder)
    for case in cases:
        if case.stem not in shown:
            continue
        visible, infrared, _ = read_sources(case.job, "standard", evaluation.thermal)
        pictures = {"visible": visible, "infrared": infrared}
        pictures |= {name: read_saved(source) for name, source in case.fused.items()}
        for label, picture in pictures.items():
            path = images / label / f"{case.stem}.jpg"
            copy_small(path, picture)
            copies.setdefault(case.stem, {})[label] = path
    about = {name: str(value) for name, value in facts.items() if not isinstance(value, Mapping)}
    write_evaluation_page(page, "Scores of fused images", sheet, copies.__getitem__, about)
    return page


def notes(options: EvaluateFusionOptions, cases: Sequence[Case], records: Mapping[str, Mapping]) -> list[str]:
    """Lines about infrared images in colour, and images that do not belong together, though their names do."""
    of_data_set = options.data.dataroot is not None
    real = [case.job.real for case in cases]
    lines = note_palettes(real, headers_of(real))
    if not of_data_set:
        pairs = [(case.job.visible, case.job.real) for case in cases]
        remedy = CUTS.format("--visible and --infrared")
        lines += note_views(pairs, "visible images", "their infrared partners", remedy)
    for name, record in records.items():
        fused = [(case.job, case.fused[name]) for case in cases]
        lines += [f"{name}: {line}" for line in note_sources(record, fused, of_data_set)]
    return lines


def main(argv: list[str]) -> int:
    """The command; exit status 1 where some images could not be scored."""
    options = parse(EvaluateFusionOptions, argv)
    check_file("--out", options.out, MARK, written_beside(options.out))
    evaluation = Evaluation(options)
    folders = methods_of("fused", options.fused)
    if set(TRIVIAL) & set(folders):
        raise ValueError("--fused: visible, infrared, average and maximum name the trivial rows; give other names")
    cases, lines, where = find_cases(options)
    records = {name: record_of(folder) for name, folder in folders.items()}
    policies = {name: range_policy(record) for name, record in records.items()}
    same = len(set(policies.values())) == 1
    facts = {"convention": options.convention, "range": next(iter(policies.values())) if same else policies}
    facts["sources"] = where
    print(f"data      {plural(len(cases), 'pair')} of {where}")
    print(f"scored    {', '.join(f'{name} in {folder}' for name, folder in folders.items())}")
    for line in lines:
        print(f"missing   {line}")
    for line in notes(options, cases, records):
        print(f"note      {line}", flush=True)
    evaluation.run(cases, options.num_threads)
    sheet = evaluation.sheet
    scored = plural(len(cases) - len(evaluation.errors), "image")
    print(f"\n{options.convention} convention, mean ± standard deviation over {scored}; "
          f"range: {first_few(dict.fromkeys(policies.values()))}\n")  # fmt: skip
    print(sheet.text())
    if len(folders) > 1:
        print(f"\n{sheet.ranking_text()}")
    sheet.write(options.out, facts)
    done = [case for case in cases if sheet.of(next(iter(folders)), case.stem)]
    page = write_page(options, evaluation, done, facts | {"device": evaluation.device} | folders)
    if evaluation.resized:
        print(f"note      infrared resized to its visible image's size in {plural(len(evaluation.resized), 'pair')}: "
              f"{first_few(evaluation.resized)}")  # fmt: skip
    for error in evaluation.errors:
        print(f"skipped {error}", file=sys.stderr)
    print(f"written   {options.out}, {options.out.with_suffix('.csv').name}")
    print(f"page      {page.resolve()}")
    return 1 if evaluation.errors else 0

"""Scores of generated infrared images: python -m scripts.evaluate generation --help names every option."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from data.counts import ThermalRange
from data.images import list_images
from data.inputs import Job, ensure_sample, of_data_set, partnered_jobs
from data.layouts import find
from data.remarks import headers_of, note_palettes, with_one_white
from data.scoring.generated_scores import TRIVIAL, Case, mean_grey, print_scores, score_cases, write_scores
from data.scoring.scored import by_stem, join_methods
from data.views import CUTS, note_views
from options.data import DataOptions
from options.evaluate import EvaluateGenerationOptions, methods_of
from util.command_line import parse
from util.device import choose
from util.files import check_file
from util.metrics.learned import load_learned
from util.pages.evaluation_page import MARK, written_beside
from util.text import first_few, plural


def paired_jobs(data: DataOptions, split: str) -> tuple[list[Job], str]:
    """The pairs of a data set, each called as its visible image, and one line about it. ValueError without any."""
    ensure_sample(data.dataroot)
    found = of_data_set(find(data), split, lambda part: [job for job in partnered_jobs(part) if job.real], "pairs")
    return found.jobs, f"{found.summary}; --split {split}"


def find_cases(options: EvaluateGenerationOptions) -> tuple[list[Case], list[str], str]:
    """Real images of which every method has a generated one, lines about what is missing, and where the real ones
    are. ValueError where nothing pairs."""
    data = options.data.for_root()
    if data is None:
        where, remedy = str(options.real), "give both the same name, or --dataroot a data set that pairs them"
        real, visible = {source.stem: source for source in list_images(options.real)}, {}
    else:
        jobs, where = paired_jobs(data, options.split or "test")
        remedy = "give the --split and data options that they were made with"
        real = {job.visible.stem: job.real for job in jobs}
        visible = {job.visible.stem: job.visible for job in jobs}
    folders = methods_of("generated", options.generated)
    joined, lines = join_methods(list(real), folders, "infrared", "generated", "real image", remedy)
    if options.visible is not None:
        visible = by_stem(list(joined), "visible", list_images(options.visible))
        lacks = [stem for stem in joined if stem not in visible]
        if len(lacks) == len(joined):
            raise ValueError(f"--visible {options.visible}: no image has the stem of a real one ({first_few(lacks)})")
        if lacks:
            lines.append(f"{len(lacks)} real images have no visible one and are left out ({first_few(lacks)})")
            joined = {stem: found for stem, found in joined.items() if stem in visible}
        alike, _ = with_one_white(list(visible.values()), headers_of(visible.values()), options.data.visible_bits)
        visible = {stem: alike.get(source, source) for stem, source in visible.items()}
    return [Case(stem, real[stem], found, visible.get(stem)) for stem, found in joined.items()], lines, where


def notes(options: EvaluateGenerationOptions, cases: Sequence[Case]) -> list[str]:
    """Lines about images in colour or of another view than their real partners, and about baselines left out."""
    partners, lines = "their real images", []
    sets = {"real": [case.real for case in cases]}
    sets |= {name: [case.generated[name] for case in cases] for name in cases[0].generated}
    lines += [f"{name}: {line}" for name, its in sets.items() for line in note_palettes(its, headers_of(its))]
    remedy = "make them by test.py --dataroot ROOT, which cuts the visible images of FLIR ADAS to the thermal view"
    if options.data.camera_crop:
        for name in cases[0].generated:
            pairs = [(case.generated[name], case.real) for case in cases]
            # Other tools squeeze what they generate, into squares for example, which shows the whole view.
            lines += note_views(pairs, f"images of {name}", partners, remedy, only_wide=True)
    visible = [(case.visible, case.real) for case in cases if case.visible is not None]
    if options.data.dataroot is None:
        lines += note_views(visible, "visible images", partners, CUTS.format("--real and --visible"))
    if not visible:
        lines.append("without --visible the baselines luminance and inverted luminance are left out")
    return lines


def main(argv: list[str]) -> int:
    """The command; exit status 1 where some images could not be scored."""
    options = parse(EvaluateGenerationOptions, argv)
    check_file("--out", options.out, MARK, written_beside(options.out))
    folders = methods_of("generated", options.generated)
    taken = {*TRIVIAL, "visible", "real"} & set(folders)
    if taken:
        raise ValueError(f"--generated {taken.pop()}=...: that name is taken; give another")
    device, thermal = choose(options.device, "fp32").device, ThermalRange.from_options(options.data)
    cases, lines, where = find_cases(options)
    learned = load_learned(options.inception_weights, options.lpips_weights, device)
    print(f"data      {plural(len(cases), 'real image')} of {where}")
    print(f"scored    {', '.join(f'{name} in {folder}' for name, folder in folders.items())}")
    for line in lines:
        print(f"missing   {line}")
    for line in notes(options, cases):
        print(f"note      {line}", flush=True)
    constant, source = options.constant, "--constant"
    if constant is None:
        constant, source = mean_grey(cases, thermal, options.num_threads), "mean of these real images"
    source = f"grey level {constant:.0f}, {source}"
    scored = score_cases(cases, thermal, learned, constant, device, options.num_threads)
    if scored.errors and options.data.strict:
        raise scored.errors[0]
    print_scores(scored, source)
    facts = {"constant": source, "real": where, "device": str(device)}
    facts |= {name: str(folder) for name, folder in folders.items()}
    done = [case for case in cases if scored.sheet.of(next(iter(folders)), case.stem)]
    page = write_scores(options.out, "Scores of generated infrared images", scored, done, thermal, facts)
    for error in scored.errors:
        print(f"skipped {error}", file=sys.stderr)
    print(f"written   {options.out}, {options.out.with_suffix('.csv').name}")
    print(f"page      {page.resolve()}")
    return 1 if scored.errors else 0

"""Scores of generated infrared images: python -m scripts.evaluate generation --help names every option."""

from __future__ import annotations

import sys

from data.counts import ThermalRange
from data.generated_scores import TRIVIAL, Case, mean_grey, print_scores, score_cases, write_scores
from data.images import list_images
from data.scored import by_stem, join_methods, results_of, some
from options.cli import parse
from options.evaluate import EvaluateGenerationOptions, methods_of
from util.compute import choose
from util.metrics.learned import load_learned


def find_cases(options: EvaluateGenerationOptions) -> tuple[list[Case], list[str]]:
    """Real images of which every method has a generated one, and lines about what is missing. ValueError where
    nothing pairs."""
    real = {source.stem: source for source in list_images(options.real)}
    folders = methods_of("generated", options.generated)
    methods = {name: results_of(folder, "infrared") for name, folder in folders.items()}
    joined, lines = join_methods(list(real), methods, "generated", "real image")
    visible = {}
    if options.visible is not None:
        visible = by_stem(list(joined), "visible", list_images(options.visible))
        lacks = [stem for stem in joined if stem not in visible]
        if len(lacks) == len(joined):
            raise ValueError(f"--visible {options.visible}: no image has the stem of a real one ({some(lacks)})")
        if lacks:
            lines.append(f"{len(lacks)} real images have no visible one and are left out ({some(lacks)})")
            joined = {stem: found for stem, found in joined.items() if stem in visible}
    return [Case(stem, real[stem], found, visible.get(stem)) for stem, found in joined.items()], lines


def main(argv: list[str]) -> int:
    """The command; exit status 1 where some images could not be scored."""
    options = parse(EvaluateGenerationOptions, argv)
    folders = methods_of("generated", options.generated)
    taken = {*TRIVIAL, "visible", "real"} & set(folders)
    if taken:
        raise ValueError(f"--generated {taken.pop()}=...: that name is taken; give another")
    device, thermal = choose(options.device, "fp32").device, ThermalRange()
    cases, lines = find_cases(options)
    learned = load_learned(options.inception_weights, options.lpips_weights, device)
    print(f"data      {len(cases)} images, {', '.join(f'{name} in {folder}' for name, folder in folders.items())}")
    for line in lines:
        print(f"missing   {line}")
    if options.visible is None:
        print("note      without --visible the baselines luminance and inverted luminance are left out")
    constant, source = options.constant, "--constant"
    if constant is None:
        constant, source = mean_grey(cases, thermal, options.num_threads), "mean of these real images"
    source = f"grey level {constant:.0f}, {source}"
    scored = score_cases(cases, thermal, learned, constant, device, options.num_threads)
    print_scores(scored, source)
    facts = {"constant": source, "real": str(options.real), "device": str(device)}
    facts |= {name: str(folder) for name, folder in folders.items()}
    done = [case for case in cases if scored.sheet.of(next(iter(folders)), case.stem)]
    page = write_scores(options.out, "Scores of generated infrared images", scored, done, thermal, facts)
    for error in scored.errors:
        print(f"skipped {error}", file=sys.stderr)
    print(f"written   {options.out}, {options.out.with_suffix('.csv').name}")
    print(f"page      {page.resolve()}")
    return 1 if scored.errors else 0

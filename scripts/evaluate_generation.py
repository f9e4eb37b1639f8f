"""Scores of generated infrared images: python -m scripts.evaluate generation --help names every option."""

from __future__ import annotations

from data.scoring.cases import find_generation_cases, note_generation
from data.scoring.generation import TRIVIAL, GeneratedScorer, load_for_all, mean_grey
from options.evaluate import EvaluateGenerationOptions, methods_of
from scripts.report import choose_range, print_scores, score_all, tell_cases, tell_skipped, write_evaluation
from util.command_line import parse
from util.device import select_device
from util.files import check_file
from util.pages.evaluation_page import MARK, written_beside
from util.text import plural
from util.training import ranks


@ranks.sharing
def main(argv: list[str]) -> int:
    """Score the generated images that argv names; exit status 1 where some images could not be scored."""
    options = parse(EvaluateGenerationOptions, argv)
    check_file("--out", options.out, MARK, written_beside(options.out))
    folders = methods_of("generated", options.generated)
    taken = {*TRIVIAL, "visible", "real"} & set(folders)
    if taken:
        raise ValueError(f"--generated {taken.pop()}=...: that name is taken; give another")
    device, thermal = select_device(options.device, "fp32").device, choose_range(options.data, folders.values(), argv)
    found = find_generation_cases(options)
    learned = load_for_all(options.inception_weights, options.lpips_weights, device)
    of_data_set = options.data.dataroot is not None
    tell_cases(found, "real image", folders, note_generation(found.cases, of_data_set, options.data.camera_crop))
    constant, source = options.constant, "--constant"
    if constant is None:
        constant, source = mean_grey(found.cases, thermal, options.num_threads), "mean of these real images"
    source = f"grey level {constant:.0f}, {source}"
    scorer = GeneratedScorer(thermal, device, constant, learned)
    scores = score_all(found, "image", scorer, options.num_threads, options.data.strict)
    if not ranks.is_writer():
        return 0
    print_scores(scores, f"{plural(len(scores.sizes), 'image')}; constant: {source}")
    facts = {"constant": source, "real": found.where, "device": str(device)}
    facts |= {name: str(folder) for name, folder in folders.items()}
    write_evaluation(options.out, "Scores of generated infrared images", scores, found.cases, facts)
    return tell_skipped(scores.errors)

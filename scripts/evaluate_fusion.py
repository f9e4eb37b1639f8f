"""Scores of fused images, of one method or several: python -m scripts.evaluate fusion --help names every option."""

from __future__ import annotations

from data.scoring.cases import find_fusion_cases, note_fusion, range_policy, record_of
from data.scoring.fusion import TRIVIAL, FusedScorer
from data.scoring.targets import Targets, with_labels
from options.evaluate import EvaluateFusionOptions, methods_of, words_of
from scripts.report import choose_range, print_scores, score_all, tell, tell_cases, tell_skipped, write_evaluation
from util.command_line import parse
from util.device import select_device
from util.files import check_file
from util.metrics.fusion import check_request
from util.pages.evaluation_page import MARK, written_beside
from util.text import first_few, plural
from util.training import ranks


@ranks.sharing
def main(argv: list[str]) -> int:
    """Score the fused images that argv names; exit status 1 where some images could not be scored."""
    options = parse(EvaluateFusionOptions, argv)
    check_file("--out", options.out, MARK, written_beside(options.out))
    device, of_data_set = select_device(options.device, "fp32").device, options.data.dataroot is not None
    folders, metrics = methods_of("fused", options.fused), words_of(options.metrics) or None
    if set(TRIVIAL) & set(folders):
        raise ValueError("--fused: visible, infrared, average and maximum name the trivial rows; give other names")
    check_request(metrics, options.convention)
    found = with_labels(find_fusion_cases(options), options.labels)
    targets = Targets.among(found.cases, options.label_class)
    thermal = choose_range(options.data, folders.values(), argv)
    scorer = FusedScorer(thermal, device, metrics, options.convention, of_data_set, targets)
    records = {name: record_of(folder) for name, folder in folders.items()}
    policies = {name: range_policy(record) for name, record in records.items()}
    tell_cases(found, "pair", folders, note_fusion(found.cases, records, of_data_set))
    scores = score_all(found, "pair", scorer, options.num_threads, options.data.strict)
    if not ranks.is_writer():
        return 0
    ranges = list(dict.fromkeys(policies.values()))
    about = f"{plural(len(scores.sizes), 'image')}; {options.convention} convention; range: {first_few(ranges)}"
    print_scores(scores, about)
    policy = ranges[0] if len(ranges) == 1 else policies
    facts = {"range": policy, "sources": found.where, "infrared": thermal.text()}
    write_evaluation(options.out, "Scores of fused images", scores, found.cases, facts, {"device": device} | folders)
    if scores.resized:
        pairs = plural(len(scores.resized), "pair")
        tell("note", [f"infrared resized to its visible image's size in {pairs}: {first_few(scores.resized)}"])
    return tell_skipped(scores.errors)

"""Which images are scored beside which: cases of folders or of a data set, and remarks on what does not belong
together, though its names do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import Met
from data.images import ImageError, Source, list_images
from data.inputs import find_data, find_pairs, of_data_set, pair_jobs, partnered_jobs
from data.remarks import CUTS, headers_of, note_palettes, note_views, with_one_white
from data.scoring.methods import by_stem, join_methods, results_of
from options.evaluate import EvaluateFusionOptions, EvaluateGenerationOptions, methods_of
from util.json_file import read_json
from util.text import first_few, plural


@dataclass(frozen=True)
class EvaluationCase:
    """A scene to score: its visible image, if there is one; its real infrared image, which is the ground truth of
    generated ones and a source of fused ones; method -> what it made of them; the picture of its pixels' classes, if
    there is one."""

    stem: str
    visible: Source | None
    infrared: Source
    outputs: Mapping[str, Source]
    labels: Path | None = None


@dataclass(frozen=True)
class Cases:
    """Cases of which every method has an image; lines about what is missing; where the scenes are from."""

    cases: list[EvaluationCase]
    missing: list[str]
    where: str


def find_fusion_cases(options: EvaluateFusionOptions) -> Cases:
    """Pairs that every method has fused. ValueError where nothing pairs; ImageError for what is skipped, if strict."""
    split = options.split or "test"
    if options.data.dataroot is None:
        found = find_pairs(options.visible, options.infrared).seen_alike(options.data.visible_bits)
        left_out, remedy = (
            "images have no partner",
            "give both the same name, or --dataroot the data set they were fused of",
        )
        where = f"{options.visible} and {options.infrared}"
    else:
        found = of_data_set(find_data(options.data), split, pair_jobs, "pairs")
        left_out, remedy = (
            "files of the data set cannot be used",
            "give the --split and data options that they were fused with",
        )
        where = f"{found.summary}; --split {split}"
    jobs = {job.visible.stem: job for job in found.chosen(None, options.data.strict).jobs}
    folders = methods_of("fused", options.fused)
    joined, missing = {}, []
    if options.data.dataroot is None and len(folders) == 1 and len(jobs) == 1:
        (stem,), (name, folder) = jobs, *folders.items()
        if len(sources := results_of(folder, "fused")) == 1:
            joined = {stem: {name: sources[0]}}  # three files, of any names
    if not joined:
        joined, missing = join_methods(list(jobs), folders, "fused", "fused", "pair", remedy)
        if found.skipped:
            missing.insert(0, f"{len(found.skipped)} {left_out} ({first_few(e.path.name for e in found.skipped)})")
    found_jobs = ((jobs[stem], made) for stem, made in joined.items())
    cases = [
        EvaluationCase(job.visible.stem, job.visible, job.ground_truth, made, job.labels) for job, made in found_jobs
    ]
    return Cases(cases, missing, where)


def find_generation_cases(options: EvaluateGenerationOptions) -> Cases:
    """Real images of which every method has a generated one. ValueError where nothing pairs."""
    split = options.split or "test"
    if options.data.dataroot is None:
        where, remedy = str(options.real), "give both the same name, or --dataroot a data set that pairs them"
        met = Met()
        real, visible = {source.stem: source for source in list_images(options.real, met)}, {}
        skipped = [ImageError(*unread) for unread in met.unread]
    else:
        listing = find_data(options.data)
        found = of_data_set(
            listing, split, lambda part: [job for job in partnered_jobs(part) if job.ground_truth], "pairs"
        )
        where, remedy = (
            f"{found.summary}; --split {split}",
            "give the --split and data options that they were made with",
        )
        real = {job.visible.stem: job.ground_truth for job in found.jobs}
        visible = {job.visible.stem: job.visible for job in found.jobs}
        skipped = list(found.skipped)
    if skipped and options.data.strict:
        raise skipped[0]
    folders = methods_of("generated", options.generated)
    joined, missing = join_methods(list(real), folders, "infrared", "generated", "real image", remedy)
    if skipped:
        missing.insert(0, f"{plural(len(skipped), 'file')} cannot be used ({first_few(e.path.name for e in skipped)})")
    if options.visible is not None:
        visible = by_stem(list(joined), "visible", list_images(options.visible))
        lacks = [stem for stem in joined if stem not in visible]
        if len(lacks) == len(joined):
            raise ValueError(f"--visible {options.visible}: no image has the stem of a real one ({first_few(lacks)})")
        if lacks:
            missing.append(f"{len(lacks)} real images have no visible one and are left out ({first_few(lacks)})")
            joined = {stem: made for stem, made in joined.items() if stem in visible}
        alike, _ = with_one_white(list(visible.values()), headers_of(visible.values()), options.data.visible_bits)
        visible = {stem: alike.get(source, source) for stem, source in visible.items()}
    cases = [EvaluationCase(stem, visible.get(stem), real[stem], made) for stem, made in joined.items()]
    return Cases(cases, missing, where)


def record_of(folder: Path) -> dict[str, Any]:
    """What fuse.py recorded of a folder of fused images: results.json in it or beside it; {} where there is none."""
    for path in (folder / "results.json", folder.parent / "results.json"):
        try:
            return read_json(path)
        except ValueError:
            continue
    return {}


def range_policy(record: Mapping[str, Any]) -> str:
    """How the fused images were brought to 0..255; where that is not recorded only that they were."""
    policy = record.get("range")
    return f"{policy}, saved as 8 bit" if isinstance(policy, str) else "as saved, 8 bit"


def note_sources(
    record: Mapping[str, Any], cases: Sequence[EvaluationCase], method: str, of_data_set: bool
) -> list[str]:
    """Lines about fused images of a method that were made of other files than those of their cases, by their names:
    folders may have moved. of_data_set: whether the cases are a data set's, whose infrared nobody generated."""
    recorded = record.get("images")
    recorded = recorded if isinstance(recorded, Mapping) else {}
    made, others = 0, []
    for case in cases:
        had = recorded.get(case.outputs[method].stem)
        if not isinstance(had, Mapping):
            continue
        generated = had.get("infrared") == "generated"
        made += generated and of_data_set
        sides = {"visible": case.visible} if generated else {"visible": case.visible, "infrared": case.infrared}
        for side, here in sides.items():
            name = Path(str(had.get(side, here.path))).name
            if name != here.path.name:
                others.append(f"{name}, here {here.path.name}")
                break
    lines = []
    if made:
        lines.append(f"{_were(made)} fused with generated infrared, and scored here beside real infrared")
    if others:
        lines.append(
            f"{_were(len(others))} fused of other files than those here ({others[0]}): give the options that they were "
            "fused with, such as --split or --thermal_source"
        )
    return lines


def _were(count: int) -> str:
    return f"{plural(count, 'image')} {'was' if count == 1 else 'were'}"


def note_fusion(
    cases: Sequence[EvaluationCase], records: Mapping[str, Mapping[str, Any]], of_data_set: bool
) -> list[str]:
    """Lines about infrared images in colour, and images that do not belong together. records: of each method, as
    fuse.py wrote them."""
    infrared = [case.infrared for case in cases]
    lines = note_palettes(infrared, headers_of(infrared))
    if not of_data_set:
        pairs = [(case.visible, case.infrared) for case in cases]
        remedy = CUTS.format("--visible and --infrared")
        lines += note_views(pairs, "visible images", "their infrared partners", remedy)
    for name, record in records.items():
        lines += [f"{name}: {line}" for line in note_sources(record, cases, name, of_data_set)]
    return lines


def note_generation(cases: Sequence[EvaluationCase], of_data_set: bool, camera_crop: bool) -> list[str]:
    """Lines about images in colour or of another view than their real partners, and about baselines left out."""
    partners, lines, methods = "their real images", [], list(cases[0].outputs)
    sets = {"real": [case.infrared for case in cases]}
    sets |= {name: [case.outputs[name] for case in cases] for name in methods}
    lines += [f"{name}: {line}" for name, its in sets.items() for line in note_palettes(its, headers_of(its))]
    remedy = "make them by test.py --dataroot ROOT, which cuts the visible images of FLIR ADAS to the thermal view"
    for name in methods if camera_crop else ():
        pairs = [(case.outputs[name], case.infrared) for case in cases]
        # Other tools squeeze what they generate, into squares for example, which shows the whole view.
        lines += note_views(pairs, f"images of {name}", partners, remedy, only_wide=True)
    visible = [(case.visible, case.infrared) for case in cases if case.visible is not None]
    if not of_data_set:
        lines += note_views(visible, "visible images", partners, CUTS.format("--real and --visible"))
    if not visible:
        lines.append("without --visible the baselines luminance and inverted luminance are left out")
    return lines

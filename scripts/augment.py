"""Turn the labelled visible images of a data set into a labelled infrared one, for training detectors.

python -m scripts.augment --name RUN --dataroot datasets/FLIR_ADAS_v2 --out datasets/FLIR_generated
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from data.coco import CocoFolder, Placement, exchanged, find_folder, note_exchanged, note_unlisted, read_coco
from data.counts import ThermalRange
from data.images import ImageError, Source, pixel_size, write_image
from data.inputs import Job, ensure_sample
from data.output.augmented import (
    FOLDERS,
    LABEL_FILES,
    Carried,
    Written,
    carry,
    carry_index,
    check_names,
    first_foreign,
    fits,
    images_in,
    note_finished,
    placement,
    read_index,
    take_finished,
    write_labels,
)
from data.output.results import MANIFEST, Results, manifest_key, other_than, records_in, stamp_of
from data.output.writing import Wait, Writers, at_own_size, fetch
from data.remarks import headers_of, with_one_white
from data.transforms import Preprocess
from data.visible_images import VisibleImages, read_batches
from models.inference.trained import find_weights, load_network
from models.inference.translator import Translator
from options.augment import AugmentOptions
from options.data import DataOptions
from scripts.report import announce, tell, tell_skipped
from util.command_line import parse, run_command
from util.device import Device, select_device
from util.files import alone_in, check_folder, code_version, first_inside, write_whole
from util.json_file import read_lines
from util.text import plural
from util.training import ranks

RECORD = "augment.json"  # says that this command wrote a folder, and by what


def visible_folders(options: AugmentOptions) -> dict[str, CocoFolder]:
    """Name of the infrared folder to write -> the labelled visible folder it is made from."""
    if not options.dataroot.is_dir():
        raise ValueError(f"--dataroot {options.dataroot}: no such folder")
    found = {}
    for split, (visible, infrared) in FOLDERS.items():
        if options.split not in (split, "all"):
            continue
        folder = find_folder(options.dataroot, visible)
        if folder is not None:
            found[infrared] = read_coco(folder)
            check_names(found[infrared])
        elif options.split == split:
            raise ValueError(f"{options.dataroot}: has no {visible}/coco.json, which --split {split} needs")
    if not found:
        wanted = " or ".join(f"{visible}/coco.json" for visible, _ in FOLDERS.values())
        raise ValueError(f"{options.dataroot}: has no {wanted}: give the root of a data set laid out as FLIR ADAS v2")
    return found


class MadeOtherwise(ValueError):
    """A folder holds what this command wrote there in another way, which --overwrite replaces."""


def check_out(options: AugmentOptions, key: Mapping[str, Any], labels: Mapping[str, CocoFolder]) -> None:
    """ValueError where --out holds anything but what this command wrote there by the same key, or, with --overwrite,
    by any, or is about to write; MadeOtherwise where --overwrite would do. labels: by the names of the folders."""
    out, root = options.out.resolve(), options.dataroot.resolve()
    if first_inside([out], [root]) or first_inside([root], [out]):
        raise ValueError(f"--out {options.out}: lies in --dataroot or around it: give another folder")
    if options.out.exists() and not options.out.is_dir():
        raise ValueError(f"--out {options.out}: is a file: give a folder")
    if options.out.is_dir() and any(not path.name.startswith(".") for path in options.out.iterdir()):
        lines = read_lines(options.out / MANIFEST)
        foreign = first_foreign(options.out, labels, records_in(lines), (RECORD, MANIFEST))
        if foreign or not (options.out / RECORD).is_file():
            name = f" ({foreign.relative_to(options.out)})" if foreign else ""
            raise ValueError(f"--out {options.out}: holds what this command did not write{name}: give another folder")
        if options.overwrite:
            return
        if not lines and any((options.out / folder).exists() for _, folder in FOLDERS.values()):
            raise MadeOtherwise(
                f"--out {options.out}: has no {MANIFEST} to go on from: give another folder, or --overwrite"
            )
        if changed := other_than(key, lines):
            raise MadeOtherwise(
                f"--out {options.out}: was made with other {' and '.join(changed)}: give another folder, or --overwrite"
            )


def manifest_facts(
    preprocess: Preprocess | None, options: AugmentOptions, device: Device, statistics: str | None
) -> dict[str, Any]:
    """By what images are made, besides the weights: those that were made by anything else are not gone on with.
    statistics: of batch norms."""
    return {
        "dataroot": str(options.dataroot.resolve()),
        "scale": asdict(preprocess) if preprocess else "input",
        "camera_crop": options.camera_crop,
        "size": options.size,
        "precision": str(device.dtype),
        "norm statistics": statistics,
        "visible bits": options.visible_bits,
    }


def write_one(path: Path, image: torch.Tensor, place: Placement) -> Written:
    """One image uint8 [1, H, W] to a file; runs in a thread."""
    write_image(path, image[0].numpy())
    content = path.read_bytes()
    return Written(place, len(content), hashlib.md5(content).hexdigest())


def generate(
    labels: CocoFolder,
    folder: Path,
    translator: Translator,
    preprocess: Preprocess | None,
    options: AugmentOptions,
    results: Results,
    alike: Mapping[Source, Source],
) -> dict[str, Written]:
    """Every image of a visible folder, as infrared, into `folder`: file_name -> what was written, now or earlier.
    alike: images of more than 8 bits with their common white."""
    camera = options.camera
    written = take_finished(labels, folder, camera, results)
    if written:
        there = f"{len(written)} of {len(labels.images)} images of {folder.name} are there already"
        tell("note", [f"{there} (--overwrite makes them anew)"])
    for name in LABEL_FILES if ranks.is_writer() else ():  # they say that a folder is complete
        (folder / name).unlink(missing_ok=True)
    entries = {labels.file(image): image for image in labels.images if image["file_name"] not in written}
    sources = (Source(path, path.stem, camera) for path in entries)
    jobs = [Job(alike.get(source, source)) for source in sources]
    dataset = VisibleImages(jobs, ThermalRange.from_options(DataOptions()), preprocess)
    how, pinned = (options.batch_size, options.num_threads, options.strict), translator.device.device.type == "cuda"
    read = read_batches(dataset, *how, results.errors, folder.name, pinned)

    def write(source: Path, image: torch.Tensor, wait: Wait) -> None:
        wait()
        try:
            stamp, file = stamp_of(source), pixel_size(source)
        except ImageError as error:
            results.errors.append(error)
            return
        entry = entries[source]
        place, name = placement(entry, file, camera, tuple(image.shape[-2:])), entry["file_name"]
        note_finished(results, folder, name, stamp, file, write_one(folder / name, image, place))

    with closing(read) as batches, Writers(options.num_threads) as writers, torch.inference_mode():
        for visible, items in batches:
            sizes = [options.size or tuple(item["size"]) for item in items]
            images, wait = fetch(at_own_size(translator(visible), sizes), translator.device.device)
            for item, image in zip(items, images, strict=True):
                writers.submit(image.numel(), write, item["job"].visible.path, image, wait)
    results.collect()
    written = take_finished(labels, folder, camera, results)
    images = {image["file_name"]: image for image in labels.images if image["file_name"] in written}
    files = {name: tuple(results.records[f"{folder.name}/{name}"]["file"]) for name in images}
    note_exchanged(labels, [name for name, image in images.items() if exchanged(image, files[name])])
    return written


@ranks.sharing
def main(argv: Sequence[str] | None = None) -> int:
    """Translate labelled folders as argv says (sys.argv); exit status 1 where some images could not be read."""
    options = parse(AugmentOptions, argv)
    check_folder("--out", options.out)
    weights, trained = find_weights(options)
    device = select_device(options.device, options.precision)
    network, _, metadata = load_network(weights, "generation", trained, options.norm_statistics)
    ensure_sample(options.dataroot)
    folders = visible_folders(options)
    sees = Preprocess.of_generator(trained, metadata)
    preprocess = sees if options.scale == "train" else None
    key = manifest_key(weights, manifest_facts(preprocess, options, device, metadata.get("norm_statistics")))
    check_out(options, key, folders)
    indexes = {name: read_index(labels.path / "index.json") for name, labels in folders.items()}
    translator = Translator(network, device, seen_at=sees.working_size if sees else None)
    provenance = {"run": options.name or "", "weights": weights.name, "weights_sha256": key["weights"]}
    provenance |= {"epoch": metadata.get("epoch", ""), "code_version": code_version()}
    facts = {"generated_from": str(options.dataroot.resolve()), **provenance}
    facts |= {"scale": options.scale, "camera_crop": options.camera_crop, "precision": str(device.dtype)}
    announce({"weights": weights, "device": device.describe(), "writes": f"{options.out}/"})
    for labels in folders.values():
        note_unlisted(labels)
    paths = [labels.file(image) for labels in folders.values() for image in labels.images]
    sources = [Source(path, path.stem, options.camera) for path in paths]  # all, wherever a call goes on
    alike, lines = with_one_white(sources, headers_of(sources), options.visible_bits)
    tell("note", lines)
    total = Carried()
    with alone_in(options.out, "wait for it, or give another --out") if ranks.is_writer() else nullcontext():
        if ranks.is_writer():
            check_out(options, key, folders)  # again: another command may just have ended
            write_whole(options.out / RECORD, json.dumps(facts | {"finished": False}, indent=2).encode())
        results = Results(options.out, {}, key, options.overwrite, fits)
        for name in (infrared for _, infrared in FOLDERS.values() if options.overwrite):
            for file in (*images_in(results.forgotten, name), *LABEL_FILES):
                (options.out / name / file).unlink(missing_ok=True)
        for name, labels in folders.items():
            written = generate(labels, options.out / name, translator, preprocess, options, results, alike)
            if not ranks.is_writer():
                continue
            content, carried = carry(labels, written, provenance)
            write_labels(options.out / name, content, carry_index(indexes[name], written) if indexes[name] else None)
            print(f"{name:20} {carried.text()}", flush=True)
            total += carried
        if not ranks.is_writer():
            return 0
        counts = {key: getattr(total, key) for key in total.__dataclass_fields__} | {"unreadable": len(results.errors)}
        write_whole(options.out / RECORD, json.dumps(facts | {"finished": True} | counts, indent=2).encode())
    status, missed = tell_skipped(results.errors), plural(len(results.errors), "visible file")
    missed = f"; {missed} missing or unreadable, left out" if results.errors else ""
    print(f"in all    {total.text()}{missed}; in {options.out}")
    return status


if __name__ == "__main__":
    run_command(main)

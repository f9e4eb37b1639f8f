"""data/remarks.py, data/files.py: what is told of a folder's images; suffixes, pages, palettes, one white for all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from data.files import Met
from data.images import list_images, read_visible, write_image
from data.layouts import find
from data.remarks import seen_alike
from options.data import DataOptions
from tests.commands.test_test_command import SERIAL, write_weights
from tests.conftest import write_pairs

NOISE = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


def test_every_suffix_of_one_picture_is_read_and_the_rest_is_told(command: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    kinds = {"jpg": "JPEG", "jfif": "JPEG", "jpe": "JPEG", "jp2": "JPEG2000", "gif": "GIF", "tga": "TGA", "pcx": "PCX"}
    kinds |= {"avif": "AVIF"} if features.check("avif") else {}
    for suffix, kind in kinds.items():
        Image.fromarray(NOISE).save(folder / f"{suffix}_.{suffix}", format=kind)
    for name in ("a.heic", "b.mp4", "c.mp4", "labels.txt", ".hidden.xyz"):
        (folder / name).write_bytes(b"x")
    done = command("test.py", "--weights", write_weights(tmp_path / "w.safetensors"), "--dataroot", folder, *SERIAL)
    assert f"images    {len(kinds)} in" in done.stdout
    assert "not read are files ending in .mp4 (2), .heic (1)\n" in done.stdout
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "x.mp4").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no images in .* not read are files ending in .mp4 \(1\)"):
        list_images(tmp_path / "films")


def test_a_pipe_among_images_is_skipped_and_named(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 4)
    os.mkfifo(root / "visible" / "pipe.png")
    os.mkfifo(root / "infrared" / "pipe.png")
    command("test.py", "--weights", write_weights(tmp_path / "w.safetensors"), "--dataroot", root / "visible", *SERIAL,
            status=1)  # fmt: skip
    reasons = {item.path.parent.name: item.reason for item in find(DataOptions(dataroot=root)).skipped}
    assert reasons == dict.fromkeys(("visible", "infrared"), "a pipe, socket or device, no file")


def test_what_a_data_set_skips_is_named_and_the_status_is_1(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 4)
    (root / "visible" / "bad.png").touch()
    weights = write_weights(tmp_path / "w.safetensors")
    done = command("test.py", "--weights", weights, "--dataroot", root, "--split", "all", *SERIAL, status=1)
    assert f"skipped {root}/visible/bad.png: empty file (0 bytes)\n" in done.stderr
    assert "images    4 in" in done.stdout
    done = command("scripts.inspect_data", "--dataroot", root, "--verify", status=1)
    assert done.stderr == f"skipped {root}/visible/bad.png: empty file (0 bytes)\n"
    assert "wrote results/inspect/data.png" in done.stdout and (tmp_path / "results/inspect/data.png").is_file()


def test_palettes_and_pages_are_remarked(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, 4)
    grey = np.asarray(Image.open(root / "infrared" / "000.png"))
    write_image(root / "infrared" / "000.png", np.repeat(grey[..., None], 3, 2))
    (line,) = [note for note in find(DataOptions(dataroot=root)).notes if "colour" in note]
    assert line == "1 of 4 infrared images are stored in colour: luminance is read", "grey in three channels is right"
    write_image(root / "infrared" / "001.png", np.stack([grey, 255 - grey, np.full_like(grey, 40)], 2))
    Image.fromarray(grey).save(root / "infrared" / "002.tif", save_all=True, append_images=[Image.fromarray(grey)] * 2)
    (root / "infrared" / "002.png").unlink()
    (root / "infrared" / "film.mkv").write_bytes(b"x")
    met = Met()
    seen = seen_alike(list_images(root / "visible", met), list_images(root / "infrared", met), None)[1]
    for notes in (find(DataOptions(dataroot=root)).notes, [*seen, *met.notes()]):
        text = "\n".join(notes)
        assert "as it seems in 1 of 2 looked at (001.png): export them in grey, white hot" in text
        assert "1 file holds several pages or frames, of which the first is read: 002.tif" in text
        assert "not read are files ending in .mkv (1)" in text


@pytest.mark.parametrize("bits", [None, 12, 10])
def test_visible_images_of_a_folder_have_one_white(tmp_path: Path, bits: int | None) -> None:
    root = write_pairs(tmp_path, 4)
    for number, top in enumerate((1000, 1023, 1024, 1100)):
        counts = np.full((40, 48), 400, np.uint16)
        counts[0, 0] = top
        write_image(root / "visible" / f"{number:03d}.png", counts)
    listing = find(DataOptions(dataroot=root, visible_bits=bits, val_fraction=0.5))
    sources = [source for split in listing.splits.values() for source in split.visible]
    assert {pair.visible for split in listing.splits.values() for pair in split.pairs} == set(sources)
    alike, (line, *_) = seen_alike(list_images(root / "visible"), [], bits)
    white = 1023 if bits == 10 else 4095
    assert line in listing.notes and f"4 visible images of more than 8 bits: {white} is shown white" in line
    for source in (*sources, *alike.values()):
        assert read_visible(source)[5, 5, 0] == round(400 / white * 255)


def test_locked_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_pairs(tmp_path, 4)
    locked = root / "visible" / "locked"
    locked.mkdir()
    scandir = os.scandir

    def refuse(path: object = ".") -> object:
        if Path(os.fspath(path)) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    skipped = find(DataOptions(dataroot=root)).skipped
    assert [(item.path, item.reason) for item in skipped] == [(locked, "Permission denied")]


def test_pictures_above_pillows_limit_are_read_by_every_command(
    command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pairs(tmp_path / "data", 4)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    command("scripts.inspect_data", "--dataroot", root, "--verify", "--out", "sheet.png")

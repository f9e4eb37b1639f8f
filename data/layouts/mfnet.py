"""MFNet (Ha et al., IROS 2017) as it ships: thermal in the alpha channel of images/*.png, label maps in labels/."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from data.files import image_files, name_key
from data.layouts.folders import Folder
from data.layouts.listing import Split
from data.layouts.lists import list_files, share_by_lists
from data.layouts.pairing import complete, paired_split
from data.layouts.scan import Scan
from data.pictures import ImageError, header_of

_LISTS = ("train", "val", "test")


def detect(folder: Folder) -> bool:
    """images of four channels, the fourth no plain opacity, beside labels or lists."""
    images = folder.child("images")
    if images is None or not (folder.child("labels") or any((folder.path / f"{s}.txt").is_file() for s in _LISTS)):
        return False
    first = image_files(images)[:5]
    try:
        if not first or any(header_of(path).mode != "RGBA" for path in first):
            return False
        with Image.open(first[0]) as image:
            low, high = image.getchannel("A").getextrema()
    except (ImageError, OSError, ValueError):
        return False
    return low < high


def read(folder: Folder, scan: Scan) -> dict[str, Split]:
    """Every picture twice, as colour and as heat, shared by train.txt, val.txt and test.txt where they are."""
    pictures = scan.images(folder.child("images"))
    heat = [replace(source, half="alpha") for source in pictures]
    whole = paired_split(pictures, heat, labels=scan.images(folder.child("labels")))
    files = {name_key(path.stem): path for path in list_files([folder.path], scan)}
    splits = share_by_lists(whole, {split: files[split] for split in _LISTS if split in files}, scan)
    return complete(splits, scan.options.val_fraction, scan.options.test_fraction)

"""Whether two cameras' images show one view: pictures of wide cameras that nobody has cut to the thermal one's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from data.images import CAMERAS, ImageError, Source, camera_box, view_size
from data.threads import of_headers
from util.text import first_few

WIDE = ((1800, 1600), (1224, 1024))  # (width, height) of FLIR ADAS's visible pictures, nearly of a thermal shape
TOLERANCE = math.log(1.06)  # between two width / height, of which the layouts' own crops leave up to 5.2 %
CUTS = "--dataroot ROOT, in place of {}, cuts those of FLIR ADAS to the thermal view"  # a remedy
Size = tuple[int, int]  # height, width


def cut_sizes(size: Size) -> set[Size]:
    """Sizes that the layouts' crops make of a visible picture of a size; none where they leave it whole."""
    height, width = size
    boxes = {camera_box(camera, (width, height)) for camera in CAMERAS} - {(0, 0, width, height)}
    return {(bottom - top, right - left) for left, top, right, bottom in boxes}


def unlike(first: Size, second: Size) -> bool:
    """Whether the first image shows more or less than the second: by its shape, or as a known wide picture."""
    if first == second:
        return False
    (height, width), (other_height, other_width) = first, second
    shapes = math.log(width * other_height / (height * other_width))
    return (width, height) in WIDE or abs(shapes) > TOLERANCE


def note_views(
    pairs: Sequence[tuple[Source, Source]],
    kind: str,
    partners: str,
    remedy: str,
    only_wide: bool = False,
    why: str = "scores compare pixel by pixel",
) -> list[str]:
    """A line about those of (image, thermal partner) that show different views; none where all agree. kind,
    partners: what to call them. remedy: for pictures that the layouts cut. only_wide: say nothing of other shapes. why:
    that matters. Headers are read; what has none is passed over."""
    found = of_headers(lambda pair: (view_size(pair[0]), view_size(pair[1])), pairs)
    known = [(pair[0].stem, both) for pair, both in zip(pairs, found, strict=True) if not isinstance(both, ImageError)]
    wrong = [(stem, both) for stem, both in known if unlike(*both) and (cut_sizes(both[0]) or not only_wide)]
    if not wrong:
        return []
    (first, second), _ = Counter(both for _, both in wrong).most_common(1)[0]
    stems = first_few(stem for stem, _ in wrong)
    return [
        f"{len(wrong)} of {len(pairs)} {kind} seem to show another view than {partners} ({text(first)} beside "
        f"{text(second)}: {stems}), and {why}: " + (remedy if cut_sizes(first) else "cut both to one view first")
    ]


def text(size: Size) -> str:
    """640x512 of (512, 640)."""
    return f"{size[1]}x{size[0]}"


def size_remedy(fused: Size, visible: Source, of_data_set: bool) -> str:
    """What to do about a fused image of another size than its visible one. of_data_set: whether --dataroot gave
    that. ImageError if unreadable."""
    whole = view_size(replace(visible, camera="none"))
    if not of_data_set:
        here = "give --dataroot ROOT here too, in place of --visible and --infrared"
        if fused in cut_sizes(whole):
            return f"cut to the thermal view by fuse.py --dataroot: {here}"
        return f"give fused images of that size; if fuse.py --dataroot cut them to the thermal view, {here}"
    if visible.camera != "none" and fused == whole:
        return "not cut to the thermal view: fuse it with --dataroot, or add --no_camera_crop"
    if visible.camera == "none" and fused in cut_sizes(whole):
        return "cut to the thermal view: leave --no_camera_crop out"
    return "give what fuse.py --dataroot makes of this data set"

"""What a user should know of the images of a data set or a folder: pages, palettes, the depth of visible images, and
pictures of wide cameras that nobody has cut to the thermal camera's view."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data.images import CAMERAS, ImageError, Source, brightest, camera_box, read_visible, view_size
from data.pictures import Header, header_of
from data.threads import of_headers
from util.text import first_few, plural

LOOKED_AT = 8  # coloured infrared images
COLOUR = 16  # grey levels between the channels, on average, above which a picture is no grey one with noise
WIDE = ((1800, 1600), (1224, 1024))  # (width, height) of FLIR ADAS's visible pictures, nearly of a thermal shape
TOLERANCE = math.log(1.06)  # between two width / height, of which the layouts' own crops leave up to 5.2 %
CUTS = "--dataroot ROOT, in place of {}, cuts those of FLIR ADAS to the thermal view"  # a remedy
Size = tuple[int, int]  # height, width


def headers_of(sources: Iterable[Source]) -> dict[Path, Header]:
    """The headers of those that can be read."""
    paths = list(dict.fromkeys(source.path for source in sources))
    found = zip(paths, of_headers(header_of, paths), strict=True)
    return {path: header for path, header in found if not isinstance(header, ImageError)}


def _is_coloured(source: Source) -> bool:
    try:
        picture = read_visible(replace(source, camera="none")).astype(int)
    except ImageError:
        return False
    return (picture.max(2) - picture.min(2)).mean() > COLOUR


def note_palettes(infrared: Sequence[Source], headers: Mapping[Path, Header]) -> list[str]:
    """A line on infrared images that are stored in colour, and on palettes such as jet in some of them."""
    whole = [source for source in infrared if source.half == "whole" and source.path in headers]
    modes = {source: headers[source.path] for source in whole}
    colour = [source for source, header in modes.items() if not header.grey]
    if not colour:
        return []
    line = f"{len(colour)} of {len(whole)} infrared images are stored in colour: luminance is read"
    looked_at = colour[:: -(-len(colour) // LOOKED_AT)]
    painted = [source for source in looked_at if _is_coloured(source)]
    if painted:
        line += (
            f", which is not heat where a palette such as jet was laid over it, as it seems in {len(painted)} of "
            f"{len(looked_at)} looked at ({first_few(s.path.name for s in painted)}): export them in grey, white hot"
        )
    return [line]


def note_pages(sources: Iterable[Source], headers: Mapping[Path, Header]) -> list[str]:
    """A line on files of several pages or frames."""
    several = [source.path.name for source in sources if source.path in headers and headers[source.path].several]
    if not several:
        return []
    count = f"{plural(len(several), 'file')} {'holds' if len(several) == 1 else 'hold'}"
    return [f"{count} several pages or frames, of which the first is read: {first_few(several)}"]


def with_one_white(
    sources: Sequence[Source], headers: Mapping[Path, Header], bits: int | None
) -> tuple[dict[Source, Source], list[str]]:
    """Visible images of more than 8 bits with one value shown white, whatever each of them holds, in place of those
    given; and a line on that value. bits: of the camera; None looks for the brightest image, which decodes all."""
    deep = [source for source in sources if source.path in headers and headers[source.path].deep]
    deep = [source for source in deep if not headers[source.path].declared and source.white is None]
    if not deep:
        return {}, []
    if bits is not None:
        white = 2.0**bits - 1
    else:
        found = [top for top in of_headers(brightest, deep) if top is not None and not isinstance(top, ImageError)]
        white = max(found, default=None)
    if white is None:
        return {}, []
    line = f"{plural(len(deep), 'visible image')} of more than 8 bits: {white:g} is shown white"
    line += "" if bits else ", for the brightest of them; give --visible_bits if the camera has more"
    return {source: replace(source, white=white) for source in deep}, [line]


def seen_alike(
    visible: Sequence[Source], infrared: Sequence[Source], bits: int | None
) -> tuple[dict[Source, Source], list[str]]:
    """As with_one_white, with all remarks on the images of folders and files."""
    headers = headers_of([*visible, *infrared])
    alike, lines = with_one_white(visible, headers, bits)
    return alike, lines + note_palettes(infrared, headers) + note_pages([*visible, *infrared], headers)


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
        f"{len(wrong)} of {len(pairs)} {kind} seem to show another view than {partners} ({size_text(first)} beside "
        f"{size_text(second)}: {stems}), and {why}: " + (remedy if cut_sizes(first) else "cut both to one view first")
    ]


def size_text(size: Size) -> str:
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

"""What a user should know of the pixels of a data set or a folder: pages, palettes, the depth of visible images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data.images import ImageError, Source, brightest, read_visible
from data.pictures import Header, opened
from data.threads import of_headers
from util.text import first_few, plural

LOOKED_AT = 8  # coloured infrared images
COLOUR = 16  # grey levels between the channels, on average, above which a picture is no grey one with noise


def header_of(path: Path) -> Header:
    """The header of a picture. ImageError if unreadable."""
    with opened(path) as (_, header):
        return header


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

"""One picture file as Pillow opens it: what its header tells, its pixels upright, its counts of more than 8 bits."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from data.counts import COUNT_MODES
from util.images import BT601
from util.text import one_line

ORIENTATION = 0x0112  # of EXIF: 1 to 8, 5 and more with sides exchanged
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLE_FORMAT, NODATA = 256, 257, 258, 262, 339, 42113  # tags of TIFF
DEEP = ";deep"  # behind the mode of a colour picture of more than 8 bits
_NUMBERS = {1: "whole numbers", 2: "signed numbers", 3: "floats"}  # TIFF's SampleFormat
_TAGGED = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
_BEHIND = (b"eXIf", b"iTXtXML:com.adobe.xmp", b"zTXtRaw profile type exif", b"tEXtRaw profile type exif")


class ImageError(ValueError):
    """A file that cannot be read as an image, or not as asked; str() is one line, "path: reason"."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(one_line(f"{path}: {reason}"))
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        """Both arguments, so that a loader's worker process can send the error to its parent."""
        return ImageError, (self.path, self.reason)


def _unidentified(path: Path) -> str:
    """Why Pillow does not know a file."""
    with path.open("rb") as file:
        head = file.read(16)
        if not head:
            return "empty file (0 bytes)"
        if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1"):
            return "HEIC, which Pillow cannot read: save it as PNG or JPEG"
        if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return "not an image"
        tags = TiffImagePlugin.ImageFileDirectory_v2(head if b"+" in head[:4] else head[:8])
        file.seek(tags.next)
        tags.load(file)
        bits, kind = tags.get(BITS, (1,)), tags.get(SAMPLE_FORMAT, (1,))[0]
        held = f"{len(bits)} x {bits[0]}-bit {_NUMBERS.get(kind, 'values')}"
        held += f", photometric {tags.get(PHOTOMETRIC)}"
        return f"a TIFF of {held}, which Pillow cannot read: save one channel of 16-bit whole numbers or 32-bit floats"


@contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(path, "no such file") from None
    except UnidentifiedImageError:
        with one_line_errors(path):
            reason = _unidentified(path)
        raise ImageError(path, reason) from None
    except Exception as error:  # decoders raise many kinds of error on broken files, struct.error among them
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(path, " ".join(reason.split()) or type(error).__name__) from error


def _tagged_behind(image: Image.Image) -> bool:
    """Whether a PNG has tags behind its pixels, which Pillow sees only once these are decoded."""
    file = getattr(image.fp, "raw", image.fp)  # a buffer would be filled anew at every chunk
    before, behind, tagged = file.tell(), False, False
    file.seek(8)
    while not tagged and len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        end = file.tell() + int.from_bytes(head[:4], "big") + 4
        behind = behind or head[4:] == b"IDAT"
        tagged = behind and head[4:] != b"IDAT" and (head[4:] + file.read(21)).startswith(_BEHIND)
        file.seek(end)
    file.seek(before)
    return tagged


def _orientation(image: Image.Image) -> int:
    """1 to 8, as its EXIF tells, or else its XMP; 1 where neither does."""
    if image.format == "PNG" and _tagged_behind(image):
        image.load()
    if image.format != "TIFF" and not _TAGGED & image.info.keys():
        return 1
    try:
        turn = Image.Image.getexif(image).get(ORIENTATION, 1)  # PNG's own getexif would always decode the pixels
    except Exception:  # damaged tags are no reason not to show a picture
        return 1
    return turn if turn in range(1, 9) else 1


def _codestream_bits(image: Image.Image) -> int:
    """Bits of a JPEG 2000's first channel."""
    before = image.fp.tell()
    image.fp.seek(0)
    head = image.fp.read(1 << 16)
    image.fp.seek(before)
    start = head.find(b"\xff\x4f\xff\x51")  # the codestream's start and its sizes
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def _largest(image: Image.Image) -> int:
    """The largest value that a picture of whole numbers may hold, by its header."""
    if image.format == "JPEG2000":
        return 2 ** _codestream_bits(image) - 1
    if image.format == "TIFF":
        return 2 ** max(image.tag_v2.get(BITS, (1,))) - 1
    arguments = image.tile[0][3] if image.tile else ""
    if image.format == "PPM" and isinstance(arguments, tuple) and isinstance(arguments[-1], int):
        return arguments[-1]
    return 65535 if str(arguments).endswith(";16B") else 255


@dataclass(frozen=True)
class Header:
    """What a picture's header tells. mode: Pillow's, with DEEP behind it for colour of more than 8 bits, of which
    Pillow gives 8. size: upright (width, height). turn: 1 to 8, as of EXIF. top: the largest value that it may hold.
    several: whether it holds further pages or frames."""

    mode: str
    size: tuple[int, int]
    turn: int
    top: int
    several: bool

    @property
    def deep(self) -> bool:
        """Whether it has more than 8 bits."""
        return self.mode in COUNT_MODES or self.mode.endswith(DEEP)

    @property
    def grey(self) -> bool:
        """Whether it has one channel, of light."""
        return self.mode in ("L", "1", *COUNT_MODES)

    @property
    def declared(self) -> int | None:
        """The value that it declares to be white, where it is not just that of its 16 bits or more."""
        return self.top if self.deep and 255 < self.top < 65535 else None

    @classmethod
    def of(cls, image: Image.Image) -> Header:
        """Of an opened image. The pixels of a PNG with tags behind them are decoded. ValueError for numbers that Pillow
        would read as others."""
        if image.format == "TIFF" and image.mode == "L" and image.tag_v2.get(SAMPLE_FORMAT) == (2,):
            raise ValueError("a TIFF of signed 8-bit numbers, which Pillow cannot read: save 16 bits, or unsigned")
        top = _largest(image)
        mode = image.mode + DEEP * (image.mode not in COUNT_MODES and top > 255)
        # Pillow's own size of a TIFF is turned already, but by its EXIF alone.
        width, height = (image.tag_v2[WIDTH], image.tag_v2[HEIGHT]) if image.format == "TIFF" else image.size
        turn = _orientation(image)
        # An MPO is one photograph of a telephone and what goes with it.
        several = image.format != "MPO" and getattr(image, "is_animated", False)
        return cls(mode, (height, width) if turn >= 5 else (width, height), turn, top, several)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Image.Image, Header]]:
    """A picture of which only the header has been read, and that. A pipe would be waited for, and a device read for
    ever: they are never opened."""
    with one_line_errors(path):
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            raise ImageError(path, "a folder" if stat.S_ISDIR(kind) else "a pipe, socket or device, no file")
        # From a path, Pillow 13 maps an uncompressed TIFF with the size of its turned picture and scrambles it.
        with path.open("rb") as file, Image.open(file) as image:
            yield image, Header.of(image)


def header_of(path: Path) -> Header:
    """The header of a picture. ImageError if unreadable."""
    with opened(path) as (_, header):
        return header


def _turned(array: np.ndarray, turn: int) -> np.ndarray:
    """[H, W(, C)] upright."""
    array = array.swapaxes(0, 1) if turn >= 5 else array
    array = array[:, ::-1] if turn in (2, 3, 6, 7) else array
    return array[::-1] if turn in (3, 4, 7, 8) else array


def _counts(image: Image.Image, top: int) -> np.ndarray:
    """[H, W] of a decoded picture of a count mode: what its file holds. NaN where it declares that it holds nothing."""
    values = np.asarray(image)
    if image.format == "PPM" and values.dtype.kind == "i" and top < 65535:
        return np.rint(values * (top / 65535))  # Pillow stretches them to 16 bits
    if image.format == "JPEG2000":
        return values >> (16 - top.bit_length())  # and these
    if image.format != "TIFF":
        return values
    tags = image.tag_v2
    if tags.get(SAMPLE_FORMAT, (1,))[0] == 1 and values.dtype.kind != "f":
        values = values.astype(np.uint32)  # Pillow takes those of 32 bits for signed ones
        values = top - values if tags.get(PHOTOMETRIC) == 0 else values  # white is zero
    with suppress(KeyError, TypeError, ValueError):  # there is none, or it is no number
        values = np.where(values == np.float32(tags[NODATA].strip(" \0")), np.nan, values)
    return values


def _deep_colour(image: Image.Image) -> np.ndarray | None:
    """uint16 [H, W, C] of an opened PNG or TIFF of several channels; None where it cannot be had.

    Pillow gives the high byte of each value, or, told that its bytes lie in the other order, the low one."""
    raw = str(image.tile[0][3] if image.format == "PNG" else image.tile[0][3][0])
    order = {"N": "L" if sys.byteorder == "little" else "B"}.get(raw[-1], raw[-1])
    if not raw.startswith("RGB") or raw[:-1] != f"{image.mode};16" or order not in ("L", "B"):
        return None
    image.fp.seek(0)
    content = image.fp.read()

    def decoded(order: str) -> np.ndarray:
        with Image.open(BytesIO(content)) as again:
            told = f"{image.mode};16{order}"
            again.tile = [(*tile[:3], told if image.format == "PNG" else (told, *tile[3][1:])) for tile in again.tile]
            return np.array(again).astype(np.uint16)

    return decoded(order) << 8 | decoded("L" if order == "B" else "B")


def decode(image: Image.Image, header: Header, mode: str) -> np.ndarray:
    """An opened picture, upright: uint8 [H, W] for the mode "L", "P" or "A" (alpha), [H, W, 3] for "RGB"; where it has
    more than 8 bits the counts that its file holds, [H, W], or [H, W, 3] in RGB. ValueError where they cannot be
    had."""
    turn = 1 if image.format == "TIFF" else header.turn  # Pillow turns a TIFF
    array = _deep_colour(image) if header.mode.endswith(DEEP) and image.format in ("PNG", "TIFF") else None
    if array is not None:
        array = array[..., 3] if mode == "A" else array[..., :3]
    elif header.mode.endswith(DEEP) and mode != "RGB":
        raise ValueError("colour of more than 8 bits, of which Pillow reads 8: save one channel, or RGB as PNG or TIFF")
    else:
        image.load()
        if mode == "A":
            array = np.array(image.getchannel("A"))
        elif image.mode in COUNT_MODES:
            array = _counts(image, header.top)
        else:
            # Palettes hold colours, and their indices are no grey levels.
            image = image if image.mode in ("L", "RGB", mode) else image.convert("RGB")
            array = np.array(image if image.mode == mode else image.convert(mode))
    array = _turned(array, turn)
    if array.ndim == 3 and mode != "RGB":
        equal = (array == array[..., :1]).all()
        array = array[..., 0] if equal else np.rint(array @ BT601).astype(array.dtype)
    width, height = header.size
    if image.format != "JPEG" and array.shape[:2] != (height, width):  # a JPEG may have been reduced
        raise ValueError(f"its header tells {width}x{height} pixels, and it holds {array.shape[1]}x{array.shape[0]}")
    return array

"""Images on disk, as arrays and as tensors: reading, writing, listing, and the camera's crop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from data.counts import COUNT_MODES, ThermalRange, bytes_from_counts, grey_from_counts
from data.files import IMAGE_SUFFIXES, image_files, is_image_name, unique_stems
from util.colour import grey_bytes

SPARE = 2  # how much larger a reduced JPEG is at least than the image it is resized to
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
_SETTINGS = {"JPEG": {"quality": 95}, "PNG": {"compress_level": 1}}  # 1 writes in a fraction of the default's time


class ImageError(ValueError):
    """A file that cannot be read as an image, or not as asked; str() is one line, "path: reason"."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        """Both arguments, so that a loader's worker process can send the error to its parent."""
        return ImageError, (self.path, self.reason)


@dataclass(frozen=True)
class View:
    """What the thermal camera sees of a visible picture: fractions (left, top, right, bottom) of its width
    and height, for pictures whose width / height lies in `aspect`; the others stay whole."""

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    aspect: tuple[float, float] = (0.0, inf)


CAMERAS = {
    "none": View(),
    # From FLIR's rectification of one unit, 1224x1024 visible (dual_capture_a_drive_20211129.json). A picture
    # of the thermal camera's own 5:4, such as 640x512, has been brought to its view already.
    "flir_v2": View((0.092, 0.111, 0.908, 0.883), aspect=(1.10, 1.22)),
    # Measured on 1800x1600 pictures only. 2048x1536 and 1280x1024 ones see less than the thermal camera.
    "flir_v1": View((0.088, 0.093, 0.969, 0.886), aspect=(1.10, 1.15)),
}


@dataclass(frozen=True)
class Source:
    """One image on disk and how to read it. half: which half of an AB picture. group: its video, if known."""

    path: Path
    stem: str
    camera: str = "none"
    half: Literal["whole", "left", "right"] = "whole"
    group: str = ""


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(path, "no such file") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise ImageError(path, "empty file (0 bytes)" if empty else "not an image") from None
    except Exception as error:  # decoders raise many kinds of error on broken files, struct.error among them
        raise ImageError(path, " ".join(str(error).split()) or type(error).__name__) from error


@contextmanager
def _opened(source: Source | Path) -> Iterator[tuple[Source, Image.Image]]:
    """The source, and its picture, of which only the header has been read."""
    if not isinstance(source, Source):
        source = Source(Path(source), Path(source).stem)
    # From a path, Pillow 13 maps an uncompressed TIFF with the size of its turned picture and scrambles it.
    with _one_line_errors(source.path), source.path.open("rb") as file, Image.open(file) as image:
        yield source, image


def camera_box(camera: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels (left, top, right, bottom) that the thermal camera sees of a visible picture of size (W, H)."""
    view = CAMERAS[camera]
    width, height = size
    if not view.aspect[0] <= width / height <= view.aspect[1]:
        return 0, 0, width, height
    left, top, right, bottom = view.box
    return round(left * width), round(top * height), round(right * width), round(bottom * height)


def _view(size: tuple[int, int], half: str, camera: str = "none") -> tuple[int, int, int, int]:
    """Pixels (left, top, right, bottom) of a picture of size (W, H) that are read."""
    middle = size[0] // 2
    begin, end = {"whole": (0, size[0]), "left": (0, middle), "right": (middle, size[0])}[half]
    left, top, right, bottom = camera_box(camera, (end - begin, size[1]))
    return begin + left, top, begin + right, bottom


def _is_upright_jpeg(image: Image.Image) -> bool:
    return image.format == "JPEG" and image.mode in ("L", "RGB") and image.getexif().get(0x0112, 1) == 1


def _reduce(image: Image.Image, view: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Let a JPEG be decoded at a part of its size, if a view of it, (W, H) of its own pixels, is still SPARE times
    larger then than the wanted (W, H)."""
    for part in (8, 4, 2):
        whole = not any(side % (2 * part) for side in image.size)  # else its grid, or its halves', would not fit
        if whole and all(have >= SPARE * part * want for have, want in zip(view, wanted, strict=True)):
            image.draft(image.mode, (image.width // part, image.height // part))
            return


def _decoded(image: Image.Image, half: str, camera: str = "none") -> Image.Image:
    """Pillow's picture, upright, cut to what is read of it."""
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    box = _view(image.size, half, camera)
    return image if box == (0, 0, *image.size) else image.crop(box)


def read_visible(source: Source | Path) -> np.ndarray:
    """uint8 [H, W, 3], upright by its EXIF, cut to the thermal camera's view. ImageError if unreadable."""
    return read_reduced(source, lambda height, width: (height, width))[0]


def read_reduced(
    source: Source | Path, size_of: Callable[[int, int], tuple[int, int]]
) -> tuple[np.ndarray, tuple[int, int]]:
    """As read_visible, for an image to be resized at once, and the size it is to get: size_of(height, width).

    A JPEG that is shrunk far is decoded at a half, a quarter or an eighth of its size, at least twice that of the
    result, which then differs by about half a grey level on average; the camera's crop is rounded to its pixels."""
    with _opened(source) as (source, image):
        if _is_upright_jpeg(image):
            left, top, right, bottom = _view(image.size, source.half, source.camera)
            size = size_of(bottom - top, right - left)
            _reduce(image, (right - left, bottom - top), size[::-1])
            image = _decoded(image, source.half, source.camera)
        else:
            image = _decoded(image, source.half, source.camera)
            size = size_of(image.height, image.width)
        if image.mode in COUNT_MODES:
            return np.repeat(bytes_from_counts(np.asarray(image))[:, :, None], 3, axis=2), size
        return np.array(image if image.mode == "RGB" else image.convert("RGB")), size


def read_infrared(source: Source | Path, thermal: ThermalRange) -> np.ndarray:
    """[H, W]: uint8 of an 8-bit picture, unchanged (colour: BT.601 luminance), or uint16 full scale of 16-bit
    counts through the thermal range. ImageError if unreadable or if its counts are no temperatures."""
    with _opened(source) as (source, image):
        image = _decoded(image, source.half)
        if image.mode in COUNT_MODES:
            return grey_from_counts(np.asarray(image), thermal)
        if image.mode not in ("L", "RGB"):
            image = image.convert("RGB")  # palettes hold colours, and their indices are no grey levels
        return np.array(image if image.mode == "L" else image.convert("L"))


def probe(path: Path) -> tuple[str, tuple[int, int]]:
    """(Pillow mode, upright (width, height)), from the header alone. ImageError if unreadable."""
    with _one_line_errors(path), Image.open(path) as image:
        width, height = image.size
        # Pillow turns a TIFF's size itself; asking a PNG without EXIF for it would decode the PNG.
        turned = image.format != "TIFF" and "exif" in image.info and image.getexif().get(0x0112, 1) >= 5
        return image.mode, (height, width) if turned else (width, height)


def pixel_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright picture, from the header alone. ImageError if unreadable."""
    return probe(path)[1]


def view_size(source: Source) -> tuple[int, int]:
    """(height, width) of what read_visible returns, from the header alone. ImageError if unreadable."""
    left, top, right, bottom = _view(pixel_size(source.path), source.half, source.camera)
    return bottom - top, right - left


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """uint8 or uint16, [H, W] or [H, W, C] -> float32 [C, H, W] in [-1, 1]."""
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3):
        raise ValueError(f"to_tensor takes uint8 or uint16, [H, W(, C)], not {array.dtype} {array.shape}")
    half = 127.5 if array.dtype == np.uint8 else 32767.5
    channels = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return torch.from_numpy(channels.astype(np.float32, order="C")).div_(half).sub_(1)


def to_uint8(tensor: torch.Tensor) -> np.ndarray:
    """[1 or 3, H, W] in [-1, 1], clamped and rounded, or uint8 -> uint8 [H, W] or [H, W, 3]."""
    assert tensor.ndim == 3 and tensor.shape[0] in (1, 3), tuple(tensor.shape)
    grey = grey_bytes(tensor.detach()).cpu()
    return grey[0].numpy() if grey.shape[0] == 1 else grey.permute(1, 2, 0).contiguous().numpy()


def write_image(path: Path, array: np.ndarray) -> None:
    """Write uint8 [H, W], [H, W, 3] or uint16 [H, W] (PNG, TIFF), whole or not at all; makes its folder."""
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"{path}: cannot write this kind of image: use {', '.join(_WRITERS)}")
    if array.dtype == np.uint16 and writer not in ("PNG", "TIFF"):
        raise ValueError(f"{path}: {writer} holds 8 bits only: use .png or .tiff for 16-bit images")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        Image.fromarray(array).save(part, format=writer, **_SETTINGS.get(writer, {}))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def list_images(path: Path) -> list[Source]:
    """Every image in a folder and its sub-folders in natural order, or the one file. Stems are unique: a stem
    that occurs twice gets its relative folder before it (a/b/1.png: a_b_1), then its suffix behind it.
    ValueError if there are none."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist: give an image or a folder of images")
    files = image_files(path, recursive=True) if path.is_dir() else [path] * is_image_name(path.name)
    if not files:
        raise ValueError(f"no images in {path}: give files ending in {', '.join(IMAGE_SUFFIXES)}")
    stems = unique_stems(files, path if path.is_dir() else path.parent)
    return [Source(file, stem) for file, stem in zip(files, stems, strict=True)]

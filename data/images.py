"""Images on disk, as arrays and as tensors: reading, writing, listing, and the camera's crop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data.counts import ThermalRange, bytes_from_counts, grey_from_counts, largest, stretched, white_of
from data.files import IMAGE_SUFFIXES, Met, image_files, is_image_name, is_video_name, unique_stems
from data.pictures import ImageError as ImageError
from data.pictures import decode, header_of, opened
from util.files import beside
from util.images import BT601, grey_bytes

JPEG_SIDE = 65500  # pixels
SPARE = 2  # how much larger a reduced JPEG is at least than the image it is resized to
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
_SETTINGS = {"JPEG": {"quality": 95}, "PNG": {"compress_level": 1}}  # 1 writes in a fraction of the default's time


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
    """One image on disk and how to read it. half: which half of an AB picture, or its alpha channel where that holds
    infrared. group: its video, if known. white: the value shown white, of a visible picture of more than 8 bits; None
    for that of its own largest."""

    path: Path
    stem: str
    camera: str = "none"
    half: Literal["whole", "left", "right", "alpha"] = "whole"
    group: str = ""
    white: float | None = None


def _source(path: Source | Path) -> Source:
    return path if isinstance(path, Source) else Source(Path(path), Path(path).stem)


def camera_box(camera: str, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels (left, top, right, bottom) that the thermal camera sees of a visible picture of size (W, H)."""
    view = CAMERAS[camera]
    width, height = size
    if not view.aspect[0] <= width / height <= view.aspect[1]:
        return 0, 0, width, height
    left, top, right, bottom = view.box
    return round(left * width), round(top * height), round(right * width), round(bottom * height)


def view_of(size: tuple[int, int], half: str, camera: str = "none") -> tuple[int, int, int, int]:
    """Pixels (left, top, right, bottom) of a picture of size (W, H) that are read."""
    middle = size[0] // 2
    begin, end = {"left": (0, middle), "right": (middle, size[0])}.get(half, (0, size[0]))
    left, top, right, bottom = camera_box(camera, (end - begin, size[1]))
    return begin + left, top, begin + right, bottom


def _reduce(image: Image.Image, view: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Let a JPEG be decoded at a part of its size, if a view of it, (W, H) of its own pixels, is still SPARE times
    larger then than the wanted (W, H)."""
    for part in (8, 4, 2):
        whole = not any(side % (2 * part) for side in image.size)  # else its grid, or its halves', would not fit
        if whole and all(have >= SPARE * part * want for have, want in zip(view, wanted, strict=True)):
            image.draft(image.mode, (image.width // part, image.height // part))
            return


def _cut(array: np.ndarray, half: str, camera: str = "none") -> np.ndarray:
    """What is read of an upright picture."""
    left, top, right, bottom = view_of(array.shape[1::-1], half, camera)
    return np.ascontiguousarray(array[top:bottom, left:right])


def read_visible(source: Source | Path) -> np.ndarray:
    """uint8 [H, W, 3], upright by its EXIF or XMP, cut to the thermal camera's view. ImageError if unreadable."""
    return read_reduced(source, lambda height, width: (height, width))[0]


def read_reduced(
    source: Source | Path, size_of: Callable[[int, int], tuple[int, int]]
) -> tuple[np.ndarray, tuple[int, int]]:
    """As read_visible, for an image to be resized at once, and the size it is to get: size_of(height, width).

    A JPEG that is shrunk far is decoded at a half, a quarter or an eighth of its size, at least twice that of the
    result, which then differs by about half a grey level on average; the camera's crop is rounded to its pixels."""
    source = _source(source)
    with opened(source.path) as (image, header):
        left, top, right, bottom = view_of(header.size, source.half, source.camera)
        size = size_of(bottom - top, right - left)
        if image.format == "JPEG" and image.mode in ("L", "RGB") and header.turn == 1:
            _reduce(image, (right - left, bottom - top), size[::-1])
        array = _cut(decode(image, header, "RGB"), source.half, source.camera)
        if array.dtype != np.uint8:
            array = bytes_from_counts(array, header.declared or source.white)
        return array if array.ndim == 3 else np.repeat(array[:, :, None], 3, axis=2), size


def read_result(source: Source) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3] of an image that a method made, as it was written: one of 16 bits over their full
    scale. ImageError if unreadable."""
    with opened(source.path) as (image, header):
        array = decode(image, header, "RGB")
    full = 65535.0 if array.dtype.kind != "f" else None
    return array if array.dtype == np.uint8 else bytes_from_counts(array, header.declared or full)


def read_infrared(source: Source | Path, thermal: ThermalRange | None) -> np.ndarray:
    """[H, W]: uint8 of an 8-bit picture (colour: BT.601 luminance), unchanged or stretched, or uint16 full
    scale of 16-bit counts through the thermal range. ImageError if unreadable or if its counts are no temperatures."""
    source, thermal = _source(source), thermal or ThermalRange()
    with opened(source.path) as (image, header):
        array = _cut(decode(image, header, "A" if source.half == "alpha" else "L"), source.half)
        return stretched(array, thermal) if array.dtype == np.uint8 else grey_from_counts(array, thermal)


def read_labels(path: Path) -> np.ndarray:
    """[H, W] float32 in [0, 1] of a mask image: 1 wherever one of labels has another number or colour than the
    background's 0 or black; grey levels over their full scale of any other. ImageError if unreadable."""
    with opened(path) as (image, header):
        palette = image.mode == "P" and image.getpalette()[:3] == [0, 0, 0]
        array = decode(image, header, "P" if palette else "RGB")
        lossless = image.format != "JPEG"
    if array.ndim == 3 and not (array == array[..., :1]).all():
        return array.any(2).astype(np.float32) if lossless else (array @ BT601 / 255).astype(np.float32)
    array = array[..., 0] if array.ndim == 3 else array
    full = np.iinfo(array.dtype).max if array.dtype.kind == "u" else max(1.0, largest(array))
    if palette or (lossless and array.dtype.kind != "f" and array.max() <= full // 2):  # numbers of classes or things
        return (array != 0).astype(np.float32)
    return (np.nan_to_num(array) / full).astype(np.float32)


def read_classes(path: Path) -> np.ndarray:
    """[H, W], the number of each pixel's class in a label image. ImageError if unreadable, in colour, or a JPEG, which
    does not keep numbers."""
    with opened(path) as (image, header):
        array = decode(image, header, "P" if image.mode == "P" else "RGB")
        if array.ndim == 3 and (array == array[..., :1]).all():
            array = array[..., 0]
        if array.ndim == 3 or array.dtype.kind == "f" or image.format == "JPEG":
            raise ValueError("is no label image: give a PNG of one channel, whose values are numbers of classes")
    return array


def brightest(source: Source) -> float | None:
    """The value that would be white if a visible picture of more than 8 bits were alone; None where its header tells
    it, or for one of 8 bits. ImageError if unreadable."""
    with opened(source.path) as (image, header):
        if not header.deep or header.declared:
            return None
        counts = decode(image, header, "RGB")
        if counts.dtype == np.uint8:
            return None
        return white_of(largest(counts), counts.dtype.kind == "f")


def pixel_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright picture, from the header alone. ImageError if unreadable."""
    return header_of(path).size


def view_size(source: Source) -> tuple[int, int]:
    """(height, width) of what read_visible returns, from the header alone. ImageError if unreadable."""
    left, top, right, bottom = view_of(pixel_size(source.path), source.half, source.camera)
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


def _text(writer: str, about: str) -> dict[str, Any]:
    if not about or writer not in ("PNG", "JPEG"):
        return {}
    if writer == "JPEG":
        return {"comment": about}
    text = PngInfo()
    text.add_text("Software", about)
    return {"pnginfo": text}


def write_image(path: Path, array: np.ndarray, about: str = "") -> None:
    """Write uint8 [H, W], [H, W, 3] or uint16 [H, W] (PNG, TIFF), whole or not at all; makes its folder. about: text
    that PNG and JPEG files keep."""
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"{path}: cannot write this kind of image: use {', '.join(_WRITERS)}")
    if array.dtype == np.uint16 and writer not in ("PNG", "TIFF"):
        raise ValueError(f"{path}: {writer} holds 8 bits only: use .png or .tiff for 16-bit images")
    if writer == "JPEG" and max(array.shape[:2]) > JPEG_SIDE:
        raise ValueError(f"{path}: JPEG holds {JPEG_SIDE} pixels a side, not {max(array.shape[:2])}: use .png")
    with beside(path, durable=False) as part:
        Image.fromarray(array).save(part, format=writer, **_SETTINGS.get(writer, {}), **_text(writer, about))


def list_images(path: Path, met: Met | None = None) -> list[Source]:
    """Every image in a folder and its sub-folders in natural order, or the one file. Stems are unique: a stem
    that occurs twice gets its relative folder before it (a/b/1.png: a_b_1), then its suffix behind it.
    ValueError if there are none. met: gets what is passed over."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist: give an image or a folder of images")
    met = Met() if met is None else met
    files = image_files(path, recursive=True, met=met) if path.is_dir() else [path] * is_image_name(path.name)
    if not files and is_video_name(path.name):
        raise ValueError(f"{path} is a video, which fuse.py --visible takes, and no image: give an image or a folder")
    if not files and met.unread:
        raise ValueError(f"no images in {path}, and {met.unread[0][0]} cannot be read: {met.unread[0][1]}")
    if not files:
        there = "".join(f"; {line}" for line in met.notes())
        raise ValueError(f"no images in {path}{there}: give files ending in {', '.join(IMAGE_SUFFIXES)}")
    stems = unique_stems(files, path if path.is_dir() else path.parent)
    return [Source(file, stem) for file, stem in zip(files, stems, strict=True)]

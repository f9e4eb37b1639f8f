"""data/pictures.py: headers and pixels agree, and counts are those of the file, whatever the container."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from data.images import (
    ImageError,
    Source,
    ThermalRange,
    brightest,
    pixel_size,
    read_infrared,
    read_labels,
    read_visible,
    view_size,
    write_image,
)
from data.pictures import header_of

CENTIKELVIN = ThermalRange(kelvin_per_count=0.01)
COUNTS = np.linspace(27000, 31000, 35).reshape(5, 7).astype(np.uint16)  # [H 5, W 7], 270 to 310 K
GREY = np.rint((COUNTS * 0.01 - 253.15) / 70 * 65535)
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(path: Path, array: np.ndarray, *before: bytes, behind: tuple[bytes, ...] = ()) -> Path:
    """A PNG of uint16 or uint8 [H, W(, C)], with chunks before and behind its pixels."""
    depth, channels = 8 * array.dtype.itemsize, 1 if array.ndim == 2 else array.shape[2]
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in array.astype(array.dtype.newbyteorder(">")))
    parts = [chunk(b"IHDR", head), *before, chunk(b"IDAT", zlib.compress(rows)), *behind, chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def tiff(path: Path, array: np.ndarray, photometric: int = 1, kind: int = 1, **more: str) -> Path:
    """An uncompressed TIFF of one strip. kind: SampleFormat. more: ASCII tags by number, tN."""
    channels = 1 if array.ndim == 2 else array.shape[2]
    entries = {256: (4, array.shape[1]), 257: (4, array.shape[0]), 259: (3, 1), 262: (3, photometric),
               277: (3, channels), 278: (4, array.shape[0]), 279: (4, array.nbytes), 339: (3, kind)}  # fmt: skip
    texts = {int(name[1:]): value.encode().ljust(5) + b"\0" for name, value in more.items()}  # shorter ones lie inside
    count = len(entries) + len(texts) + 2
    data = 8 + 2 + 12 * count + 4
    extra = b"".join(texts.values()) + np.full(channels, 8 * array.dtype.itemsize, "<u2").tobytes()
    fields = {tag: struct.pack("<HHII", tag, code, 1, value) for tag, (code, value) in entries.items()}
    place = data
    for tag, text in texts.items():
        fields[tag] = struct.pack("<HHII", tag, 1 if tag == 700 else 2, len(text), place)
        place += len(text)
    bits = 8 * array.dtype.itemsize
    fields[258] = struct.pack("<HHII", 258, 3, channels, bits if channels == 1 else place)
    fields[273] = struct.pack("<HHII", 273, 4, 1, data + len(extra))
    directory = struct.pack("<H", count) + b"".join(fields[tag] for tag in sorted(fields)) + b"\0\0\0\0"
    path.write_bytes(b"II*\0\x08\0\0\0" + directory + extra + array.tobytes())
    return path


def exif(turn: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = turn
    return tags


BLOCKS = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((24, 16), np.uint8))  # [48, 32]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif", ".mpo"])
@pytest.mark.parametrize("tag", ["exif 5", "exif 6", "exif 7", "exif 8", "xmp"])
def test_the_size_of_the_header_is_that_of_what_is_read(tmp_path: Path, suffix: str, tag: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    path, turn = tmp_path / f"x{suffix}", 6 if tag == "xmp" else int(tag[-1])
    tags = {"exif": exif(turn)} if tag != "xmp" else {"xmp": XMP.encode()}
    if tag == "xmp" and suffix == ".png":
        png(path, BLOCKS, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.encode()))
    elif tag == "xmp" and suffix == ".tif":
        tiff(path, BLOCKS, t700=XMP)
    else:
        if suffix == ".mpo":
            tags |= {"format": "JPEG"} if tag == "xmp" else {"save_all": True}
        Image.fromarray(BLOCKS).convert("RGB").save(path, **tags)
    expected = {
        5: BLOCKS.T, 6: np.rot90(BLOCKS, 3), 7: np.rot90(BLOCKS, 2).T, 8: np.rot90(BLOCKS),
    }[turn].astype(int)  # fmt: skip
    assert np.abs(read_visible(path)[..., 1] - expected).max() < 12
    assert np.abs(read_infrared(path, CENTIKELVIN) - expected).max() < 12
    assert pixel_size(path) == (48, 32) and view_size(Source(path, "x")) == (32, 48)


@pytest.mark.parametrize("kind", ["eXIf", "iTXt", "tEXt"])
def test_tags_behind_the_pixels_of_a_png_count_in_both(tmp_path: Path, kind: str) -> None:
    content = {
        "eXIf": exif(8).tobytes()[6:],
        "iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.encode(),
        "tEXt": b"Software\0any",
    }[kind]
    path = png(tmp_path / "x.png", BLOCKS, behind=(chunk(kind.encode(), content),))
    expected = {"eXIf": np.rot90(BLOCKS), "iTXt": np.rot90(BLOCKS, 3), "tEXt": BLOCKS}[kind]
    assert pixel_size(path) == expected.shape[::-1]
    assert np.array_equal(read_infrared(path, CENTIKELVIN), expected)


@pytest.mark.parametrize("turn", [0, 9, 77])
def test_damaged_tags_leave_a_picture_as_it_is(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(BLOCKS).save(path, exif=exif(turn))
    assert pixel_size(path) == (32, 48) and read_visible(path).shape == (48, 32, 3)
    Image.fromarray(BLOCKS).save(path, exif=b"Exif\0\0nonsense")
    assert pixel_size(path) == (32, 48) and np.array_equal(read_infrared(path, CENTIKELVIN), BLOCKS)


def pgm(path: Path, values: np.ndarray, top: int, plain: bool = False) -> Path:
    text = " ".join(map(str, values.ravel())).encode()
    content = text if plain else values.astype(">u2").tobytes()
    path.write_bytes(b"P%d %d %d %d\n" % (2 if plain else 5, values.shape[1], values.shape[0], top) + content)
    return path


@pytest.mark.parametrize("top", [31000, 32000, 40000, 65534, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_counts_of_a_pgm_are_its_own_whatever_its_maximum(tmp_path: Path, top: int, plain: bool) -> None:
    path = pgm(tmp_path / "x.pgm", COUNTS, top, plain)
    assert np.abs(read_infrared(path, CENTIKELVIN) - GREY).max() <= 2
    visible = read_visible(path)[..., 0]
    assert np.array_equal(visible, np.rint(COUNTS / top * 255)), "its maximum is white, whatever it holds"


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_is_read_with_all_its_bits(tmp_path: Path, channels: int) -> None:
    colour = np.repeat(COUNTS[..., None], channels, 2)
    for path in (png(tmp_path / "x.png", colour), tiff(tmp_path / "x.tif", colour[..., :3], photometric=2)):
        assert np.abs(read_infrared(path, CENTIKELVIN) - GREY).max() <= 2
        assert np.array_equal(read_visible(path)[..., 2], np.rint(COUNTS / 65535 * 255))
    colour[..., 1] = 0
    mixed = read_infrared(png(tmp_path / "y.png", colour), ThermalRange(kelvin_per_count=0.02))
    assert np.abs(mixed - np.clip((COUNTS * 0.413 * 0.02 - 253.15) / 70, 0, 1) * 65535).max() <= 20
    turned = png(tmp_path / "z.png", colour[..., :3], chunk(b"eXIf", exif(6).tobytes()[6:]))
    assert read_visible(turned).shape == (7, 5, 3) and pixel_size(turned) == (5, 7)


def test_deep_colour_that_pillow_halves_is_an_error_that_says_so(tmp_path: Path) -> None:
    grey_and_alpha = png(tmp_path / "x.png", np.stack([COUNTS, np.full_like(COUNTS, 65535)], 2))
    ppm = tmp_path / "x.ppm"
    ppm.write_bytes(b"P6 7 5 40000\n" + np.repeat(COUNTS[..., None], 3, 2).astype(">u2").tobytes())
    for path in (grey_and_alpha, ppm):
        with pytest.raises(ImageError, match="more than 8 bits, of which Pillow reads 8"):
            read_infrared(path, CENTIKELVIN)
        assert read_visible(path).shape == (5, 7, 3) and header_of(path).mode.endswith(";deep")


CELSIUS = COUNTS.astype(float) / 100 - 273.15


@pytest.mark.parametrize(
    ("array", "photometric", "kind", "per_count", "offset"),
    [
        (COUNTS, 1, 1, 0.01, 0),
        (65535 - COUNTS, 0, 1, 0.01, 0),
        (COUNTS.astype(np.uint32) * 10, 1, 1, 0.001, 0),
        (COUNTS.astype(np.uint32) * 100000, 1, 1, 1e-7, 0),
        (np.rint(CELSIUS * 100).astype(np.int16), 1, 2, 0.01, 273.15),
        (CELSIUS.astype(np.float32), 1, 3, 1, 273.15),
    ],
    ids=["u16", "white is zero", "u32", "u32 beyond the signed ones", "i16 Celsius", "f32 Celsius"],
)
def test_kinds_of_tiff(
    tmp_path: Path, array: np.ndarray, photometric: int, kind: int, per_count: float, offset: float
) -> None:
    path = tiff(tmp_path / "x.tif", array, photometric, kind)
    thermal = ThermalRange(kelvin_per_count=per_count, kelvin_offset=offset)
    assert np.abs(read_infrared(path, thermal) - GREY).max() <= 4


def test_a_tiff_that_pillow_does_not_know_is_no_lesser_image(tmp_path: Path) -> None:
    for kind, size in ((np.float64, "64-bit floats"), (np.float16, "16-bit floats")):
        with pytest.raises(ImageError, match=f"a TIFF of 1 x {size}, .*which Pillow cannot read"):
            read_infrared(tiff(tmp_path / "x.tif", CELSIUS.astype(kind), kind=3), CENTIKELVIN)
    with pytest.raises(ImageError, match="signed 8-bit numbers"):
        header_of(tiff(tmp_path / "x.tif", np.full((4, 5), -3, np.int8), kind=2))
    (tmp_path / "x.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(ImageError, match="HEIC"):
        header_of(tmp_path / "x.jpg")


def test_what_is_no_number_or_declared_to_be_no_data_is_left_out(tmp_path: Path) -> None:
    thermal = ThermalRange(mode="percentile", percentile_low=0, percentile_high=100)
    values = (COUNTS / 100).astype(np.float32)
    whole = read_infrared(tiff(tmp_path / "x.tif", values, kind=3), thermal)
    for hole, tags in ((np.nan, {}), (-9999, {"t42113": "-9999"})):
        values[0, :3] = hole
        grey = read_infrared(tiff(tmp_path / "x.tif", values, kind=3, **tags), thermal)
        assert (grey[0, :3] == 0).all() and grey[0, 3] == 0 and grey[-1, -1] == 65535 and whole[0, 0] == 0
        visible = read_visible(tmp_path / "x.tif")
        assert visible[-1, -1, 0] > visible[2, 2, 0] > 0 and visible[0, 0, 0] == 0
    counts = COUNTS.copy()
    counts[0, :3] = 0
    grey = read_infrared(tiff(tmp_path / "x.tif", counts, t42113="0 "), thermal)
    assert grey[0, 3] == 0 and grey[-1, -1] == 65535
    with pytest.raises(ImageError, match="holds no number"):
        read_infrared(tiff(tmp_path / "x.tif", np.full_like(values, np.nan), kind=3), thermal)


def test_degrees_celsius_have_a_remedy_that_works(tmp_path: Path) -> None:
    path = tiff(tmp_path / "x.tif", CELSIUS.astype(np.float32), kind=3)
    with pytest.raises(ImageError, match="for degrees Celsius 1, and --kelvin_offset 273.15"):
        read_infrared(path, ThermalRange())


def test_visible_images_can_share_one_white(tmp_path: Path) -> None:
    sources = []
    for top in (1000, 1023, 1024, 1100):
        counts = np.linspace(0, 500, 35).reshape(5, 7).astype(np.uint16)
        counts[0, 0] = top
        path = tmp_path / f"{top}.png"
        write_image(path, counts)
        sources.append(Source(path, path.stem))
    assert [brightest(source) for source in sources] == [1023, 1023, 4095, 4095]
    shown = [read_visible(Source(source.path, source.stem, white=4095.0))[1:] for source in sources]
    assert all(np.array_equal(picture, shown[0]) for picture in shown) and shown[0].max() == 31
    assert brightest(Source(pgm(tmp_path / "x.pgm", COUNTS, 40000), "x")) is None, "it tells its own"


def test_labels_of_masks(tmp_path: Path) -> None:
    target = np.zeros((20, 30), np.uint8)
    target[5:9, 10:20] = 1
    indexed = Image.new("P", (30, 20))
    indexed.putdata((target * 2).ravel().tolist())
    indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    indexed.save(tmp_path / "palette.png")
    write_image(tmp_path / "classes.png", target * 3)
    write_image(tmp_path / "things.png", target.astype(np.uint16) * 300)
    write_image(tmp_path / "white.png", target * 255)
    write_image(tmp_path / "deep.png", target.astype(np.uint16) * 65535)
    write_image(tmp_path / "colour.png", target[..., None] * np.array([128, 0, 0], np.uint8))
    for name in ("palette", "classes", "things", "white", "deep", "colour"):
        mask = read_labels(tmp_path / f"{name}.png")
        assert mask.dtype == np.float32 and np.array_equal(mask, target), name
    soft = np.linspace(0, 255, 600).reshape(20, 30).astype(np.uint8)
    write_image(tmp_path / "soft.png", soft)
    assert np.allclose(read_labels(tmp_path / "soft.png"), soft / 255)
    write_image(tmp_path / "faint.jpg", np.full((20, 30), 3, np.uint8))
    assert read_labels(tmp_path / "faint.jpg").max() < 0.02, "noise of JPEG is no label"


def test_pipes_devices_and_folders_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "y.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    for name, reason in (
        ("x", "a pipe, socket or device, no file"), ("y", "a pipe, socket or device, no file"),
        ("loop", "Too many levels of symbolic links"), ("folder", "a folder"),
    ):  # fmt: skip
        with pytest.raises(ImageError) as caught:
            read_visible(tmp_path / f"{name}.png")
        assert caught.value.reason == reason

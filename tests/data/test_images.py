"""data/images.py: every kind of file a data set may hold, and tensors and back."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.counts import grey_from_counts
from data.images import (
    ImageError,
    Source,
    ThermalRange,
    pixel_size,
    read_infrared,
    read_reduced,
    read_visible,
    to_tensor,
    to_uint8,
    write_image,
)
from data.pictures import header_of
from data.transforms import as_tensor, to_size
from options.data import DataOptions
from util.images import resize

KELVIN = ThermalRange()
RAMP = np.arange(7 * 5, dtype=np.uint8).reshape(7, 5) * 7  # [H 7, W 5], not square


def colours(height=7, width=5):
    """uint8 [H, W, 3] whose channels differ."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 20, columns * 30, rows + columns], axis=2).astype(np.uint8)


def save(path, array, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_visible_is_three_channels_whatever_the_mode(tmp_path, mode):
    image = Image.fromarray(colours()).convert(mode)
    path = save(tmp_path / ("x.tif" if mode == "CMYK" else "x.png"), image)
    array = read_visible(path)
    assert array.shape == (7, 5, 3)
    assert array.dtype == np.uint8
    assert np.array_equal(array, np.array(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_turns_both_kinds_and_the_size(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((24, 16), np.uint8))  # [48, 32]
    path = save(tmp_path / f"x{suffix}", blocks, exif=exif)
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]  # np.rot90 turns anticlockwise
    expected = np.rot90(blocks, turns).astype(int)
    assert np.abs(read_infrared(path, KELVIN) - expected).max() < 4
    assert np.abs(read_visible(path)[:, :, 1] - expected).max() < 4
    assert pixel_size(path) == expected.shape[::-1]
    assert header_of(path).mode == "L"


def test_16_bit_visible_is_scaled_by_its_depth_not_clipped(tmp_path):
    counts = np.linspace(0, 4095, 12).reshape(3, 4).astype(np.uint16)
    array = read_visible(save(tmp_path / "x.png", counts))
    assert np.array_equal(array[:, :, 0], np.rint(counts / 4095 * 255).astype(np.uint8))
    array = read_visible(save(tmp_path / "y.png", (counts * 16).astype(np.uint16)))
    assert np.array_equal(array[:, :, 2], np.rint((counts * 16) / 65535 * 255).astype(np.uint8))
    array = read_visible(save(tmp_path / "z.tif", (counts / 4095).astype(np.float32)))
    assert array.min() == 0
    assert array.max() == 255


def test_8_bit_infrared_is_unchanged_and_colour_is_its_luminance(tmp_path):
    assert np.array_equal(read_infrared(save(tmp_path / "x.png", RAMP), KELVIN), RAMP)
    grey = np.repeat(RAMP[:, :, None], 3, axis=2)
    assert np.array_equal(read_infrared(save(tmp_path / "y.png", grey), KELVIN), RAMP)
    palette = Image.fromarray(RAMP).convert("P")
    palette.putpalette([255 - value for value in range(256) for _ in range(3)])
    assert np.array_equal(read_infrared(save(tmp_path / "p.png", palette), KELVIN), 255 - RAMP)
    colour = colours()
    array = read_infrared(save(tmp_path / "z.png", colour), KELVIN)
    assert np.abs(array - colour @ np.array([0.299, 0.587, 0.114])).max() <= 0.51


def counts_of(kelvin, per_count=0.04):
    return np.rint(np.asarray(kelvin) / per_count)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_counts_pass_the_kelvin_window_and_saturate_at_its_ends(tmp_path, mode):
    kelvin = np.array([[100.0, 253.15, 288.15], [323.15, 323.2, 600.0]])
    counts = counts_of(kelvin)
    if mode == "I;16B":
        big = counts.astype(">u2")
        image = Image.frombytes("I;16B", (3, 2), big.tobytes())
    else:
        image = Image.fromarray(counts.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    path = save(tmp_path / "x.tiff", image)
    assert Image.open(path).mode == mode
    grey = read_infrared(path, KELVIN)
    assert grey.dtype == np.uint16
    expected = np.clip((counts * 0.04 - 253.15) / 70, 0, 1) * 65535
    assert np.abs(grey - expected).max() < 3
    assert grey[0, 0] == 0
    assert grey[1, 2] == 65535
    assert 0 < grey[0, 2] < 65535


def test_16_bit_infrared_is_never_white_as_pillow_makes_it(tmp_path):
    counts = counts_of(np.linspace(270, 310, 35).reshape(7, 5)).astype(np.uint16)
    path = save(tmp_path / "x.tiff", counts)
    for thermal in (KELVIN, ThermalRange(mode="percentile")):
        grey = read_infrared(path, thermal)
        assert len(np.unique(grey)) > 30
        assert np.all(np.diff(grey.astype(int).ravel()) >= 0)


def test_percentiles_of_the_image_become_black_and_white(tmp_path):
    counts = (3000 + np.arange(1000)).astype(np.uint16).reshape(20, 50)
    counts[0, 0], counts[19, 49] = 0, 16383  # a dead and a hot pixel
    thermal = ThermalRange(mode="percentile", percentile_low=10, percentile_high=90)
    grey = read_infrared(save(tmp_path / "x.tiff", counts), thermal).ravel()
    assert np.mean(grey == 0) == pytest.approx(0.1, abs=0.002)
    assert np.mean(grey == 65535) == pytest.approx(0.1, abs=0.002)
    assert int(grey[500]) == pytest.approx(32767, abs=100)
    flat = read_infrared(save(tmp_path / "y.tiff", np.full((4, 6), 7000, np.uint16)), thermal)
    assert len(np.unique(flat)) == 1


@pytest.mark.parametrize("value", [29315, 200])
def test_counts_that_are_no_temperature_are_an_error_with_the_remedy(tmp_path, value):
    path = save(tmp_path / "x.tiff", np.full((4, 6), value, np.uint16))
    with pytest.raises(ImageError, match="--kelvin_per_count .*--thermal_range percentile"):
        read_infrared(path, KELVIN)
    read_infrared(path, ThermalRange(mode="percentile"))
    if value == 29315:  # centikelvin: 293.15 K
        grey = read_infrared(path, ThermalRange(kelvin_per_count=0.01))
        assert grey[0, 0] == pytest.approx((293.15 - 253.15) / 70 * 65535, abs=2)


def test_thermal_range_comes_from_the_options():
    options = DataOptions(thermal_range="percentile", kelvin_low=260, kelvin_per_count=0.01, percentile_high=98)
    assert ThermalRange.from_options(options) == ThermalRange("percentile", 260, 323.15, 0.01, 1.0, 98)


def damaged(tmp_path, kind):
    path = tmp_path / "x.png"
    if kind == "empty":
        path.touch()
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 48), np.uint8)
        path.write_bytes(save(tmp_path / "whole.png", noise).read_bytes()[:1500])
    elif kind == "text":
        path.write_text("no image")
    elif kind == "folder":
        path.mkdir()
    elif kind == "bomb":
        save(path, RAMP)
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "text", "folder", "bomb"])
def test_every_kind_of_damage_is_an_image_error(tmp_path, monkeypatch, kind):
    path = damaged(tmp_path, kind)
    if kind == "bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RAMP.size // 3)
    for read in (read_visible, lambda path: read_infrared(path, KELVIN)):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert caught.value.path == path
        assert str(caught.value) == f"{path}: {caught.value.reason}"
        assert "\n" not in caught.value.reason
    if kind != "truncated":  # a header does not show it
        with pytest.raises(ImageError):
            header_of(path)
    known = {"missing": "no such file", "empty": "empty file (0 bytes)", "text": "not an image"}
    assert caught.value.reason == known.get(kind, caught.value.reason)


def test_an_image_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(ImageError(Path("a.png"), "torn")))
    assert (error.path, error.reason, str(error)) == (Path("a.png"), "torn", "a.png: torn")


@pytest.mark.parametrize(
    ("camera", "size", "box"),
    [
        ("flir_v2", (1224, 1024), (113, 114, 1111, 904)),  # dual_capture_a_drive_20211129.json, rounded
        ("flir_v2", (640, 512), (0, 0, 640, 512)),
        ("flir_v1", (1800, 1600), (158, 149, 1744, 1418)),
        ("flir_v1", (2048, 1536), (0, 0, 2048, 1536)),
        ("flir_v1", (1280, 1024), (0, 0, 1280, 1024)),
        ("none", (1800, 1600), (0, 0, 1800, 1600)),
    ],
)
def test_camera_crops_by_fractions_of_the_pictures_own_size(tmp_path, camera, size, box):
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    picture = np.stack([columns // 8, rows // 8, (columns % 8) * 8 + rows % 8], axis=2).astype(np.uint8)
    array = read_visible(Source(save(tmp_path / "x.bmp", picture), "x", camera=camera))
    left, top, right, bottom = box
    assert np.array_equal(array, picture[top:bottom, left:right])


def reading(path, size, **source):
    """What read_reduced gives for an image to be resized to size, and the view it was asked to size."""
    views = []
    array, wanted = read_reduced(Source(path, "x", **source), lambda *view: views.append(view) or size)
    assert wanted == size
    return array, views


def photograph(height, width):
    """uint8 [H, W, 3]: smooth, with edges and grain."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = 110 + 60 * np.sin(rows / 120) + 50 * np.cos(columns / 150) * (rows > height / 3)
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    return np.clip(waves[:, :, None] + [0, 15, -20] + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "part"), [((80, 96), 2), ((40, 48), 4), ((20, 24), 8), ((81, 97), 1), ((320, 384), 1)]
)
def test_a_jpeg_is_decoded_at_a_part_of_its_size_twice_the_wanted_one_at_least(tmp_path, size, part):
    path = save(tmp_path / "x.jpg", photograph(320, 384), quality=92)
    array, views = reading(path, size)
    assert views == [(320, 384)], "the wanted size follows from the whole picture"
    assert array.shape == (320 // part, 384 // part, 3)
    exact = to_size(read_visible(path), size).float()
    assert (to_size(array, size).float() - exact).abs().mean() < 1


def test_a_reduced_jpeg_keeps_its_camera_crop_half_and_turn(tmp_path):
    path = save(tmp_path / "x.jpg", photograph(1600, 1800), quality=92)
    for source in ({"camera": "flir_v1"}, {"half": "left"}, {"half": "right"}):
        whole = read_visible(Source(path, "x", **source))
        array, views = reading(path, (120, 140), **source)
        assert views == [whole.shape[:2]] and abs(array.shape[0] * whole.shape[1] / whole.shape[0] - array.shape[1]) < 3
        assert array.size < whole.size / 3
        difference = to_size(array, (120, 140)).float() - to_size(whole, (120, 140)).float()
        assert difference.abs().mean() < 1
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = save(tmp_path / "turned.jpg", photograph(320, 384), exif=exif)
    array, views = reading(turned, (24, 20))
    assert views == [(384, 320)] and np.array_equal(array, read_visible(turned))


@pytest.mark.parametrize("name", ["odd.jpg", "x.png"])
def test_what_cannot_be_reduced_exactly_is_read_whole(tmp_path, name):
    path = save(tmp_path / name, photograph(322, 383))
    array, views = reading(path, (20, 24))
    assert views == [(322, 383)] and np.array_equal(array, read_visible(path))


def test_bytes_of_colour_become_one_pixel():
    for shape in ((3, 7, 1), (2, 3, 4, 5), (1, 3, 3)):
        image = torch.full(shape, 77, dtype=torch.uint8)
        assert (resize(image, (1, 1)) == 77).all() and resize(image, (1, 1)).dtype == torch.uint8


def test_to_size_is_resize_of_as_tensor():
    for array in (photograph(40, 52), photograph(40, 52)[:, :, 0], photograph(40, 52)[:, :, 1].astype(np.uint16) * 257):
        for size in ((20, 31), (40, 52), (60, 61)):
            sized = to_size(array, size)
            assert torch.equal(sized, resize(as_tensor(array), size)) and sized.is_contiguous()


def test_halves_of_an_ab_picture_split_at_half_the_width(tmp_path):
    path = save(tmp_path / "x.png", colours(6, 11))
    assert np.array_equal(read_visible(Source(path, "x", half="left")), colours(6, 11)[:, :5])
    assert read_infrared(Source(path, "x", half="right"), KELVIN).shape == (6, 6)


def test_all_grey_levels_survive_the_way_to_a_tensor_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    tensor = to_tensor(levels)
    assert tensor.shape == (1, 8, 32)
    assert tensor.dtype == torch.float32
    assert tensor.min() == -1
    assert tensor.max() == 1
    assert np.array_equal(to_uint8(tensor), levels)
    assert np.array_equal(to_uint8(to_tensor(colours())), colours())
    counts = to_tensor(np.array([[0, 32768, 65535]], np.uint16))
    assert torch.allclose(counts, torch.tensor([[[-1.0, 0.0, 1.0]]]), atol=2e-5)
    with pytest.raises(ValueError, match="float64"):
        to_tensor(np.zeros((2, 2)))


def test_to_uint8_rounds_and_clamps():
    tensor = torch.tensor([[[-1.2, -1 + 1.4 / 127.5, -1 + 1.6 / 127.5, 1.3]]])
    assert to_uint8(tensor).tolist() == [[0, 1, 2, 255]]
    assert to_uint8(torch.rand(3, 4, 6, requires_grad=True).to(torch.bfloat16)).shape == (4, 6, 3)


def test_write_keeps_channels_and_depth_and_makes_the_folder(tmp_path):
    for array in (RAMP, colours(), RAMP.astype(np.uint16) * 257):
        path = tmp_path / "new" / "folder" / "x.png"
        write_image(path, array)
        assert np.array_equal(np.array(Image.open(path)), array)
    assert [file.name for file in path.parent.iterdir()] == ["x.png"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "x.png"
    write_image(path, RAMP)
    with pytest.raises(TypeError):
        write_image(path, np.zeros((2, 2, 7), np.uint8))
    assert np.array_equal(np.array(Image.open(path)), RAMP)
    assert len(list(tmp_path.iterdir())) == 1
    for name, array in (("x.jpg", RAMP.astype(np.uint16)), ("x.gif", RAMP)):
        with pytest.raises(ValueError, match=r"use \.png"):
            write_image(tmp_path / name, array)


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "x.png"
    write_image(path, RAMP)
    with path.open("rb") as reader:
        write_image(path, 255 - RAMP)
        assert np.array_equal(np.array(Image.open(reader)), RAMP)
    assert np.array_equal(np.array(Image.open(path)), 255 - RAMP)


def test_eight_bit_infrared_comes_to_one_range_if_asked(tmp_path: Path) -> None:
    dark = np.tile(np.arange(100, dtype=np.uint8)[None] // 5 + 10, (20, 1))  # grey levels 10 to 29
    bright = (dark.astype(int) * 7 + 20).astype(np.uint8)
    for name, array in (("dark", dark), ("bright", bright), ("flat", np.full_like(dark, 7))):
        write_image(tmp_path / f"{name}.png", array)
    thermal = ThermalRange(eight_bit="percentile", percentile_low=0, percentile_high=100)
    one, other = (read_infrared(tmp_path / f"{name}.png", thermal) for name in ("dark", "bright"))
    assert one.dtype == np.uint8 and one.min() == 0 and one.max() == 255
    assert np.abs(one.astype(int) - other).max() <= 1, "a camera's gain makes no difference"
    assert np.array_equal(read_infrared(tmp_path / "dark.png", ThermalRange()), dark), "as it is by default"
    assert read_infrared(tmp_path / "flat.png", thermal).max() == 0
    standard = ThermalRange(eight_bit="standard")
    for name in ("dark", "bright", "flat"):
        assert abs(read_infrared(tmp_path / f"{name}.png", standard).mean() - 90) < 1
    counts = grey_from_counts(dark.astype(np.uint16) * 20 + 7000, standard) / 257
    assert abs(counts.mean() - 90) < 1, "and so do counts"

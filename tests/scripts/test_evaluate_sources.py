"""What scripts.evaluate scores beside what: pairs of a data set, views that differ, several methods in one folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.images import Source, list_images, read_visible, write_image
from data.pictures import header_of
from data.remarks import cut_sizes, unlike
from data.scoring.cases import EvaluationCase, note_sources, range_policy, record_of
from data.scoring.methods import by_stem, named_methods
from models import METHODS
from models.stdfusion_net import initialise
from options.stdfusion_net import STDFusionNetOptions
from tests.conftest import write_pairs
from tests.layout_fixtures import flir_adas_v1, flir_adas_v2, v2_map, write_json
from util.command_line import to_dict
from util.metrics.score_sheet import ScoreSheet
from util.pages.evaluation_page import deviation_table
from util.training.progress import Counting
from util.training.state import save_weights

SERIAL = ("--device", "cpu", "--num_threads", 0)
FEW = ("--metrics", "EN,SD", *SERIAL)


def textured(root: Path) -> Path:
    """The same tree with noise in place of its flat 8-bit pictures."""
    rng = np.random.default_rng(0)
    for source in list_images(root):
        header = header_of(source.path)
        mode, (width, height) = header.mode, header.size
        if mode in ("L", "RGB"):
            shape = (height, width) if mode == "L" else (height, width, 3)
            write_image(source.path, rng.integers(0, 256, shape, dtype=np.uint8))
    return root


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small STDFusionNet that nobody trained."""
    torch.manual_seed(1)
    options = STDFusionNetOptions(ngf=4)
    network = METHODS["stdfusion_net"].network(options)
    initialise(network, options)
    path = tmp_path / "stdfusion_net.safetensors"
    save_weights(path, network.state_dict(), {"model": "stdfusion_net", "options": json.dumps(to_dict(options))})
    return path


@pytest.fixture
def flir_v1(tmp_path: Path) -> Path:
    return textured(flir_adas_v1(tmp_path / "flir"))


def fuse(command: Callable, weights: Path, root: Path, *more: object) -> None:
    command("fuse.py", "--weights", weights, "--dataroot", root, "--precision", "fp32", *SERIAL, *more)


def fusion(command: Callable, *more: object, status: int = 0):
    words = ("fusion", "--fused", "results/stdfusion_net", "--out", "s.json", *more)
    return command("scripts.evaluate", *words, status=status)


@pytest.mark.parametrize("options", [(), ("--split", "all"), ("--no_camera_crop",)])
def test_flir_v1_is_scored_as_fuse_does(command: Callable, weights: Path, flir_v1: Path, options: tuple) -> None:
    fuse(command, weights, flir_v1, "--evaluate", *options)
    done = fusion(command, "--dataroot", flir_v1, *SERIAL, *options)
    ours, theirs = (json.loads(Path(name).read_text()) for name in ("s.json", "results/stdfusion_net/scores.json"))
    count = 6 if "all" in options else 2
    assert len(ours["images"]) == count and ours["images"] == theirs["images"]
    assert ours["baseline_images"] == theirs["baseline_images"]
    assert f"{count} pairs of flir_adas_v1" in done.stdout and "note      fused" not in done.stdout
    assert "--split all" in ours["sources"] if "all" in options else "--split test" in ours["sources"]


def test_stems_that_differ_and_counts(command: Callable, weights: Path, tmp_path: Path) -> None:
    """FLIR ADAS v2, whose cameras number a frame differently, with 16-bit infrared."""
    root = textured(flir_adas_v2(tmp_path / "flir"))
    write_json(root / "rgb_to_thermal_vid_map.json", v2_map())
    counts = ("--thermal_source", "16bit", "--thermal_range", "percentile")
    fuse(command, weights, root, "--evaluate", *counts)
    fusion(command, "--dataroot", root, *SERIAL, *counts)
    ours, theirs = (json.loads(Path(name).read_text()) for name in ("s.json", "results/stdfusion_net/scores.json"))
    assert len(ours["images"]) == 3 and ours["images"] == theirs["images"]
    done = fusion(command, "--dataroot", root, *FEW)
    assert "3 images were fused of other files" in done.stdout and ".tiff, here" in done.stdout
    other = fusion(command, "--dataroot", root, *FEW, "--split", "train", status=2)
    assert "no pairs in --split train" in other.stderr
    assert "the --split and data options that they were fused with" in fusion(
        command, "--dataroot", root, *FEW, "--split", "val", status=2
    ).stderr  # fmt: skip
    folders = ("--visible", root / "video_rgb_test", "--infrared", root / "video_thermal_test")
    assert "give both images of a pair the same name" in fusion(command, *folders, *FEW, status=2).stderr


def test_images_of_other_size_say_why(command: Callable, weights: Path, flir_v1: Path) -> None:
    fuse(command, weights, flir_v1)
    video = flir_v1 / "FLIR_ADAS_1_3/FLIR_ADAS_1_3/video"
    folders = ("--visible", video / "rgb", "--infrared", video / "thermal_8_bit")
    done = fusion(command, *folders, *FEW, status=2)
    assert "is 158x127, its visible image 180x160: cut to the thermal view" in done.stderr
    assert "give --dataroot ROOT here too" in done.stderr
    assert "note      2 of 2 visible images seem to show another view" in done.stdout
    assert "180x160 beside 64x51" in done.stdout and "--dataroot ROOT, in place of" in done.stdout
    done = fusion(command, "--dataroot", flir_v1, "--no_camera_crop", *FEW, status=2)
    assert "leave --no_camera_crop out" in done.stderr
    fuse(command, weights, flir_v1, "--no_camera_crop")
    done = fusion(command, "--dataroot", flir_v1, *FEW, status=2)
    assert "is 180x160, its visible image 158x127: not cut to the thermal view" in done.stderr
    write_image(Path("results/stdfusion_net/fused/FLIR_video_00001.png"), np.zeros((20, 30), np.uint8))
    done = fusion(command, *folders, *FEW, status=1)
    assert "is 30x20" in done.stderr and "if fuse.py --dataroot cut them" in done.stderr
    done = fusion(command, "--dataroot", flir_v1, "--strict", *FEW, status=2)
    assert done.stderr.count("\n") == 1 and "is 30x20" in done.stderr


def test_what_was_fused_is_known_from_its_record(tmp_path: Path) -> None:
    sources = Source(Path("vi/1.jpg"), "1"), Source(Path("ir/1.tiff"), "1")
    cases = [EvaluationCase("1", *sources, {"m": Source(Path("x/1_m.png"), "1")})]

    def notes(infrared: object, of_data_set: bool = True) -> list[str]:
        record = {"images": {"1": {"visible": "elsewhere/vi/1.jpg", "infrared": infrared}}, "range": "clip"}
        write_json(tmp_path / "results.json", record)
        return note_sources(record_of(tmp_path / "fused"), cases, "m", of_data_set)

    assert notes("elsewhere/1.tiff") == [] == notes("generated", of_data_set=False)
    assert "1 image was fused with generated infrared" in notes("generated")[0] and len(notes("generated")) == 1
    assert "(1.jpeg, here 1.tiff)" in notes("ir/1.jpeg")[0]
    (tmp_path / "results.json").write_text('{"images": [')
    assert record_of(tmp_path) == {} and note_sources({"images": 3}, cases, "m", True) == []
    assert range_policy({"range": "clip"}) == "clip, saved as 8 bit" and range_policy({}) == "as saved, 8 bit"


def test_views() -> None:
    thermal = (512, 640)
    assert unlike((1600, 1800), thermal) and unlike((1024, 1224), thermal), "the latter's shape differs by 4.4 % only"
    assert unlike((1536, 2048), thermal) and not cut_sizes((1536, 2048)), "6.7 %, and no crop is known"
    assert not unlike((1600, 1800), (1600, 1800)) and not unlike((1024, 1280), thermal)
    for size in ((1600, 1800), (1024, 1224)):
        assert cut_sizes(size) and not any(unlike(cut, thermal) for cut in cut_sizes(size))


def test_methods_in_one_folder(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 2, (41, 53))
    for number in ("000", "001"):
        for name in (f"{number}_GTF", f"{number}-Lat_LRR", f"U2_{number}"):
            write_image(tmp_path / "all in one" / f"{name}.png", read_visible(root / "visible" / f"{number}.png"))
    folders = ("--visible", root / "visible", "--infrared", root / "infrared", *FEW)

    def run(*methods: str, status: int = 0):
        return command("scripts.evaluate", "fusion", "--fused", *methods, *folders, "--out", "s.json", status=status)

    wanted = [f"{name}=all in one" for name in ("GTF", "Lat_LRR", "U2")]
    error = run("all in one", status=2).stderr
    assert all(f"'{word}'" in error for word in wanted) and "give --fused '" in error and error.count("\n") == 1
    done = run(*wanted)
    scores = json.loads((tmp_path / "s.json").read_text())
    assert all(set(scores["methods"][name]["images"]) == {"000", "001"} for name in ("GTF", "Lat_LRR", "U2"))
    assert "missing" not in done.stdout
    done = run(*wanted[:2])
    assert done.stdout.count("missing") == 1, "one folder is told of once"
    assert "no pair for 2 of its images" in done.stdout and "'U2=all in one' scores them too" in done.stdout


def test_names_of_methods() -> None:
    def sources(*stems: str) -> list[Source]:
        return [Source(Path(f"{stem}.png"), stem) for stem in stems]

    stems = ["walking", "walking_2", "man"]
    assert named_methods(stems, sources("walking_2_GTF", "GTF_MAN", "man-A_b", "dog_GTF", "man")) == ["GTF", "A_b"]
    assert named_methods(stems, sources(*(f"man_{i}" for i in range(40)))) == [], "so many are no methods"
    found = by_stem(stems, "GTF", sources("gtf-man", "walking_GTF", "walking", "walking_2-gtf"))
    assert {stem: source.stem for stem, source in found.items()} == {
        "man": "gtf-man", "walking": "walking", "walking_2": "walking_2-gtf"
    }  # fmt: skip
    composed, apart = "Br\u00fccke", "Bru\u0308cke"
    assert [s.stem for s in by_stem([composed], "m", sources(f"{apart}_M")).values()] == [f"{apart}_M"]
    found = by_stem(["Man", "man"], "m", sources("man", "Man"))
    assert {stem: source.stem for stem, source in found.items()} == {"Man": "Man", "man": "man"}, "each its own"
    assert by_stem(["MAN"], "m", sources("man", "Man")) == {}, "which of them is a guess"


def test_one_image_has_no_deviation(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 1, (41, 53))
    sides = ("--visible", root / "visible", "--infrared", root / "infrared")
    done = command("scripts.evaluate", "fusion", "--fused", root / "visible", *sides, *FEW, "--out", "s.json")
    assert "± -" in done.stdout and "± 0" not in done.stdout and "over 1 image;" in done.stdout
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["std"] == {"EN": None, "SD": None} and scores["mean"]["SD"] > 0
    sheet = ScoreSheet({"PSNR": True, "FID": False})
    sheet.add("m", "1", {"PSNR": 2.5})
    sheet.of_sets["m"] = {"FID": 7.5}
    assert deviation_table(sheet).rows == [["m", "-"]] and "2.5 ± -" in sheet.text()
    assert "±" not in next(line for line in sheet.text().splitlines() if line.startswith("FID"))


def test_mistakes_are_one_line(command: Callable, tmp_path: Path) -> None:
    for words, text in (
        (("--dataroot", "x", "--visible", "y"), "--visible and --dataroot"),
        (("--dataroot", "x", "--infrared", "y"), "--infrared and --dataroot"),
        (("--visible", "x", "--infrared", "y", "--split", "val"), "--split val"),
        ((), "--visible is missing: give the folder of the visible images, or --dataroot"),
        (("--visible", "x"), "--infrared is missing"),
        (("--dataroot", tmp_path / "nowhere"), "does not exist"),
    ):
        done = fusion(command, *words, status=2)
        assert text in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture) -> None:
    now = [0.0]
    with Counting(400, "scoring", clock=lambda: now[0]) as counting:
        for _ in range(400):
            now[0] += 0.125
            counting.update()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "scoring   80 of 400 images, 8 a second, 40 s left" and len(lines) == 4

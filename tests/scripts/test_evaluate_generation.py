"""scripts.evaluate generation and test.py --evaluate as a user runs them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchmetrics.functional.image as reference
from torch import nn

from data.counts import ThermalRange
from data.images import Source, list_images, read_infrared, write_image
from data.scoring.cases import EvaluationCase, find_generation_cases
from data.scoring.fusion import read_saved
from data.scoring.generation import GeneratedScorer
from data.scoring.scores import Scores, score_cases
from models import METHODS
from options.cycle_gan import CycleGANOptions
from options.evaluate import EvaluateGenerationOptions
from options.train import InputOptions, for_method
from tests.commands.test_test_command import SERIAL, write_weights
from tests.conftest import write_pairs
from tests.layout_fixtures import flir_adas_v1, flir_adas_v2, v2_map, write_json
from util.command_line import to_dict
from util.metrics.generation import ms_ssim
from util.metrics.learned import LearnedMetrics
from util.training.run_folder import RunFolder
from util.training.state import save_weights

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test waits for a network, or finds weights that somebody has downloaded."""

    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch_home"))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Three real images, of two methods one near and one far from them, of another size."""
    root = write_pairs(tmp_path / "data", 3, (41, 53))
    rng = np.random.default_rng(0)
    for source in list_images(root / "infrared"):
        real = read_infrared(source, None).astype(float)
        near = np.clip(real + rng.normal(0, 3, real.shape), 0, 255).astype(np.uint8)
        write_image(tmp_path / "near" / f"{source.stem}.png", near)
        write_image(tmp_path / "far" / f"{source.stem}.png", (255 - near)[::2, ::2].copy())
    return {"visible": root / "visible", "real": root / "infrared", "near": tmp_path / "near", "far": tmp_path / "far"}


def run(command: Callable, folders: dict[str, Path], *more: object, status: int = 0):
    words = ("generation", "--generated", f"near={folders['near']}", f"far={folders['far']}", "--real", folders["real"])
    return command(
        "scripts.evaluate", *words, "--out", "s.json", "--num_threads", 0, "--device", "cpu", *more, status=status
    )


def test_palettes_and_one_white_for_all(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    """A palette over infrared images is told of, and deep visible images are seen as test.py sees them."""
    for source in list_images(folders["real"]):
        grey = read_infrared(source, None)
        write_image(source.path, np.stack([grey, np.zeros_like(grey), 255 - grey], 2))
    for number, top in enumerate((1000, 4000, 500)):
        counts = np.full((41, 53), top, np.uint16)
        write_image(folders["visible"] / f"{number:03d}.png", counts)
    done = run(command, folders, "--visible", folders["visible"], "--constant", 0)
    assert "note      real: 3 of 3 infrared images are stored in colour" in done.stdout and "jet" in done.stdout
    options = EvaluateGenerationOptions(generated=(str(folders["near"]),), real=folders["real"],
                                        visible=folders["visible"])  # fmt: skip
    assert {case.visible.white for case in find_generation_cases(options).cases} == {4095}


def test_the_range_of_real_images_is_not_that_of_generated_ones(folders: dict[str, Path]) -> None:
    """Real images brought to a range of percentiles; the generated ones stay as they were written."""
    thermal = ThermalRange(eight_bit="percentile")
    (source, *_), near = list_images(folders["real"]), list_images(folders["near"])[0]
    case = EvaluationCase(source.stem, None, source, {"near": near})
    real, rows, _ = GeneratedScorer(thermal, CPU, 100.0).candidates(case)
    assert real.min() == 0 and real.max() == 255
    assert np.array_equal(rows["near"][0].numpy(), read_infrared(near, ThermalRange()))


def test_offline_what_can_be_computed_is(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    done = run(command, folders, "--visible", folders["visible"])
    scores = json.loads((tmp_path / "s.json").read_text())
    assert set(scores["baselines"]) == {"luminance", "inverted luminance", "constant"}
    assert list(scores["ranking"]) == ["near", "far"] and scores["methods"]["near"]["mean"]["PSNR"] > 35
    for metric in ("LPIPS", "FID", "KID"):
        assert scores["methods"]["near"]["mean"][metric] is None and "unavailable" in scores["why_null"][metric]
    assert "--inception_weights" in done.stdout and "resized to their real image's size in 3" in done.stdout
    assert "mean of these real images" in done.stdout and "161" in scores["why_null"]["MS-SSIM"]
    page = (tmp_path / "s.html").read_text()
    assert "unavailable" in page and "best 1 of near" in page and "s_images/real/000.jpg" in page
    real = np.stack([read_infrared(source, None) for source in list_images(folders["real"])])
    mae = np.abs(real.astype(float) - round(real.mean())).mean()
    assert scores["baselines"]["constant"]["MAE"] == pytest.approx(mae, rel=1e-6)


def test_without_visible_and_with_a_constant(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    done = run(command, folders, "--constant", 7)
    scores = json.loads((tmp_path / "s.json").read_text())
    assert set(scores["baselines"]) == {"constant"} and "left out" in done.stdout and "grey level 7" in done.stdout


def test_mistakes_are_one_line_and_write_nothing(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    for more, text in (
        (("--constant", 300), "0 to 255"),
        (("--lpips_weights", "none.pth"), "none.pth: no such file"),
        (("--inception_weights", "none.pth"), "none.pth: no such file"),
        (("--visible", tmp_path / "nowhere"), "does not exist"),
    ):
        done = run(command, folders, *more, status=2)
        assert text in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "s.json").exists()
    assert "--real is missing" in command("scripts.evaluate", "generation", "--generated", "x", status=2).stderr


def scored_by(learned: LearnedMetrics, cases: list[EvaluationCase], num_threads: int) -> Scores:
    return score_cases(cases, GeneratedScorer(ThermalRange(), CPU, 100.0, learned), num_threads)


class Patches(nn.Module):
    """Three features of an image: the means of its thirds."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([part.float().mean((1, 2, 3)) for part in images.chunk(3, -1)], 1)


def test_learned_metrics_of_sets(folders: dict[str, Path]) -> None:
    real = {source.stem: source for source in list_images(folders["real"])}
    made = {name: {s.stem: s for s in list_images(folders[name])} for name in ("near", "far")}
    cases = [
        EvaluationCase(stem, None, source, {name: made[name][stem] for name in made}) for stem, source in real.items()
    ]
    learned = LearnedMetrics(
        lpips=lambda a, b: (a - b).abs().mean((1, 2, 3)), inception=Patches(), about={"FID": {"x": "y"}}
    )
    scored = scored_by(learned, cases, 2)
    sets, means = scored.sheet.of_sets, scored.sheet.means()
    assert sets["near"]["FID"] < sets["far"]["FID"] and sets["near"]["KID"] < sets["far"]["KID"]
    assert means["near"]["LPIPS"] < means["far"]["LPIPS"] and means["near"]["FID"] == sets["near"]["FID"]
    assert scored.facts["FID depends on"] == {
        "generated images": 3, "real images": 3, "sizes": ["53x41"], "features": 3, "x": "y"
    }  # fmt: skip
    assert len(scored.notes) == 1
    assert len(scored_by(learned, cases[:2], 0).notes) == 2, "fewer than three features"


def test_large_images_are_scored_one_at_a_time(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads would hold several large images at once, and networks more than fits."""
    real = list_images(folders["real"])
    made = {source.stem: source for source in list_images(folders["near"])}
    cases = [EvaluationCase(source.stem, None, source, {"near": made[source.stem]}) for source in real]
    at_once, most, seen = 0, 0, []

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.02)
        at_once -= 1
        seen.append(a.shape[-2])
        return (a - b).abs().mean((1, 2, 3))

    whole = scored_by(LearnedMetrics(lpips=distance), cases, 3)
    assert most > 1 and set(seen) == {41}
    most, seen = 0, []
    monkeypatch.setattr("data.scoring.scores.LARGE", 41 * 53 - 1)
    monkeypatch.setattr("util.metrics.learned.LPIPS_PIXELS", 41 * 53 - 1)
    parts = scored_by(LearnedMetrics(lpips=distance), cases, 3)
    assert most == 1 and set(seen) == {20, 21}
    for stem, values in whole.sheet.rows["near"].items():
        assert parts.sheet.of("near", stem) == pytest.approx(values, nan_ok=True), "LPIPS too, of this mean of pixels"


def test_ms_ssim_is_that_of_torchmetrics() -> None:
    torch.manual_seed(0)
    real = torch.nn.functional.interpolate(torch.rand(1, 1, 22, 24), (176, 192), mode="bicubic").clamp(0, 1) * 255
    noisy = (real + 20 * torch.randn_like(real)).clamp(0, 255)
    for other in (noisy, 0.5 * real):
        wanted = reference.multiscale_structural_similarity_index_measure(
            other.double(), real.double(), data_range=255.0, sigma=1.5, kernel_size=11
        )
        assert float(ms_ssim(other, real)[0]) == pytest.approx(float(wanted), abs=0.01)
    assert float(ms_ssim(real, real)[0]) == pytest.approx(1)


def write_run(path: Path) -> None:
    """A run that nobody trained."""
    torch.manual_seed(0)
    options = CycleGANOptions(netG="resnet_6blocks", ngf=4, ndf=4)
    trained = for_method(CycleGANOptions)(method=options, input=InputOptions(load_size=40, crop_size=32))
    values = to_dict(trained)
    values["run"]["model"] = "cycle_gan"
    run_folder = RunFolder(path)
    run_folder.write_options(values, {})
    network = METHODS["cycle_gan"].network(options)
    save_weights(run_folder.weights("last"), network.state_dict(), {"model": "cycle_gan", "mean_infrared": "-0.5"})


def test_test_evaluate(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 3, (41, 53))
    write_run(tmp_path / "checkpoints/gen")
    words = ("test.py", "--name", "gen", "--device", "cpu", "--num_threads", 0, "--evaluate")
    done = command(*words, "--dataroot", root, "--split", "all")
    folder = tmp_path / "results/gen"
    fuller, scores = (json.loads((folder / name).read_text()) for name in ("evaluation.json", "scores.json"))
    for ours in ("PSNR", "SSIM", "MAE"):
        assert fuller["mean"][ours] == pytest.approx(scores["mean"][ours], rel=0.01)
        for name in ("luminance", "inverted luminance", "constant"):
            assert fuller["baselines"][name][ours] == pytest.approx(scores["baselines"][name][ours], rel=0.02)
    assert "mean of the training images" in done.stdout and (folder / "evaluation.html").is_file()
    assert "no real infrared" in command(*words, "--dataroot", root / "visible", status=2).stderr


def test_real_images_come_to_the_range_that_test_py_had(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 3, (41, 53))
    write_run(tmp_path / "checkpoints/gen")
    words = ("--dataroot", root, "--split", "all", "--device", "cpu", "--num_threads", 0)
    command("test.py", "--name", "gen", *words, "--infrared_range", "percentile", "--evaluate")
    again = ("scripts.evaluate", "generation", "--generated", "results/gen", "--out", "s.json", *words)
    between = "8-bit ones between the percentiles 1 and 99"
    assert f"the real images are {between}" in command(*again).stdout
    ours, theirs = (json.loads(Path(name).read_text()) for name in ("s.json", "results/gen/evaluation.json"))
    assert ours["images"] == theirs["images"] and between in ours["range"]
    assert "the real images are" not in command(*again, "--infrared_range", "asis").stdout
    copies = ("a=results/gen", "b=copies")
    shutil.copytree("results/gen/infrared", "copies")  # which do not say of which range they are
    done = command("scripts.evaluate", "generation", "--generated", *copies, "--out", "s.json", *words)
    assert "do not say of which: scored are 8-bit ones as saved" in done.stdout
    asis = json.loads(Path("s.json").read_text())
    assert asis["methods"]["a"]["images"] != theirs["images"] and "8-bit ones as saved" in asis["range"]
    (root / "infrared" / next((root / "infrared").iterdir()).name).write_bytes(b"")
    done = command(*again, status=0)
    assert "1 file" in done.stdout and "cannot be used" in done.stdout
    assert "empty file" in command(*again, "--strict", status=2).stderr


def test_pairs_of_a_data_set_whose_stems_differ(command: Callable, tmp_path: Path) -> None:
    """FLIR ADAS v2: a frame has another id in each camera; the layout knows which belong together."""
    root = flir_adas_v2(tmp_path / "flir")
    write_json(root / "rgb_to_thermal_vid_map.json", v2_map())
    write_run(tmp_path / "checkpoints/gen")
    serial = ("--device", "cpu", "--num_threads", 0)
    scored = ("scripts.evaluate", "generation", "--generated", "results/gen", "--out", "s.json", *serial)
    for split, pairs in (("test", 3), ("all", 6)):
        command("test.py", "--name", "gen", "--evaluate", "--dataroot", root, "--split", split, *serial)
        done = command(*scored, "--dataroot", root, *(() if split == "test" else ("--split", split)))
        ours, theirs = (json.loads(Path(name).read_text()) for name in ("s.json", "results/gen/evaluation.json"))
        assert len(ours["images"]) == pairs and ours["images"] == theirs["images"]
        for name in ("luminance", "inverted luminance"):
            assert ours["baseline_images"][name] == theirs["baseline_images"][name]
        assert f"{pairs} real images of flir_adas_v2" in done.stdout
    assert "no real image for 6 of its images" in done.stdout, "those of train and val have none"
    folders = ("--real", root / "video_thermal_test", "--visible", root / "video_rgb_test")
    assert "--dataroot a data set that pairs them" in command(*scored, *folders, status=2).stderr
    for more, text in (
        (("--dataroot", root, "--real", "x"), "--real and --dataroot"),
        (("--dataroot", root, "--visible", "x"), "--visible and --dataroot"),
        (("--real", "x", "--split", "val"), "--split val"),
        (("--dataroot", root, "--split", "train"), "no pairs in --split train"),
    ):
        done = command(*scored, *more, status=2)
        assert text in done.stderr and done.stderr.count("\n") == 1


def test_images_of_another_view_are_told_of(command: Callable, tmp_path: Path) -> None:
    video = flir_adas_v1(tmp_path / "flir") / "FLIR_ADAS_1_3/FLIR_ADAS_1_3/video"
    for source in list_images(video / "thermal_8_bit"):
        for name, size in (("cut", (127, 159)), ("whole", (160, 180)), ("square", (32, 32))):
            write_image(tmp_path / name / f"{source.stem}.png", np.full(size, 99, np.uint8))
    made = [f"{name}={tmp_path / name}" for name in ("cut", "whole", "square")]
    words = ("scripts.evaluate", "generation", "--generated", *made, "--device", "cpu", "--num_threads", 0)
    cases = (
        (("--dataroot", tmp_path / "flir"), False),
        (("--real", video / "thermal_8_bit", "--visible", video / "rgb"), True),
    )
    for sources, of_visible in cases:
        done = command(*words, *sources)
        notes = [line for line in done.stdout.splitlines() if "another view" in line]
        assert len(notes) == 1 + of_visible
        assert "2 of 2 images of whole" in notes[0] and "test.py --dataroot ROOT" in notes[0]
        assert "180x160 beside 64x51" in notes[0]
        assert not of_visible or ("2 of 2 visible images" in notes[1] and "in place of --real and" in notes[1])
    done = command(*words, "--dataroot", tmp_path / "flir", "--no_camera_crop")
    assert "another view" not in done.stdout, "as asked"


def test_what_evaluate_cannot_score_is_told(command: Callable, tmp_path: Path) -> None:
    root, weights = write_pairs(tmp_path / "data", 3), write_weights(tmp_path / "w.safetensors")
    words = ("test.py", "--weights", weights, "--name", "n", "--dataroot", root, "--split", "all", "--gallery", 0)
    command(*words, *SERIAL)
    image = tmp_path / "results/n/infrared/001.png"
    image.write_bytes(b"no image any more")  # is there, as its record says
    done = command(*words, *SERIAL, "--evaluate", status=1)
    assert f"skipped {image.relative_to(tmp_path)}" in done.stderr and "not scored" in done.stderr
    image.write_bytes(b"")  # as a machine leaves it that lost its power
    assert "2 of 3 images are there already" in command(*words, *SERIAL, "--evaluate").stdout


def test_results_of_sixteen_bits_are_read_over_their_full_scale(tmp_path: Path) -> None:
    grey = np.tile(np.arange(20, 60, dtype=np.uint8), (40, 1))
    write_image(tmp_path / "real.png", grey)
    write_image(tmp_path / "deep.png", grey.astype(np.uint16) * 257)
    real, deep = (Source(tmp_path / f"{name}.png", "1") for name in ("real", "deep"))
    case = EvaluationCase("1", real, real, {"deep": deep})
    scorer = GeneratedScorer(ThermalRange(eight_bit="asis"), torch.device("cpu"), None)
    assert scorer(case).rows["deep"]["MAE"] == 0
    assert read_saved(deep, made=True).tolist() == [grey.tolist()]

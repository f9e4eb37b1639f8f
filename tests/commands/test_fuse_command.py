"""fuse.py as a user runs it: what it writes, what it skips, what it says when something is wrong."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import read_infrared, read_visible, to_uint8, write_image
from models import METHODS
from models.stdfusion_net import initialise
from options.fuse import FuseOptions
from options.fusion_gan import FusionGANOptions
from options.recorded import published
from options.stdfusion_net import STDFusionNetOptions
from options.train import TrainOptions, for_method
from tests.conftest import ROOT, write_pairs
from util.command_line import to_dict
from util.images import luminance
from util.metrics.fusion import FUSION_METRICS, fusion_scores
from util.training.run_folder import RunFolder
from util.training.state import save_weights

CPU = ("--device", "cpu", "--precision", "fp32", "--num_threads", 0)


def small(model: str, **more: object) -> tuple[object, torch.nn.Module]:
    """Options and a network of random weights whose output has some contrast."""
    torch.manual_seed(1)
    if model == "stdfusion_net":
        options = STDFusionNetOptions(ngf=4, **more)
        network = METHODS[model].network(options)
        initialise(network, options)
        return options, network.eval()
    options = FusionGANOptions(ngf=8, **more)
    network = METHODS[model].network(options)
    for layer in network.body:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    return options, network.eval()


def weights_file(path: Path, model: str = "stdfusion_net", range: str | None = None, **more: object) -> Path:
    options, network = small(model, **more)
    metadata = {"model": model, "options": json.dumps(to_dict(options))} | ({"range": range} if range else {})
    save_weights(path, network.state_dict(), metadata)
    return path


def make_run(folder: Path, model: str, options: object, network: torch.nn.Module, **groups: object) -> Path:
    """A run's folder with weights."""
    cls = METHODS[model].Options
    trained = replace(published(for_method(cls), cls), method=options, **groups)
    values = to_dict(trained)
    values["run"]["model"] = model
    RunFolder(folder).write_options(values, {})
    save_weights(folder / "last.safetensors", network.state_dict(), {"model": model, "epoch": "3"})
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return weights_file(tmp_path / "stdfusion_net.safetensors")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two sizes, odd ones too; one visible image is grey."""
    root = write_pairs(tmp_path / "data", 3, (41, 53))
    write_pairs(tmp_path / "more", 1, (37, 64), seed=5)
    for side in ("visible", "infrared"):
        shutil.copy(tmp_path / "more" / side / "000.png", root / side / "wide.png")
    grey = read_infrared(root / "infrared" / "002.png", None)
    write_image(root / "visible" / "002.png", grey[::-1].copy())
    return root / "visible", root / "infrared"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def tensor(array: np.ndarray) -> torch.Tensor:
    """uint8 -> [1, C, H, W]."""
    return torch.from_numpy(np.atleast_3d(array).copy()).permute(2, 0, 1)[None]


def chroma(rgb: np.ndarray) -> np.ndarray:
    """Cb, Cr of uint8 [H, W, 3], in grey levels."""
    red, green, blue = rgb.astype(float).transpose(2, 0, 1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([(blue - y) / 1.772, (red - y) / 1.402])


def test_sizes_colour_and_what_is_written(
    command: Callable, weights: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    visible, infrared = folders
    done = command("fuse.py", "--visible", visible, "--infrared", infrared, "--weights", weights, *CPU)
    results = tmp_path / "results" / "stdfusion_net"
    for stem in ("000", "001", "002", "wide"):
        seen, fused = read_visible(visible / f"{stem}.png"), pixels(results / "fused" / f"{stem}.png")
        assert fused.shape == (seen.shape[:2] if stem == "002" else seen.shape), "size kept, grey stays grey"
        if fused.ndim == 3:
            inside = ((fused > 0) & (fused < 255)).all(2)  # elsewhere a channel was clamped
            assert inside.mean() > 0.5
            assert np.abs(chroma(fused) - chroma(seen))[:, inside].max() < 1.1
            _, network = small("stdfusion_net")
            light = luminance(tensor(seen) / 127.5 - 1)
            with torch.no_grad():
                wanted = network(light, tensor(pixels(infrared / f"{stem}.png")) / 127.5 - 1)
            found = luminance(tensor(fused).float())[0, 0].numpy()
            assert np.abs(found - (wanted[0, 0].numpy() + 1) * 127.5)[inside].max() < 1.01
    record = json.loads((results / "results.json").read_text())
    assert record["range"] == "clip" and record["model"] == "stdfusion_net" and len(record["images"]) == 4
    page = (results / "index.html").read_text()
    assert all(name in page for name in ("fused/000.png", "previews/visible/000.jpg", "previews/infrared/wide.jpg"))
    assert "4 in" in done.stdout and "range     clip" in done.stdout and not list(results.rglob("*.part"))


@pytest.mark.parametrize("model", ["stdfusion_net", "fusion_gan"])
def test_tiles_are_the_whole(command: Callable, tmp_path: Path, model: str) -> None:
    root = write_pairs(tmp_path / "data", 1, (101, 150))
    file = weights_file(tmp_path / f"{model}.safetensors", model)
    arguments = ("--visible", root / "visible", "--infrared", root / "infrared", "--weights", file, *CPU)
    made = {}
    for tile in (0, 40):
        command("fuse.py", *arguments, "--tile", tile, "--results_dir", tmp_path / f"t{tile}", "--range", "minmax")
        made[tile] = pixels(tmp_path / f"t{tile}" / model / "fused" / "000.png").astype(int)
    assert made[0].std() > 3
    assert np.abs(made[0] - made[40]).max() <= 1 and (made[0] != made[40]).mean() < 1e-3


def test_image_statistics_are_of_the_whole_image(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 1, (20, 1500))
    file = weights_file(tmp_path / "fusion_gan.safetensors", "fusion_gan", bn_statistics="image")
    arguments = ("--visible", root / "visible", "--infrared", root / "infrared", "--weights", file, *CPU)
    command("fuse.py", *arguments, "--results_dir", "a")
    command("fuse.py", *arguments, "--results_dir", "b", "--tile", 0)
    first, second = (pixels(tmp_path / name / "fusion_gan" / "fused" / "000.png") for name in "ab")
    assert np.array_equal(first, second)


def test_range_policies(command: Callable, folders: tuple[Path, Path], tmp_path: Path) -> None:
    visible, infrared = folders
    file = weights_file(tmp_path / "stdfusion_net.safetensors", range="minmax")
    arguments = ("--visible", visible / "002.png", "--infrared", infrared / "002.png", "--weights", file, *CPU)
    _, network = small("stdfusion_net")
    with torch.no_grad():
        images = [tensor(pixels(folder / "002.png")) / 127.5 - 1 for folder in folders]
        raw = network(*images)[0]
    stretched = (raw - raw.min()) / (raw.max() - raw.min()) * 2 - 1
    for given, policy, wanted in (("auto", "minmax", stretched), ("clip", "clip", raw)):
        command("fuse.py", *arguments, "--range", given, "--results_dir", tmp_path / given, "--evaluate")
        folder = tmp_path / given / "stdfusion_net"
        assert np.abs(pixels(folder / "fused" / "002.png").astype(int) - to_uint8(wanted)).max() <= 1
        for name in ("results.json", "scores.json"):
            assert json.loads((folder / name).read_text())["range"] == policy
    span = json.loads((folder / "results.json").read_text())["images"]["002"]["raw_range"]
    assert span == pytest.approx([(float(raw.min()) + 1) * 127.5, (float(raw.max()) + 1) * 127.5], abs=0.02)


def test_evaluate_is_util_metrics_on_the_files(
    command: Callable, weights: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    visible, infrared = folders
    done = command(
        "fuse.py", "--visible", visible, "--infrared", infrared, "--weights", weights, "--evaluate", "--gray",
        "--gallery", 2, *CPU,
    )  # fmt: skip
    results = tmp_path / "results" / "stdfusion_net"
    scores = json.loads((results / "scores.json").read_text())
    assert scores["convention"] == "standard" and set(scores["images"]) == {"000", "001", "002", "wide"}
    assert set(scores["baselines"]) == {"average", "maximum", "visible", "infrared"}
    for stem in ("000", "wide"):
        fused = pixels(results / "fused" / f"{stem}.png")
        assert fused.ndim == 2, "--gray"
        sources = [tensor(read_visible(visible / f"{stem}.png")), tensor(pixels(infrared / f"{stem}.png"))]
        for metric, value in fusion_scores(tensor(fused), *sources).items():
            found = scores["images"][stem][metric]
            assert (found is None and value.isnan()) or found == pytest.approx(float(value), rel=1e-9)
    assert scores["mean"]["EN"] == pytest.approx(np.mean([v["EN"] for v in scores["images"].values()]))
    assert scores["mean"]["MS-SSIM"] is None, "too small for it"
    with (results / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20 and float(rows[0]["SD"]) == scores["images"]["000"]["SD"]
    assert all(word in done.stdout for word in ("average", "infrared", "Qabf", *FUSION_METRICS))
    assert (results / "index.html").read_text().count('class="row"') == 2


def test_unmatched_and_corrupt_are_skipped(
    command: Callable, weights: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    visible, infrared = folders
    (infrared / "001.png").unlink()
    write_image(infrared / "alone.png", np.zeros((9, 9), np.uint8))
    (visible / "002.png").write_bytes(b"")
    whole = (infrared / "wide.png").read_bytes()
    (infrared / "wide.png").write_bytes(whole[: len(whole) // 2])
    arguments = ("fuse.py", "--visible", visible, "--infrared", infrared, "--weights", weights, *CPU)
    done = command(*arguments, status=1)
    for name in (visible / "001.png", infrared / "alone.png", visible / "002.png", infrared / "wide.png"):
        assert f"skipped {name}: " in done.stderr
    fused = tmp_path / "results" / "stdfusion_net" / "fused"
    assert [path.name for path in fused.iterdir()] == ["000.png"] and "images    1 in" in done.stdout
    shutil.rmtree(tmp_path / "results")
    assert "error: " in command(*arguments, "--strict", status=2).stderr
    assert not (tmp_path / "results").exists()


def test_two_files_of_any_name_and_unlike_size(command: Callable, weights: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_image(tmp_path / "day.jpg", rng.integers(0, 255, (33, 47, 3), np.uint8))
    write_image(tmp_path / "heat.png", rng.integers(0, 65535, (20, 30), np.uint16))
    done = command(
        "fuse.py", "--visible", "day.jpg", "--infrared", "heat.png", "--weights", weights,
        "--thermal_range", "percentile", *CPU,
    )  # fmt: skip
    assert pixels(tmp_path / "results/stdfusion_net/fused/day.png").shape == (33, 47, 3)
    assert "resized" in done.stdout
    record = json.loads((tmp_path / "results/stdfusion_net/results.json").read_text())
    assert record["images"]["day"]["infrared_size_before"] == [20, 30]


def test_a_run_and_a_data_set(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 20)
    make_run(tmp_path / "checkpoints" / "std", "stdfusion_net", *small("stdfusion_net"))
    done = command("fuse.py", "--name", "std", "--dataroot", root, *CPU)
    fused = tmp_path / "results" / "std" / "fused"
    assert len(list(fused.iterdir())) == 2, "the test split"
    assert "last.safetensors" in done.stdout and "two_folders" in done.stdout
    command("fuse.py", "--name", "std", "--dataroot", root, "--split", "all", "--num_test", 5, *CPU)
    assert len(list(fused.iterdir())) >= 5
    text = command("fuse.py", "--visible", root, "--generator", "--split", "val", *CPU, status=2).stderr
    assert "--split val belongs to a data set" in text
    text = command("fuse.py", "--name", "std", "--dataroot", root, "--epoch", "7", *CPU, status=2).stderr
    assert "--epoch can be last" in text


def test_a_run_fuses_its_own_data_sets_where_none_is_named(command: Callable, tmp_path: Path) -> None:
    roots = tuple(write_pairs(tmp_path / name, 20, seed=seed) for seed, name in enumerate(("here", "there")))
    options, network = small("stdfusion_net")
    data = replace(published(for_method(type(options)), type(options)).data, dataroot=roots)
    make_run(tmp_path / "checkpoints" / "std", "stdfusion_net", options, network, data=data)
    assert "images    40 in" in command("fuse.py", "--name", "std", "--split", "all", *CPU).stdout
    results = tmp_path / "results" / "std"
    words = ("scripts.evaluate", "fusion", "--fused", results, "--split", "all", "--metrics", "EN", *CPU[:2])
    assert "40 images" in command(*words, "--dataroot", *roots).stdout
    folders = ("--visible", roots[0] / "visible", "--infrared", roots[0] / "infrared")
    assert "images    20 in" in command("fuse.py", "--name", "std", *folders, "--results_dir", "r", *CPU).stdout
    assert "--dataroot has no value" in command("fuse.py", "--dataroot", status=2).stderr


@pytest.mark.parametrize("learnt", ["standard", "percentile"])
def test_a_run_fuses_as_its_weights_alone_in_the_range_they_learnt_from(
    command: Callable, tmp_path: Path, learnt: str
) -> None:
    root, (options, network) = write_pairs(tmp_path / "data", 20), small("stdfusion_net")
    data = replace(published(for_method(type(options)), type(options)).data, infrared_range=learnt)
    folder = make_run(tmp_path / "checkpoints" / "std", "stdfusion_net", options, network, data=data)
    facts = {"model": "stdfusion_net", "options": json.dumps(to_dict(options)), "infrared_range": learnt}
    save_weights(folder / "last.safetensors", network.state_dict(), facts)
    given = {"run": ("--name", "std"), "weights": ("--weights", folder / "last.safetensors")}
    made = {}
    for name, words in given.items():
        command("fuse.py", *words, "--dataroot", root, "--results_dir", name, "--evaluate", *CPU)
        made[name] = [path.read_bytes() for path in sorted((tmp_path / name).rglob("fused/*.png"))]
    assert len(made["run"]) == 2 and made["weights"] == made["run"]
    scores = [next((tmp_path / name).rglob("scores.csv")).read_text() for name in ("run", "weights")]
    assert scores[0] == scores[1]
    words = ("scripts.evaluate", "fusion", "--fused", tmp_path / "run" / "std", "--dataroot", root, "--device", "cpu")
    command(*words, "--out", "later.json")  # beside the images as they are, whatever the network saw
    at_once, later = (json.loads(file.read_text()) for file in ((tmp_path / "run/std/scores.json"), Path("later.json")))
    assert later["mean"] == pytest.approx(at_once["mean"], nan_ok=True)
    plain = tmp_path / "plain.safetensors"
    save_weights(plain, network.state_dict(), facts | {"infrared_range": "asis"})
    command("fuse.py", "--weights", plain, "--dataroot", root, "--results_dir", "plain", "--evaluate", *CPU)
    assert [path.read_bytes() for path in sorted((tmp_path / "plain").rglob("fused/*.png"))] != made["run"]


def test_bf16_is_near_fp32(command: Callable, weights: Path, folders: tuple[Path, Path], tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        command(
            "fuse.py", "--visible", folders[0], "--infrared", folders[1], "--weights", weights, "--gray",
            "--device", "cpu", "--num_threads", 1, "--precision", precision, "--results_dir", precision,
        )  # fmt: skip
    a, b = (pixels(tmp_path / p / "stdfusion_net/fused/wide.png").astype(int) for p in ("fp32", "bf16"))
    assert 0 < np.abs(a - b).mean() < 1


def test_mistakes_are_one_line_and_write_nothing(
    command: Callable, weights: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    visible, infrared = folders
    both = ("--visible", visible, "--infrared", infrared)
    other = write_pairs(tmp_path / "other", 1)
    (other / "infrared" / "000.png").rename(other / "infrared" / "zzz.png")
    foreign = tmp_path / "foreign.safetensors"
    save_weights(foreign, {"x": torch.zeros(1)}, {"model": "cycle_gan"})
    unfit = tmp_path / "unfit.safetensors"
    save_weights(unfit, {"x": torch.zeros(1)}, {"model": "fusion_gan", "options": "{}"})
    cases = [
        (("--visible", visible), "--generator RUN"),
        (("--infrared", infrared), "--visible"),
        ((*both, "--generator", "g"), "not both"),
        ((*both, "--dataroot", visible), "not both"),
        ((*both, "--name", "run", "--weights", weights), "not both"),
        ((*both, "--name", "nowhere"), "no such run"),
        ((*both, "--model", "cycle_gan"), "fusion_gan, stdfusion_net"),
        ((*both, "--model", "fusion_gan", "--weights", weights), "is for stdfusion_net"),
        ((*both, "--weights", "none.safetensors"), "no such file"),
        ((*both, "--weights", foreign), "is for cycle_gan"),
        ((*both, "--weights", unfit), "not those of fusion_gan"),
        ((*both, "--weights", weights, "--tile", 18), "at least 19"),
        ((*both, "--weights", weights, "--range", "wide"), "--range"),
        (("--visible", visible, "--infrared", visible, "--weights", weights), "one folder"),
        (("--visible", visible / "000.png", "--infrared", infrared, "--weights", weights), "two folders or two files"),
        (("--visible", tmp_path / "no", "--infrared", infrared, "--weights", weights), "does not exist"),
        (
            ("--visible", other / "visible", "--infrared", other / "infrared", "--weights", weights),
            "has the stem of one",
        ),
    ]
    for arguments, words in cases:
        error = command("fuse.py", *arguments, *CPU, status=2).stderr
        assert error.startswith("error: ") and error.count("\n") == 1 and words in error, error
    assert not (tmp_path / "results").exists()


def test_own_weights_missing_says_what_to_do(
    command: Callable, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.inference.trained.OWN_WEIGHTS", tmp_path / "models" / "weights")
    error = command("fuse.py", "--visible", folders[0], "--infrared", folders[1], *CPU, status=2).stderr
    assert "stdfusion_net.safetensors: no such weights" in error and "--weights" in error
    file = weights_file(tmp_path / "models" / "weights" / "fusion_gan.safetensors", "fusion_gan")
    arguments = ("--visible", folders[0], "--infrared", folders[1], "--model", "fusion_gan")
    assert str(file) in command("fuse.py", *arguments, *CPU).stdout


def test_help_names_every_option(command: Callable) -> None:
    text = command("fuse.py", "--help").stdout
    for option in ("--visible", "--generator", "--tile", "--range", "--evaluate", "--layout", "--strict"):
        assert option in text or option.replace("-", "_").replace("__", "--") in text, option


def test_default_options_are_trainings_own() -> None:
    options = FuseOptions().with_data(TrainOptions().data, None)
    assert options.data.roots == TrainOptions().data.roots


def test_names_that_are_no_text_are_fused_scored_and_printed(tmp_path: Path, weights: Path) -> None:
    for side in ("vi", "ir"):
        for name in (os.fsdecode(b"caf\xe9"), "new\nline"):
            array = np.random.default_rng(0).integers(0, 255, (24, 28, 3), np.uint8)
            write_image(tmp_path / side / f"{name}.png", array)
    (tmp_path / "vi" / os.fsdecode(b"alone\xe9\n.png")).write_bytes(b"")
    words = ["fuse.py", "--visible", "vi", "--infrared", "ir", "--weights", weights, "--evaluate", "--num_threads", "0"]
    about = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, ROOT / words[0], *words[1:]], cwd=tmp_path, capture_output=True, env=about)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"skipped vi/alone" in done.stderr, done.stderr
    assert b"images    2 in" in done.stdout

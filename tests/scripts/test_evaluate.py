"""scripts.evaluate fusion as a user runs it: pairs, values, files, page, ranking, mistakes."""

from __future__ import annotations

import csv
import json
import shutil
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from data.counts import ThermalRange
from data.images import read_infrared, read_visible, write_image
from data.scoring.fusion import TRIVIAL
from data.threads import in_threads
from options.evaluate import methods_of
from tests.conftest import SHARED, write_pairs
from util.metrics.fusion import fusion_scores
from util.metrics.score_sheet import ScoreSheet, mean_and_std, ranks
from util.pages.evaluation_page import extremes, write_evaluation_page

SAMPLE = SHARED / "vifb_sample"
FEW = ("--metrics", "EN,SD", "Nabf", "--num_threads", 0, "--device", "cpu")


def tensor(array: np.ndarray) -> torch.Tensor:
    """uint8 -> [1, C, H, W]."""
    return torch.from_numpy(np.atleast_3d(array).copy()).permute(2, 0, 1)[None]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Three pairs, the fused images of two methods, in colour and grey; names of one method are in upper case."""
    root = write_pairs(tmp_path / "data", 3, (41, 53))
    found = {name: root / name for name in ("visible", "infrared")} | {"a": tmp_path / "a", "b": tmp_path / "b"}
    for i in range(3):
        visible, infrared = read_visible(root / "visible" / f"{i:03d}.png"), root / "infrared" / f"{i:03d}.png"
        grey = read_infrared(infrared, None)
        write_image(found["a"] / f"{i:03d}.png", (visible // 2 + grey[..., None] // 2).astype(np.uint8))
        write_image(found["b"] / f"{i:03d}_B.PNG", grey[::-1].copy())
    return found


def arguments(folders: dict[str, Path], *methods: str) -> tuple[object, ...]:
    return ("--fused", *methods, "--visible", folders["visible"], "--infrared", folders["infrared"])


def run(command: Callable, folders: dict[str, Path], *more: object, methods: tuple[str, ...] = (), status: int = 0):
    methods = methods or (f"a={folders['a']}", f"b={folders['b']}")
    words = ("fusion", *arguments(folders, *methods), "--out", "out/s.json", *more)
    return command("scripts.evaluate", *words, status=status)


def test_one_method(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    done = run(command, folders, "--num_threads", 2, "--device", "cpu", methods=(str(folders["a"]),))
    scores = json.loads((tmp_path / "out/s.json").read_text())
    assert scores["convention"] == "standard" and "8 bit" in scores["range"] and set(scores["images"]) == {
        "000", "001", "002"
    }  # fmt: skip
    names = [folders[side] / "001.png" for side in ("a", "visible")]
    images = [
        *(tensor(read_visible(name)) for name in names),
        tensor(read_infrared(folders["infrared"] / "001.png", None)),
    ]
    for metric, value in fusion_scores(*images).items():
        found = scores["images"]["001"][metric]
        assert (found is None and value.isnan()) or found == pytest.approx(float(value), rel=1e-9), metric
    values = [row["SD"] for row in scores["images"].values()]
    assert scores["mean"]["SD"] == pytest.approx(statistics.mean(values))
    assert scores["std"]["SD"] == pytest.approx(statistics.pstdev(values))
    assert set(scores["baselines"]) == set(TRIVIAL)
    assert scores["mean"]["MS-SSIM"] is None and "161" in scores["why_null"]["MS-SSIM"]
    with (tmp_path / "out/s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 5 and rows[0]["MS-SSIM"] == "" and float(rows[0]["SD"]) == scores["images"]["000"]["SD"]
    assert "161 pixels" in done.stdout and all(name in done.stdout for name in TRIVIAL) and "±" in done.stdout


def test_several_methods_rank_and_page(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    done = run(command, folders, *FEW)
    scores = json.loads((tmp_path / "out/s.json").read_text())
    a, b = (scores["methods"][name]["mean"] for name in "ab")
    assert list(a) == ["EN", "SD", "Nabf"] and set(scores["methods"]["b"]["images"]) == {"000", "001", "002"}
    better = [a["EN"] > b["EN"], a["SD"] > b["SD"], a["Nabf"] < b["Nabf"]]
    assert scores["ranking"]["a"] == pytest.approx(2 - sum(better) / 3)
    assert sum(scores["ranking"].values()) == pytest.approx(3) and "mean rank" in done.stdout
    page = (tmp_path / "out/s.html").read_text()
    for text in ("Ranking", "Ranks", "best 1 of a", "worst 1 of b", "s_images/infrared/000.jpg", "trivial row better"):
        assert text in page
    assert page.count("median of a ") == 3 and page.count("<svg role") == 1 + 3


def test_common_images_and_what_is_missing(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    (folders["a"] / "001.png").unlink()
    write_image(folders["b"] / "extra.png", np.zeros((9, 9), np.uint8))
    done = run(command, folders, *FEW)
    assert "a: no image for 1 of 3 pairs (001)" in done.stdout
    assert "b: no pair for 1 of its images (extra.png)" in done.stdout and "2 pairs that all" in done.stdout
    scores = json.loads((tmp_path / "out/s.json").read_text())
    assert all(set(block["images"]) == {"000", "002"} for block in scores["methods"].values())


def test_unreadable_and_of_another_size_are_skipped(command: Callable, folders: dict[str, Path]) -> None:
    (folders["a"] / "000.png").write_bytes(b"")
    write_image(folders["a"] / "002.png", np.zeros((20, 30), np.uint8))
    done = run(command, folders, *FEW, status=1)
    assert "empty file" in done.stderr and "is 30x20, its visible image 53x41" in done.stderr
    shutil.copy(folders["a"] / "002.png", folders["a"] / "001.png")
    assert "none of 3 pairs could be scored" in run(command, folders, *FEW, status=2).stderr


def test_a_results_folder_and_its_range(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["a"], tmp_path / "results/m/fused")
    shutil.copytree(folders["visible"], tmp_path / "results/m/previews/visible")
    (tmp_path / "results/m/results.json").write_text('{"range": "minmax"}')
    run(command, folders, *FEW, methods=("results/m",))
    scores = json.loads((tmp_path / "out/s.json").read_text())
    assert scores["range"] == "minmax, saved as 8 bit" and scores["count"] == 3
    thermal = asdict(ThermalRange(eight_bit="percentile"))
    (tmp_path / "results/m/made.jsonl").write_text(json.dumps({"made_by": {"thermal range": thermal}}))
    assert "between the percentiles 1 and 99" in run(command, folders, *FEW, methods=("results/m",)).stdout
    stretched = json.loads((tmp_path / "out/s.json").read_text())
    run(command, folders, *FEW, "--infrared_range", "percentile", methods=("results/m",))
    assert json.loads((tmp_path / "out/s.json").read_text())["images"] == stretched["images"] != scores["images"]


def label_images(folder: Path, stems: tuple[str, ...], size: tuple[int, int] = (41, 53)) -> np.ndarray:
    """Label images with a person of 200 pixels, beside a car; where the persons are."""
    classes = np.zeros(size, np.uint8)
    classes[10:30, 10:20], classes[10:30, 25:30] = 2, 1
    for stem in stems:
        write_image(folder / f"{stem}.png", classes)
    return classes == 2


def test_contrast_of_labelled_targets(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    stems = ("000D", "001D", "002N")
    for folder in folders.values():
        for path in list(folder.iterdir()):
            path.rename(folder / path.name.replace(path.stem[:3], stems[int(path.stem[:3])]))
    person = label_images(tmp_path / "labels", stems)
    distance = np.hypot(*(np.maximum(np.maximum(low - at, at - high), 0) for at, low, high in
                          zip(np.mgrid[:41, :53], (10, 10), (29, 19), strict=True)))  # fmt: skip
    ring = (distance >= 3) & (distance <= 10)
    done = run(command, folders, *FEW, "--labels", tmp_path / "labels")
    scores = json.loads((tmp_path / "out/s.json").read_text())
    grey = [read_infrared(folders["infrared"] / f"{stem}.png", None).astype(float) for stem in stems]
    wanted = [image[person].mean() - image[ring].mean() for image in grey]
    found = scores["baselines"]["infrared"]
    assert found["contrast day"] == pytest.approx(np.mean(wanted[:2])) and found["contrast"] == pytest.approx(
        np.mean(wanted)
    )
    assert scores["baseline_images"]["infrared"]["002N"]["contrast night"] == pytest.approx(wanted[2])
    assert scores["targets"]["images"] == {"contrast": 3, "contrast day": 2, "contrast night": 1}
    assert "contrast night" in (tmp_path / "out/s.html").read_text() and "contrast night" in done.stdout
    assert "of 3  " in done.stdout or "of 3\n" in done.stdout, "no part in ranks"
    (tmp_path / "labels" / "000D.png").unlink()
    label_images(tmp_path / "labels", ("001D",), (20, 20))
    done = run(command, folders, *FEW, "--labels", tmp_path / "labels", "--label_class", "1")
    assert "no label image for 1 of 3 pairs (000D)" in done.stdout
    assert "1 of 2 label images have another size than their visible image (001D.png)" in done.stdout
    assert "no contrast: 3 of 3 images have no labels, or less than 150 pixels of 1" in done.stdout
    assert json.loads((tmp_path / "out/s.json").read_text())["baselines"]["infrared"]["contrast"] is None
    (tmp_path / "labels" / "002N.png").write_bytes(b"")
    assert "002N.png: empty file" in run(command, folders, *FEW, "--labels", tmp_path / "labels", status=1).stderr
    for stem in stems:
        (folders["a"] / f"{stem}.png").write_bytes(b"")
    done = run(command, folders, *FEW, "--labels", tmp_path / "labels", status=2)
    assert "none of 3 pairs could be scored" in done.stderr


def test_labels_of_a_data_set(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    folders["visible"].rename(tmp_path / "data/vi")
    folders["infrared"].rename(tmp_path / "data/ir")
    label_images(tmp_path / "data/Segmentation_labels", ("000", "001", "002"))
    (tmp_path / "all").mkdir()
    (tmp_path / "data").rename(tmp_path / "all/test")
    words = ("--fused", folders["a"], "--dataroot", tmp_path / "all", "--out", "out/s.json")
    done = command("scripts.evaluate", "fusion", *words, *FEW)
    assert "contrast of 3 images" in done.stdout and "contrast day" not in done.stdout


def test_mistakes_in_labels_are_one_line(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    empty, others, small = tmp_path / "empty", tmp_path / "others", tmp_path / "small"
    empty.mkdir()
    label_images(others, ("x",))
    label_images(small, ("000", "001", "002"), (20, 20))
    for more, says in (
        (("--labels", empty), "--labels: no images in"),
        (("--labels", tmp_path / "none"), "does not exist"),
        (("--labels", others), "no image (x.png) has the stem of a pair (000, 001, 002)"),
        (("--labels", small), "3 of 3 label images have another size"),
        (("--labels", small, "--label_class", "persn"), "--label_class persn: is no class"),
    ):
        done = run(command, folders, *FEW, *more, status=2)
        assert says in done.stderr and len(done.stderr.strip().splitlines()) == 1, says
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not SAMPLE.exists(), reason=f"no VIFB sample at {SAMPLE}")
def test_published_values(command: Callable, tmp_path: Path) -> None:
    fused = [f"{name}={SAMPLE / 'fused'}" for name in ("GTF", "SeAFusion")]
    sides = ("--visible", SAMPLE / "vi", "--infrared", SAMPLE / "ir", "--device", "cpu", "--out", "s.json")
    done = command(
        "scripts.evaluate", "fusion", "--fused", *fused, *sides, "--convention", "vifb", "--metrics", "EN,AG"
    )
    methods = json.loads((tmp_path / "s.json").read_text())["methods"]
    published = json.loads((SAMPLE / "published_metrics.json").read_text())
    for stem, of_methods in published.items():
        for name in ("GTF", "SeAFusion"):
            found, wanted = methods[name]["images"][stem], of_methods[name]
            assert found["EN"] == pytest.approx(wanted["Entropy"], rel=5e-5)
            assert found["AG"] == pytest.approx(wanted["Avg_gradient"], rel=5e-5)
    assert "missing   GTF: no pair for 6" in done.stdout, "LatLRR's and U2Fusion's"


def test_mistakes_are_one_line_and_write_nothing(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    a = str(folders["a"])
    cases = [
        (("--fused", a), "--visible is missing"),
        (("--visible", a, "--infrared", a), "--fused is missing"),
        (arguments(folders, a, a), "several folders need names"),
        (arguments(folders, f"a={a}", f"a={a}"), "given twice"),
        (arguments(folders, f"visible={a}"), "trivial rows"),
        ((*arguments(folders, a), "--metrics", "EN,XX"), "no metric XX"),
        ((*arguments(folders, a), "--metrics", "VIF", "--convention", "vifb"), "no metric VIF"),
        ((*arguments(folders, a), "--out", "x.txt"), ".json"),
        ((*arguments(folders, a), "--num_threads", "-1"), "num_threads"),
        (arguments(folders, "nowhere"), "does not exist"),
        ((*arguments(folders, a), "--fussed", "x"), "--fussed"),
    ]
    for words, text in cases:
        done = command("scripts.evaluate", "fusion", *words, status=2)
        assert text in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "results").exists()
    assert "no such evaluation" in command("scripts.evaluate", "fusing", status=2).stderr
    assert "generation" in command("scripts.evaluate", "--help").stdout


def test_flat_images_have_a_reason(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    for side in ("visible", "infrared"):
        write_image(folders[side] / "001.png", np.full((41, 53), 90, np.uint8))
    done = run(command, folders, "--metrics", "Qcv", "--num_threads", 0, "--device", "cpu")
    scores = json.loads((tmp_path / "out/s.json").read_text())
    assert scores["methods"]["a"]["images"]["001"]["Qcv"] is None and scores["methods"]["a"]["mean"]["Qcv"] > 0
    assert "flat images" in scores["why_null"]["Qcv"] and "no Qcv: undefined" in done.stdout


@pytest.mark.cuda
def test_cuda_gives_the_same(command: Callable, folders: dict[str, Path], tmp_path: Path) -> None:
    found = []
    for device in ("cpu", "cuda"):
        run(command, folders, "--device", device, "--num_threads", 2)
        found.append(json.loads((tmp_path / "out/s.json").read_text())["methods"]["a"]["mean"])
    assert found[1] == pytest.approx(found[0], rel=1e-9)


def test_means_and_ranks() -> None:
    mean, std = mean_and_std([1.0, float("nan"), 3.0])
    assert (mean, std) == (2, 1) and mean_and_std([float("inf"), 1.0])[0] == float("inf")
    assert mean_and_std([])[0] != mean_and_std([])[0]
    assert ranks({"a": 1.0, "b": 3.0, "c": 3.0, "d": float("nan")}, True) == {"a": 3, "b": 1.5, "c": 1.5}
    assert ranks({"a": 1.0, "b": 3.0}, False) == {"a": 1, "b": 2}


def test_what_is_printed_tells_methods_and_scored_metrics_apart() -> None:
    sheet, names = ScoreSheet({"PSNR": True, "FID": False}, ()), ("stdfusion_net_epoch_010", "stdfusion_net_epoch_020")
    for name in names:
        sheet.add(name, "1", {"PSNR": 3.0, "FID": float("nan")})
    assert all(name in sheet.text() for name in names)
    assert "0 of 1" in sheet.ranking_text(), "FID was not computed"


def test_a_folder_may_have_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("results/lr=0.1")
    folder.mkdir(parents=True)
    assert methods_of("fused", (str(folder),)) == {"fused": folder}
    assert methods_of("fused", (f"a={folder}", "b=x")) == {"a": folder, "b": Path("x")}


def test_infinite_and_missing_values_reach_no_file_as_numbers(tmp_path: Path) -> None:
    sheet = ScoreSheet({"PSNR": True, "X": True}, ("none",))
    for stem, value in (("1", float("inf")), ("2", 3.0), ("3", 1.0)):
        sheet.add("m", stem, {"PSNR": value, "X": float("nan")})
        sheet.add("none", stem, {"PSNR": 2.0, "X": float("nan")})
    sheet.write(tmp_path / "s.json", {})
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["images"]["1"]["PSNR"] is None and scores["mean"] == {"PSNR": None, "X": None}
    assert "∞" in sheet.text() and extremes(sheet, "m", 3) == {"best 1": "1", "best 2": "2", "worst 1": "3"}
    write_evaluation_page(tmp_path / "p.html", "t", sheet, lambda stem: {}, {})
    page = (tmp_path / "p.html").read_text()
    assert "∞" in page and not any(wrong in page for wrong in (">nan", ",nan", "Mnan", "inf,"))


def test_in_threads_keeps_order_and_errors() -> None:
    for count in (0, 1, 3):
        assert [r for _, r in in_threads(lambda x: x * x, list(range(9)), count, "x")] == [x * x for x in range(9)]
        with pytest.raises(ZeroDivisionError):
            list(in_threads(lambda x: 1 // (x - 4), list(range(9)), count, "x"))

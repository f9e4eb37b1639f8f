"""test.py: batches, sizes, scores; going on with a half-done folder; large images by tiles."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import ThermalRange, list_images, read_infrared, to_uint8, write_image
from data.inputs import Job
from data.output.results import Results
from data.output.writing import at_own_size, copy_small
from data.visible_images import LARGE, VisibleImages, read_batches
from models.generators import make_generator
from options.cycle_gan import CycleGANOptions
from tests.conftest import ROOT, modified, write_pairs
from tests.layout_fixtures import picture, two_folders
from util.command_line import to_dict
from util.images import grey_bytes, resize
from util.training.state import save_weights

SERIAL = ("--num_threads", 0, "--device", "cpu", "--precision", "fp32")


def write_weights(path: Path, seed: int = 0, **more: str) -> Path:
    """A generator that nobody trained."""
    torch.manual_seed(seed)
    generator = make_generator("resnet_6blocks", 3, 1, 4, "instance", False, "transpose")
    facts = {
        "model": "cycle_gan",
        "options": json.dumps(to_dict(CycleGANOptions(ngf=4, netG="resnet_6blocks", upsample="transpose"))),
    }
    facts |= {"direction": "to_infrared", "in_channels": "3", "out_channels": "1"}
    save_weights(path, {f"to_infrared.{k}": v for k, v in generator.state_dict().items()}, facts | more)
    return path


def write_folder(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Noise images of (height, width) sizes."""
    rng = np.random.default_rng(0)
    for number, size in enumerate(sizes):
        write_image(folder / f"{number:03d}.png", rng.integers(0, 255, (*size, 3), np.uint8))
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "w.safetensors")


def test_only_what_changed_is_made_anew(command: Callable, tmp_path: Path, weights: Path) -> None:
    folder = write_folder(tmp_path / "in", [(24, 32)] * 4)
    words = ("--name", "n", "--dataroot", folder, *SERIAL)
    images = tmp_path / "results/n/infrared"
    command("test.py", "--weights", weights, *words)
    first = modified(images)
    again = command("test.py", "--weights", weights, *words)
    assert "4 of 4 images are there already" in again.stdout and modified(images) == first
    write_image(folder / "001.png", np.zeros((24, 32, 3), np.uint8))  # another picture
    (images / "002.png").unlink()
    (tmp_path / "results/n/visible/003.jpg").unlink()  # the page needs it
    done = command("test.py", "--weights", weights, *words)
    assert "1 of 4 images" in done.stdout and modified(images)["000.png"] == first["000.png"]
    assert len(modified(images)) == 4 and (tmp_path / "results/n/visible/003.jpg").is_file()
    command("test.py", "--weights", weights, *words, "--overwrite")
    assert all(modified(images)[name] > first[name] for name in first)
    second = modified(images)
    moved = weights.rename(tmp_path / "moved.safetensors")
    done = command("test.py", "--weights", moved, *words)
    assert "4 of 4" in done.stdout and modified(images) == second, "weights are known by content, not by name"
    done = command("test.py", "--weights", write_weights(tmp_path / "other.safetensors", 1), *words)
    assert "other weights: every image is made anew" in done.stdout and "already" not in done.stdout
    third = modified(images)
    assert all(third[name] > second[name] for name in second)
    done = command("test.py", "--weights", tmp_path / "other.safetensors", *words[:-2], "--precision", "bf16")
    assert "other precision" in done.stdout
    other = write_folder(tmp_path / "elsewhere", [(24, 32)])
    (other / "000.png").rename(other / "new.png")
    error = command("test.py", "--weights", moved, "--name", "n", "--dataroot", other, *SERIAL, status=2).stderr
    assert "holds 4 images of other inputs, made with other precision and weights: give another" in error
    assert set(modified(images)) == set(third), "nothing is lost"


def test_what_is_of_no_input_any_more_is_told(command: Callable, tmp_path: Path, weights: Path) -> None:
    folder = write_folder(tmp_path / "in", [(24, 32)] * 3)
    words = ("--weights", weights, "--name", "n", "--dataroot", folder, *SERIAL)
    assert "of no input" not in command("test.py", *words).stdout
    (folder / "001.png").unlink()
    done = command("test.py", *words)
    assert "note      1 image of no input of this command stays in results/n/infrared: 001.png" in done.stdout
    assert (tmp_path / "results/n/infrared/001.png").is_file()


def test_batches_share_a_size_and_a_limit_of_pixels(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", [(20, 30), (20, 30), (24, 18), (20, 30), (20, 30)])
    jobs = [Job(source) for source in list_images(folder)]
    dataset = VisibleImages(jobs, ThermalRange(), None, batch_pixels=2 * 20 * 30)
    assert dataset.batches(8) == ([[0, 1], [3, 4], [2]], [])
    assert dataset.batches(1)[0] == [[0], [1], [3], [4], [2]]
    errors: list = []
    seen = [(tuple(v.shape), [i["job"].visible.stem for i in items])
            for v, items in read_batches(dataset, 8, 1, False, errors, "")]  # fmt: skip
    assert seen == [((2, 3, 20, 30), ["000", "001"]), ((2, 3, 20, 30), ["003", "004"]), ((1, 3, 24, 18), ["002"])]


def test_large_inputs_are_read_alone_and_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LARGE >= 1800 * 1600
    monkeypatch.setattr("data.visible_images.LARGE", 25 * 30)
    folder = write_folder(tmp_path / "in", [(40, 30), (20, 30), (40, 30), (20, 30)])
    dataset = VisibleImages([Job(source) for source in list_images(folder)], ThermalRange(), None)
    assert dataset.batches(8)[0] == [[1, 3], [0], [2]]
    assert [len(items) for _, items in read_batches(dataset, 8, 1, False, [], "")] == [2, 1, 1]


def test_workers_end_with_the_reading(tmp_path: Path) -> None:
    """An error elsewhere may keep the reading alive until the process waits for its children at its end."""
    folder = write_folder(tmp_path / "in", [(20, 30)] * 6)
    dataset = VisibleImages([Job(source) for source in list_images(folder)], ThermalRange(), None)
    before = set(multiprocessing.active_children())
    reading = read_batches(dataset, 1, 1, False, [], "")
    next(reading)
    (worker,) = set(multiprocessing.active_children()) - before
    reading.close()
    assert not worker.is_alive()


def test_images_go_to_their_own_sizes_as_one_by_one() -> None:
    made = torch.rand(5, 1, 20, 24, generator=torch.Generator().manual_seed(0)) * 2.2 - 1.1
    sizes = [(40, 31), (20, 24), (40, 31), (9, 50), (20, 24)]
    images = at_own_size(made.clamp(-1, 1), [sizes[0], *map(list, sizes[1:])])
    for image, one, size in zip(images, made.clamp(-1, 1), sizes, strict=True):
        assert torch.equal(image[0], torch.from_numpy(to_uint8(resize(one, size))))
    levels = grey_bytes(made)
    assert levels.dtype == torch.uint8 and levels.min() == 0 and levels.max() == 255
    assert torch.equal(grey_bytes(levels), levels)


def test_images_of_a_few_pixels_are_made_and_copied(command: Callable, tmp_path: Path, weights: Path) -> None:
    sizes = [(1, 1), (2, 2), (3, 5), (7, 7), (1, 300), (300, 1), (15, 16)]
    root = tmp_path / "data"
    write_folder(root / "vi", sizes)
    for number, size in enumerate(sizes):
        write_image(root / "ir" / f"{number:03d}.png", np.arange(np.prod(size), dtype=np.uint8).reshape(size))
    done = command("test.py", "--weights", weights, "--dataroot", root, "--split", "all", *SERIAL)
    assert "images    7 in" in done.stdout
    for number, size in enumerate(sizes):
        made = read_infrared(tmp_path / f"results/w/infrared/{number:03d}.png", ThermalRange())
        assert made.shape == size
    scores = json.loads((tmp_path / "results/w/scores.json").read_text(), parse_constant=pytest.fail)
    assert scores["images"]["000"]["SSIM"] is None and scores["mean"]["SSIM"] == scores["images"]["006"]["SSIM"]


def test_copies_of_long_images_fit_a_jpeg(tmp_path: Path) -> None:
    copy_small(tmp_path / "x.jpg", torch.zeros(1, 70000, 2, dtype=torch.uint8))
    assert read_infrared(tmp_path / "x.jpg", ThermalRange()).shape == (16384, 1)
    with pytest.raises(ValueError, match="JPEG holds 65500 pixels a side, not 70000"):
        write_image(tmp_path / "y.jpg", np.zeros((70000, 2), np.uint8))


def test_large_images_go_through_in_tiles(command: Callable, tmp_path: Path, weights: Path) -> None:
    folder = write_folder(tmp_path / "in", [(131, 402), (24, 32)])
    whole = ("--weights", weights, "--dataroot", folder, *SERIAL)
    command("test.py", *whole, "--name", "whole")
    command("test.py", *whole, "--name", "tiles", "--tile", 220, "--tile_statistics", "exact")
    for name in ("000", "001"):
        a, b = (
            read_infrared(tmp_path / f"results/{kind}/infrared/{name}.png", ThermalRange()).astype(int)
            for kind in ("whole", "tiles")
        )
        assert a.shape == b.shape and np.abs(a - b).max() <= 1
    wrong = command("test.py", *whole, "--name", "small", "--tile", 50, status=2)
    assert "--tile 50 is too small" in wrong.stderr and wrong.stderr.count("\n") == 1
    assert not (tmp_path / "results/small").exists()


def test_records_survive_a_torn_line_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"

    def opened(key: dict, overwrite: bool = False) -> Results:
        return Results(tmp_path, {}, key, overwrite)

    made = opened({"weights": "a", "scale": 1})
    made.add("x", {"value": 1})
    made.add("x", {"value": 2})
    with path.open("a") as file:
        file.write('{"name": "y", "va')
    again = opened({"weights": "a", "scale": 1})
    assert again.records == {"x": {"name": "x", "value": 2}} and not again.changed
    assert path.read_text().count("\n") == 2, "written anew, without what is over"
    assert opened({"weights": "a", "scale": 1}, True).records == {}
    opened({"weights": "a", "scale": 1}).add("z", {})
    other = opened({"weights": "b", "scale": 1})
    assert other.changed == ["weights"] and not other.records
    path.write_bytes(b"\xff\x00 nothing\n[1]\n")
    assert opened({"weights": "b"}).records == {}
    for rank, weights in enumerate("ba", 1):  # as ranks leave them that were killed
        lines = {"made_by": {"weights": weights}}, {"name": str(rank)}
        (tmp_path / f".made.{rank}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    taken = opened({"weights": "b"})
    assert taken.records == {"1": {"name": "1"}} and taken.forgotten == ["2"] and not list(tmp_path.glob(".made*"))


@pytest.mark.cuda
def test_cuda_makes_what_the_cpu_makes(
    command: Callable, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    folder = write_folder(tmp_path / "in", [(64, 80)] * 5 + [(131, 402)])
    words = ("--weights", weights, "--dataroot", folder, "--precision", "fp32", "--tile", 220)
    command("test.py", *words, "--name", "cpu", "--device", "cpu")
    command("test.py", *words, "--name", "cuda", "--device", "cuda")
    for path in (tmp_path / "results/cpu/infrared").iterdir():
        a, b = (read_infrared(p, ThermalRange()).astype(int)
                for p in (path, tmp_path / "results/cuda/infrared" / path.name))  # fmt: skip
        assert np.abs(a - b).mean() < 0.5


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_results_never_lie_over_inputs_or_other_files(command: Callable, tmp_path: Path, weights: Path) -> None:
    """Refused in one line before anything is touched, whatever the names lead through; own folders go on."""
    scene = write_pairs(tmp_path / "ds/scene", 2)
    by = ("test.py", "--weights", weights, *SERIAL)
    before = contents(tmp_path)
    error = command(
        *by, "--results_dir", "ds", "--name", "scene", "--dataroot", scene, "--split", "all", status=2
    ).stderr
    assert error.startswith("error: --results_dir ds: results would lie over ") and "give another" in error
    error = command(*by, "--results_dir", "ds", "--name", "scene", "--dataroot", "ds/scene/visible/000.png", status=2)
    assert "results would lie over ds/scene/visible/000.png" in error.stderr
    other = write_folder(tmp_path / "in", [(24, 32)] * 2)
    before |= contents(tmp_path)
    error = command(*by, "--results_dir", "ds", "--name", "scene", "--dataroot", other, status=2).stderr
    assert "ds/scene holds infrared, which this command did not write" in error
    assert contents(tmp_path) == before
    command(*by, "--name", "n", "--dataroot", other)
    (tmp_path / "link").symlink_to(tmp_path / "results/n")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/x.png").symlink_to(tmp_path / "results/n/infrared/000.png")
    before = contents(tmp_path)
    for root in ("results/n/infrared", "results/n/visible", "link/infrared", "linked"):
        assert "would lie over" in command(*by, "--name", "n", "--dataroot", root, status=2).stderr
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved/n").mkdir()
    (tmp_path / "moved/n/made.jsonl").write_text("")
    (tmp_path / "moved/n/infrared").symlink_to(other)  # a folder of results that is none
    error = command(*by, "--results_dir", "moved", "--name", "n", "--dataroot", other, status=2).stderr
    assert "would lie over" in error
    assert before.items() <= contents(tmp_path).items()
    command(*by, "--name", "m", "--dataroot", "results/n/infrared")  # elsewhere they are inputs as any


def test_one_command_at_a_time_writes_in_a_folder(command: Callable, tmp_path: Path, weights: Path) -> None:
    folder = write_folder(tmp_path / "in", [(24, 32)] * 2)
    words = ("test.py", "--weights", weights, "--name", "n", "--dataroot", folder, *SERIAL)
    command(*words)
    hold = "import sys; from pathlib import Path; from util.files import alone_in\n"
    hold += "with alone_in(Path(sys.argv[1]), ''): print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / "results/n"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"held\n"
    assert "results/n: another command is writing there; wait for it" in command(*words, status=2).stderr
    other.communicate()
    assert "2 of 2 images are there already" in command(*words).stdout


def test_what_made_jsonl_says_is_not_believed_without_a_look(
    command: Callable, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged records count as none, names lead nowhere else, and what older code made is made anew."""
    folder = write_folder(tmp_path / "in", [(24, 32)] * 3)
    words = ("test.py", "--weights", weights, "--name", "n", "--dataroot", folder, *SERIAL)
    command(*words)
    made, kept = tmp_path / "results/n/made.jsonl", tmp_path / "results/keep.png"
    kept.write_bytes(b"mine")
    key, *records = map(json.loads, made.read_text().splitlines())
    bad = [{"name": 3}, {"name": "../../keep"}, {"name": "/etc/x"}, {"name": ["a"]}, records[1] | {"scores": [1]},
           records[2] | {"scores": {"generated": {"psnr": "high"}}}]  # fmt: skip
    made.write_text("\n".join(map(json.dumps, [key, records[0], *bad, 7, None])) + "\n[[[")
    for part in ("", "infrared", "visible"):
        (tmp_path / "results/n" / part / ".made.jsonl.1.part").write_bytes(b"half")
    assert "1 of 3 images are there already" in command(*words).stdout
    assert not list((tmp_path / "results/n").rglob("*.part"))
    made.write_text("\n".join(map(json.dumps, [key | {"made_by": key["made_by"] | {"code": 0}}, *bad])))
    done = command(*words)
    assert "made with other code: every image is made anew" in done.stdout and kept.read_bytes() == b"mine"
    made.write_text(json.dumps({"made_by": ["list"]}))
    assert "images    3" in command(*words).stdout


def test_a_source_removed_during_the_run_is_skipped(
    command: Callable, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "in", [(24, 32)] * 3)
    read = VisibleImages.__getitem__

    def read_and_remove(dataset: VisibleImages, index: int) -> dict:
        item = read(dataset, index)
        (folder / "001.png").unlink(missing_ok=True)
        return item

    monkeypatch.setattr(VisibleImages, "__getitem__", read_and_remove)
    done = command("test.py", "--weights", weights, "--name", "n", "--dataroot", folder, *SERIAL, status=1)
    assert done.stderr.count("skipped ") == 1 and "001.png" in done.stderr and "images    2 in" in done.stdout


def generated(
    command: Callable, weights: Path, root: object, *more: object, status: int = 0
) -> tuple[set[str], str, Path]:
    """Stems that were made of a root, what was printed, the folder."""
    done = command("test.py", "--weights", weights, "--name", "x", "--dataroot", root, "--num_threads", 0, *more,
                   status=status)  # fmt: skip
    folder = Path("results/x")
    return {path.stem for path in (folder / "infrared").iterdir()}, done.stdout + done.stderr, folder


@pytest.mark.parametrize(
    "places", [("train", "test"), ("a", "b"), ("set01", "set02"), ("color", "b"), ("holiday/rgb", "x")]
)
def test_a_folder_of_any_pictures_is_made_whole(
    command: Callable, tmp_path: Path, weights: Path, places: tuple[str, str]
) -> None:
    for place in places:
        for number in range(2):
            picture(tmp_path / "p" / place / f"{place[-1]}{number}.jpg", (64, 32))
    made, said, folder = generated(command, weights, "p")
    assert (
        made == {f"{place[-1]}{number}" for place in places for number in range(2)}
        and "data      4 images in p" in said
    )
    with Image.open(next((folder / "infrared").iterdir())) as image:
        assert image.size == (64, 32)
    assert not (folder / "scores.json").exists() and not (folder / "real").exists()
    if places == ("train", "test"):
        assert "--layout pix2pix reads it as a data set" in said
        made, said, _ = generated(command, weights, "p", "--layout", "pix2pix")
        assert "PSNR" in said and "4 images of no input" not in said


def test_pictures_beside_a_data_set_make_it_a_folder_of_pictures(
    command: Callable, tmp_path: Path, weights: Path
) -> None:
    two_folders(tmp_path / "p" / "flight", "rgb", "thermal", ["1", "2", "3"])
    assert generated(command, weights, "p")[0] == {"3"}
    picture(tmp_path / "p" / "x.png")
    made, said, _ = generated(command, weights, "p")
    assert len(made) == 8 and "--dataroot p/flight --layout two_folders reads it as a data set" in said


def test_own_results_are_no_inputs(command: Callable, tmp_path: Path, weights: Path) -> None:
    picture(tmp_path / "1.png", (16, 16))
    picture(tmp_path / "new\nline.png", (16, 16))
    picture(tmp_path / ("x" * 241 + ".png"), (16, 16))
    picture(tmp_path / os.fsdecode(b"caf\xe9.png"), (16, 16))
    made, said, _ = generated(command, weights, ".")
    assert len(made) == 4 and "data      4 images in ." in said
    made, said, _ = generated(command, weights, ".")
    assert len(made) == 4 and "4 of 4 images are there already" in said
    assert "left out 1 folder of this project's own results: results/x" in said
    done = command("test.py", "--weights", weights, "--dataroot", status=2)
    assert done.stderr.count("\n") == 1 and "--dataroot has no value" in done.stderr


def test_what_a_data_set_skips_is_named(command: Callable, tmp_path: Path, weights: Path) -> None:
    root = two_folders(tmp_path / "p", "vi", "ir", ["1", "2", "3", "4"])
    (root / "vi" / "4.png").write_bytes(b"")
    made, said, _ = generated(command, weights, "p", "--split", "all", status=1)
    assert made == {"1", "2", "3"} and "skipped p/vi/4.png: empty file" in said
    assert "--strict" not in said
    assert "empty file" in command("test.py", "--weights", weights, "--dataroot", "p", "--strict", status=2).stderr


def test_several_folders_of_equal_names(command: Callable, tmp_path: Path, weights: Path) -> None:
    """Every picture once, under a name of its own, as within one folder."""
    for name in ("a", "b"):
        write_folder(tmp_path / name, [(32, 32)])
    roots = (tmp_path / "a", tmp_path / "b", tmp_path / "b/../a", tmp_path / "a/000.png")
    stems, _, _ = generated(command, weights, roots[0], "--dataroot", *roots)
    assert stems == {"a_000", "b_000"}

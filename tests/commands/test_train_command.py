"""train.py as a user runs it: what it writes, how it stops and goes on, what it says when something is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.images import ThermalRange, read_infrared, write_image
from models.inference.trained import select_weights
from tests.conftest import ROOT, TINY, write_pairs
from util.training.run_folder import RunFolder
from util.training.state import load_weights


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_weights(path)[1]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_short_run_writes_everything_and_says_where(command: Callable, pairs_root: Path, tmp_path: Path) -> None:
    done = command(
        "train.py", "--dataroot", pairs_root, "--name", "short", *TINY, "--n_epochs", 2, "--n_epochs_decay", 0,
        "--max_dataset_size", 6, "--ema", "0.9", "--save_epoch_freq", 1, "--samples", 1,
    )  # fmt: skip
    assert done.stdout.startswith("run       short (cycle_gan), new\ndata      ")
    for line in (
        "length    2 epochs of 6 steps, batch 1 a rank",
        f"writes    {Path('checkpoints/short')}/: losses.jsonl, last.pt, best.safetensors, web/index.html",
    ):
        assert f"\n{line}\n" in done.stdout
    assert re.search(
        r"^networks  generators 0\.\d{3} M parameters, discriminators 0\.\d{3} M parameters$", done.stdout, re.M
    )
    run = tmp_path / "checkpoints" / "short"
    assert {p.name for p in run.iterdir()} >= {
        "options.json", "losses.jsonl", "last.pt", "last.safetensors", "best.safetensors",
        "epoch_0001.safetensors", "epoch_0002.safetensors", "web",
    }  # fmt: skip
    options = json.loads((run / "options.json").read_text())
    assert options["options"]["method"]["vgg_weights"] == "random" and options["data"]["fingerprint"]
    assert not list(run.rglob("*.part")), "no half-written file is left"
    records = [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]
    losses = [record for record in records if "losses" in record]
    scores = [record for record in records if "val" in record]
    assert losses[-1]["step"] == 12 and {"adv_infrared", "self_visible", "fake_infrared"} <= set(losses[0]["losses"])
    assert [s["epoch"] for s in scores] == [1, 2]
    assert set(scores[0]["val"]) == {"generated", "luminance", "inverted luminance", "constant"}
    assert set(scores[0]["val"]["generated"]) == {"psnr", "ssim", "mae", "cc", "edge_cc"}
    page = (run / "web" / "index.html").read_text()
    assert '<meta content="60" http-equiv' not in page and "<meta http-equiv" not in page, "a finished page stays"
    assert (run / "web" / "images" / "epoch_0002-016-generated.png").is_file()
    assert (run / "web" / "grids" / "epoch_0002.png").is_file()
    for promised in ("random", "16 pairs", "python test.py --name short", str(run / "web")):
        assert promised in done.stdout, promised
    assert "Traceback" not in done.stderr
    metadata = load_weights(run / "last.safetensors")[0]
    assert metadata["model"] == "cycle_gan" and metadata["epoch"] == "2"


def test_killed_and_continued_ends_bit_identical(tmp_path: Path) -> None:
    """kill -9 at several moments, among them within an epoch; dropout and the image pool draw random numbers."""
    root = write_pairs(tmp_path / "data", 12)
    base = [
        sys.executable, str(ROOT / "train.py"), "--dataroot", str(root), *TINY, "--dropout", "--pool_size", "3",
        "--n_epochs", "2", "--n_epochs_decay", "2", "--save_minutes", "0.0001", "--save_epoch_freq", "3",
        "--precision", "fp32",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(name: str, *more: str) -> subprocess.Popen:
        return subprocess.Popen([*base, "--name", name, *more], cwd=tmp_path, env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip

    whole = run("whole")
    assert whole.wait() == 0, whole.stdout.read()
    kills, more = 0, []
    while True:
        process = run("killed", *more)
        log = tmp_path / "checkpoints" / "killed" / "last.pt"
        before = log.stat().st_mtime_ns if log.exists() else 0
        saves = 0
        while process.poll() is None and saves < 11:
            now = log.stat().st_mtime_ns if log.exists() else 0
            if now != before:
                before, saves = now, saves + 1
            time.sleep(0.001)
        if process.poll() is not None:
            assert process.returncode == 0, process.stdout.read()
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills, more = kills + 1, ["--continue_train"]
    assert kills >= 2
    one, two = (tmp_path / "checkpoints" / name for name in ("whole", "killed"))
    for name in ("last", "best", "epoch_0003"):
        assert equal(weights(one / f"{name}.safetensors"), weights(two / f"{name}.safetensors")), name
    states = [torch.load(folder / "last.pt", weights_only=True) for folder in (one, two)]
    assert str(states[0]["optimizers"]) == str(states[1]["optimizers"])
    assert torch.equal(states[0]["ranks"][0]["random"], states[1]["ranks"][0]["random"])
    scores = [
        [json.loads(line)["val"] for line in (folder / "losses.jsonl").read_text().splitlines() if '"val"' in line]
        for folder in (one, two)
    ]
    assert len(scores[0]) == 4 and scores[0] == scores[1], "each validation is recorded once"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_save_and_say_how_to_go_on(tmp_path: Path, number: signal.Signals) -> None:
    root = write_pairs(tmp_path / "data", 12)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "--dataroot", str(root), "--name", "s", *TINY,
         "--n_epochs", "500", "--log_seconds", "0.1", "--val_epoch_freq", "0", "--num_threads", "1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip
    for line in process.stdout:
        if "img/s" in line:
            break
    os.killpg(process.pid, number)  # as a terminal does: the loader's worker gets it too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, (out, err)
    assert "--continue_train" in out and "Traceback" not in err
    state = torch.load(tmp_path / "checkpoints" / "s" / "last.pt", weights_only=True)
    assert state["total"] > 0
    assert int(re.search(r"stopped at epoch (\d+)", out)[1]) == state["epoch"] + 1


def test_a_run_is_never_overwritten_and_never_invented(command: Callable, pairs_root: Path, tmp_path: Path) -> None:
    arguments = ("--dataroot", pairs_root, *TINY, "--n_epochs", 1, "--n_epochs_decay", 0, "--max_dataset_size", 2)
    command("train.py", "--name", "a", *arguments, "--val_epoch_freq", 0)
    again = command("train.py", "--name", "a", *arguments, status=2)
    assert again.stderr.count("\n") == 1 and "--continue_train" in again.stderr
    absent = command("train.py", "--name", "b", *arguments, "--continue_train", status=2)
    assert absent.stderr.count("\n") == 1 and "b" in absent.stderr
    assert not (tmp_path / "checkpoints" / "b").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataroot", "/nowhere"], "/nowhere"),
        (["--vgg_weights", "/nowhere/vgg.pth"], "--vgg_weights FILE"),
        (["--device", "cuda:9"], "--device"),
        (["--lerning_rate", "1"], "--lerning_rate"),
        (["--sampling", "paired", "--pairs", "none"], "--pairs"),
        (["--lambda_paired", "1"], "--sampling paired"),
        (["--accumulate", "0"], "--accumulate"),
        (["--compile", "default", "--preprocess", "none"], "--preprocess none"),
        (["--display_port", "0"], "--display_port"),
    ],
)
def test_a_mistake_creates_nothing(
    command: Callable, pairs_root: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = command("train.py", *TINY, "--dataroot", pairs_root, "--name", "x", *arguments, status=2)
    assert done.stderr.count("\n") == 1 and says in done.stderr and done.stderr.startswith("error: ")
    assert not (tmp_path / "checkpoints").exists()


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_state(
    command: Callable, pairs_root: Path, tmp_path: Path
) -> None:
    base = ("--dataroot", pairs_root, "--name", "n", *TINY, "--max_dataset_size", 4, "--n_epochs_decay", 0)
    command("train.py", *base, "--n_epochs", 1)
    good = weights(tmp_path / "checkpoints" / "n" / "last.safetensors")
    done = command("train.py", *base, "--n_epochs", 30, "--continue_train", "--lr", "1e30", status=1)
    assert "NaN" in done.stderr and "--clip_grad" in done.stderr and "Traceback" not in done.stderr
    assert equal(good, weights(tmp_path / "checkpoints" / "n" / "last.safetensors"))
    state = torch.load(tmp_path / "checkpoints" / "n" / "last.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["method"]["generators"].values())


def test_two_ranks_train_as_one_process_on_the_joined_batch(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 10)
    base = ["--dataroot", str(root), *TINY, "--n_epochs", "1", "--n_epochs_decay", "1", "--pool_size", "0",
            "--precision", "fp32", "--max_dataset_size", "8",
            "--norm", "none", "--lambda_self", "0"]  # fmt: skip
    # Each rank draws places of its own for the self loss.
    # An instance norm cancels the bias before it: that bias's gradient is rounding noise, which Adam makes a step of.
    command("train.py", "--name", "one", *base, "--batch_size", 4)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(ROOT / "train.py"),
         "--name", "two", *base, "--batch_size", "2"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 ranks" in done.stdout and done.stdout.count("finished 2 epochs") == 1, "one rank speaks"
    one, two = (tmp_path / "checkpoints" / name for name in ("one", "two"))
    a, b = weights(one / "last.safetensors"), weights(two / "last.safetensors")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=2e-5)
    last = [[json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()] for folder in (one, two)]
    assert len(last[0]) == len(last[1]), "only rank 0 writes"
    drawn = [rank["random"] for rank in torch.load(two / "last.pt", weights_only=False)["ranks"]]
    assert not torch.equal(*drawn), "ranks draw numbers of their own"
    for first, second in zip(*last, strict=True):
        for group in ("losses", "val"):
            if group in first:
                flat = [json.dumps(x[group]) for x in (first, second)]
                numbers = [[float(v) for v in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)] for text in flat]
                assert numbers[0] == pytest.approx(numbers[1], rel=1e-2), "losses and scores are means over ranks"


def test_plain_cyclegan_is_one_command(command: Callable, pairs_root: Path) -> None:
    done = command(
        "train.py", "--dataroot", pairs_root, "--name", "plain", *TINY, "--lambda_content", 0, "--lambda_self", 0,
        "--lambda_cycle", 10, "--vgg_weights", "imagenet", "--n_epochs", 1, "--n_epochs_decay", 0,
        "--max_dataset_size", 2,
    )  # fmt: skip
    assert "finished 1 epoch in" in done.stdout, "no VGG16 is asked for"


@pytest.mark.parametrize("seed", [0, 1])
def test_training_learns(command: Callable, tmp_path: Path, seed: int) -> None:
    """On an easy task, of aligned pairs, the generated images come far nearer to the real ones than every baseline: the
    supervised loss decides, since what two networks play out alone may end with hot and cold swapped."""
    root = write_pairs(tmp_path / "data", 40)
    command(
        "train.py", "--dataroot", root, "--name", "t", "--device", "cpu", "--netG", "resnet_6blocks", "--ngf", 8,
        "--ndf", 4, "--preprocess", "none", "--sampling", "paired", "--lambda_paired", 100, "--lambda_content", 0,
        "--lambda_self", 0, "--precision", "fp32", "--n_epochs", 2, "--n_epochs_decay", 1, "--lr", "0.001",
        "--num_threads", 0, "--best_metric", "psnr", "--seed", seed,
    )  # fmt: skip
    records = [json.loads(line) for line in (tmp_path / "checkpoints/t/losses.jsonl").read_text().splitlines()]
    scores = [record["val"] for record in records if "val" in record]
    best = max(values["generated"]["psnr"] for values in scores)
    assert best > max(values["psnr"] for name, values in scores[-1].items() if name != "generated") + 3
    assert scores[-1]["generated"]["cc"] > 0.8


def test_test_command_generates_every_image_at_its_own_size(
    command: Callable, pairs_root: Path, tmp_path: Path
) -> None:
    command(
        "train.py", "--dataroot", pairs_root, "--name", "g", *TINY, "--n_epochs", 1, "--n_epochs_decay", 0,
        "--max_dataset_size", 2,
    )  # fmt: skip
    base = ("--name", "g", "--num_threads", 0)
    done = command("test.py", *base, "--dataroot", pairs_root)
    results = tmp_path / "results" / "g"
    written = sorted(path.name for path in (results / "infrared").iterdir())
    assert written == ["018.png", "019.png"]
    grey = read_infrared(results / "infrared" / "018.png", ThermalRange())
    assert grey.shape == (40, 48) and grey.dtype == "uint8"
    scores = json.loads((results / "scores.json").read_text())
    assert set(scores["images"]) == {"018", "019"} and set(scores["baselines"]) >= {"luminance", "constant"}
    assert scores["mean"]["SSIM"] == pytest.approx(sum(s["SSIM"] for s in scores["images"].values()) / 2)
    assert "inverted luminance" in done.stdout and str(results / "index.html") in done.stdout
    assert "018" in (results / "index.html").read_text()

    folder = tmp_path / "any"
    for i, size in enumerate([(40, 48), (33, 61), (33, 61)]):
        write_pairs(tmp_path / f"w{i}", 1, size, seed=i)
        folder.mkdir(exist_ok=True)
        (tmp_path / f"w{i}/visible/000.png").rename(folder / f"photo {i}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    for scale in ("train", "input"):
        done = command(
            "test.py", *base, "--dataroot", folder, "--results_dir", f"r_{scale}", "--scale", scale, status=1
        )
        made = {path.name for path in (tmp_path / f"r_{scale}/g/infrared").iterdir()}
        assert made == {"photo 0.png", "photo 1.png", "photo 2.png"} and "broken.jpg" in done.stderr
        assert read_infrared(tmp_path / f"r_{scale}/g/infrared/photo 1.png", ThermalRange()).shape == (33, 61)
        assert not (tmp_path / f"r_{scale}/g/scores.json").exists()
    command("test.py", *base, "--dataroot", folder, "--strict", "--results_dir", "s", status=2)
    one = command("test.py", *base, "--dataroot", folder / "photo 0.png", folder / "photo 2.png", "--results_dir", "f")
    assert len(list((tmp_path / "f/g/infrared").iterdir())) == 2 and "2 images" in one.stdout
    for arguments, says in (
        (("--name", "nobody"), "nobody"), ((*base, "--epoch", "9"), "last"), ((*base, "--epoch", "x"), "--epoch"),
        ((*base, "--dataroot", "/nowhere"), "/nowhere"), ((*base, "--bach_size", "1"), "--bach_size"),
    ):  # fmt: skip
        wrong = command("test.py", *arguments, status=2)
        assert wrong.stderr.count("\n") == 1 and says in wrong.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_strict_ends_a_run_with_one_line(tmp_path: Path, workers: int) -> None:
    """A worker's error reaches the user as it is, and no worker keeps the process alive."""
    root = write_pairs(tmp_path / "data", 12)
    for victim in (root / "visible").iterdir():
        victim.write_bytes(victim.read_bytes()[:200])
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--dataroot", str(root), "--name", "s", *TINY,
         "--num_threads", str(workers), "--val_epoch_freq", "0", "--strict"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and ".png" in done.stderr


def test_a_folder_that_is_no_runs_is_left_as_it_is(command: Callable, pairs_root: Path, tmp_path: Path) -> None:
    """One with weights and pictures, but without a checkpoint."""
    words = ("--dataroot", pairs_root, "--name", "o", *TINY, "--max_dataset_size", 2, "--n_epochs", 1,
             "--n_epochs_decay", 0, "--val_epoch_freq", 0)  # fmt: skip
    mine = tmp_path / "checkpoints" / "o" / "web" / "best.safetensors"
    mine.parent.mkdir(parents=True)
    for file in (mine, mine.parents[1] / "best.safetensors", mine.parents[1] / "losses.jsonl"):
        file.write_bytes(b"mine")
        done = command("train.py", *words, status=2)
        assert f"{Path('checkpoints') / 'o'} holds" in done.stderr and "another --name" in done.stderr
        assert done.stderr.count("\n") == 1 and file.read_bytes() == b"mine" and not list(tmp_path.rglob(".lock"))


def test_a_cache_of_its_own_on_disk_serves_the_run_and_its_return(
    command: Callable, pairs_root: Path, tmp_path: Path
) -> None:
    words = ("--dataroot", pairs_root, "--name", "c", *TINY, "--max_dataset_size", 2, "--n_epochs_decay", 0,
             "--cache", "disk")  # fmt: skip
    command("train.py", *words, "--n_epochs", 1)
    kept = list((tmp_path / "checkpoints" / "c" / "cache").glob("*.image"))
    assert kept
    done = command("train.py", *words, "--n_epochs", 2, "--best_metric", "psnr", "--continue_train")
    assert f"{len(kept)} of them are there already" in done.stdout and "the best weights are chosen anew" in done.stdout
    folder = tmp_path / "checkpoints" / "c"
    assert select_weights(RunFolder(folder), "auto") == folder / "best.safetensors"
    command("train.py", *words, "--n_epochs", 3, "--best_metric", "cc", "--continue_train", "--val_epoch_freq", 0)
    assert select_weights(RunFolder(folder), "auto") == folder / "last.safetensors", (
        "the best of before are not the best"
    )
    assert (folder / "best_before.safetensors").is_file()


def test_leftovers_of_a_run_without_checkpoint_are_removed(command: Callable, pairs_root: Path, tmp_path: Path) -> None:
    old = RunFolder(tmp_path / "checkpoints" / "o")
    old.write_options({}, {})
    old.append({"step": 1, "losses": {"of_another": 1.0}})
    done = command("train.py", "--dataroot", pairs_root, "--name", "o", *TINY, "--max_dataset_size", 2, "--n_epochs", 1,
                   "--n_epochs_decay", 0, "--val_epoch_freq", 0)  # fmt: skip
    assert "of_another" not in old.losses.read_text() and "no validation" in done.stdout


def test_a_second_training_in_one_folder_is_refused(command: Callable, pairs_root: Path, tmp_path: Path) -> None:
    words = ("--dataroot", pairs_root, "--name", "o", *TINY, "--n_epochs", 1, "--n_epochs_decay", 0)
    folder = tmp_path / "checkpoints" / "o"
    holder = f"from pathlib import Path; from util.files import alone_in\nwith alone_in(Path({str(folder)!r}), ''): "
    other = subprocess.Popen([sys.executable, "-c", holder + "print(1, flush=True); input()"], cwd=ROOT,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    other.stdout.readline()
    try:
        done = command("train.py", *words, status=2)
        assert "another command is writing there" in done.stderr and done.stderr.count("\n") == 1
        assert [path.name for path in folder.iterdir()] == [".lock"]
    finally:
        other.communicate(b"\n")


def test_a_checkpoint_of_other_networks_is_one_line_and_stays(
    command: Callable, pairs_root: Path, tmp_path: Path
) -> None:
    words = ("--dataroot", pairs_root, *TINY, "--n_epochs", 1, "--n_epochs_decay", 0, "--max_dataset_size", 2)
    for name, ngf in (("a", 4), ("b", 8)):
        command("train.py", *words, "--val_epoch_freq", 0, "--name", name, "--ngf", ngf)
    runs = tmp_path / "checkpoints"
    (runs / "b/last.pt").write_bytes(content := (runs / "a/last.pt").read_bytes())
    log = (runs / "b/losses.jsonl").read_bytes()
    done = command("train.py", "--name", "b", "--continue_train", "--display", "none", status=2)
    assert "last.pt: does not fit the run's options: size mismatch" in done.stderr and done.stderr.count("\n") == 1
    assert (runs / "b/last.pt").read_bytes() == content and (runs / "b/losses.jsonl").read_bytes() == log


def test_test_command_finds_the_runs_own_folders_again(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 10)
    (root / "visible").rename(root / "front")
    (root / "infrared").rename(root / "heat")
    folders = ("--visible_dir", "front", "--infrared_dir", "heat")
    command("train.py", "--dataroot", root, *folders, "--name", "f", *TINY, "--max_dataset_size", 2, "--n_epochs", 1,
            "--n_epochs_decay", 0)  # fmt: skip
    done = command("test.py", "--name", "f", "--dataroot", root, "--num_threads", 0)
    assert len(list((tmp_path / "results/f/infrared").iterdir())) == 1 and "luminance" in done.stdout


def test_wrong_thermal_units_are_noticed_before_anything_is_created(command: Callable, tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 4)
    for path in (root / "infrared").iterdir():
        write_image(path, np.full((40, 48), 30_000, np.uint16))  # in hundredths of a kelvin, not in the default unit
    done = command("train.py", "--dataroot", root, "--name", "x", *TINY, status=2)
    assert "kelvin_per_count" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_can_go_on_after_its_first_epoch_and_says_when_it_is_done(
    command: Callable, pairs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--dataroot", pairs_root, "--name", "x", *TINY, "--n_epochs", 2, "--n_epochs_decay", 0,
             "--max_dataset_size", 3, "--save_epoch_freq", 9)  # fmt: skip
    folder = tmp_path / "checkpoints" / "x"
    kept = []
    append = RunFolder.append

    def watched(run: RunFolder, record: dict) -> None:
        kept.append((record.get("epoch"), run.checkpoint.exists()))
        append(run, record)

    monkeypatch.setattr(RunFolder, "append", watched)
    command("train.py", *words)
    assert (0, False) in kept
    assert (1, True) in kept, "the second epoch begins with a checkpoint of the first"
    done = command("train.py", "--name", "x", "--continue_train", "--display", "none", "--accumulate", 3)
    assert done.stdout.startswith("run       x (cycle_gan), goes on at epoch 3, step 0\n")
    assert "a rank, 3 batches a step\n" in done.stdout
    assert "all 2 epochs are done: a higher --n_epochs" in done.stdout and (folder / "last.pt").is_file()

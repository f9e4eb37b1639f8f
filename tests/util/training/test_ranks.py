"""Several ranks: one that dies ends a training with a clear line, and costs a command that shares its inputs its own
share; either goes on with any number of ranks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.commands.test_test_command import SERIAL, write_weights
from tests.conftest import ROOT, TINY, write_pairs
from tests.scripts.test_augment import write_visible
from util.training import ranks

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def command(root: Path, name: str) -> list[str]:
    return [str(ROOT / "train.py"), "--name", name, "--dataroot", str(root), *TINY, "--n_epochs", "2",
            "--n_epochs_decay", "2", "--dropout", "--norm", "batch", "--pool_size", "3", "--precision", "fp32",
            "--save_minutes", "0.0001", "--val_epoch_freq", "2", "--save_epoch_freq", "1"]  # fmt: skip


def start(words: list[str], folder: Path, **variables: str) -> subprocess.Popen:
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | variables
    return subprocess.Popen(words, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def rank_of(name: str, rank: int) -> int:
    """Process number of a rank of the run of this name."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if name.encode() in words and f"RANK={rank}".encode() in variables:
            return int(entry.name)
    raise LookupError(f"rank {rank} of {name} does not run")


def state(folder: Path) -> dict:
    return torch.load(folder / "last.pt", weights_only=True)


def alike(a: object, b: object) -> bool:
    """Whether two nests of dicts, lists and tensors are bit for bit the same."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    return a == b


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks' processes in /proc")
def test_a_dead_rank_ends_all_and_the_run_goes_on_exactly_or_with_other_ranks(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 14)
    runs = tmp_path / "checkpoints"
    whole = start([*TORCHRUN, *command(root, "whole")], tmp_path)
    out, err = whole.communicate(timeout=120)
    assert whole.returncode == 0, out + err

    broken = start([*TORCHRUN, *command(root, "broken")], tmp_path)
    saved, weights = (runs / "broken" / name for name in ("last.pt", "epoch_0001.safetensors"))
    while broken.poll() is None:  # to the second epoch
        if weights.exists() and saved.exists() and saved.stat().st_mtime_ns > weights.stat().st_mtime_ns:
            break
        time.sleep(0.001)
    os.kill(rank_of("broken", 1), signal.SIGKILL)
    out, err = broken.communicate(timeout=120)
    assert broken.returncode != 0
    assert "lost another rank" in err and "--continue_train" in err and "finished" not in out
    assert 0 < state(runs / "broken")["epoch"] < 4

    shutil.copytree(runs / "broken", runs / "alone")
    again = start([*TORCHRUN, *command(root, "broken"), "--continue_train"], tmp_path)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, out + err
    one, two = (state(runs / name) for name in ("whole", "broken"))
    assert len(one["ranks"]) == 2
    first, second = one["ranks"]
    assert not alike(first["pools"], second["pools"]), "each rank has seen other images"
    assert first["statistics"] and alike(first["statistics"], second["statistics"]), "one network is saved"
    for part in ("method", "optimizers", "ranks", "best", "total"):
        assert alike(one[part], two[part]), f"{part} is not as if nothing had happened"

    alone = start([sys.executable, *command(root, "alone"), "--continue_train"], tmp_path)
    out, err = alone.communicate(timeout=120)
    assert alone.returncode == 0, out + err
    assert "goes on with 1 rank(s); before there were 2" in out and "at the same share" in out
    records = [json.loads(line) for line in (runs / "alone" / "losses.jsonl").read_text().splitlines()]
    assert state(runs / "alone")["epoch"] == 4 and records[-1]["epoch"] == 4


DYING = """
import os, runpy, signal, sys
from data.output.results import Results
add = Results.add

def add_and_die(results, name, record):
    add(results, name, record)
    if len(results.records) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Results.add, sys.argv = add_and_die, sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""  # a rank that is killed once it has recorded three images


def start_two(words: list[str], folder: Path, first: list[str], second: list[str]) -> list[subprocess.Popen]:
    """Both ranks of a command, without torchrun, which ends the others when one dies. first, second: what goes before
    the words."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start([sys.executable, *before, *words], folder, RANK=str(rank), LOCAL_RANK=str(rank), **shared)
            for rank, before in enumerate((first, second))]  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> content of all files but pages and records of commands, which tell the device and the folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".html")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_dead_rank_costs_its_own_share_and_the_same_command_goes_on(command: Callable, tmp_path: Path) -> None:
    root, weights = write_pairs(tmp_path / "data", 20), write_weights(tmp_path / "w.safetensors")
    damaged = root / "visible/006.png"  # in rank 1's share of batches of two
    damaged.write_bytes(damaged.read_bytes()[:-40])
    words = [str(ROOT / "test.py"), "--weights", str(weights), "--name", "n", "--dataroot", str(root), "--split", "all",
             "--batch_size", "2", *map(str, SERIAL)]  # fmt: skip
    command("test.py", *words[1:], "--results_dir", "one", status=1)

    both = start_two(words, tmp_path, [], ["-c", DYING])
    (out, err), (other, _) = (process.communicate(timeout=120) for process in both)
    assert [process.returncode for process in both] == [1, -signal.SIGKILL], err
    assert err.count("lost another rank") == 1 and "the same command goes on" in err and "Traceback" not in err
    assert "images " not in out and not other, "rank 0 alone prints"
    folder = tmp_path / "results/n"
    assert len(list((folder / "infrared").glob("*.png"))) == 10 + 3
    assert not (folder / "scores.json").exists()

    again = start([*TORCHRUN, *words], tmp_path)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 1 and err.count("skipped ") == 1 and "006.png" in err
    assert "13 of 20 images are there already" in out and out.count("images    19 in") == 1
    assert contents(folder) == contents(tmp_path / "one/n")


def test_ranks_write_the_labels_of_one_process(command: Callable, tmp_path: Path) -> None:
    weights, root = write_weights(tmp_path / "w.safetensors"), write_visible(tmp_path / "flir")
    words = ["--weights", str(weights), "--dataroot", str(root), *map(str, SERIAL),
             "--batch_size", "1"]  # fmt: skip
    command("scripts.augment", *words, "--out", "one")
    both = start_two(["-m", "scripts.augment", *words, "--out", "two"], tmp_path, [], [])
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert "3 images" in outputs[0][0] and not outputs[1][0]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_mean_over_ranks_in_every_memory_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks whose gradients lie in memory as their parameters do, played by one process."""
    torch.manual_seed(0)

    def gradients() -> list[torch.Tensor]:
        wide, deep = torch.rand(4, 3, 5, 5), torch.rand(6, 4, 3, 1)
        return [wide.contiguous(memory_format=torch.channels_last), torch.rand(7), deep, torch.rand(2, 3).t()]

    ours, theirs = gradients(), gradients()
    expected = [(a + b) / 2 for a, b in zip(ours, theirs, strict=True)]
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(ranks, "world", lambda: 2)
    monkeypatch.setattr(ranks.dist, "all_reduce", lambda joined: sent.append(joined.clone()))
    ranks.average(theirs)  # by one rank alone: halved, as nothing was added
    monkeypatch.setattr(ranks.dist, "all_reduce", lambda joined: joined.add_(sent[0]))
    pointers = [tensor.data_ptr() for tensor in ours]
    ranks.average([None, *ours])
    torch.testing.assert_close(ours, expected)
    assert [tensor.data_ptr() for tensor in ours] == pointers

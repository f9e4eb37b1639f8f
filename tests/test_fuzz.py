"""A fuzz campaign: commands with damaged options, files and moments. Each ends with a line, and nothing is lost.

A trial is made from its number alone. FUZZ_TRIALS says how many there are (200), FUZZ_FIRST with which one they begin:
FUZZ_FIRST=17 FUZZ_TRIALS=1 repeats one. They run in a process of their own, which imports everything once and forks."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import io
import json
import os
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from models import METHODS
from models.generators import make_generator
from options.augment import AugmentOptions
from options.detection import DetectionOptions
from options.evaluate import EvaluateFusionOptions, EvaluateGenerationOptions
from options.fuse import FuseOptions
from options.test import TestOptions as GenerateOptions
from options.train import for_method
from scripts import dashboard, import_weights, inspect_data, make_sample_data
from scripts.export import ExportOptions
from tests import fuzz_mutations as mutations
from tests import layout_fixtures as layouts
from tests.conftest import ROOT, TINY, write_pairs
from tests.fuzz_mutations import put_instead, set_option

TRIALS, FIRST, BLOCK = int(os.environ.get("FUZZ_TRIALS", 200)), int(os.environ.get("FUZZ_FIRST", 0)), 20
CPU_SECONDS = 60  # of a command's process; each ends within a few
IDLE_SECONDS = float(os.environ.get("FUZZ_IDLE", 20))  # without using the processor or waiting for it, or for a disk
MEMORY = 6 << 30  # address space of a command beyond what this process has
IMPORTED = ("scripts.evaluate_detection", "scripts.evaluate_fusion", "scripts.evaluate_generation", "scripts.export")

Files = dict[str, tuple[str, bytes]]


@dataclass(frozen=True)
class Command:
    """A command that ends well where `needs`, parts of the world, are. owns: what it may write over, by how its path
    begins. again: how to go on with it, where not by the same words. makes: folder of pictures -> folder of results."""

    words: tuple[str, ...]
    needs: tuple[str, ...]
    options: type
    owns: str = ""
    again: tuple[str, ...] = ()
    makes: tuple[str, str] | None = None


CPU = "--device cpu --precision fp32 --num_threads 0"
SMALL = f"{CPU} --display none --n_epochs 1 --n_epochs_decay 0 --max_dataset_size 2 --val_size 1"
FUSER = f"train.py --model stdfusion_net --name fuser --ngf 4 --crop_size 32 --patch_stride 16 {SMALL}"
MORE = "train.py --continue_train --display none --name"


def command(words: str, needs: str, options: type, owns: str, again: str = "", makes: str = "") -> Command:
    """From text."""
    source, _, results = makes.partition(" ")
    return Command(tuple(words.split()), tuple(needs.split()), options, owns, tuple(again.split()),
                   (source, results) if makes else None)  # fmt: skip


CYCLE, STD, FGAN = (for_method(METHODS[name].Options) for name in ("cycle_gan", "stdfusion_net", "fusion_gan"))
INSPECT = inspect_data.InspectOptions
LAYOUTS = {
    "v1": layouts.flir_adas_v1, "v1_first": layouts.flir_v1_first_release, "aligned": layouts.flir_aligned,
    "roadscene": layouts.roadscene, "m3fd": layouts.m3fd, "llvip": layouts.llvip, "msrs": layouts.msrs,
    "kaist": layouts.kaist, "tno": layouts.tno_fusiongan, "cyclegan": layouts.cyclegan, "pix2pix": layouts.pix2pix,
}  # fmt: skip
COMMANDS = {
    "train": command(f"train.py --dataroot pairs --name new {' '.join(TINY)} {SMALL}", "pairs", CYCLE,
                     "checkpoints/new/", f"{MORE} new"),
    "train_on": command(f"{MORE} gen --n_epochs 2", "pairs checkpoints", CYCLE, "checkpoints/gen/"),
    "train_like": command("train.py --options checkpoints/gen/options.json --name like --display none",
                          "pairs checkpoints", CYCLE, "checkpoints/like/", f"{MORE} like"),
    "train_std": command(f"{FUSER} --dataroot pairs", "pairs", STD, "checkpoints/fuser/", f"{MORE} fuser"),
    "train_boxes": command(f"{FUSER} --dataroot v2 --pairs supervised --mask_source boxes", "v2", STD,
                           "checkpoints/fuser/", f"{MORE} fuser"),
    "train_fgan": command("train.py --model fusion_gan --name fgan --dataroot pairs --ngf 8 --ndf 4 --crop_size 44 "
                          f"--patch_size 44 --patch_stride 16 {SMALL}", "pairs", FGAN, "checkpoints/fgan/",
                          f"{MORE} fgan"),
    "test": command(f"test.py --name gen --dataroot pairs --split all {CPU}", "pairs checkpoints", GenerateOptions,
                    "results/gen/"),
    "test_pictures": command(f"test.py --name gen --dataroot pictures {CPU}", "pictures checkpoints", GenerateOptions,
                             "results/gen/", makes="pictures results/gen/infrared"),
    "test_v2": command(f"test.py --name gen --dataroot v2 {CPU}", "v2 checkpoints", GenerateOptions, "results/gen/"),
    "test_weights": command(f"test.py --weights gen.safetensors --name w --dataroot pictures {CPU}",
                            "pictures gen.safetensors", GenerateOptions, "results/w/",
                            makes="pictures results/w/infrared"),
    "test_evaluate": command(f"test.py --name gen --dataroot pairs --evaluate {CPU}", "pairs checkpoints",
                             GenerateOptions, "results/gen/"),
    "fuse": command(f"fuse.py --visible pairs/visible --infrared pairs/infrared {CPU}", "pairs", FuseOptions,
                    "results/stdfusion_net/", makes="pairs/visible results/stdfusion_net/fused"),
    "fuse_data": command(f"fuse.py --dataroot pairs --split all --evaluate --name std {CPU}", "pairs checkpoints",
                         FuseOptions, "results/std/"),
    "fuse_run": command(f"fuse.py --visible pictures --generator gen {CPU}", "pictures checkpoints", FuseOptions,
                        "results/stdfusion_net/", makes="pictures results/stdfusion_net/fused"),
    "fuse_file": command(f"fuse.py --visible pictures --generator gen.safetensors {CPU}", "pictures gen.safetensors",
                         FuseOptions, "results/stdfusion_net/", makes="pictures results/stdfusion_net/fused"),
    "inspect": command("scripts.inspect_data --dataroot pairs --verify --out sheet.png", "pairs", INSPECT, "sheet.png"),
    "inspect_v2": command("scripts.inspect_data --dataroot v2 --pairs weak --verify --out sheet.png", "v2", INSPECT,
                          "sheet.png"),
    "inspect_16bit": command("scripts.inspect_data --dataroot v2 --thermal_source 16bit --verify --out sheet.png", "v2",
                             INSPECT, "sheet.png"),
    "augment": command(f"scripts.augment --name gen --dataroot v2 --out out --size 32 48 {CPU}", "v2 checkpoints",
                       AugmentOptions, "out/"),
    "evaluate_fusion": command("scripts.evaluate fusion --fused fused --visible pairs/visible --infrared "
                               "pairs/infrared --metrics EN MI --num_threads 0 --device cpu", "pairs fused",
                               EvaluateFusionOptions, "results/evaluation/"),
    "evaluate_generation": command("scripts.evaluate generation --generated fused --real pairs/infrared --visible "
                                   "pairs/visible --num_threads 0 --device cpu", "pairs fused",
                                   EvaluateGenerationOptions, "results/evaluation/"),
    "evaluate_detection": command("scripts.evaluate detection --dataroot v2 --arms real luminance --size 64 64 "
                                  "--steps 1 --batch_size 2 --min_boxes 1 --examples 1 --device cpu --precision fp32",
                                  "v2", DetectionOptions, "results/detection/"),
    "export": command("scripts.export --name gen --format torchscript", "checkpoints", ExportOptions, "gen.pt"),
    "import": command("scripts.import_weights --from_pix2pix theirs.pth --out imported.safetensors", "theirs.pth",
                      import_weights.ImportOptions, "imported.safetensors"),
    "sample": command("scripts.make_sample_data --out made --train 1 --val 1 --test 1 --workers 1", "",
                      make_sample_data.SampleOptions, "made/"),
    "dashboard": command("scripts.dashboard --name gen --display_port 9", "checkpoints",
                         dashboard.DashboardOptions, "-"),
} | {
    f"inspect_{name}": command(f"scripts.inspect_data --dataroot {name} --verify --out sheet.png", name, INSPECT,
                               "sheet.png") for name in LAYOUTS
} | {
    f"test_{name}": command(f"test.py --name gen --dataroot {name} --split all {CPU}", f"{name} checkpoints",
                            GenerateOptions, "results/gen/") for name in ("v1", "aligned", "kaist", "pix2pix")
}  # fmt: skip


# The world, of which every trial gets a copy


def write_labels(folder: Path, size: tuple[int, int]) -> None:
    """A coco.json with two boxes for each image of a folder of FLIR ADAS v2."""
    width, height = size
    names = sorted(path.name for path in (folder / "data").iterdir())
    images = [{"id": k, "file_name": f"data/{name}", "width": width, "height": height} for k, name in enumerate(names)]
    notes = [
        {"id": 2 * k + i, "image_id": k, "category_id": kind, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for k in range(len(names))
        for i, (kind, box) in enumerate(((1, [20, 20, 20, 15]), (3, [30, 25, 12, 16.5])))
    ]
    kinds = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    layouts.write_json(folder / "coco.json", {"images": images, "annotations": notes, "categories": kinds})


def write_v2(root: Path) -> None:
    """FLIR ADAS v2 with its map, labels and indexes."""
    layouts.flir_adas_v2(root)
    layouts.v2_indexes(root, by_description=True)
    layouts.write_json(root / "rgb_to_thermal_vid_map.json", layouts.v2_map())
    for part in ("images_rgb_train", "images_thermal_train", "video_thermal_test", "video_rgb_test"):
        write_labels(root / part, layouts.V2_SIZE if "rgb" in part else layouts.THERMAL_SIZE)
    for path in root.glob("images_*_train/index.json"):
        stems = sorted(image.stem for image in (path.parent / "data").iterdir())
        frames = [{"id": stem, "videoMetadata": {"videoId": stem.split("-")[1], "frameIndex": k}}
                  for k, stem in enumerate(stems)]  # fmt: skip
        layouts.write_json(path, json.loads(path.read_text()) | {"frames": frames})


def make_world(world: Path) -> None:
    """Data sets, a run of each kind, weights."""
    write_pairs(world / "pairs", 8, (48, 56))
    shutil.copytree(world / "pairs" / "infrared", world / "fused")
    (world / "pictures").mkdir()
    for k in range(3):
        shutil.copy(world / "pairs" / "visible" / f"00{k}.png", world / "pictures" / f"p{k}.png")
    for name, write in {**LAYOUTS, "v2": write_v2}.items():
        write(world / name)
    for name, run in (("train", "gen"), ("train_std", "std")):
        words = [*COMMANDS[name].words, "--save_epoch_freq", "1"]
        set_option(words, "--name", [run])
        done = finish(start(words, world))
        assert done.status == 0, done.output
    shutil.copy(world / "checkpoints/gen/last.safetensors", world / "gen.safetensors")
    theirs = make_generator("resnet_6blocks", 3, 1, 4, "instance", False, "transpose").state_dict()
    (world / "theirs.pth").write_bytes(mutations.saved(theirs))


# A command in a fork


@dataclass
class Running:
    """A command that has been started: its process, which leads a session, and what it has printed."""

    process: int
    pipe: int
    output: bytes = b""

    def read(self) -> None:
        """What it has printed since."""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.pipe, 1 << 16):
                self.output = (self.output + part)[-(1 << 20) :]


@dataclass
class Done:
    """How a command ended. status: that of exit, or minus a signal's number; None where it did not end by itself."""

    status: int | None
    output: str


def start(words: Sequence[str], folder: Path, prepare: Callable[[], None] | None = None) -> Running:
    """A command of the project in a fork, in a folder. prepare: what the fork does first."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process:
        os.close(theirs)
        os.set_blocking(ours, False)
        return Running(process, ours)
    status: Any = 99
    try:
        os.setsid()
        for place, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, theirs), (2, theirs)):
            os.dup2(file, place)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        os.chdir(folder)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115, PTH123
                                  for number in (1, 2))  # fmt: skip
        file = ROOT / (words[0] if words[0].endswith(".py") else words[0].replace(".", "/") + ".py")
        sys.argv = [str(file), *words[1:]]
        if prepare is not None:
            prepare()
        try:
            runpy.run_path(str(file), run_name="__main__")
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        atexit._run_exitfuncs()
        sys.stdout.flush()
    finally:
        os._exit(status if isinstance(status, int) else 1)


def session(leader: int) -> list[tuple[str, ...]]:
    """Of each living process of a session: its state and what it has used of the processor."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            values = entry.read_text().rpartition(")")[2].split()
            if int(values[3]) == leader and values[0] != "Z":
                found.append((values[0], entry.parent.name, *values[11:15]))
    return sorted(found)


def finish(running: Running) -> Done:
    """Wait for a command; one of which no process uses the processor, or waits for it or for a disk, hangs."""
    pause, seen, code = 0.002, None, None
    looked = moved = time.monotonic()
    while code is None:
        running.read()
        process, status = os.waitpid(running.process, os.WNOHANG)
        if process:
            code = os.waitstatus_to_exitcode(status)
        elif time.monotonic() - looked > 1:
            looked, now = time.monotonic(), session(running.process)
            if now != seen or any(state in "RD" for state, *_ in now):
                seen, moved = now, looked
            elif looked - moved > IDLE_SECONDS:
                break
        else:
            time.sleep(pause)
            pause = min(0.05, pause * 1.3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.process, signal.SIGKILL)  # with whatever is left of it
    if code is None:
        os.waitpid(running.process, 0)
    running.read()
    os.close(running.pipe)
    ended = None if code == -signal.SIGXCPU else code
    return Done(ended, running.output.decode("utf-8", "backslashreplace"))


# What must hold

TRACES = ("Traceback (most recent call last)", "Exception ignored in", "[enforce fail", "Fatal Python error",
          "terminate called", "INTERNAL ASSERT")  # fmt: skip
NOT_WORDS = r"weights_only|'\w+' object|<class|of type '\w+'|sys\.set_int|Padding size|more than 1 (value|spatial)"


def judge(done: Done, ends: Sequence[int], names: Sequence[str]) -> list[str]:
    """What is wrong with how a command ended and what it said. names: of files, one of which an error names, unless it
    names an option."""
    faults = []
    if done.status is None:
        faults.append("hang")
    elif done.status not in ends:
        faults.append(f"status {done.status}")
    if trace := next((trace for trace in TRACES if trace in done.output), None):
        last = [line for line in done.output.splitlines() if re.match(r"[\w.]+(Error|Exception|Warning)\b", line)]
        faults.append(f"{trace}: {(last or ['?'])[-1][:200]}")
    errors = [line for line in done.output.splitlines() if line.startswith("error:")]
    if len(errors) > 1 or bool(errors) != (done.status == 2) and done.status in (0, 2):
        faults.append(f"status {done.status} and {len(errors)} lines 'error: ...'")
    for line in errors:
        if not any(name in line for name in (*names, "--", "unknown option")):
            faults.append(f"names no file or option: {line[:200]}")
        if unclear := re.search(NOT_WORDS, line):
            faults.append(f"not a user's words ({unclear.group()}): {line[:300]}")
    if done.status == 1 and not re.search(r"^(skipped|error|stopped|verified|\S+: )", done.output, re.M):
        faults.append("status 1 without a word why")
    return faults


def snapshot(folder: Path) -> Files:
    """Every name below a folder -> what kind of thing it is, and its bytes."""
    found: Files = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            thing = ("link", bytes(path.readlink()))
        elif path.is_file():
            thing = ("file", path.read_bytes())
        else:
            thing = ("folder" if path.is_dir() else "other", b"")
        found[str(path.relative_to(folder))] = thing
    return found


def loads(path: Path) -> bool:
    """Whether a checkpoint can be read."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever torch fails with
        return False
    return True


def torn(content: bytes) -> bool:
    """Whether the checksums in a zipped checkpoint tell that it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is not None
    except Exception:  # whatever zipfile fails with
        return True


def is_json(content: bytes) -> bool:
    """Whether it is JSON for every reader, without NaN."""
    try:
        json.loads(content, parse_constant=float.fromhex)
    except ValueError:
        return False
    return True


@dataclass
class Trial:
    """One trial in its folder: what it does is told by `about`, what is wrong by `faults`."""

    folder: Path
    rng: random.Random
    about: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    output: str = ""

    def choose(self, names: Sequence[str]) -> Command:
        """One of the commands; what it needs is copied."""
        chosen = COMMANDS[self.rng.choice(sorted(names))]
        for part in chosen.needs:
            world = self.folder.parent / "world" / part
            (shutil.copytree if world.is_dir() else shutil.copy)(world, self.folder / part)
        return chosen

    def clutter(self) -> None:
        """What a user may have beside."""
        (self.folder / "afolder").mkdir()
        (self.folder / "afolder" / "keep.txt").write_text("mine")
        (self.folder / "afile.txt").write_text("mine too\n")
        for name, what in (("afifo", "FIFO"), ("dangling", "nowhere"), ("loop", "loop"), ("zero.png", "/dev/zero")):
            put_instead(self.folder / name, what)

    def run(self, words: Sequence[str], ends: Sequence[int] = (0, 1, 2), first: Callable | None = None) -> Done:
        """A command, judged. first: what its process does first."""
        self.about.append(" ".join(word if word and word.isprintable() and " " not in word else repr(word)
                                   for word in words)[:1500])  # fmt: skip
        done = finish(start(words, self.folder, first))
        self.judge(done, ends, words)
        return done

    def judge(self, done: Done, ends: Sequence[int], words: Sequence[str]) -> None:
        """Note what is wrong with how a command ended."""
        names = [path.name for path in self.folder.rglob("*")] + [word for word in words[1:] if not word.isdigit()]
        names = [name for name in names if len(name) > 1]
        self.faults += judge(done, ends, names)
        self.output += done.output[-6000:]

    def check(self, before: Files, owns: Sequence[str], killed: bool = False) -> None:
        """Note what was lost, executed, left or written by halves. owns: how paths begin that may change."""
        after = snapshot(self.folder)
        for name, thing in before.items():
            if after.get(name) != thing and not name.startswith(tuple(owns)):
                self.faults.append(f"{name} is {'another' if name in after else 'gone'}")
            if name.endswith("last.pt") and after.get(name) != thing and not loads(self.folder / name):
                self.faults.append(f"{name} no longer loads")
        new = {name: content for name, (_, content) in after.items() if before.get(name) != after[name]}
        written = [name for name in new if name.endswith(".json") and not Path(name).name.startswith(".")]
        self.faults += [f"{name} is no JSON" for name in written if not is_json(new[name])]
        if not killed:
            self.faults += [f"left behind: {name}" for name in new if ".part" in name]
        if mutations.CANARY in after:
            self.faults.append(mutations.CANARY)

    def go_on(self, chosen: Command) -> None:
        """The same command again, as a user would go on; it must end well and leave nothing half-written. A training
        that ended with weights but before its first checkpoint is refused: a new one does not write over them."""
        run = self.folder / chosen.owns
        again = chosen.again if chosen.again and (run / "last.pt").exists() else chosen.words
        refused = chosen.again and again is chosen.words and any(run.glob("*.safetensors"))
        self.run(again, (2,) if refused else (0,))
        self.faults += [f"left behind: {path.relative_to(self.folder)}" for path in self.folder.rglob("*.part*")]


# Kinds of trials


def trial_plain(trial: Trial) -> None:
    """A command as it is."""
    chosen = trial.choose(COMMANDS)
    before = snapshot(trial.folder)
    trial.run(chosen.words, (2,) if chosen.words[0] == "scripts.dashboard" else (0,))
    trial.check(before, (chosen.owns,))


def trial_options(trial: Trial) -> None:
    """Options that are wrong, extreme, unknown or twice."""
    chosen = trial.choose(COMMANDS)
    trial.clutter()
    words = mutations.mutate_options(trial.rng, chosen.words, chosen.options)
    before = snapshot(trial.folder)
    trial.run(words)
    goes_on = any(word.startswith("--continue") for word in words)
    trial.check(before, (chosen.owns, *(("checkpoints/",) if goes_on else ())))


INTO = ("train", "train_std", "test", "test_pictures", "test_weights", "test_v2", "fuse", "fuse_data", "fuse_run",
        "augment", "inspect", "inspect_v2", "evaluate_fusion", "evaluate_generation", "evaluate_detection", "export",
        "import", "sample")  # fmt: skip
PLACED = {"test.py": "--results_dir", "fuse.py": "--results_dir", "train.py": "--checkpoints_dir"}


def trial_places(trial: Trial) -> None:
    """Output into a folder, or onto a file, of what the command did not write: all of it must stay."""
    chosen = trial.choose(INTO)
    trial.clutter()
    for name in ("a.safetensors", "losses.jsonl", "web/index.html", "notes.txt", "options.json"):
        if trial.rng.random() < 0.7:
            mine = trial.folder / "mine" / "weights" / name
            mine.parent.mkdir(parents=True, exist_ok=True)
            mine.write_text("mine")
    folders = sorted(path for path in trial.folder.rglob("*") if path.is_dir() and not path.is_symlink())
    words, place = [*chosen.words], trial.rng.choice(folders)
    if words[0] in PLACED:
        run = trial.folder / "checkpoints" / words[words.index("--name") + 1] if "--name" in words else None
        if run is not None and run.is_dir() and not (run.parent / place.name).exists():
            shutil.copytree(run, run.parent / place.name)  # of test.py and fuse.py the name is a run's, too
        set_option(words, PLACED[words[0]], [os.path.relpath(place.parent, trial.folder)])
        set_option(words, "--name", [place.name])
    else:  # a file, or a folder where the command writes one
        suffix = Path(chosen.owns).suffix or (".json" if words[0] == "scripts.evaluate" else "")
        read = [word for word in words if (trial.folder / word).is_dir()] or chosen.needs
        files = sorted(path for part in read for path in (trial.folder / part).rglob(f"*{suffix}"))
        onto = trial.rng.choice(files) if suffix and files and trial.rng.random() < 0.7 else place / f"x{suffix}"
        set_option(words, "--out", [os.path.relpath(onto if suffix else place, trial.folder)])
    before = snapshot(trial.folder)
    for _ in range(2):
        trial.run(words)
    trial.check(before, ())


JSON_FILES = {
    "options.json": ("train_on", "train_like", "test", "fuse_data", "fuse_run", "augment", "export", "test_pictures"),
    "losses.jsonl": ("train_on", "dashboard"),
    "coco.json": ("augment", "evaluate_detection", "train_boxes"),
    "index.json": ("augment", "inspect_v2"),
    "rgb_to_thermal_vid_map.json": ("test_v2", "inspect_v2"),
    "made.jsonl": ("test", "fuse", "augment", "fuse_data"),
    "scores.json": ("test", "fuse_data"),
    "augment.json": ("augment",),
}


def trial_json(trial: Trial) -> None:
    """A JSON file that a command reads, damaged."""
    name = trial.rng.choice(sorted(JSON_FILES))
    chosen = trial.choose(JSON_FILES[name])
    if name in ("made.jsonl", "scores.json", "augment.json"):  # what the command itself writes, and goes on with
        trial.run(chosen.words, (0,))
    found = sorted(trial.folder.rglob(name)) or sorted((trial.folder / chosen.owns).rglob("*.json"))
    trial.about.append(mutations.mutate_json(trial.rng, trial.rng.choice(found)))
    before = snapshot(trial.folder)
    trial.run(chosen.words)
    trial.check(before, (chosen.owns,))


PICTURES = [name for name, it in COMMANDS.items() if {"pairs", "pictures", "v2", *LAYOUTS} & set(it.needs)]
SUFFIXES = (".png", ".jpg", ".jpeg", ".tiff", ".bmp", ".tif")


def trial_image(trial: Trial) -> None:
    """Images that a command reads, damaged, or something else in their place; all others are made."""
    rng, chosen = trial.rng, trial.choose(PICTURES)
    found = [path for path in sorted(trial.folder.rglob("*"))
             if path.suffix in SUFFIXES and "checkpoints" not in path.parts]  # fmt: skip
    spoilt = rng.sample(found, min(len(found), rng.choice((1, 1, 2, 3))))
    trial.about += [f"{path.parent.name}/{mutations.mutate_image(rng, path)}" for path in spoilt]
    words = [*chosen.words]
    if rng.random() < 0.15 and "--num_threads" in words and words[0] != "scripts.evaluate":
        set_option(words, "--num_threads", ["1"])
    if rng.random() < 0.1 and words[0] in ("test.py", "fuse.py", "train.py"):
        words.append("--strict")
    if rng.random() < 0.2 and words[0] == "test.py":
        words += ["--scale", "input"]
    before = snapshot(trial.folder)
    trial.run(words)
    trial.check(before, (chosen.owns,))
    if chosen.makes and "--strict" not in words:
        source, results = (trial.folder / part for part in chosen.makes)
        stems = {path.stem for path in found if path.parent == source} - {path.stem for path in spoilt}
        trial.faults += [f"{stem} is not made" for stem in sorted(stems) if not (results / f"{stem}.png").is_file()]


def trial_list(trial: Trial) -> None:
    """A list of a data set, damaged, or something else in its place."""
    chosen = trial.choose(("inspect_aligned", "test_aligned", "inspect_kaist"))
    if "kaist" in chosen.needs:
        (trial.folder / "kaist" / "imageSets").mkdir()
        (trial.folder / "kaist" / "imageSets" / "train-all-20.txt").write_text("set00/V000/I00000\nset00/V001/I00020\n")
    path = trial.rng.choice(sorted(trial.folder.rglob("*.txt")))
    content, how = mutations.mutate_text(trial.rng, path.read_bytes())
    if trial.rng.random() < 0.4:
        how = trial.rng.choice(("FIFO", "/dev/zero", "nowhere", path.name, "folder"))
        path.unlink()
        put_instead(path, how)
    else:
        path.write_bytes(content)
    trial.about.append(f"{path.name}: {how}")
    before = snapshot(trial.folder)
    trial.run(chosen.words)
    trial.check(before, (chosen.owns,))


WEIGHTS = {
    ".pt": ("train_on",),
    ".pth": ("import",),
    ".safetensors": ("test", "test_weights", "fuse_data", "fuse_file", "fuse_run", "augment", "export", "train_on"),
}


def trial_weights(trial: Trial) -> None:
    """A checkpoint or a file of weights, damaged; what its checksums tell is noticed, and no pickle is executed."""
    suffix = trial.rng.choice((".pt", ".pt", ".pth", ".safetensors", ".safetensors"))
    chosen = trial.choose(WEIGHTS[suffix])
    found = sorted(trial.folder.rglob(f"*{suffix}"))
    read = [path for path in found if path.parent.name in chosen.words or path.parent == trial.folder]
    path = trial.rng.choice(read)
    how = mutations.mutate_weights(trial.rng, path, [other for other in found if other != path])
    trial.about.append(f"{path.parent.name}/{how}")
    before = snapshot(trial.folder)
    damaged = suffix != ".safetensors" and torn(path.read_bytes())
    if trial.run(chosen.words).status != 2 and damaged:
        trial.faults.append("what its checksums tell is not noticed")
    trial.check(before, (chosen.owns,))


RESUMED = ("train", "train_on", "train_std", "test", "fuse", "augment", "test_pictures", "sample", "export",
           "evaluate_fusion", "import", "inspect")  # fmt: skip


def at_write(count: int, act: Callable[[], None]) -> None:
    """Do `act` when this process opens a file to write, renames, removes or makes something the count-th time."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            mode, flags = arguments[1:]
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) or bool(set(mode or "") & set("wax+"))
        else:
            writes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
        if writes and not str(arguments[0]).startswith(("/dev", "/proc")):
            seen += 1
            if seen == count:
                act()

    sys.addaudithook(hook)


def trial_signal(trial: Trial) -> None:
    """A signal while something is written; the same command then goes on."""
    chosen, count = trial.choose(RESUMED), int(2 ** trial.rng.uniform(0, 6.5))
    number = trial.rng.choice((signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGINT))
    before = snapshot(trial.folder)
    trial.about.append(f"{number.name} at write {count}")
    ends = (0, 128 + number, -number)
    trial.run(chosen.words, ends, lambda: at_write(count, lambda: os.kill(os.getpid(), number)))
    trial.check(before, (chosen.owns,), killed=True)
    trial.go_on(chosen)
    trial.check(before, (chosen.owns,))


def trial_disk(trial: Trial) -> None:
    """Files that may not grow further, or a full disk: one line, what was there stays, and later it goes on."""
    chosen, size = trial.choose(RESUMED), int(2 ** trial.rng.uniform(12, 21))
    full = trial.rng.random() < 0.3 and chosen.words[0] != "scripts.make_sample_data"
    before = snapshot(trial.folder)
    trial.about.append(f"{'a disk' if full else 'files'} of at most {size} bytes")

    def limit_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    def limit_disk() -> None:
        # A mount that this process alone sees, where it may: what is written is gone with it.
        system, folder = ctypes.CDLL(None), trial.folder / ("checkpoints" if chosen.again else "results")
        if folder.exists() or system.unshare(0x20000) or system.mount(b"none", b"/", None, 0x44000, None):
            return
        folder.mkdir()
        system.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode())

    trial.run(chosen.words, (0, 1, 2), limit_disk if full else limit_files)
    trial.check(before, (chosen.owns,))
    trial.go_on(chosen)
    trial.check(before, (chosen.owns,))


def trial_twice(trial: Trial) -> None:
    """Two commands at once in one folder: neither harms the other's, and the same again ends well."""
    chosen = trial.choose(("train", "train_on", "test", "fuse", "augment", "train_std", "test_pictures", "sample"))
    before = snapshot(trial.folder)
    trial.about.append("twice at once")
    both = [start(chosen.words, trial.folder) for _ in range(2)]
    for done in [finish(running) for running in both]:
        trial.judge(done, (0, 1, 2), chosen.words)
    trial.check(before, (chosen.owns,))
    if chosen.again and "error:" not in trial.output:
        trial.faults.append("two trainings in one folder, and neither is refused")
    trial.go_on(chosen)


KINDS: dict[str, Callable[[Trial], None]] = {
    "plain": trial_plain, "options": trial_options, "places": trial_places, "json": trial_json, "image": trial_image,
    "list": trial_list, "weights": trial_weights, "signal": trial_signal, "disk": trial_disk, "twice": trial_twice,
}  # fmt: skip
TURNS = ("options", "json", "image", "weights", "options", "json", "image", "signal", "options", "json", "image",
         "weights", "plain", "json", "image", "list", "options", "places", "disk", "twice")  # fmt: skip


def run_trial(number: int, kind: str, folder: Path) -> dict[str, Any]:
    """One trial: what it was, its faults, the end of what was printed."""
    place = folder / "trial"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    trial, begun = Trial(place, random.Random(f"{kind} {number}")), time.perf_counter()
    try:
        KINDS[kind](trial)
    except Exception:
        trial.faults.append(f"the trial itself failed: {traceback.format_exc()}")
    return {"trial": number, "kind": kind, "about": trial.about, "faults": list(dict.fromkeys(trial.faults)),
            "output": trial.output[-3000:], "seconds": round(time.perf_counter() - begun, 2)}  # fmt: skip


def main(folder: Path) -> None:
    """Make the world in a folder, then answer NUMBER, or NUMBER KIND, of the input with a line of JSON."""
    for module in IMPORTED:
        importlib.import_module(module)  # once, not in every fork
    (folder / "world").mkdir(parents=True)
    make_world(folder / "world")
    print("ready", flush=True)
    for line in sys.stdin:
        number, *kind = line.split()
        turn = kind[0] if kind else TURNS[int(number) % len(TURNS)]
        print(json.dumps(run_trial(int(number), turn, folder)), flush=True)


# As a test


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """The process that runs trials."""
    folder = tmp_path_factory.mktemp("fuzz")
    alone = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # nothing is downloaded
    alone |= {"TORCH_HOME": str(folder), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, "-m", "tests.test_fuzz", str(folder / "fuzz")]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, env=os.environ | alone, text=True, stdin=pipe, stdout=pipe) as process:
        yield process
        process.stdin.close()
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("first", range(FIRST, FIRST + TRIALS, BLOCK))
def test_whatever_is_damaged_is_told_in_a_line_and_nothing_is_lost(first: int, campaign: subprocess.Popen[str]) -> None:
    if first == FIRST:
        assert campaign.stdout.readline() == "ready\n"
    failed = []
    for number in range(first, min(first + BLOCK, FIRST + TRIALS)):
        print(number, file=campaign.stdin, flush=True)
        trial = json.loads(campaign.stdout.readline())
        if trial["faults"]:
            failed.append("\n".join([f"trial {number}, {trial['kind']}", *trial["about"], *trial["faults"],
                                     trial["output"][-1500:]]))  # fmt: skip
    assert not failed, "\n\n".join(failed)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

"""The cache of decoded images: what comes back, what never does, what makes room, and many processes at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.cache import HEAD, Cache, key_of, open_cache
from data.images import ImageError, Source, ThermalRange, write_image
from data.layouts import find
from data.samples import Reader
from data.training_images import TrainingImages, make_loader
from data.transforms import Preprocess
from options.cycle_gan import CycleGANOptions
from options.data import DataOptions, TrainDataOptions
from options.train import InputOptions, RunOptions, TrainOptions
from tests.conftest import write_pairs

PREPROCESS = Preprocess("scale_width", 24, 16, False)
EIGHT_BIT = torch.arange(3 * 5 * 7, dtype=torch.uint8).reshape(3, 5, 7)


def options_for(root: Path, runs: Path, **changes: object) -> TrainOptions:
    values = {"load_size": 40, "crop_size": 32, "num_threads": 0} | changes
    run = RunOptions(seed=5, checkpoints_dir=runs)
    return TrainOptions(run, TrainDataOptions(dataroot=(root,)), InputOptions(**values), method=CycleGANOptions())


def cache_in(folder: Path, limit: int = 10**6) -> Cache:
    folder.mkdir(exist_ok=True)
    return Cache(folder, limit)


def batches(options: TrainOptions, count: int, masks: bool = False) -> list[dict]:
    loader = iter(make_loader(TrainingImages(find(options.data).splits["train"], options, masks), options))
    return [next(loader) for _ in range(count)]


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.image"))


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a if name != "skipped")


def test_images_come_back_bit_for_bit_to_whoever_opens_it(tmp_path: Path) -> None:
    first = cache_in(tmp_path)
    floats = torch.randn(1, 6, 4)
    second = cache_in(tmp_path)
    assert first.get(b"a" * 16) is None and second.get(b"a" * 16) is None
    first.put(b"a" * 16, EIGHT_BIT)
    second.put(b"b" * 16, floats)
    third = pickle.loads(pickle.dumps(cache_in(tmp_path)))
    for cache in (first, second, third):
        assert torch.equal(cache.get(b"a" * 16), EIGHT_BIT) and cache.get(b"a" * 16).dtype == torch.uint8
        assert torch.equal(cache.get(b"b" * 16), floats) and len(cache) == 2
    first.put(b"a" * 16, EIGHT_BIT)
    assert taken(tmp_path) == 2 * HEAD.size + EIGHT_BIT.nbytes + floats.nbytes, "what is there is not added"


def test_it_never_grows_past_its_limit(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 2 * (HEAD.size + EIGHT_BIT.nbytes) + 5)
    for i in range(4):
        cache.put(key_of(i), EIGHT_BIT)
    assert len(cache) == 2 and cache.full and taken(tmp_path) == 2 * (HEAD.size + EIGHT_BIT.nbytes)
    assert cache.get(key_of(3)) is None and torch.equal(cache.get(key_of(1)), EIGHT_BIT)


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_in(tmp_path)
    cache.put(key_of(0), EIGHT_BIT)

    def no_space(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    cache.put(key_of(1), EIGHT_BIT)
    assert cache.full and len(cache) == 1 and cache.get(key_of(1)) is None and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("left", [0, 10, HEAD.size, -1, None])
def test_what_a_power_failure_cut_short_is_absent_and_replaced(tmp_path: Path, left: int | None) -> None:
    before = cache_in(tmp_path)
    for i in range(2):
        before.put(key_of(i), EIGHT_BIT + i)
    path = tmp_path / f"{key_of(1).hex()}.image"
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)) if left is None else whole[:left])
    after = cache_in(tmp_path)
    assert torch.equal(after.get(key_of(0)), EIGHT_BIT) and after.get(key_of(1)) is None
    after.put(key_of(1), EIGHT_BIT + 1)
    for cache in (after, cache_in(tmp_path)):
        assert torch.equal(cache.get(key_of(0)), EIGHT_BIT) and torch.equal(cache.get(key_of(1)), EIGHT_BIT + 1)


def _fill(cache: Cache, process: int) -> None:
    for i in range(60):
        number = (i * 7 + process * 11) % 40  # every image by several processes, in orders of their own
        if cache.get(key_of(number)) is None:
            cache.put(key_of(number), torch.full((1, 30, 20), number, dtype=torch.uint8))


def in_four_processes(target: Callable[[Any, int], None], shared: Any) -> None:
    """Run target(shared, number) in four processes at once, none of which may fail."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=target, args=(shared, i)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_many_processes_fill_it_at_once(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    in_four_processes(_fill, cache)
    for mine in (cache, pickle.loads(pickle.dumps(cache))):
        assert len(mine) == 40 and mine.taken() == 40 * (600 + HEAD.size)
        assert all(bool((mine.get(key_of(i)) == i).all()) for i in range(40))


def test_ranks_of_a_machine_share_one_in_memory(
    pairs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, others, here = options_for(pairs_root, tmp_path, cache="memory"), [], [True]

    def barrier() -> None:  # reached by the first rank, which has made it at the second; then the other opens it
        if here == [True, True]:
            here[:] = [False]
            others.append(open_cache(options))
            here[:] = [True] * 3
        elif len(here) == 1 and here[0]:
            here.append(True)

    monkeypatch.setattr("util.training.ranks.world", lambda: 2)
    monkeypatch.setattr("util.training.ranks.is_first_here", lambda: here[0])
    monkeypatch.setattr("util.training.ranks.barrier", barrier)
    monkeypatch.setenv("MASTER_PORT", str(tmp_path))
    first, (second,) = open_cache(options), others
    second.put(key_of(1), EIGHT_BIT)
    assert torch.equal(first.get(key_of(1)), EIGHT_BIT)
    place = first.place
    assert place == second.place and place.stat().st_mode & 0o77 == 0
    others.clear()
    del first, second
    assert not place.exists()


def test_what_a_killed_run_left_in_memory_goes(pairs_root: Path, tmp_path: Path) -> None:
    options = options_for(pairs_root, tmp_path, cache="memory")
    alive = open_cache(options)
    alive.put(key_of(1), EIGHT_BIT)
    left = alive.place.with_name("images-left")
    left.mkdir()
    (left / "images.lock").touch()
    (left / "a.image").touch()
    assert open_cache(options).place != alive.place
    assert not left.exists() and torch.equal(alive.get(key_of(1)), EIGHT_BIT)


def test_nothing_stale_comes_out(tmp_path: Path) -> None:
    """A changed file, another size, camera, half or thermal range is another image."""
    cache = cache_in(tmp_path)
    rng = np.random.default_rng(0)
    picture, counts = tmp_path / "a.png", tmp_path / "b.tiff"
    write_image(picture, rng.integers(0, 256, (30, 48, 3), np.uint8))
    write_image(counts, rng.integers(6800, 7600, (30, 48), np.uint16))
    kelvin, narrow = ThermalRange(), ThermalRange(low=280, high=300)
    larger = replace(PREPROCESS, load_size=32)
    sources = [Source(picture, "a"), Source(picture, "a", camera="flir_v2"), Source(picture, "a", half="left")]
    for _ in range(2):  # filled, then read
        for preprocess in (PREPROCESS, larger, None):
            for source in sources:
                cached = Reader(kelvin, preprocess, cache=cache).visible(source)["visible"]
                assert torch.equal(cached, Reader(kelvin, preprocess).visible(source)["visible"])
        for thermal in (kelvin, narrow):
            cached = Reader(thermal, PREPROCESS, cache=cache).infrared(Source(counts, "b"))["infrared"]
            assert torch.equal(cached, Reader(thermal, PREPROCESS).infrared(Source(counts, "b"))["infrared"])
    held = len(cache)
    about = picture.stat()
    write_image(picture, rng.integers(0, 256, (30, 48, 3), np.uint8))
    os.utime(picture, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    changed = Reader(kelvin, None, cache=cache).visible(sources[0])["visible"]
    assert torch.equal(changed, Reader(kelvin, None).visible(sources[0])["visible"]) and len(cache) == held + 1
    picture.unlink()
    with pytest.raises(ImageError, match="no such file"):
        Reader(kelvin, None, cache=cache).visible(sources[0])


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 3},
        {"sampling": "paired", "preprocess": "resize_and_crop"},
        {"sampling": "paired", "preprocess": "crop", "patch_stride": 8},
    ],
    ids=["unpaired", "paired", "patches"],
)
def test_batches_are_the_same_with_it_without_it_and_with_workers(
    pairs_root: Path, tmp_path: Path, kind: str, changes: dict
) -> None:
    masks = changes.get("sampling") == "paired"
    plain = batches(options_for(pairs_root, tmp_path, **changes), 24, masks)  # reaches into the second epoch
    cached = options_for(pairs_root, tmp_path, cache=kind, **changes)
    again = replace(cached, input=replace(cached.input, num_threads=2))
    for options in (cached, again):
        assert all(same(a, b) for a, b in zip(plain, batches(options, 24, masks), strict=True))
    folder = tmp_path / "experiment_name" / "cache"
    assert folder.exists() == (kind == "disk")


def test_later_epochs_read_no_file(pairs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_for(pairs_root, tmp_path, cache="memory", sampling="paired", preprocess="crop", patch_stride=8)
    dataset = TrainingImages(find(options.data).splits["train"], options)
    before = [dataset[0, i] for i in range(len(dataset))]
    assert not dataset.kept, "the cache holds them for all workers"
    monkeypatch.setattr("data.samples.read_infrared", None)
    monkeypatch.setattr("data.samples.read_reduced", None)
    assert all(same(before[i], dataset[0, i]) for i in range(len(dataset)))


def test_an_unreadable_image_is_still_named_in_every_epoch(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 10)
    victim = find(TrainDataOptions(dataroot=(root,))).splits["train"].visible[3].path
    victim.write_bytes(victim.read_bytes()[:200])
    read = batches(options_for(root, tmp_path, cache="memory"), 16)
    for epoch in (read[:8], read[8:]):
        assert [path for batch in epoch for path, _ in batch["skipped"]] == [str(victim)]


def test_its_remark_says_what_it_holds_and_what_fits(pairs_root: Path, tmp_path: Path) -> None:
    split = find(DataOptions(dataroot=pairs_root)).splits["train"]
    roomy = options_for(pairs_root, tmp_path, cache="disk")
    (line,) = TrainingImages(split, roomy).remarks()
    assert str(tmp_path) in line and "--cache_gb" not in line and "already" not in line
    (line,) = TrainingImages(split, roomy).remarks()
    assert "2 of them are there already" in line
    (line,) = TrainingImages(split, options_for(pairs_root, tmp_path, cache="memory", cache_gb=1e-6)).remarks()
    assert "raise --cache_gb" in line
    assert TrainingImages(split, options_for(pairs_root, tmp_path)).remarks() == []


def test_options_say_what_is_wrong(pairs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="--cache_gb is nan"):
        InputOptions(cache_gb=float("nan"))
    with pytest.raises(ValueError, match="--cache disk only"):
        InputOptions(cache="memory", cache_dir=tmp_path)
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ValueError, match="Linux only"):
        open_cache(options_for(pairs_root, tmp_path, cache="memory"))


BYTES = 7 * 5 + HEAD.size  # of a small image
LONG_AGO = 1e9


def image(number: int) -> torch.Tensor:
    return torch.full((1, 5, 7), number % 251, dtype=torch.uint8)


def there(cache: Cache, numbers: Iterable[int]) -> list[int]:
    """Those of the numbers whose images are there."""
    found = {number: cache.get(key_of(number)) for number in numbers}
    assert all(torch.equal(got, image(number)) for number, got in found.items() if got is not None)
    return [number for number, got in found.items() if got is not None]


def filled(cache: Cache, numbers: Sequence[int]) -> list[int]:
    """Those of the numbers that are there after each was put."""
    for number in numbers:
        cache.put(key_of(number), image(number))
    return there(cache, numbers)


def age(folder: Path, numbers: Iterable[int], seconds: float = LONG_AGO) -> None:
    """The images of these numbers were last used then."""
    for number in numbers:
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            os.utime(folder / f"{key_of(number).hex()}.image", (seconds, seconds))


def test_what_has_not_been_used_longest_makes_room(tmp_path: Path) -> None:
    limit = 64 * BYTES
    assert filled(Cache(tmp_path, limit), range(60)) == list(range(60))
    age(tmp_path, range(20), LONG_AGO)
    age(tmp_path, range(20, 40), LONG_AGO + 5)
    run = Cache(tmp_path, limit, since=LONG_AGO + 9)
    assert filled(run, range(60, 74)) == list(range(60, 74)) and not run.full and taken(tmp_path) <= limit
    left = [number for number in range(40) if (tmp_path / f"{key_of(number).hex()}.image").exists()]
    assert 28 <= len(left) <= 30 and left[-20:] == list(range(20, 40)), "no more goes than must, and a few"
    assert filled(run, range(74, 100)) == list(range(74, 100)) and taken(tmp_path) <= limit
    assert not there(run, range(20)) and there(run, range(40, 100)) == list(range(40, 100))
    assert len(filled(run, range(100, 110))) <= 4 and run.full, "what has been used since it began stays"
    assert there(pickle.loads(pickle.dumps(run)), range(40, 100)) == list(range(40, 100))


def test_a_run_never_removes_what_it_uses_itself(tmp_path: Path) -> None:
    """Data of twice the size: half of it stays, epoch after epoch, in place of all being decoded in each."""
    limit = 64 * BYTES
    filled(Cache(tmp_path, limit), range(20))
    age(tmp_path, range(20))
    run = Cache(tmp_path, limit)
    assert run.claim(key_of(number) for number in range(5, 128)) == 15
    kept = filled(run, range(5, 128))
    assert run.full and len(kept) >= 60 and kept[:15] == list(range(5, 20)), "what it claims stays"
    for _ in range(2):
        assert filled(run, range(5, 128)) == kept and taken(tmp_path) <= limit


def test_reading_is_use(tmp_path: Path) -> None:
    filled(Cache(tmp_path, 4 * BYTES), range(4))
    age(tmp_path, range(4))
    run = Cache(tmp_path, 4 * BYTES)
    assert there(run, [2]) == [2]
    assert filled(run, range(10, 14)) == [10, 11, 12] and there(run, range(4)) == [2]


def test_a_lower_limit_is_kept_from_the_start(tmp_path: Path) -> None:
    filled(Cache(tmp_path, 64 * BYTES), range(64))
    age(tmp_path, range(64))
    run = Cache(tmp_path, 20 * BYTES)
    assert run.claim(key_of(number) for number in range(6)) == 6
    assert taken(tmp_path) <= 20 * BYTES and there(run, range(6)) == list(range(6))
    age(tmp_path, range(6))
    assert Cache(tmp_path, 3 * BYTES).claim(key_of(number) for number in range(64)) == 3, "also of its own"
    assert taken(tmp_path) <= 3 * BYTES


def test_other_files_in_its_folder_stay_as_they_are(tmp_path: Path) -> None:
    names = "film.mp4.part", "lock", "disk.image", "a" * 32 + ".png", "b" * 32
    for name in names:
        (tmp_path / name).write_text("theirs")
    (tmp_path / f"{'c' * 32}.part").write_text("of a killed run")
    run = Cache(tmp_path, 2 * BYTES)
    assert run.claim([]) == 0 and filled(run, range(4)) and len(run) == 2
    assert Cache(tmp_path, 0).claim([]) == 0 and all((tmp_path / name).read_text() == "theirs" for name in names)
    assert not list(tmp_path.glob("c*.part"))


def test_a_folder_that_goes_away_is_no_error(tmp_path: Path) -> None:
    cache = cache_in(tmp_path / "cache")
    assert filled(cache, range(3)) == list(range(3))
    shutil.rmtree(tmp_path / "cache")  # somebody tidies up
    cache.put(key_of(99), image(99))
    assert cache.full and there(cache, [0, 99]) == [] and len(cache) == 0 and cache.claim([key_of(0)]) == 0


def _use(folder: Path, process: int) -> None:
    limit, own = 40 * BYTES, range(1000, 1030) if process % 2 else range(30)
    cache = Cache(folder, limit)
    for _ in range(6):
        for i in range(30):
            number = own[(i * 7 + process * 11) % 30]
            if (found := cache.get(key_of(number))) is None:
                cache.put(key_of(number), image(number))
            else:
                assert torch.equal(found, image(number))
            with cache._locked():
                assert taken(folder) <= limit
        age(folder, own)  # so that both runs go on removing what the other has


def test_runs_that_remove_each_others_images_get_none_wrong(tmp_path: Path) -> None:
    in_four_processes(_use, tmp_path)


def test_only_what_a_run_will_use_is_counted(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 10)
    split = find(options_for(root, tmp_path).data).splits["train"]

    def remark(**changes: object) -> str:
        options = options_for(root, tmp_path, cache="disk", **changes)
        dataset = TrainingImages(split, options)
        (line,) = dataset.remarks()
        loader = iter(make_loader(dataset, options))
        for _ in range(len(dataset)):
            next(loader)
        return line

    assert "already" not in remark()
    assert f"{2 * len(split.pairs)} of them are there already" in remark()
    assert "already" not in remark(load_size=36), "images of another size are of no use"
    assert "already" not in remark(sampling="paired")
    assert "6 of them are there already" in remark(max_dataset_size=3)
    picture = split.visible[0].path
    os.utime(picture, ns=(0, picture.stat().st_mtime_ns + 1))
    assert f"{2 * len(split.pairs) - 1} of them are there already" in remark()


def test_later_runs_of_another_size_take_the_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_pairs(tmp_path / "data", 10)
    plain = options_for(root, tmp_path)
    split = find(plain.data).splits["train"]
    needed = TrainingImages(split, options_for(root, tmp_path, cache="memory"))._decoded_bytes()
    for size in (40, 36, 40):
        options = options_for(root, tmp_path, cache="disk", load_size=size, cache_gb=1.3 * needed / 1e9)
        dataset, bare = (TrainingImages(split, o) for o in (options, options_for(root, tmp_path, load_size=size)))
        for _ in range(2):
            for position in range(len(dataset)):
                cached, read = dataset[0, position], bare[0, position]
                assert all(torch.equal(cached[name], read[name]) for name in ("visible", "infrared"))
        cache = open_cache(options)
        assert len(cache) >= 2 * len(split.pairs) and not dataset.reader.cache.full
        assert cache.taken() <= cache.limit
        for path in cache.place.glob("*.image"):
            os.utime(path, (LONG_AGO, LONG_AGO))

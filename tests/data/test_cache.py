"""The cache of decoded images: what comes back, what never does, and many processes at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.cache import open_cache
from data.cache_files import CacheFiles, key_of
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


def cache_in(folder: Path, limit: int = 10**6) -> CacheFiles:
    return CacheFiles(folder / "index", folder / "pixels", limit)


def batches(options: TrainOptions, count: int, masks: bool = False) -> list[dict]:
    loader = iter(make_loader(TrainingImages(find(options.data).splits["train"], options, masks), options))
    return [next(loader) for _ in range(count)]


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
    assert (tmp_path / "pixels").stat().st_size == EIGHT_BIT.nbytes + floats.nbytes, "what is there is not added"


def test_it_never_grows_past_its_limit(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 2 * EIGHT_BIT.nbytes + 5)
    for i in range(4):
        cache.put(key_of(i), EIGHT_BIT)
    assert len(cache) == 2 and cache.full and (tmp_path / "pixels").stat().st_size == 2 * EIGHT_BIT.nbytes
    assert cache.get(key_of(3)) is None and torch.equal(cache.get(key_of(1)), EIGHT_BIT)


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_in(tmp_path)
    cache.put(key_of(0), EIGHT_BIT)

    def no_space(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_space)
    cache.put(key_of(1), EIGHT_BIT)
    assert cache.full and len(cache) == 1 and cache.get(key_of(1)) is None


@pytest.mark.parametrize("lost", ["pixels", "part of a record", "records"])
def test_what_a_power_failure_cut_short_is_absent_and_replaced(tmp_path: Path, lost: str) -> None:
    before = cache_in(tmp_path)
    for i in range(2):
        before.put(key_of(i), EIGHT_BIT + i)
    index, pixels = tmp_path / "index", tmp_path / "pixels"
    record = index.stat().st_size // 2
    if lost == "pixels":
        pixels.write_bytes(pixels.read_bytes()[: EIGHT_BIT.nbytes] + b"\0" * (EIGHT_BIT.nbytes // 2))
    elif lost == "records":
        index.write_bytes(index.read_bytes()[:record] + b"\0" * record)
    else:
        index.write_bytes(index.read_bytes()[:-3])
    after = cache_in(tmp_path)
    assert torch.equal(after.get(key_of(0)), EIGHT_BIT) and after.get(key_of(1)) is None
    after.put(key_of(1), EIGHT_BIT + 1)
    for cache in (after, cache_in(tmp_path)):
        assert torch.equal(cache.get(key_of(0)), EIGHT_BIT) and torch.equal(cache.get(key_of(1)), EIGHT_BIT + 1)


def _fill(cache: CacheFiles, process: int) -> None:
    for i in range(60):
        number = (i * 7 + process * 11) % 40  # every image by several processes, in orders of their own
        if cache.get(key_of(number)) is None:
            cache.put(key_of(number), torch.full((1, 30, 20), number, dtype=torch.uint8))


def test_many_processes_fill_it_at_once(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.unlink()
    assert list(tmp_path.iterdir()) == []
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill, args=(cache, i)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for mine in (cache, pickle.loads(pickle.dumps(cache))):
        assert len(mine) == 40 and mine.used == 40 * 600
        assert all(bool((mine.get(key_of(i)) == i).all()) for i in range(40))


def test_ranks_of_a_machine_share_one_in_memory(
    pairs_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, others = options_for(pairs_root, tmp_path, cache="memory"), []

    def barrier() -> None:  # reached by the first rank; the second opens it meanwhile
        if not others:
            others.append(None)
            others[0] = open_cache(options)

    monkeypatch.setattr("util.training.ranks.world", lambda: 2)
    monkeypatch.setattr("util.training.ranks.barrier", barrier)
    monkeypatch.setenv("MASTER_PORT", str(tmp_path))
    first, (second,) = open_cache(options), others
    second.put(key_of(1), EIGHT_BIT)
    assert torch.equal(first.get(key_of(1)), EIGHT_BIT)
    assert not any(path.exists() and path.parent == first.place for path in (*first.paths, *second.paths))


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
        {"sampling": "paired", "patch_stride": 8},
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
    options = options_for(pairs_root, tmp_path, cache="memory", sampling="paired", patch_stride=8)
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

"""The cache on disk that runs share: what makes room for what, what is counted, and who loses a race."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from data.cache import open_cache
from data.cache_files import key_of, locked
from data.disk_cache import PIECES, DiskCache
from data.layouts import find
from data.training_images import TrainingImages, make_loader
from tests.conftest import write_pairs
from tests.data.test_cache import options_for

BYTES = 7 * 5
LONG_AGO = 1e9


def image(number: int) -> torch.Tensor:
    return torch.full((1, 5, 7), number % 251, dtype=torch.uint8)


def filled(cache: DiskCache, numbers: Sequence[int]) -> list[int]:
    """Those of the numbers that are there after each was put."""
    for number in numbers:
        cache.put(key_of(number), image(number))
    return there(cache, numbers)


def there(cache: DiskCache, numbers: Sequence[int]) -> list[int]:
    found = {number: cache.get(key_of(number)) for number in numbers}
    assert all(torch.equal(got, image(number)) for number, got in found.items() if got is not None)
    return [number for number, got in found.items() if got is not None]


def age(folder: Path, kind: str, seconds: float) -> None:
    """The pieces of a kind were last used then."""
    for path in folder.glob(f"*_{kind}_*.pixels"):
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            os.utime(path, (seconds, seconds))


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.pixels"))


def test_what_has_not_been_used_longest_makes_room(tmp_path: Path) -> None:
    limit = 64 * BYTES  # a piece takes two images
    old, older, mine = (DiskCache(tmp_path, kind, limit) for kind in ("old", "older", "mine"))
    assert filled(old, range(20)) == list(range(20)) and filled(older, range(20, 40)) == list(range(20, 40))
    assert filled(mine, range(40, 60)) == list(range(40, 60)) and taken(tmp_path) == 60 * BYTES
    age(tmp_path, "old", LONG_AGO + 5)
    age(tmp_path, "older", LONG_AGO)
    age(tmp_path, "mine", LONG_AGO - 5)
    again = DiskCache(tmp_path, "mine", limit)
    assert filled(again, range(60, 74)) == list(range(60, 74)) and not again.full and taken(tmp_path) <= limit
    assert len(there(older, range(20, 40))) == 10, "no more goes than must"
    assert there(old, range(20)) == list(range(20)) and there(again, range(40, 60)) == list(range(40, 60))
    assert filled(again, range(74, 104)) == list(range(74, 104)) and taken(tmp_path) <= limit
    assert not there(old, range(20)) and not there(older, range(20, 40)), "whoever had them open finds them absent"
    assert there(again, range(40, 60)) == list(range(40, 60)), "other kinds first"
    assert filled(again, range(104, 106)) == [] and again.full, "it has read them, so it uses them"
    assert there(pickle.loads(pickle.dumps(again)), range(40, 104)) == list(range(40, 104))
    age(tmp_path, "mine", LONG_AGO)
    later = DiskCache(tmp_path, "mine", limit)
    assert filled(later, range(104, 106)) == [104, 105] and len(there(later, range(40, 104))) == 62


def test_a_run_never_removes_what_it_uses_itself(tmp_path: Path) -> None:
    """Data of twice the size: half of it stays, epoch after epoch, in place of all being decoded in each."""
    limit = 64 * BYTES
    first = DiskCache(tmp_path, "a", limit)
    filled(first, range(20))
    age(tmp_path, "a", LONG_AGO)
    run = DiskCache(tmp_path, "a", limit)
    assert run.claim(key_of(number) for number in range(5, 128)) == 15
    kept = filled(run, range(5, 128))
    assert run.full and len(kept) >= 60 and kept[:15] == list(range(5, 20)), "what it claims stays"
    for _ in range(2):
        assert filled(run, range(5, 128)) == kept and taken(tmp_path) <= limit
    other = DiskCache(tmp_path, "b", limit, since=run.since)
    assert filled(other, range(200, 300)) == [], "nor does a run that was there before remove what another has used"


def test_of_stale_images_the_space_is_free_again(tmp_path: Path) -> None:
    """All files have changed: what the same data set left is of no use, and goes."""
    limit = 64 * BYTES
    filled(DiskCache(tmp_path, "a", limit), range(64))
    age(tmp_path, "a", LONG_AGO)
    run = DiskCache(tmp_path, "a", limit)
    assert run.claim(key_of(number) for number in range(100, 150)) == 0
    assert filled(run, range(100, 150)) == list(range(100, 150)) and not run.full and taken(tmp_path) <= limit


def test_a_lower_limit_is_kept_from_the_start(tmp_path: Path) -> None:
    filled(DiskCache(tmp_path, "a", 64 * BYTES), range(64))
    age(tmp_path, "a", LONG_AGO)
    run = DiskCache(tmp_path, "a", 20 * BYTES)
    assert run.claim(key_of(number) for number in range(6)) == 6
    assert taken(tmp_path) <= 20 * BYTES and there(run, range(6)) == list(range(6))


def test_it_is_divided_into_pieces_that_are_found_by_all(tmp_path: Path) -> None:
    large, small = tmp_path / "large", tmp_path / "small"
    large.mkdir()
    small.mkdir()
    first, second = DiskCache(large, "a", 10**6), DiskCache(large, "a", 10**6)
    assert filled(first, range(10)) == there(second, range(10)) == list(range(10))
    assert filled(second, range(5, 15)) == list(range(5, 15)) and len(list(large.glob("*.pixels"))) == 1
    assert taken(large) == 15 * BYTES, "what is there is not added"
    filled(DiskCache(small, "a", PIECES * BYTES), range(4))
    assert len(list(small.glob("*.pixels"))) == 4
    shutil.rmtree(large)  # somebody tidies up
    first.put(key_of(99), image(99))
    assert first.full and there(first, [99]) == []


def _use(folder: Path, kind: str, process: int) -> None:
    cache = DiskCache(folder, kind, 40 * BYTES)
    for round in range(6):
        for i in range(30):
            number = (i * 7 + process * 11) % 30 + (1000 if kind == "b" else 0)
            if (found := cache.get(key_of(number))) is None:
                cache.put(key_of(number), image(number))
            else:
                assert torch.equal(found, image(number))
            with locked(cache.lock):
                assert taken(folder) <= 40 * BYTES
        age(folder, "a" if round % 2 else "b", LONG_AGO)  # so that both runs go on removing what the other has


def test_runs_that_remove_each_others_images_get_none_wrong(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_use, args=(tmp_path, "ab"[i % 2], i)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


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
        assert len(cache) == 2 * len(split.pairs) and not dataset.reader.cache.full
        assert cache.taken() <= cache.limit
        age(cache.place, "*", LONG_AGO)

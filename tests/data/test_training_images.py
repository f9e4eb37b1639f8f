"""What a batch holds depends on seed, epoch and position alone; transforms; unreadable images."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from data.images import ImageError, write_image
from data.layouts import find
from data.loader import Loader
from data.samples import evenly, mean_infrared, read_validation
from data.training_images import Steps, TrainingImages, make_loader, steps_of_epoch
from data.transforms import Preprocess, jitter_colour
from options.cycle_gan import CycleGANOptions
from options.data import TrainDataOptions
from options.pix2pix import Pix2PixOptions
from options.train import InputOptions, RunOptions, TrainOptions
from tests.conftest import write_pairs
from util.images import resize
from util.training.signals import ignore_ctrl_c, ignore_in_worker


def options_for(root: Path, **changes: object) -> TrainOptions:
    values = {"load_size": 40, "crop_size": 32, "num_threads": 0} | changes
    return TrainOptions(
        RunOptions(seed=5), TrainDataOptions(dataroot=(root,)), InputOptions(**values), method=CycleGANOptions()
    )


def batches(options: TrainOptions, count: int, rank: int = 0, world: int = 1, epoch: int = 0, step: int = 0) -> list:
    dataset = TrainingImages(find(options.data).splits["train"], options)
    loader = iter(make_loader(dataset, options, rank, world, epoch, step))
    return [next(loader) for _ in range(count)]


def same(a: dict, b: dict) -> bool:
    return torch.equal(a["visible"], b["visible"]) and torch.equal(a["infrared"], b["infrared"])


def test_a_batch_has_the_shapes_and_types_it_should(pairs_root: Path) -> None:
    (batch,) = batches(options_for(pairs_root, batch_size=3), 1)
    assert batch["visible"].shape == (3, 3, 32, 32) and batch["infrared"].shape == (3, 1, 32, 32)
    assert batch["visible"].dtype == batch["infrared"].dtype == torch.uint8 and batch["skipped"] == []


def test_any_start_any_worker_count_same_batches(pairs_root: Path) -> None:
    plain = batches(options_for(pairs_root), 20)  # 16 steps an epoch: reaches into the second
    resumed = batches(options_for(pairs_root), 9, epoch=0, step=11)
    workers = batches(options_for(pairs_root, num_threads=2), 20)
    assert all(same(a, b) for a, b in zip(plain[11:], resumed, strict=True))
    assert all(same(a, b) for a, b in zip(plain, workers, strict=True))
    assert not any(same(a, b) for a, b in zip(plain[:4], plain[16:], strict=True)), "epochs have orders of their own"


def test_ranks_share_the_joined_batch(pairs_root: Path) -> None:
    joined = batches(options_for(pairs_root, batch_size=4), 3)
    first = batches(options_for(pairs_root, batch_size=2), 3, rank=0, world=2)
    second = batches(options_for(pairs_root, batch_size=2), 3, rank=1, world=2)
    for whole, a, b in zip(joined, first, second, strict=True):
        assert torch.equal(whole["visible"], torch.cat([a["visible"], b["visible"]]))
        assert torch.equal(whole["infrared"], torch.cat([a["infrared"], b["infrared"]]))


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (3, 1), (2, 2)])
def test_ranks_share_an_epoch_without_gap_or_overlap(world: int, accumulate: int) -> None:
    batch, images = 2, 31
    per_step = batch * accumulate * world
    steps = images // per_step
    drawn = []
    for rank in range(world):
        keys = iter(Steps(steps, batch, rank, world, 0, 0, accumulate))
        drawn += [key for _ in range(steps * accumulate) for key in next(keys)]
        assert next(keys)[0][0] == 1, "then comes the next epoch"
    assert sorted(drawn) == [(0, i) for i in range(steps * per_step)]


def test_another_number_of_ranks_goes_on_where_the_first_stopped() -> None:
    """4 ranks stop after 3 of 6 steps; 2 ranks go on at the same share of their 12."""
    before = [key for rank in range(4) for batch in islice(Steps(6, 2, rank, 4, 0, 0), 3) for key in batch]
    after = [key for rank in range(2) for batch in islice(Steps(12, 2, rank, 2, 0, 6), 6) for key in batch]
    assert sorted(before + after) == [(0, i) for i in range(48)]


def test_an_epoch_sees_every_image_once(pairs_root: Path) -> None:
    options = options_for(pairs_root, preprocess="none", flip=False)
    split = find(options.data).splits["train"]
    seen = {batch["visible"].numpy().tobytes() for batch in batches(options, len(split.visible))}
    assert len(seen) == len(split.visible)


def test_reading_leaves_torchs_generator_alone(pairs_root: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    batches(options_for(pairs_root), 2)
    assert torch.equal(before, torch.get_rng_state())


def test_paired_sampling_gives_one_common_transform(pairs_root: Path) -> None:
    """Both images show the same blob: where the visible one is red the infrared one is bright."""
    for batch in batches(options_for(pairs_root, sampling="paired", crop_size=40), 8):
        red = batch["visible"][0, 0].float().flatten()
        grey = batch["infrared"][0, 0].float().flatten()
        assert torch.corrcoef(torch.stack([red, grey]))[0, 1] > 0.9


def test_unpaired_sampling_draws_independently(pairs_root: Path) -> None:
    correlations = []
    for batch in batches(options_for(pairs_root, preprocess="none", flip=False), 16):
        stack = torch.stack([batch["visible"][0, 0].float().flatten(), batch["infrared"][0, 0].float().flatten()])
        correlations.append(torch.corrcoef(stack)[0, 1].item())
    assert sum(c > 0.9 for c in correlations) <= 4


@pytest.mark.parametrize(
    ("mode", "given", "expected"),
    [
        ("resize_and_crop", (100, 200), (40, 40)),
        ("crop", (100, 200), (100, 200)),
        ("crop", (16, 64), (32, 128)),
        ("scale_width", (100, 200), (20, 40)),
        ("scale_width_and_crop", (200, 200), (40, 40)),
        ("scale_width_and_crop", (100, 200), (32, 64)),
        ("none", (37, 51), (37, 51)),
    ],
)
def test_working_sizes(mode: str, given: tuple[int, int], expected: tuple[int, int]) -> None:
    preprocess = Preprocess(mode, 40, 32, True)
    assert preprocess.working_size(*given) == expected
    (image,) = preprocess([torch.zeros(3, *expected, dtype=torch.uint8)], torch.Generator())
    assert tuple(image.shape[-2:]) == ((32, 32) if preprocess.crops else expected)


def test_crops_reach_every_border_and_flips_are_fair() -> None:
    preprocess = Preprocess("crop", 1, 32, True)
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(36, dtype=torch.uint8).expand(1, 34, 36).contiguous()
    firsts, flipped = set(), 0
    for _ in range(200):
        (crop,) = preprocess([ramp], generator)
        row = crop[0, 0].int()
        backwards = bool(row[0] > row[-1])
        flipped += backwards
        firsts.add(int(row.min()))
    assert firsts == set(range(5)) and 70 < flipped < 130


def test_resizing_keeps_type_range_and_size() -> None:
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    assert resize(image, (20, 30)) is image
    assert resize(image, (11, 7)).shape == (3, 11, 7) and resize(image, (11, 7)).dtype == torch.uint8
    hard = torch.tensor([-1.0, 1.0]).repeat(8).expand(1, 16, 16)
    assert resize(hard, (40, 40)).abs().max() <= 1


def test_an_unreadable_image_is_replaced_named_and_counted(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, 10)
    listed = find(TrainDataOptions(dataroot=(root,)))
    victim = listed.splits["train"].visible[3].path
    victim.write_bytes(victim.read_bytes()[:200])  # its header is whole, so only decoding finds it
    options = options_for(root)
    skipped = [entry for batch in batches(options, 8) for entry in batch["skipped"]]
    assert [path for path, _ in skipped] == [str(victim)]
    strict = replace(options, data=replace(options.data, strict=True))
    errors = [batch["error"] for batch in batches(strict, 8) if "error" in batch]
    assert len(errors) == 1 and isinstance(errors[0], ImageError) and errors[0].path == victim


@pytest.mark.parametrize("sampling", ["paired", "unpaired"])
def test_images_too_small_to_be_judged_are_replaced_and_named(tmp_path: Path, sampling: str) -> None:
    root = write_pairs(tmp_path, 10)
    listed = find(TrainDataOptions(dataroot=(root,))).splits["train"]
    for source in (listed.visible[3], listed.infrared[3]):
        write_image(source.path, np.zeros((7, 40, 3), np.uint8))
    seen = batches(options_for(root, preprocess="none", sampling=sampling, batch_size=1), 8)
    skipped = {Path(path).name: reason for batch in seen for path, reason in batch["skipped"]}
    assert list(skipped) == [listed.infrared[3].path.name]
    assert "40x7 pixels, and the discriminator judges images of at least 24" in skipped[listed.infrared[3].path.name]
    assert all(min(batch["visible"].shape[-2:]) >= 24 for batch in seen)


def test_a_mixture_of_8_and_16_bit_makes_one_batch(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, 10)
    for i in range(0, 10, 2):
        path = root / "infrared" / f"{i:03d}.png"
        path.unlink()
        counts = np.full((40, 48), 7329, np.uint16)  # 20 degrees Celsius at 0.04 K a count
        write_image(path.with_suffix(".tiff"), counts)
    (batch,) = batches(options_for(root, batch_size=8, load_size=48), 1)
    assert batch["infrared"].dtype == torch.float32 and batch["infrared"].abs().max() <= 1


def test_validation_samples_are_whole_and_evenly_chosen(pairs_root: Path) -> None:
    options = options_for(pairs_root)
    samples = read_validation(find(options.data).splits["val"], options)
    assert [sample["stem"] for sample in samples] == ["016", "017"]
    assert samples[0]["visible"].shape == (3, 33, 40), "scaled to load_size wide, not cropped"
    assert read_validation(None, options) == []
    assert evenly(list(range(10)), 3) == [0, 3, 6] and evenly([1], 5) == [1]


def test_mean_infrared(tmp_path: Path) -> None:
    for i, grey in enumerate((0, 255, 255, 255)):
        write_image(tmp_path / "ir" / f"{i}.png", np.full((8, 8), grey, np.uint8))
        write_image(tmp_path / "vi" / f"{i}.png", np.zeros((8, 8, 3), np.uint8))
    options = options_for(tmp_path)
    sources = [source for split in find(options.data).splits.values() for source in split.infrared]
    assert mean_infrared(sources, options) == pytest.approx(0.5)


def test_steps_of_an_epoch(pairs_root: Path) -> None:
    options = options_for(pairs_root)
    dataset = TrainingImages(find(options.data).splits["train"], options)
    assert [steps_of_epoch(dataset, b, w) for b, w in ((1, 1), (3, 1), (4, 2), (64, 1))] == [16, 5, 2, 1]
    few = TrainingImages(find(options.data).splits["train"], options_for(pairs_root, max_dataset_size=5))
    assert len(few) == 5


class Numbers(Dataset):
    """Item n -> n; in a worker process the item 5 fails."""

    def __init__(self, fail: Callable[[], object]) -> None:
        self.fail, self.parent = fail, os.getpid()

    def __getitem__(self, number: int) -> torch.Tensor:
        if number == 5 and os.getpid() != self.parent:
            self.fail()
        return torch.tensor([number])


def no_memory(tensor: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


@pytest.mark.parametrize("trouble", ["killed", "stopped", "hanging", "no shared memory"])
@pytest.mark.parametrize("prepare", [ignore_ctrl_c, ignore_in_worker])
def test_where_workers_fail_the_rest_is_read_in_the_main_process(
    trouble: str, prepare: Callable, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """Every batch once and in order, one line, and no worker is left; nothing is waited for without an end."""
    fail = {
        "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
        "hanging": lambda: [signal.pause() for _ in iter(int, 1)],
        "no shared memory": bool,
    }[trouble]
    monkeypatch.setattr("data.loader.PATIENCE", 0.3 if trouble in ("stopped", "hanging") else 60)
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.1,))
    if trouble == "no shared memory":
        monkeypatch.setattr(torch.Tensor, "share_memory_", no_memory)
    before = set(multiprocessing.active_children())
    keys = [[i, i + 1] for i in range(0, 24, 2)]
    loader = Loader(Numbers(fail), keys, torch.cat, 2, prepare=prepare)
    assert [batch.tolist() for batch in loader] == keys
    assert set(multiprocessing.active_children()) == before
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("note      worker processes failed (") and "--num_threads 0" in line and "--shm-size" in line
    assert trouble != "no shared memory" or "No space left on device" in line


def several(roots: Sequence[Path], weights: tuple[float, ...] = (), **changes: object) -> TrainingImages:
    options = options_for(roots[0], **changes)
    data = TrainDataOptions(dataroot=tuple(roots), dataroot_weights=weights, val_fraction=0.1, test_fraction=0)
    return TrainingImages(find(data).splits["train"], replace(options, data=data))


def owners(dataset: TrainingImages, roots: Sequence[Path], count: int, epoch: int = 0) -> list[int]:
    """Of which root each of an epoch's first images is."""
    places = [dataset._place(epoch, position, 0) for position in range(count)]
    files = [dataset.patches[place][0].infrared.path for place in places]
    return [next(i for i, root in enumerate(roots) if root in file.parents) for file in files]


def test_several_data_sets_are_drawn_by_their_weights(tmp_path: Path) -> None:
    roots = [write_pairs(tmp_path / "a", 10), write_pairs(tmp_path / "b", 20, seed=7)]
    plain = several(roots, sampling="paired")
    assert sorted(owners(plain, roots, len(plain))) == [0] * 9 + [1] * 18, "every image once"
    weighted = several(roots, (2.0, 1.0), sampling="paired")
    drawn = owners(weighted, roots, len(weighted))
    assert drawn.count(0) == 18 and drawn.count(1) == 9 and len(weighted) == 27
    places = [weighted._place(0, position, 0) for position in range(27)]
    of_first = [place for place in places if place < 9]
    assert all(of_first.count(place) == 2 for place in set(of_first)) and len(set(of_first)) == 9
    assert [weighted._place(1, position, 0) for position in range(27)] != places, "another order in each epoch"


def test_a_share_of_mixed_images_are_pairs_and_say_so(pairs_root: Path) -> None:
    options = options_for(pairs_root, sampling="mixed", paired_share=0.25)
    dataset = TrainingImages(find(options.data).splits["train"], options)
    samples = [dataset[0, position] for position in range(16)]
    paired = [bool(sample["paired"].item()) for sample in samples]
    assert sum(paired) == 4 and samples[0]["paired"].shape == (1, 1, 1)
    for sample, pair in zip(samples, paired, strict=True):  # red and infrared blobs lie in one place in pairs alone
        red, infrared = (sample[name][0].float().flatten() for name in ("visible", "infrared"))
        if pair:
            assert torch.corrcoef(torch.stack([red, infrared]))[0, 1] > 0.9
    batch = next(iter(make_loader(dataset, replace(options, input=replace(options.input, batch_size=4)))))
    assert batch["paired"].shape == (4, 1, 1, 1)


@pytest.mark.parametrize("mode", ["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"])
def test_sizes_are_jittered_about_the_plain_one_once(pairs_root: Path, mode: str) -> None:
    plain = options_for(pairs_root, sampling="paired", preprocess=mode, load_size=64, crop_size=24)
    jittered = replace(plain, input=replace(plain.input, scale_jitter=0.3))
    split = find(plain.data).splits["train"]
    middle = TrainingImages(split, plain).reader.pair(split.pairs[0])["infrared"].shape[-1]
    dataset = TrainingImages(split, jittered)
    widest = dataset.reader.pair(split.pairs[0])["infrared"].shape
    drawn = [dataset.preprocess._jittered(*widest[-2:], torch.Generator().manual_seed(i))[1] for i in range(99)]
    assert 0.68 * middle < min(drawn) < 0.75 * middle and 1.25 * middle < max(drawn) < 1.32 * middle
    if not dataset.preprocess.crops:
        assert {dataset[0, i]["infrared"].shape[-1] for i in range(4)} <= set(range(min(drawn), max(drawn) + 1))


def test_what_is_drawn_larger_than_it_is_seen_is_read_larger(pairs_root: Path) -> None:
    plain = options_for(pairs_root, sampling="paired", load_size=64, crop_size=32)
    options = replace(plain, method=Pix2PixOptions(draw_scale=1.7))
    dataset = TrainingImages(find(plain.data).splits["train"], options)
    assert dataset.reader.pair(dataset.pairs[0])["visible"].shape[-1] == 109
    assert dataset[0, 0]["visible"].shape == (3, 56, 56) and dataset[0, 0]["infrared"].shape == (1, 56, 56)
    assert Preprocess.from_options(options.input).crop_size == 32, "what uses the weights sees at the size it learnt"


def test_jitter_changes_size_and_colour_alone_and_repeats(pairs_root: Path) -> None:
    jittered = options_for(pairs_root, sampling="paired", scale_jitter=0.3, color_jitter=0.5, load_size=64)
    split = find(jittered.data).splits["train"]
    dataset, again = TrainingImages(split, jittered), TrainingImages(split, jittered)
    assert dataset.preprocess.working_size(40, 48) == (69, 83), "read at the largest size"
    assert Preprocess.from_options(jittered.input).working_size(40, 48) == (53, 64), "used at the plain one"
    for position in range(4):
        one, two = dataset[0, position], again[0, position]
        assert same(one, two) and one["visible"].shape == (3, 32, 32) and one["visible"].dtype == torch.uint8
    sizes = {dataset.preprocess._jittered(69, 83, torch.Generator().manual_seed(seed)) for seed in range(50)}
    heights = sorted(height for height, _ in sizes)
    assert heights[0] < 45 and heights[-1] > 62 and heights[0] >= 37


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_colour_jitter_stays_in_range_and_orders_grey_levels(dtype: torch.dtype) -> None:
    ramp = torch.arange(256).expand(3, 2, 256)
    image = ramp.to(torch.uint8) if dtype == torch.uint8 else ramp / 127.5 - 1
    means = []
    for seed in range(20):
        made = jitter_colour(image, 0.4, torch.Generator().manual_seed(seed))
        assert made.dtype == dtype and made.shape == image.shape
        low, high = (0, 255) if dtype == torch.uint8 else (-1, 1)
        assert made.min() >= low and made.max() <= high and (made[:, 0].float().diff() >= 0).all()
        means.append(made.float().mean().item())
    assert np.std(means) > 0.03 * (high - low)


WHOLE = Preprocess("scale_width_and_crop", 352, 224, True, whole=True)


def test_pictures_a_few_pixels_high_are_not_enlarged_without_end() -> None:
    for height, width in ((3, 1000), (1000, 3), (8, 12000), (1, 1)):
        tall, wide = WHOLE.working_size(height, width)
        assert tall * wide < 1.1 * 1536**2
    assert WHOLE.working_size(480, 640) == (264, 352) and WHOLE.working_size(300, 4000) == (224, 2987)
    assert replace(WHOLE, whole=False).working_size(3, 1000) == (224, 74667), "a crop fits into training's"


def test_a_crop_fits_into_what_jitter_leaves() -> None:
    preprocess = Preprocess("resize_and_crop", 66, 64, False, scale_jitter=0.5)
    image, generator = torch.zeros(1, *preprocess.working_size(80, 80)), torch.Generator().manual_seed(0)
    assert {tuple(preprocess([image], generator)[0].shape) for _ in range(20)} == {(1, 64, 64)}


def test_masks_stay_in_range_when_sizes_are_jittered(pairs_root: Path) -> None:
    options = options_for(pairs_root, sampling="paired", scale_jitter=0.3)
    data = replace(options.data, mask_source="thermal")
    dataset = TrainingImages(find(data).splits["train"], replace(options, data=data), True)
    masks = torch.stack([dataset[epoch, 0]["mask"] for epoch in range(8)])
    assert masks.min() == 0 and masks.max() == 1

"""What training changes: saved and gone on from exactly, also with other data; which score is the best."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.training_fixtures import begun, train
from util.device import select_device
from util.training.run_folder import RunFolder
from util.training.state import EMA, NotFinite, TrainingState, load_weights, save_weights
from util.training.validation import TASKS, Validation


def weights(state: TrainingState) -> list[torch.Tensor]:
    return [*state.method.state_dict().values(), *state.network.state_dict().values()]


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_a_state_that_went_through_a_file_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, ema_decay: float | None
) -> None:
    one, run = begun(ema_decay=ema_decay), RunFolder(tmp_path)
    train(one, 3)
    one.improves(0.5, True)
    run.save_checkpoint(one.state_dict())
    train(one, 3)
    two = begun(seed=1, ema_decay=ema_decay)
    assert two.load_state_dict(run.load_checkpoint()) == [], "nothing to remark"
    assert (two.step, two.total, two.best, two.mean_infrared) == (3, 3, 0.5, 0.25)
    train(two, 3)
    for a, b in zip(weights(one), weights(two), strict=True):
        assert torch.equal(a, b)


def test_other_data_and_another_length_are_remarked_and_the_position_keeps_its_share() -> None:
    one = begun(steps=4)
    train(one, 3)
    two = begun(steps=8, fingerprint="b")
    remarks = two.load_state_dict(one.state_dict())
    assert (two.step, two.total) == (6, 3)
    assert len(remarks) == 2 and "8 steps, not 4" in remarks[0] and "data set has changed" in remarks[1]


def test_scores_of_another_measure_are_no_bar_for_later_ones() -> None:
    one, two = begun(), begun(judged_by="psnr")
    one.improves(0.5, True)
    remarks = two.load_state_dict(one.state_dict())
    assert len(remarks) == 1 and "not comparable" in remarks[0]
    assert two.best is None and two.mean_infrared is None and two.improves(0.1, True)


def changed(state: dict, *path: object, value: object = None) -> dict:
    """A copy without what lies at a path, or with another value there."""
    state = copy.deepcopy(state)
    inner = state
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return state


def test_a_checkpoint_that_does_not_fit_is_one_line() -> None:
    one = begun(ema_decay=0.5)
    train(one, 2)
    one.improves(0.5, True)
    state = one.state_dict()
    begun(seed=1, ema_decay=0.5).load_state_dict(state)
    wrong = [changed(state, name) for name in state if name != "format"]
    for name in set(state) - {"format", "data", "best", "mean_infrared", "judged_by"}:
        wrong += [changed(state, name, value=value) for value in ("x", [1], {"a": 1}, -5, True)]
    wrong += [changed(state, name, value=[1]) for name in ("data", "best", "mean_infrared", "judged_by")]
    adam = ("optimizers", "adam", "generator")
    wrong += [
        changed(state, "method", "generator"),
        changed(state, "method", "generator", "weight", value=torch.zeros(3, 3)),
        changed(state, "optimizers", "adam"),
        changed(state, *adam, "state", 0, "exp_avg"),
        changed(state, *adam, "state", 0, "exp_avg", value=torch.zeros(5)),
        changed(state, *adam, "state", 0, value=7),
        changed(state, "optimizers", "schedules", "discriminator", value=[]),
        changed(state, "ranks", value=[]),
        changed(state, "ranks", 0, "pools"),
        changed(state, "ranks", 0, "random", value=torch.zeros(3)),
        changed(state, "ranks", 0, "pools", "pool", "images", 0, value="x"),
        changed(state, "optimizers", "schedules", "discriminator", "_step_count", value="x"),
        changed(state, "step", value=9),
    ]
    for other in wrong:
        with pytest.raises(ValueError, match="does not fit the run's options: .+") as refused:
            begun(seed=1, ema_decay=0.5).load_state_dict(other)
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 250


def test_the_same_weights_are_the_same_bytes_and_a_flipped_bit_is_found(tmp_path: Path) -> None:
    one, two = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    tensors = {"b": torch.rand(3, 5), "a": torch.arange(7), "c": torch.rand(2).bfloat16()}
    facts = {name: f"ä {name}" for name in "qwertyuiopasdf"}
    save_weights(one, tensors, facts)
    save_weights(two, dict(reversed(tensors.items())), dict(reversed(facts.items())))
    assert one.read_bytes() == two.read_bytes()
    metadata, read = load_weights(one)
    assert metadata == facts and all(torch.equal(read[name], tensors[name]) for name in tensors)
    content = one.read_bytes()
    for place in (content.index(b'"q":') + 12, len(content) - 1, len(content) - 40):
        two.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"b\.safetensors: is (damaged|not an intact)"):
            load_weights(two)
    save_file(tensors, two, facts)
    assert load_weights(two)[0] == facts, "files of others have no checksum"


def test_an_average_that_was_not_kept_before_begins_at_the_weights() -> None:
    one, two = begun(), begun(seed=1, ema_decay=0.5)
    train(one, 1)
    two.load_state_dict(one.state_dict())
    assert torch.equal(two.network.weight, one.method.generator.weight) and two.network is not two.trained


def test_the_best_score_is_the_largest_or_smallest_and_never_nan() -> None:
    state = begun()
    assert not state.improves(math.nan, True) and state.best is None
    assert [state.improves(score, True) for score in (0.2, 0.1, math.nan, 0.2, 0.3)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert state.best == 0.3 and not state.improves(0.4, False) and state.improves(0.1, False)


def test_weights_for_use_are_the_average_and_say_what_they_are(tmp_path: Path) -> None:
    state = begun(ema_decay=0.9)
    start = state.network.weight.clone()
    train(state, 2)
    state.epoch = 7
    state.save_weights(tmp_path / "w.safetensors", {"model": "toy"})
    metadata, tensors = load_weights(tmp_path / "w.safetensors")
    assert metadata == {"model": "toy", "epoch": "7", "mean_infrared": "0.250000", "range": "clip"}
    assert torch.equal(tensors["weight"], state.ema.average.weight)
    assert not torch.equal(tensors["weight"], start) and not torch.equal(tensors["weight"], state.trained.weight)


def test_a_weight_that_is_no_number_is_found() -> None:
    state = begun()
    state.check_finite()
    with torch.no_grad():
        state.method.discriminator.weight[0, 1] = math.inf
    with pytest.raises(NotFinite, match="the weights"):
        state.check_finite()


def test_the_first_steps_count_less_in_an_average() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    ema = EMA(network, 0.5)
    nn.init.ones_(network.weight)
    for steps, expected in ((0, 0.9), (20, 0.95)):
        ema.update(steps)
        assert ema.average.weight.item() == pytest.approx(expected, abs=1e-4)


def test_means_are_over_the_samples_that_have_a_value() -> None:
    values = iter([1.0, math.nan, 3.0])
    task = replace(
        TASKS["generation"],
        make=lambda network, batch: batch["infrared"],
        score=lambda made, batch: {"cc": torch.tensor([next(values, 0.0)])},
        baselines=lambda constant: {},
        higher_is_better={"cc": True},
    )
    image = torch.zeros(1, 4, 4)
    samples = [{"visible": image, "infrared": image, "stem": f"{number}"} for number in range(3)]
    assert Validation(task, samples, select_device("cpu", "fp32"), 0.0).scores(nn.Identity()) == {
        "generated": {"cc": 2}
    }

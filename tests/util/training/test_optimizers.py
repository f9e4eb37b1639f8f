"""Schedules never climb, resume where they were, and take over a new rate when a run goes on with one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from util.device import Device, select_device
from util.training.optimizers import Optimizers
from util.training.state import EMA


def make(policy: str, lr: float = 1e-3, beta1: float = 0.5, best_is_max: bool = True) -> Optimizers:
    torch.manual_seed(0)
    optimizers = Optimizers({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}, lr, beta1, None, select_device("cpu", "fp32"))
    optimizers.schedule(policy, n_epochs=3, n_epochs_decay=4, decay_iters=2, best_is_max=best_is_max)
    return optimizers


def rates(optimizers: Optimizers, epochs: int, score: float = 0.5) -> list[float]:
    found = []
    for _ in range(epochs):
        found.append(optimizers.rate)
        optimizers.end_epoch(score)
    return found


def test_rates_by_hand() -> None:
    assert rates(make("linear"), 7) == pytest.approx([1e-3, 1e-3, 1e-3, 8e-4, 6e-4, 4e-4, 2e-4])
    assert rates(make("step"), 5) == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])
    cosine = rates(make("cosine"), 9)
    assert cosine == sorted(cosine, reverse=True) and cosine[0] == 1e-3 and cosine[-1] == pytest.approx(0, abs=1e-9)
    assert rates(make("plateau"), 9) == pytest.approx([1e-3] * 7 + [2e-4] * 2), "the score has not moved for long"


@pytest.mark.parametrize("policy", ["linear", "step", "cosine", "plateau"])
def test_a_resumed_schedule_goes_on(policy: str) -> None:
    whole, first = make(policy), make(policy)
    expected = rates(whole, 14)
    assert rates(first, 5) == expected[:5]
    second = make(policy)
    second.load_state_dict(first.state_dict())
    assert rates(second, 9) == expected[5:]
    faster = make(policy, lr=1e-2, beta1=0.9)
    faster.load_state_dict(first.state_dict())
    assert faster.rate == pytest.approx(10 * expected[5]) and faster.adam["a"].param_groups[0]["betas"][0] == 0.9


@pytest.mark.parametrize(("before", "now"), [("plateau", "linear"), ("linear", "plateau"), ("step", "cosine")])
def test_a_run_goes_on_by_another_policy_from_where_it_is(before: str, now: str) -> None:
    first, second = make(before), make(now)
    for epoch in range(4):
        first.end_epoch(0.5 if epoch % 2 else None)  # not every epoch is validated
    second.load_state_dict(first.state_dict())
    assert second.rate == pytest.approx(1e-3 if now == "plateau" else rates(make(now), 5)[4])


def test_a_sinking_score_below_zero_is_no_improvement() -> None:
    optimizers = make("plateau")
    for epoch in range(9):
        optimizers.end_epoch(-0.2 - 0.001 * epoch)
    assert optimizers.rate == pytest.approx(2e-4)


def test_a_run_in_another_precision_goes_on_in_fp16() -> None:
    first, second = make("linear"), make("linear")
    second.scalers = {name: torch.amp.GradScaler("cpu", init_scale=8.0) for name in second.scalers}
    second.load_state_dict(first.state_dict())
    assert all(scaler.get_scale() == 8 for scaler in second.scalers.values())
    third = make("linear")
    third.scalers = {name: torch.amp.GradScaler("cpu") for name in third.scalers}
    third.load_state_dict(second.state_dict())
    assert all(scaler.state_dict()["scale"] == 8 for scaler in third.scalers.values())


def test_plateau_watches_another_score_from_its_first() -> None:
    first, second = make("plateau", best_is_max=True), make("plateau", best_is_max=False)
    first.end_epoch(25.0)
    second.load_state_dict(first.state_dict())
    second.forget_scores()
    scores = iter([9.0, 8, 7, 6, 5, 4, 3, 2])
    assert all((second.end_epoch(next(scores)), second.rate == 1e-3)[1] for _ in range(8)), "lower is better now"
    assert rates(second, 9, 2.0) == pytest.approx([1e-3] * 6 + [2e-4] * 3)


@pytest.mark.parametrize("layouts", ["channels_last to default", "default to channels_last"])
def test_a_run_goes_on_alike_in_another_memory_layout(layouts: str) -> None:
    """A run in bf16 on a GPU lies in channels_last; what continues it in fp32 or on a CPU does not."""
    order = [torch.channels_last, torch.contiguous_format]
    before, after = order if layouts.startswith("channels_last") else order[::-1]
    torch.manual_seed(0)
    image, network = torch.rand(2, 3, 8, 8), nn.Conv2d(3, 4, 3).to(memory_format=before)
    device = select_device("cpu", "fp32")

    def steps(network: nn.Module, state: dict | None) -> Optimizers:
        optimizers = Optimizers({"a": network}, 1e-2, 0.5, None, device)
        optimizers.schedule("linear", 3, 3, 1, True)
        if state:
            optimizers.load_state_dict(state)
        for _ in range(3):
            optimizers.backward("a", {"loss": network(image).square().mean()})
            optimizers.step("a")
        return optimizers

    state = copy.deepcopy(steps(network, None).state_dict())
    same, other = copy.deepcopy(network), copy.deepcopy(network).to(memory_format=after)
    steps(same, copy.deepcopy(state)), steps(other, copy.deepcopy(state))
    torch.testing.assert_close(other.weight, same.weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_clipping_bounds_the_step_direction(dtype: torch.dtype) -> None:
    """In half precision too, where the loss is scaled: what is clipped is the gradient, not its multiple."""
    network = nn.Linear(1, 1, bias=False)
    device = Device(torch.device("cpu"), dtype, torch.contiguous_format)
    optimizers = Optimizers({"a": network}, 1e-3, 0.5, 0.25, device)
    optimizers.schedule("linear", 1, 1, 1, True)
    optimizers.backward("a", {"big": 1e6 * network(torch.ones(1, 1)).sum()})
    optimizers.step("a")
    moment = optimizers.adam["a"].state[network.weight]["exp_avg"]
    assert moment.item() == pytest.approx((1 - 0.5) * 0.25, rel=1e-3)


def test_ema_follows_and_is_saved() -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    ema = EMA(network, 0.9)
    start = network[0].weight.item()
    with torch.no_grad():
        network[0].weight += 1
    network[1].running_mean += 2
    ema.update(1000)
    assert ema.average[0].weight.item() == pytest.approx(start + 0.1)
    assert ema.average[1].running_mean.item() == 2
    other = EMA(network, 0.9)
    other.average.load_state_dict(ema.average.state_dict())
    assert torch.equal(other.average[0].weight, ema.average[0].weight)
    network[0].requires_grad_(False)
    frozen = EMA(network, 0.9)
    frozen.update(1000)
    assert torch.equal(frozen.average[0].weight, network[0].weight)
    assert torch.equal(frozen.average[1].weight, network[1].weight) and frozen.average[0].weight._version == 0

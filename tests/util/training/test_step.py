"""A training step: accumulation equals the joined batch; compiled networks compute the same, without graph breaks."""

from __future__ import annotations

import contextlib
import copy
import math
import types
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from models import METHODS
from options.cycle_gan import CycleGANOptions
from util.device import Device, select_device
from util.training.optimizers import Optimizers
from util.training.step import Stepper, train_step

SMALL = {"netG": "resnet_6blocks", "ngf": 4, "ndf": 4, "vgg_weights": "random", "content_layers": ("relu1_2",),
         "self_layers": ("relu1_2",), "self_patch_sizes": (8,), "self_patches": 16, "pool_size": 0}  # fmt: skip


def cycle_gan(**changed: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return METHODS["cycle_gan"](CycleGANOptions(**SMALL | changed))


def images(count: int, height: int = 32, width: int = 40) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "visible": torch.rand(count, 3, height, width, generator=generator) * 2 - 1,
        "infrared": torch.rand(count, 1, height, width, generator=generator) * 2 - 1,
    }


def moved(method: torch.nn.Module, batches: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The terms of one step; the method's weights are moved by it."""
    device = select_device("cpu", "fp32")
    return train_step(method, batches, Optimizers(method.players(), 1e-3, 0.5, None, device), device)


def test_accumulated_batches_move_the_players_as_the_joined_batch_does() -> None:
    # No norm: it would cancel the bias before it, whose gradient is then rounding noise that Adam makes a step of.
    # No self loss: each batch draws its own patches.
    joined = cycle_gan(norm="none", lambda_self=0, lambda_cycle=2.0)
    parts = copy.deepcopy(joined)
    whole = images(4)
    split = [{name: image[i : i + 2] for name, image in whole.items()} for i in (0, 2)]
    one, two = moved(joined, [whole]), moved(parts, split)
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)
    for a, b in zip(joined.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6)
    assert all(p.grad is None for p in parts.parameters()), "nothing is left over for the next step"


def test_the_discriminators_see_generators_that_have_moved_on_all_batches() -> None:
    """The second yield comes after the first player's step, whatever the number of batches."""
    seen: list[float] = []

    class Counting:
        weight = torch.nn.Linear(1, 1, bias=False)

        def updates(self, batch: dict[str, torch.Tensor]):
            yield "a", {"first": (self.weight.weight * batch["x"]).sum()}
            seen.append(self.weight.weight.item())
            yield "a", {"second": (self.weight.weight * batch["x"]).sum()}

    method, device = Counting(), select_device("cpu", "fp32")
    optimizers = Optimizers({"a": method.weight}, 0.1, 0.5, None, device)
    start = method.weight.weight.item()
    terms = train_step(method, [{"x": torch.tensor(1.0)}, {"x": torch.tensor(3.0)}], optimizers, device)
    assert seen == pytest.approx([start - 0.1] * 2), "one step of Adam before either batch goes on"
    assert terms["first"].item() == pytest.approx(2 * start)


FEW_CHANNELS = {
    "cycle_gan": SMALL | {"lambda_identity": 0.5},
    "pix2pix": SMALL | {"netG": "efficientnet_unet", "lambda_self": 1.0, "shift": 4, "norm_D": "spectral"},
    # At 44 pixels the last batch norm has two values, and rounding decides.
    "fusion_gan": {"ngf": 8, "ndf": 2, "patch_size": 76},
    "stdfusion_net": {},
}


@pytest.mark.parametrize("name", METHODS)
def test_a_step_of_compiled_networks_is_the_step_as_written(name: str) -> None:
    """Traced whole: fullgraph makes a graph break an error. The compiler's last stage, which makes machine code, is
    left out: it takes a minute; what is computed anew for the backward pass is chosen as with it."""
    torch.manual_seed(0)
    written = METHODS[name](METHODS[name].Options(**FEW_CHANNELS[name]))
    traced = copy.deepcopy(written)
    for network in traced.networks():
        network.compile(backend="aot_eager_decomp_partition", fullgraph=True)
    batch = images(2, 76, 76)
    batch["mask"] = (batch["infrared"] > 0).float()
    terms = []
    for method in (written, traced):
        torch.manual_seed(1)  # soft labels, patches
        terms.append(moved(method, [batch]))
    assert terms[0].keys() == terms[1].keys()
    for key, term in terms[0].items():
        torch.testing.assert_close(terms[1][key], term, rtol=1e-3, atol=1e-4)
    assert written.state_dict().keys() == traced.state_dict().keys(), "compiled weights are saved under the same names"


class Recorder:
    """Stands in for CUDA graphs on the CPU: notes what runs as written, is recorded and is replayed, on which image."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[tuple[str, float]] = []
        self.mode, self.fails, recorder = "written", False, self
        self.device = replace(select_device("cpu", "fp32"), device=torch.device("cuda", 0))
        self.optimizers = Optimizers({"a": torch.nn.Linear(1, 1)}, 0.1, 0.5, None, select_device("cpu", "fp32"))

        @contextlib.contextmanager
        def record(graph: object, stream: object, capture_error_mode: str) -> Iterator[None]:
            recorder.mode = "recorded"
            yield
            recorder.mode = "written"
            if recorder.fails:
                raise RuntimeError("first line\nsecond line")

        def step(method: object, batches: list, optimizers: Optimizers, device: Device) -> dict[str, torch.Tensor]:
            recorder.log.append((recorder.mode, batches[0]["x"].sum().item()))
            return {"loss": batches[0]["x"].sum()}

        class Graph:
            def replay(graph) -> None:  # noqa: N805
                recorder.log.append(("replayed", recorder.stepper.inputs[0]["x"].sum().item()))
                recorder.stepper.terms["loss"].copy_(recorder.stepper.inputs[0]["x"].sum())

        stream = types.SimpleNamespace(wait_stream=lambda other: None)
        state = types.SimpleNamespace(clone_state=lambda: None, graphsafe_set_state=lambda state: None)
        for name, stand_in in {
            "Stream": lambda device: stream, "current_stream": lambda device: stream, "set_stream": lambda stream: None,
            "stream": lambda stream: contextlib.nullcontext(), "CUDAGraph": Graph, "graph": record,
            "default_generators": [state], "current_device": lambda: 0,
        }.items():  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, stand_in)
        monkeypatch.setattr("util.training.step.train_step", step)
        self.stepper = Stepper(object(), self.optimizers, self.device, True)

    def take(self, *images: float, size: int = 1) -> list[str]:
        """How steps on images of that size ran, whose terms must be theirs."""
        begun = len(self.log)
        for image in images:
            terms = self.stepper.take([{"x": torch.full((size,), image)}])
            assert terms["loss"].item() == size * image
            assert self.log[-1][1] == size * image and self.log[-1][0] != "recorded", (
                "a recorded step is still to be taken"
            )
        return [mode for mode, _ in self.log[begun:]]


def test_a_step_is_recorded_once_and_anew_when_something_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    assert recorder.take(1, 2, 3, 4, 5, 6) == ["written"] * 3 + ["recorded"] + ["replayed"] * 3
    recorder.optimizers.adam["a"].param_groups[0]["lr"] = 0.05
    assert recorder.take(7, 8) == ["recorded", "replayed", "replayed"]
    assert recorder.take(1, 2, 3, 4, size=2) == ["written"] * 3 + ["recorded", "replayed"], "images of another size"
    assert recorder.take(9) == ["written"]


def test_what_cannot_be_recorded_is_no_step_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(monkeypatch)
    recorder.fails = True
    assert recorder.take(1, 2, 3, 4, 5) == ["written"] * 3 + ["recorded", "written", "written"]
    assert capsys.readouterr().out.count("not as a CUDA graph (first line)") == 1


def trained(
    method: torch.nn.Module,
    device: Device,
    replays: bool = False,
    disturbance: float = 0.0,
    fall: int = 5,
    clip: float | None = None,
    accumulate: int = 1,
    side: int = 76,
) -> tuple[dict[str, float], Stepper]:
    """The terms of the last of eight steps, on images that change, with noise of that deviation; the learning rate
    falls after step number `fall`, of 0 to 7. accumulate: batches in a step."""
    torch.manual_seed(1)
    optimizers = Optimizers(method.players(), 1e-4, 0.5, clip, device)
    optimizers.schedule("linear", 0, 3, 50, True)
    stepper = Stepper(method, optimizers, device, replays)
    for seed in range(8):
        batch = {key: device.images(image.roll(seed, -1)) for key, image in images(2, side, side).items()}
        batch["mask"] = (batch["infrared"] > 0).float()
        noise = torch.Generator().manual_seed(4)
        for image in batch.values():
            image += disturbance * torch.randn(image.shape, generator=noise).to(image.device)
        terms = stepper.take([batch] * accumulate)
        if seed == fall:
            optimizers.end_epoch(None)
    return {key: term.item() for key, term in terms.items()}, stepper


def moved_alike(begun: torch.nn.Module, one: torch.nn.Module, two: torch.nn.Module) -> bool:
    """Whether the weights of two copies went about the same way, equally far. Adam moves those without a true gradient,
    as biases before norms, by rounding noise, so single weights cannot be compared."""
    ways = [
        torch.cat([(p - q).double().flatten() for p, q in zip(moved.parameters(), begun.parameters(), strict=True)])
        for moved in (one, two)
    ]
    far = [way.norm().item() for way in ways]
    angle = torch.nn.functional.cosine_similarity(*ways, dim=0).item()
    return angle > 0.95 and far[0] == pytest.approx(far[1], rel=0.03)


REPLAYED = [
    *((name, {}) for name in METHODS),
    ("cycle_gan", {"pool_size": 3}),
    ("pix2pix", {"gan_mode": "wgangp", "norm_D": "instance"}),
]


# By what share terms may differ for rounding alone: FusionGAN's discriminator begins with weights of 1e-3, which steps
# outweigh, so that noise of 1e-6 moved its terms by up to 0.4. Weights tell more.
APART = {"fusion_gan": 1.0}


@pytest.mark.parametrize(("name", "changed"), [("cycle_gan", {"pool_size": 3}), ("fusion_gan", {})])
def test_rounding_does_not_move_the_weights_otherwise_and_another_learning_rate_does(name: str, changed: dict) -> None:
    """So that the next test can be passed, and is not passed by a graph that keeps the learning rate."""
    device = select_device("cpu", "fp32")
    torch.manual_seed(0)
    begun = METHODS[name](METHODS[name].Options(**FEW_CHANNELS[name] | changed))
    one, two, three = (copy.deepcopy(begun) for _ in range(3))
    expected, _ = trained(one, device)
    assert trained(two, device, disturbance=1e-6)[0] == pytest.approx(expected, rel=APART.get(name, 2e-2), abs=1e-3)
    trained(three, device, fall=7)
    assert moved_alike(begun, one, two) and not moved_alike(begun, one, three)


@pytest.mark.cuda
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("name", "changed"), REPLAYED)
def test_steps_replayed_on_cuda_are_the_steps_as_written(
    name: str, changed: dict, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with compiled networks, and with pools and losses that draw at random."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch._dynamo.reset()  # a run compiles in one mode, and what is compiled in all of them together is limited
    device = select_device("cuda", "fp32", "on")
    torch.manual_seed(0)
    begun = device.place(METHODS[name](METHODS[name].Options(**FEW_CHANNELS[name] | changed)))
    written, replayed = copy.deepcopy(begun), copy.deepcopy(begun)
    if compiled:
        device.compile(replayed.networks(), "default")
    expected, _ = trained(written, device)
    terms, stepper = trained(replayed, device, replays=True)
    assert stepper.graph is not None, "it was recorded"
    assert terms == pytest.approx(expected, rel=APART.get(name, 0.3 if compiled else 2e-2), abs=1e-3)
    assert moved_alike(begun, written, replayed)


AS_TRAINED = [
    ("cycle_gan", {"pool_size": 3, "dropout": True}),
    ("pix2pix", {"netG": "efficientnet_unet", "draw_scale": 1.5, "norm_D": "spectral"}),
    ("stdfusion_net", {}),
]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize(("name", "changed"), AS_TRAINED)
def test_what_train_does_by_default_is_recorded(name: str, changed: dict, device: str) -> None:
    """On CUDA, in its precision, with gradients that are clipped and gathered; elsewhere the same steps as written."""
    where = select_device(device, "bf16", "on")
    torch.manual_seed(0)
    method = where.place(METHODS[name](METHODS[name].Options(**FEW_CHANNELS[name] | changed)))
    begun = copy.deepcopy(method)
    terms, stepper = trained(method, where, replays=True, clip=1.0, accumulate=2, side=96)
    assert (stepper.graph is not None) == (device == "cuda")
    assert all(math.isfinite(value) for value in terms.values()) and not moved_alike(begun, begun, method)


@pytest.mark.cuda
def test_what_cannot_be_recorded_runs_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    device = select_device("cuda", "fp32", "on")

    class Waiting:
        weight = torch.nn.Linear(1, 1, bias=False).cuda()

        def updates(self, batch: dict[str, torch.Tensor]):
            loss = (self.weight.weight * batch["x"]).sum() + 0 * torch.rand((), device="cuda")
            yield "a", {"loss": loss * (1 if loss.item() else 2)}

    method = Waiting()
    optimizers = Optimizers({"a": method.weight}, 0.1, 0.5, None, device)
    stepper, before = Stepper(method, optimizers, device, True), method.weight.weight.item()
    for _ in range(6):
        stepper.take([{"x": torch.ones(1, device="cuda")}])
    assert "not as a CUDA graph" in capsys.readouterr().out and stepper.graph is None
    assert method.weight.weight.item() == pytest.approx(before - 0.6, abs=1e-3), "no step is lost or taken twice"

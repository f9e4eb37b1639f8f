"""Networks: parameter counts of the reference, shapes at any size, gradients in both memory layouts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from models.blocks import InstanceNorm2d, bilateral, conv_before, initialise, run_padded
from models.discriminators import make_discriminator
from models.generators import ResNetGenerator, make_generator
from options.translation import TranslationOptions

GENERATORS = ("resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet_9blocks", 11_378_179), ("resnet_6blocks", 7_837_699),
                             ("unet_256", 54_409_603), ("unet_128", 41_825_667)]
)  # fmt: skip
def test_generator_parameters_equal_the_reference(name: str, parameters: int) -> None:
    assert count(make_generator(name, 3, 3, 64, "instance", False, "transpose")) == parameters


def test_discriminator_parameters_equal_the_reference() -> None:
    assert count(make_discriminator(TranslationOptions(), 3)) == 2_764_737
    assert count(make_discriminator(TranslationOptions(netD="n_layers", n_layers_D=3), 3)) == 2_764_737


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_generators_keep_any_size(name: str, upsample: str, norm: str) -> None:
    network = make_generator(name, 3, 1, 2, norm, True, upsample).eval()
    with torch.no_grad():
        for height, width in ((64, 48), (37, 50), (1, 1), (32, 32)):
            made = network(torch.rand(1, 3, height, width) * 2 - 1)
            assert made.shape == (1, 1, height, width) and made.abs().max() <= 1


@pytest.mark.parametrize(("name", "shape"), [("basic", (6, 4)), ("pixel", (64, 48)), ("n_layers", (2, 1))])
def test_discriminators_give_logits_of_patches(name: str, shape: tuple[int, int]) -> None:
    network = make_discriminator(TranslationOptions(netD=name, ndf=4, n_layers_D=4), 1)
    assert network(torch.rand(2, 1, 64, 48)).shape == (2, 1, *shape)


def test_padding_is_cut_off_again_and_needless_padding_not_done() -> None:
    x = torch.rand(1, 2, 5, 7)
    seen = []
    assert torch.equal(run_padded(lambda y: seen.append(y.shape) or y, x, 4), x)
    assert seen == [(1, 2, 8, 8)]
    assert torch.equal(run_padded(lambda y: seen.append(y.shape) or y, x, 1), x) and seen[1] == x.shape
    assert run_padded(lambda y: y, torch.rand(1, 1, 2, 2), 16).shape == (1, 1, 2, 2)


def gradients(network: nn.Module, x: torch.Tensor, layout: torch.memory_format) -> list[torch.Tensor]:
    network.zero_grad()
    network.to(memory_format=layout)
    y = network(x.contiguous(memory_format=layout))
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype, device=y.device).view_as(y)
    (y * weight.contiguous(memory_format=layout)).sum().backward()
    return [p.grad.clone().contiguous() for p in network.parameters() if p.grad is not None]


def layouts_agree(device: str) -> None:
    torch.manual_seed(0)
    for n in (1, 2):
        network = ResNetGenerator(3, 1, 4, 2).to(device, torch.float64)
        initialise(network, "normal", 0.2)
        x = torch.rand(n, 3, 20, 28, dtype=torch.float64, device=device)
        one = gradients(network, x, torch.contiguous_format)
        two = gradients(network, x, torch.channels_last)
        for a, b in zip(one, two, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_gradients_agree_in_both_memory_layouts() -> None:
    """PyTorch's own instance norm fails this on the CPU at batch 1."""
    layouts_agree("cpu")


@pytest.mark.cuda
def test_gradients_agree_in_both_memory_layouts_on_cuda() -> None:
    layouts_agree("cuda")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("n", [1, 2])
def test_instance_norm_and_its_gradient_are_the_formula(n: int, layout: torch.memory_format, compiled: bool) -> None:
    torch.manual_seed(0)
    norm = InstanceNorm2d(3)
    if compiled:
        torch.compiler.reset()
        norm.compile(backend="aot_eager", fullgraph=True)
    x = torch.rand(n, 3, 5, 4).contiguous(memory_format=layout).requires_grad_()
    weight = torch.rand(n, 3, 5, 4).contiguous(memory_format=layout)

    def formula(y: torch.Tensor) -> torch.Tensor:
        centred = y - y.mean((2, 3), keepdim=True)
        return centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()

    made = norm(x)
    (made * weight).sum().backward()
    (expected,) = torch.autograd.grad((formula(x) * weight).sum(), x)
    torch.testing.assert_close(made, formula(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad, expected, rtol=1e-4, atol=1e-5)
    if n == 1 or compiled:
        assert made.is_contiguous(memory_format=layout), "images stay in their layout"


@pytest.mark.parametrize("upwards", [False, True])
def test_a_bias_before_an_instance_norm_changes_nothing_and_is_not_computed(upwards: bool) -> None:
    torch.manual_seed(0)
    ours = conv_before("instance", 3, 5, 3, 2, 1, upwards)
    theirs = conv_before("none", 3, 5, 3, 2, 1, upwards)
    nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict())
    x, norm = torch.rand(2, 3, 8, 6), InstanceNorm2d(5)
    made = norm(ours(x))
    assert made.shape == ((2, 5, 16, 12) if upwards else (2, 5, 4, 3))
    torch.testing.assert_close(made, norm(theirs(x)), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours(x), theirs(x), atol=1e-2)
    made.square().sum().backward()
    assert ours.bias.grad is None and ours.weight.grad is not None


@pytest.mark.parametrize("kind", ["normal", "xavier", "kaiming", "orthogonal"])
def test_initial_weights(kind: str) -> None:
    torch.manual_seed(0)
    network = make_generator("resnet_6blocks", 3, 1, 8, "batch", False, "transpose")
    initialise(network, kind, 0.02)
    convolution = network.body[1]
    if kind == "normal":
        assert abs(convolution.weight.std().item() - 0.02) < 0.002
    else:
        assert convolution.weight.std() > 0
    assert not network.body[-2].bias.any()


def test_the_bilateral_filter_takes_grain_and_leaves_edges() -> None:
    step = torch.where(torch.arange(40) < 20, -0.5, 0.5).expand(2, 1, 30, 40)
    torch.testing.assert_close(bilateral(step, 1.5, 16.0), step, msg="no pixel beyond an edge counts")
    grain = 4 / 127.5 * torch.randn(step.shape, generator=torch.Generator().manual_seed(0))
    left = bilateral(step + grain, 1.5, 16.0) - step
    assert left.std() < 0.55 * grain.std() and left.abs().max() < 16 / 127.5
    ramp = torch.linspace(-1, 1, 40).expand(1, 1, 30, 40)
    torch.testing.assert_close(bilateral(ramp, 1.5, 16.0)[..., 2:-2], ramp[..., 2:-2], msg="a slope stays a slope")


def test_the_bilateral_filter_equals_its_sum_at_a_pixel() -> None:
    images = torch.rand(1, 1, 7, 9, generator=torch.Generator().manual_seed(0)) * 0.4
    total = weights = 0.0
    middle = images[0, 0, 3, 4].item()
    for down in range(-2, 3):
        for right in range(-2, 3):
            there = images[0, 0, 3 + down, 4 + right].item()
            alike = max(0.0, 1 - ((there - middle) * 127.5 / 16) ** 2) ** 2
            weight = alike * math.exp(-(down**2 + right**2) / (2 * 1.5**2))
            total, weights = total + weight * there, weights + weight
    assert bilateral(images, 1.5, 16.0)[0, 0, 3, 4].item() == pytest.approx(total / weights, abs=1e-6)


def test_an_efficientnet_unet_smooths_what_it_made_but_not_in_training() -> None:
    generator = make_generator("efficientnet_unet", 3, 1, 2, "instance", False, "resize")
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        raw, smooth = generator.train()(images), generator.eval()(images)
    torch.testing.assert_close(smooth, bilateral(raw, *generator.GRAIN))
    assert (raw - smooth).abs().max() > 1e-3

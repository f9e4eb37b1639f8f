"""One pass over what stands between two convolutions: the same as the layers one by one, and so is its gradient."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models import fused
from models.discriminators import make_discriminator
from models.generators import make_generator
from models.losses import gradient_penalty
from options.translation import TranslationOptions

ROOT = Path(__file__).parents[2]
LAST = torch.channels_last
SHAPES = ((2, 8, 5, 7), (1, 24, 4, 9))
SETTINGS: tuple[dict[str, Any], ...] = (
    {"eps": 1e-5},
    {"eps": 1e-5, "slope": 0.2},
    {"eps": 1e-5, "slope": 0.0, "pad": 1},
    {"eps": 1e-5, "slope": 0.0, "pad": 3},
    {"eps": 1e-5, "slope": 0.0, "up": 2, "pad": 1},
    {"slope": 0.0, "up": 2},
    {"up": 2, "pad": 1},
    {"pad": 2},
)


def compare(device: str, dtype: torch.dtype, tolerance: float, *larger: tuple[int, ...]) -> None:
    """Beside float64, where channels lie far from 0. Which side of a ReLU's kink a number as near to it as rounding is
    falls on, nobody can say: its copies have no weight in the gradient."""
    torch.manual_seed(0)
    for i, settings in enumerate(SETTINGS):
        for shape in (SHAPES[i % len(SHAPES)], *larger):
            exact = (3 * torch.randn(shape) + 4 * torch.randn(1, shape[1], 1, 1)).to(dtype).double().requires_grad_()
            x = exact.detach().to(device, dtype).contiguous(memory_format=LAST).requires_grad_()
            expected, made = fused.one_by_one(exact, **settings), fused.run(x, **settings)
            normed = fused.one_by_one(exact, settings.get("eps"))
            clear = (normed.abs() > 1e-4).double()
            where = {name: settings[name] for name in ("up", "pad") if name in settings}
            weight = (torch.randn_like(expected) * fused.one_by_one(clear, **where)).to(dtype)
            (of_exact,) = torch.autograd.grad(expected, exact, weight.double())
            (of_x,) = torch.autograd.grad(made, x, weight.to(device))
            assert made.dtype == of_x.dtype == dtype and made.is_contiguous(memory_format=LAST), settings
            for ours, theirs in ((made, expected), (of_x, of_exact)):
                torch.testing.assert_close(ours.double().cpu(), theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(fused.triton is None, reason="Triton is not installed")
def test_a_pass_is_its_layers_one_by_one() -> None:
    """By Triton's interpreter, which runs kernels on the CPU where it is asked for before they are defined."""
    run = [sys.executable, "-m", "tests.models.test_fused"]
    done = subprocess.run(run, cwd=ROOT, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(fused.triton is None, reason="Triton is not installed")
@pytest.mark.parametrize(("capability", "up", "pad"), [(80, 1, 0), (90, 2, 1)])
def test_the_kernels_are_built_for_a_gpu_that_is_not_here(capability: int, up: int, pad: int) -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    switches = {"NORM": True, "ACT": True, "UP": up, "PAD": pad, "STORE": up > 1, "WIDE": 32, "BLOCK": 64}
    floats = {"eps": "fp32", "slope": "fp32"} | dict.fromkeys(("parts", "sums", "products"), "*fp32")
    types = floats | dict.fromkeys(("x", "y", "gradient", "of_x"), "*bf16")
    kernels = fused._sums_kernel, fused._apply_kernel, fused._gather_kernel, fused._norm_gradient_kernel
    for kernel in kernels:
        names = kernel.arg_names
        signature = {name: "constexpr" if name in switches else types.get(name, "i32") for name in names}
        constants = {(i,): switches[name] for i, name in enumerate(names) if name in switches}
        built = fused.triton.compile(
            ASTSource(kernel, signature, constants),
            target=GPUTarget("cuda", capability, 32),
            options={"num_warps": fused.WARPS},
        )
        assert built.asm["cubin"] and f"sm_{capability}" in built.asm["ptx"]


def test_nothing_gives_nothing_of_the_right_size() -> None:
    """Tiles stop there once a norm of theirs is measured."""
    assert fused.run(torch.zeros(0, 8, 4, 5), eps=1e-5, slope=0.0, up=2, pad=1).shape == (0, 8, 10, 12)


@pytest.mark.cuda
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 6e-2), (torch.float16, 1e-2)])
def test_a_pass_is_its_layers_one_by_one_on_cuda(dtype: torch.dtype, tolerance: float) -> None:
    assert fused.works(torch.device("cuda", 0), dtype)
    compare("cuda", dtype, tolerance, (2, 130, 40, 70), (3, 64, 96, 33))


NETWORKS = {
    "resnet": (lambda: make_generator("resnet_6blocks", 3, 1, 8, "instance", False, "resize"), 24),
    "resnet, transposed": (lambda: make_generator("resnet_6blocks", 3, 1, 8, "instance", True, "transpose"), 29),
    "unet": (lambda: make_generator("unet_128", 3, 1, 8, "instance", False, "resize"), 18),
    "efficientnet": (lambda: make_generator("efficientnet_unet", 3, 1, 8, "instance", False, "resize"), 16),
    "discriminator": (lambda: make_discriminator(TranslationOptions(ndf=8), 3), 3),
    "discriminator, weights normalised": (
        lambda: make_discriminator(TranslationOptions(ndf=8, norm_D="spectral"), 3), 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_join_what_stands_between_their_convolutions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, count = NETWORKS[name]
    torch.manual_seed(0)
    network, x = make().eval(), torch.rand(2, 3, 128, 128) * 2 - 1
    alone = [module for module in network.modules() if isinstance(module, (nn.InstanceNorm2d, nn.ReflectionPad2d))]
    expected, passes, ran = network(x), [], []

    def run(y: torch.Tensor, **settings: Any) -> torch.Tensor:
        passes.append(settings)
        return fused.one_by_one(y, **settings)

    monkeypatch.setattr(fused, "fits", lambda y: y.shape[1] >= fused.LEAST_CHANNELS)
    monkeypatch.setattr(fused, "run", run)
    for module in alone:
        module.register_forward_pre_hook(lambda module, inputs: ran.append(inputs[0].shape[1]))
    torch.testing.assert_close(network(x), expected)
    assert all(channels < fused.LEAST_CHANNELS for channels in ran), "no norm and no border is left to run by itself"
    assert len(passes) == count


def test_where_the_kernels_do_not_work_a_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_something_else(x: torch.Tensor, **settings: Any) -> torch.Tensor:
        return fused.one_by_one(x, **settings | {"slope": 0.1})

    monkeypatch.setattr(fused, "run", fused.one_by_one)
    assert fused.works.__wrapped__(torch.device("cpu"), torch.float32)
    monkeypatch.setattr(fused, "run", of_something_else)
    with pytest.warns(UserWarning, match="something else"):
        assert not fused.works.__wrapped__(torch.device("cpu"), torch.float32)
    monkeypatch.setattr(fused, "run", None)
    with pytest.warns(UserWarning, match="not callable"), torch.inference_mode():
        assert not fused.works.__wrapped__(torch.device("cpu"), torch.float32)


def test_what_is_differentiated_twice_runs_as_it_is_written() -> None:
    seen = []

    def discriminator(image: torch.Tensor) -> torch.Tensor:
        seen.append(fused._as_written)
        return image.square()

    gradient_penalty(discriminator, torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4))
    assert seen == [True] and not fused._as_written


@pytest.mark.cuda
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_on_cuda_are_as_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # which makes much of rounding
    assert fused.works(torch.device("cuda", 0), torch.float32)  # once a process, by a pass that is not the network's
    make, count = NETWORKS[name]
    run, passes = fused.run, []
    monkeypatch.setattr(fused, "run", lambda x, **settings: passes.append(settings) or run(x, **settings))
    torch.manual_seed(0)
    network = make().eval().cuda().to(memory_format=LAST)
    x = (torch.rand(2, 3, 128, 128) * 2 - 1).cuda().contiguous(memory_format=LAST)
    results = []
    for written in (False, True):
        part = copy.deepcopy(network)
        with fused.as_written() if written else torch.enable_grad():
            made = part(x)
        made.float().square().mean().backward()
        results.append([made, *(p.grad for p in part.parameters() if p.grad is not None)])
    assert len(passes) == count
    for one, two in zip(*results, strict=True):
        # As a whole: rounding alone moves single ones of a U-Net's, whose inner norms are over four pixels, by 8 %.
        assert (one - two).norm() <= 6e-2 * two.norm() + 1e-6


if __name__ == "__main__":
    fused.TILE, fused.CHANNELS, fused.PROGRAMS = 128, 16, 6  # several tiles a row, several programs an image
    compare("cpu", torch.float32, 2e-5)
    assert all(fused.works(torch.device("cpu"), dtype) for dtype in (torch.float32, torch.bfloat16))

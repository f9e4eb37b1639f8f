"""STDFusionNet: the network against TensorFlow's own output, the loss against an obvious one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from models.convert.tensorflow import stdfusion_net_from_tf
from models.convert.tf_checkpoint import read
from models.losses import laplacian, multiscale_fusion, salient_target_loss, sobel_gradient
from models.stdfusion_net import STDFusionNet
from options.stdfusion_net import STDFusionNetOptions
from tests.conftest import SHARED

DATA = SHARED / "stdfusionnet"
TINY = STDFusionNetOptions(ngf=4)


def small_batch(height: int = 20, width: int = 13, channels: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> torch.Tensor:
        return torch.rand(2, count, height, width, generator=generator)

    return {"visible": 2 * draw(channels) - 1, "infrared": 2 * draw(1) - 1, "mask": draw(1)}


def slow_derivative(image: np.ndarray, kernel: list[list[float]]) -> np.ndarray:
    """[H, W], zero outside, as a correlation written out."""
    height, width = image.shape
    result = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            for i in range(3):
                for j in range(3):
                    row, column = y + i - 1, x + j - 1
                    if 0 <= row < height and 0 <= column < width:
                        result[y, x] += kernel[i][j] * image[row, column]
    return result


def slow_sobel(image: np.ndarray) -> np.ndarray:
    x = slow_derivative(image, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    y = slow_derivative(image, [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    return abs(x) + abs(y)


def test_parameter_count() -> None:
    network = STDFusionNet.network(STDFusionNetOptions())
    assert sum(p.numel() for p in network.parameters()) == 282_513


def test_released_weights_give_tensorflows_output() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not here")
    options, state = stdfusion_net_from_tf(read(DATA / "tf_checkpoint" / "Fusion.model-29"))
    network = STDFusionNet.network(options)
    network.load_state_dict(state)
    expected = np.load(DATA / "tf_reference_outputs.npz")["05"]
    visible, infrared = (
        torch.from_numpy(np.asarray(Image.open(DATA / "test" / kind / "05.png").convert("L"), np.float32))
        for kind in ("vi", "ir")
    )
    with torch.no_grad():
        fused = network(visible[None, None] / 127.5 - 1, infrared[None, None] / 127.5 - 1)
    np.testing.assert_allclose(fused[0, 0].numpy(), expected, rtol=0, atol=1e-5)


def test_derivatives() -> None:
    image = torch.randn(9, 14, dtype=torch.float64).float()
    np.testing.assert_allclose(sobel_gradient(image).numpy(), slow_sobel(image.numpy()), atol=1e-5)
    expected = slow_derivative(image.numpy(), [[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    np.testing.assert_allclose(laplacian(image).numpy(), expected, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(sobel_gradient(image[None, None])[0, 0], sobel_gradient(image))


def test_loss() -> None:
    batch = small_batch()
    visible = batch["visible"][:, :1]
    fused = torch.tanh(torch.randn_like(visible))
    terms = salient_target_loss(fused, visible, batch["infrared"], batch["mask"])
    expected = dict.fromkeys(terms, 0.0)
    for f, v, i, m in zip(
        *(x[:, 0].double().numpy() for x in (fused, visible, batch["infrared"], batch["mask"])), strict=True
    ):
        expected["background_intensity"] += ((1 - m) * abs(f - v)).mean() / 2
        expected["target_intensity"] += (m * abs(f - i)).mean() / 2
        expected["background_gradient"] += ((1 - m) * abs(slow_sobel(f) - slow_sobel(v))).mean() / 2
        expected["target_gradient"] += (m * abs(slow_sobel(f) - slow_sobel(i))).mean() / 2
    for name, value in terms.items():
        assert value.item() == pytest.approx(expected[name], rel=1e-5), name


def test_updates_are_the_loss_weighted() -> None:
    method, batch = STDFusionNet(TINY), small_batch()
    ((player, terms),) = method.updates(batch)
    assert player == "fuser"
    assert player in method.players()
    luminance = (batch["visible"] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    plain = salient_target_loss(method.fuser(luminance, batch["infrared"]), luminance, batch["infrared"], batch["mask"])
    for name, value in plain.items():
        torch.testing.assert_close(terms[name], value * (7 if name.startswith("target") else 1))
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.fuser.parameters())


def test_one_channel_visible_and_any_size() -> None:
    method, batch = STDFusionNet(TINY), small_batch(7, 31, channels=1)
    shown = method.preview(method.fuser, batch)
    assert set(shown) == {"visible", "infrared", "mask", "fused"} and shown["fused"].shape == (2, 1, 7, 31)


@pytest.mark.parametrize("init", ["kaiming", "truncated_normal"])
def test_both_initial_weights_and_training_lowers_the_loss(init: str) -> None:
    torch.manual_seed(0)
    method = STDFusionNet(STDFusionNetOptions(ngf=4, init=init, init_std=0.1))
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    batch = small_batch(24, 16)
    losses = []
    for _ in range(15):
        ((_, terms),) = method.updates(batch)
        loss = sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.97 * losses[0]


def test_paper_and_code_differ_in_the_decoder_only() -> None:
    batch = small_batch()
    torch.manual_seed(0)
    code = STDFusionNet(TINY)
    paper = STDFusionNet(STDFusionNetOptions(ngf=4, decoder_activation="leaky_relu"))
    paper.load_state_dict(code.state_dict())
    fused = [method.preview(method.fuser, batch)["fused"] for method in (code, paper)]
    assert not torch.allclose(*fused)


@pytest.mark.parametrize("wrong", [{"ngf": 0}, {"init_std": 0.0}, {"lambda_target": float("nan")}])
def test_options_have_limits(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"--{next(iter(wrong))}"):
        STDFusionNetOptions(**wrong)


def slow_multiscale(visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """Classic fusion of [H, W] float64 images in [-1, 1], by SciPy's correlation with the kernel written out."""

    def smooth(image: np.ndarray, step: int = 1) -> np.ndarray:
        taps = np.zeros(4 * step + 1)
        taps[::step] = np.array([1, 4, 6, 4, 1]) / 16
        return ndimage.correlate(image, np.outer(taps, taps), mode="nearest")

    fused = np.zeros_like(visible)
    for step, gain in ((1, 1.2), (2, 1.12), (4, 1.07)):
        below = smooth(visible, step), smooth(infrared, step)
        fine = visible - below[0], infrared - below[1]
        fused += gain * np.where(1.5 * smooth(abs(fine[0])) > smooth(abs(fine[1])), *fine)
        visible, infrared = below
    hot = np.clip((infrared - (90 / 127.5 - 1)) / (60 / 127.5), 0, 1)
    return np.clip(visible + hot * np.maximum(infrared - visible, 0) + fused, -1, 1)


def test_classic_fusion_is_that_of_its_definition() -> None:
    random = np.random.default_rng(0)
    visible, infrared = (ndimage.gaussian_filter(random.normal(size=(37, 46)), 1.5) * 2 for _ in range(2))
    expected = slow_multiscale(visible.clip(-1, 1), infrared.clip(-1, 1))
    images = [torch.from_numpy(image.clip(-1, 1))[None, None].float() for image in (visible, infrared)]
    np.testing.assert_allclose(multiscale_fusion(*images)[0, 0].numpy(), expected, atol=1e-5)


def test_classic_fusion_keeps_what_is_hot_and_what_the_mask_names() -> None:
    visible, infrared, mask = (torch.full((1, 1, 48, 48), level) for level in (0.1, -0.6, 0.0))
    infrared[..., 16:32, 16:32] = 0.8
    fused = multiscale_fusion(visible, infrared)
    assert fused[..., 20:28, 20:28].min() > 0.7 and (fused[..., :4, :4] - 0.1).abs().max() < 0.01
    infrared[..., 16:32, 16:32] = 0.15  # warm, hardly above the visible image: the mask alone tells
    mask[..., 16:32, 16:32] = 1
    unmasked, masked = multiscale_fusion(visible, infrared), multiscale_fusion(visible, infrared, mask)
    assert masked[..., 22:26, 22:26].mean() >= unmasked[..., 22:26, 22:26].mean()


def test_a_network_learns_classic_fusion_alone_if_asked() -> None:
    options = replace(TINY, lambda_background=0.0, lambda_target=0.0, lambda_multiscale=1.0)
    method, batch = STDFusionNet(options), small_batch()
    ((_, terms),) = method.updates(batch)
    assert list(terms) == ["multiscale"]
    terms["multiscale"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.fuser.parameters())
    with pytest.raises(ValueError, match="all 0"):
        replace(TINY, lambda_background=0.0, lambda_target=0.0)

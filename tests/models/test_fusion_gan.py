"""FusionGAN: its networks against slow ones, its order of updates, spectral normalisation, resuming."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.blocks import spectrally_normalised
from models.convert.tensorflow import fusion_gan_from_tf
from models.fusion_gan import FusionGAN
from models.losses import laplacian, multiscale_fusion, multiscale_loss, soft_label_loss
from options.fusion_gan import FusionGANOptions
from tests.checkpoint_writer import made_fusion_gan
from tests.training_fixtures import yields

TINY = FusionGANOptions(ngf=8, ndf=2, patch_size=44)


def small_batch(side: int = 44, count: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "visible": 2 * torch.rand(count, 3, side, side, generator=generator) - 1,
        "infrared": 2 * torch.rand(count, 1, side, side, generator=generator) - 1,
    }


def train(method: FusionGAN, optimizers: dict[str, torch.optim.Optimizer], steps: int) -> list[str]:
    """What the training loop does, without its conveniences."""
    order, players = [], method.players()
    for _ in range(steps):
        for player, terms in method.updates(small_batch()):
            parameters = list(players[player].parameters())
            optimizers[player].zero_grad()
            sum(terms.values()).backward(inputs=parameters)
            optimizers[player].step()
            order.append(player)
    return order


def adams(method: FusionGAN) -> dict[str, torch.optim.Optimizer]:
    return {name: torch.optim.Adam(player.parameters(), lr=1e-3) for name, player in method.players().items()}


def slow_generator(
    arrays: dict[str, np.ndarray], visible: np.ndarray, infrared: np.ndarray, as_released: bool
) -> np.ndarray:
    """[H, W] twice -> [H, W], in float64, from TensorFlow's arrays, written out layer by layer."""
    x = np.stack([infrared, visible], -1).astype(np.float64)
    x = np.pad(x, ((6, 6), (6, 6), (0, 0)), mode="edge")
    for i in range(1, 6):
        layer = f"fusion_model/layer{i}"
        w = arrays[f"{layer}/w{i}"].astype(np.float64)
        if not as_released:
            matrix, u = w.reshape(-1, w.shape[-1]), arrays[f"{layer}/weights_SN/u"].astype(np.float64)
            v = u @ matrix.T
            v /= np.linalg.norm(v)
            w = w / np.linalg.norm(v @ matrix)
        size = w.shape[0]
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
        x = np.einsum("hwcij,ijco->hwo", windows, w) + arrays[f"{layer}/b{i}"]
        if i == 5:
            break
        if as_released:
            x = (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5)
        else:
            norm = {
                name: arrays[f"{layer}/BatchNorm/{name}"]
                for name in ("moving_mean", "moving_variance", "gamma", "beta")
            }
            x = (x - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-5) * norm["gamma"] + norm["beta"]
        x = np.maximum(x, 0.2 * x)
    return np.tanh(x[..., 0])


def test_parameter_counts() -> None:
    method = FusionGAN(FusionGANOptions())
    assert sum(p.numel() for p in method.generator.parameters()) == 925_633
    assert sum(p.numel() for p in method.discriminator.parameters()) == 397_953
    assert method.discriminator.last.in_features == 6 * 6 * 256


@pytest.mark.parametrize("as_released", [False, True])
def test_generator_is_the_published_one(as_released: bool) -> None:
    arrays = made_fusion_gan(16)
    options, state = fusion_gan_from_tf(arrays, as_released)
    network = FusionGAN.network(options)
    network.load_state_dict(state)
    network.eval()
    visible, infrared = torch.rand(2, 2, 1, 17, 22) * 2 - 1
    with torch.no_grad():
        fused = network(visible, infrared)
    for i in range(2):
        expected = slow_generator(arrays, visible[i, 0].numpy(), infrared[i, 0].numpy(), as_released)
        np.testing.assert_allclose(fused[i, 0].numpy(), expected, atol=2e-5)


def test_patches_shrink_and_images_do_not() -> None:
    method, batch = FusionGAN(TINY).eval(), small_batch(30)
    visible, infrared = batch["visible"][:, :1, :, :23], batch["infrared"][..., :23]
    whole = method.generator(visible, infrared)
    patch = method.generator(visible, infrared, padded=False)
    assert whole.shape == (3, 1, 30, 23)
    torch.testing.assert_close(whole[..., 6:-6, 6:-6], patch)
    assert method.preview(method.generator, batch)["fused"].shape == (3, 1, 30, 30)
    assert method.generator(visible[..., :5, :1], infrared[..., :5, :1]).shape == (3, 1, 5, 1)


def test_two_steps_of_the_discriminator_for_one_of_the_generator() -> None:
    method = FusionGAN(FusionGANOptions(ngf=8, ndf=2, patch_size=44, critic_steps=3))
    order = train(method, adams(method), 2)
    assert order == (3 * ["discriminator"] + ["generator"]) * 2
    assert FusionGANOptions().critic_steps == 2


def test_each_step_moves_its_player_only() -> None:
    assert yields(FusionGAN(TINY), small_batch())[-1][0] == "generator"


def test_generator_terms() -> None:
    torch.manual_seed(0)
    method, batch = FusionGAN(TINY), small_batch()
    *_, (player, terms) = method.updates(batch)
    assert player == "generator"
    method.generator.load_state_dict(before := copy.deepcopy(method.generator.state_dict()))
    assert before.keys() == method.generator.state_dict().keys()
    luminance = (batch["visible"] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    fused = method.generator(luminance, batch["infrared"], padded=False)
    visible, infrared = luminance[..., 6:38, 6:38], batch["infrared"][..., 6:38, 6:38]
    intensity = 100 * ((fused - infrared) ** 2).mean()
    edges = 500 * ((laplacian(fused) - laplacian(visible)) ** 2).mean()
    torch.testing.assert_close(terms["intensity"], intensity, rtol=1e-2, atol=0)  # u has moved one iteration
    torch.testing.assert_close(terms["laplacian"], edges, rtol=1e-2, atol=0)


def test_a_generator_learns_classic_fusion_of_the_whole_patch_if_asked() -> None:
    method, batch = FusionGAN(replace(TINY, lambda_content=0.0, lambda_multiscale=2.0)), small_batch()
    *_, (_, terms) = method.updates(batch)
    assert set(terms) == {"adv", "multiscale"}
    luminance = (batch["visible"] * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    wanted = multiscale_fusion(luminance, batch["infrared"])[..., 6:38, 6:38]
    fused = method.generator(luminance, batch["infrared"], padded=False)
    expected = 2 * multiscale_loss(fused, wanted)
    torch.testing.assert_close(terms["multiscale"], expected, rtol=1e-2, atol=0)  # u has moved one iteration
    with pytest.raises(ValueError, match="both 0"):
        replace(TINY, lambda_content=0.0)


def test_soft_labels_are_drawn_for_each_sample() -> None:
    torch.manual_seed(0)
    loss = soft_label_loss(torch.full((20_000, 1), 0.3), 0.7, 1.2)
    width, middle = 0.5, 0.95 - 0.3
    assert loss.item() == pytest.approx(middle**2 + width**2 / 12, rel=0.01)
    assert soft_label_loss(torch.ones(2, 1), 1.0, 1.0).item() == 0


def test_spectral_norm_becomes_one() -> None:
    torch.manual_seed(0)
    weight, u = torch.randn(6, 3, 2, 2, requires_grad=True), F.normalize(torch.randn(6), dim=0)
    start = u.clone()
    spectrally_normalised(weight, u, update=False)
    assert torch.equal(u, start)
    for _ in range(100):
        normalised = spectrally_normalised(weight, u, update=True)
    assert torch.linalg.matrix_norm(normalised.detach().flatten(1), 2).item() == pytest.approx(1, abs=1e-4)
    # Where u has converged, the gradient is that of weight over its true norm.
    probe = torch.randn_like(weight)
    (ours,) = torch.autograd.grad((normalised * probe).sum(), weight)
    (true,) = torch.autograd.grad((weight / torch.linalg.matrix_norm(weight.flatten(1), 2) * probe).sum(), weight)
    torch.testing.assert_close(ours, true, atol=1e-4, rtol=1e-3)


def test_spectral_norm_is_exact_under_autocast() -> None:
    weight, u = torch.randn(6, 8, 3, 3), F.normalize(torch.randn(6), dim=0)
    plain = spectrally_normalised(weight, u, update=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(spectrally_normalised(weight, u, update=False), plain)
        method = FusionGAN(TINY)
        for _, terms in method.updates(small_batch()):
            assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())


def test_stop_and_resume_is_bit_identical() -> None:
    torch.manual_seed(0)
    whole = FusionGAN(TINY)
    optimizers = adams(whole)
    train(whole, optimizers, 2)
    state = copy.deepcopy({name: part.state_dict() for name, part in whole.saved().items()})
    moments = copy.deepcopy({name: optimizer.state_dict() for name, optimizer in optimizers.items()})
    random = torch.get_rng_state()
    train(whole, optimizers, 2)
    resumed = FusionGAN(TINY)
    for name, part in resumed.saved().items():
        part.load_state_dict(state[name])
    optimizers = adams(resumed)
    for name, optimizer in optimizers.items():
        optimizer.load_state_dict(moments[name])
    torch.set_rng_state(random)
    train(resumed, optimizers, 2)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_image_statistics_do_not_mix_images() -> None:
    method = FusionGAN(FusionGANOptions(ngf=8, ndf=2, patch_size=44, bn_statistics="image")).eval()
    batch = small_batch(20)
    visible, infrared = batch["visible"][:, :1], batch["infrared"]
    together = method.generator(visible, infrared)
    torch.testing.assert_close(together[1:2], method.generator(visible[1:2], infrared[1:2]))


@pytest.mark.parametrize(
    "wrong", [{"ngf": 4}, {"critic_steps": 0}, {"patch_size": 42}, {"lambda_content": float("nan")}]
)
def test_options_have_limits(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"--{next(iter(wrong))}"):
        FusionGANOptions(**wrong)

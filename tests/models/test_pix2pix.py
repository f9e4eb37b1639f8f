"""pix2pix: who is trained, what is lowered, its networks, and the generator on ImageNet's encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models.efficientnet import WIDTHS
from models.generators import (
    EfficientNetUNetGenerator,
    OneDirection,
    brightened,
    exposure,
    load_encoder,
    make_generator,
)
from models.inference.trained import load_initial
from models.inference.translator import Translator
from models.pix2pix import Pix2Pix
from options.pix2pix import Pix2PixOptions
from tests.models.test_cycle_gan import batch
from tests.training_fixtures import yields
from util.command_line import to_dict
from util.device import select_device
from util.training.optimizers import Optimizers
from util.training.state import save_weights
from util.training.step import train_step

SMALL = {"netG": "resnet_6blocks", "ngf": 4, "ndf": 4, "vgg_weights": "random", "content_layers": ("relu1_2",),
         "self_layers": ("relu1_2",), "self_patch_sizes": (8,), "self_patches": 16}  # fmt: skip


def make(**changes: object) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(Pix2PixOptions(**SMALL | changes))


def test_each_yield_moves_only_its_player() -> None:
    method = make(lambda_self=1.0, shift=4, norm_D="spectral")
    assert yields(method, batch(2)) == [
        ("generator", {"gan", "L1", "correlation", "content", "self"}),
        ("discriminator", {"real", "fake"}),
    ]


def test_without_adversarial_loss_there_is_no_discriminator_to_train_or_save() -> None:
    method = make(lambda_gan=0.0, lambda_content=0.0, lambda_correlation=0.0)
    assert set(method.players()) == {"generator"} and method.vgg is None
    ((player, terms),) = method.updates(batch())
    with torch.no_grad():
        expected = 10 * (method.generator(batch()["visible"]) - batch()["infrared"]).abs().mean()
    assert player == "generator" and terms["L1"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_discriminator_sees_both_images() -> None:
    method = make()
    first = next(module for module in method.discriminator.modules() if isinstance(module, torch.nn.Conv2d))
    assert first.in_channels == 4


@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "hinge", "wgangp"])
def test_every_adversarial_loss_trains(mode: str) -> None:
    for _, terms in make(gan_mode=mode, pool_size=2).updates(batch(2)):
        sum(terms.values()).backward()
        assert all(torch.isfinite(term) for term in terms.values())


def test_the_papers_setting_is_a_setting() -> None:
    options = Pix2PixOptions(netG="unet_256", ngf=64, norm="batch", dropout=True, upsample="transpose",
                             gan_mode="vanilla", lambda_gan=1.0, lambda_L1=100.0, lambda_content=0.0,
                             lambda_correlation=0.0)  # fmt: skip
    method = Pix2Pix(options)
    assert round(sum(p.numel() for p in method.generator.parameters()) / 1e6, 2) == 54.41, "Isola et al.'s, 3 -> 1"
    with pytest.raises(ValueError, match="nothing would tie"):
        Pix2PixOptions(lambda_L1=0.0, lambda_content=0.0, lambda_correlation=0.0)


def test_the_encoder_is_efficientnet_lite0_and_frozen() -> None:
    """Against values of the features that the released network, converted by others, makes of the same image."""
    generator = make_generator("efficientnet_unet", 3, 1, 4, "instance", False, "resize")
    load_encoder(generator)
    assert isinstance(generator, EfficientNetUNetGenerator)
    assert not any(p.requires_grad for p in generator.encoder.parameters())
    y, x = torch.meshgrid(torch.linspace(-1, 1, 224), torch.linspace(-1, 1, 224), indexing="ij")
    features = generator.encoder(torch.stack([(9 * x).sin(), (7 * y).cos(), x * y])[None])
    assert [f.shape[1:] for f in features] == [(w, 112 >> i, 112 >> i) for i, w in enumerate(WIDTHS)]
    spreads, values = (6.8837, 8.7358, 7.9284, 5.3373, 2.3039), (-3.377, 3.250, -12.883, 5.983, -5.902)
    assert [f.std().item() for f in features] == pytest.approx(spreads, rel=2e-3)
    assert [f[0, 3, 2, 5].item() for f in features] == pytest.approx(values, abs=0.1)
    load_encoder(make_generator("resnet_6blocks", 3, 1, 4, "instance", False, "resize"))  # which has none


def test_a_frozen_encoder_stays_while_the_decoder_learns() -> None:
    method = make(netG="efficientnet_unet", lambda_gan=0.0)
    optimizers = Optimizers(method.players(), 1e-3, 0.5, None, select_device("cpu", "fp32"))
    before = {name: tensor.clone() for name, tensor in method.generator.state_dict().items()}
    train_step(method, [batch()], optimizers, select_device("cpu", "fp32"))
    changed = {n.split(".")[1] for n, t in method.generator.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {"middle", "from_below", "from_skip", "from_fine", "after", "last"}


def test_a_scene_is_seen_smaller_than_it_is_drawn() -> None:
    """As test.py --scale input does."""
    options = Pix2PixOptions(draw_scale=2.0, lambda_gan=0, lambda_content=0)
    method, shipped = Pix2Pix(options), Path(__file__).parents[2] / "models" / "weights" / "to_infrared.safetensors"
    load_initial(method.generator, "shipped", shipped, options)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 192), torch.linspace(-1, 1, 128), indexing="ij")
    visible = torch.stack([x * y, y, x])[None]
    (_, terms), *_ = method.updates({"visible": visible, "infrared": visible[:, :1]})
    network = OneDirection(method.generator.to_infrared).train()
    translator = Translator(
        network, select_device("cpu", "fp32"), seen_at=lambda height, width: (height // 2, width // 2)
    )
    translator.network.train()  # without smoothing
    drawn = translator(visible)
    assert terms["L1"].item() == pytest.approx(10 * (drawn - visible[:, :1]).abs().mean().item(), rel=1e-3)
    seen_whole = 10 * (method.generator(visible) - visible[:, :1]).abs().mean().item()
    assert terms["L1"].item() != pytest.approx(seen_whole, rel=1e-2)


def test_dark_images_are_seen_brightened_and_others_as_they_are() -> None:
    generator = torch.Generator().manual_seed(0)
    dark, bright = (torch.rand(1, 3, 32, 48, generator=generator) * top * 2 - 1 for top in (0.1, 1.0))
    both = torch.cat([dark, bright])
    seen = brightened(both, exposure(both)) / 2 + 0.5
    assert 0.2 < seen[0].mean() < 0.3 and 0.04 < dark.mean() / 2 + 0.5 < 0.06
    torch.testing.assert_close(seen[1], bright[0] / 2 + 0.5, atol=2e-4, rtol=0)
    in_bytes = ((both + 1) * 127.5).round().to(torch.uint8)
    torch.testing.assert_close(exposure(in_bytes), exposure(both), atol=5e-3, rtol=0)
    assert brightened(both.bfloat16(), exposure(both)).dtype == torch.bfloat16
    black = torch.full((1, 1, 8, 8), -1.0)
    assert brightened(black, exposure(black)).isfinite().all()


def test_trained_weights_begin_another_run(tmp_path: Path) -> None:
    source, path = make(), tmp_path / "w.safetensors"
    save_weights(path, source.generator.state_dict(), {"model": "pix2pix"})
    target = make(lambda_L1=5.0)
    with torch.no_grad():
        for parameter in target.generator.parameters():
            parameter.add_(1)
    load_initial(target.generator, "w", path, target.options)
    assert all(map(torch.equal, source.generator.parameters(), target.generator.parameters()))


def test_weights_of_another_architecture_are_one_line_with_the_options_to_give(tmp_path: Path) -> None:
    source, path = make(ngf=8), tmp_path / "w.safetensors"
    facts = {"model": "pix2pix", "options": json.dumps(to_dict(source.options))}
    save_weights(path, source.generator.state_dict(), facts)
    with pytest.raises(ValueError, match="--init_from w.*--netG resnet_6blocks --ngf 8"):
        load_initial(make().generator, "w", path, make().options)
    with pytest.raises(ValueError, match="another network than this run's: give .*--norm instance"):
        load_initial(make(ngf=8, norm="none").generator, "w", path, make(ngf=8, norm="none").options)
    save_weights(path, {"fuser.weight": torch.zeros(1)}, {"model": "stdfusion_net"})
    with pytest.raises(ValueError, match="--init_from w.*is for stdfusion_net, and has nothing"):
        load_initial(make().generator, "w", path, make().options)


def test_a_shifted_target_costs_less() -> None:
    b, losses = batch(), {}
    for shift in (0, 4):
        method = make(shift=shift, lambda_gan=0.0)
        _, terms = next(method.updates(b))
        losses[shift] = terms["L1"].item()
    assert losses[4] < losses[0]


def test_the_discriminator_also_sees_what_was_made_before() -> None:
    method, seen = make(pool_size=2), []
    method.pool.query = lambda pairs: seen.append(pairs) or -pairs
    shown = method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    player, _ = list(method.updates(batch()))[-1]
    shown.remove()
    pooled = next(pairs for pairs in seen if pairs.shape[1] == 4 and not pairs.requires_grad)
    assert player == "discriminator" and any(torch.equal(-pooled, pairs[-len(pooled) :]) for pairs in seen)

"""The method: its terms, its order, and that each yield moves the named player alone. For every method in the
registry: what is yielded can be minimised, and the networks used afterwards need nothing of training."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from models import METHODS
from models.cycle_gan import CycleGAN
from models.discriminators import ImagePool, discriminator_terms
from models.losses import adversarial_loss, content_loss, gradient_penalty
from models.vgg import features_of
from options.cycle_gan import CycleGANOptions
from tests.training_fixtures import yields
from util.device import select_device
from util.images import luminance
from util.training.optimizers import Optimizers

SMALL = {
    "ngf": 4, "ndf": 4, "netG": "resnet_6blocks", "vgg_weights": "random", "self_patches": 8,
    "content_layers": ("relu1_2",), "self_layers": ("relu1_1", "relu2_1"), "self_patch_sizes": (4, 4),
}  # fmt: skip


def batch(n: int = 1, height: int = 32, width: int = 40) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    visible = torch.rand(n, 3, height, width, generator=generator) * 2 - 1
    infrared = torch.rand(n, 1, height, width, generator=generator) * 2 - 1
    return {"visible": visible, "infrared": infrared, "mask": (infrared > 0.5).float()}


def make(**changes: object) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(CycleGANOptions(**SMALL | changes))


def terms_of(method: CycleGAN) -> dict[str, float]:
    torch.manual_seed(1)
    return {name: term.item() for _, terms in method.updates(batch()) for name, term in terms.items()}


def test_each_yield_moves_only_its_player() -> None:
    method = make(lambda_identity=0.5, lambda_cycle=1.0)
    assert [player for player, _ in yields(method, batch())] == ["generators", "discriminators"]
    assert all(p.grad is None for p in method.vgg.parameters())


def test_the_terms_are_those_of_the_objective() -> None:
    base = {"adv_infrared", "adv_visible", "real_infrared", "fake_infrared", "real_visible", "fake_visible"}
    content, own = {"content_visible", "content_infrared"}, {"self_visible", "self_infrared"}
    assert set(terms_of(make())) == base | content | own
    assert set(terms_of(make(lambda_self=0))) == base | content
    plain = make(lambda_self=0, lambda_content=0, lambda_cycle=10)
    assert plain.vgg is None, "plain CycleGAN needs no VGG16"
    assert set(terms_of(plain)) == base | {"cycle_visible", "cycle_infrared"}
    assert "identity_visible" in terms_of(make(lambda_identity=0.5))
    assert "penalty_infrared" in terms_of(make(gan_mode="wgangp"))


def test_the_terms_have_their_values() -> None:
    """The objective written again from its formula, from the method's own networks."""
    weights = {"lambda_cycle": 3.0, "lambda_identity": 0.25, "lambda_content": 2.0, "lambda_paired": 7.0}
    method = make(**weights)
    found = terms_of(method)
    b = batch()
    x, y = b["visible"], b["infrared"]
    g, f = method.generators.to_infrared, method.generators.to_visible
    d_y, d_x = method.discriminators.infrared, method.discriminators.visible
    with torch.no_grad():
        expected = {
            "adv_infrared": (d_y(g(x)) - 1).square().mean(),
            "adv_visible": (d_x(f(y)) - 1).square().mean(),
            "cycle_visible": 3 * (f(g(x)) - x).abs().mean(),
            "cycle_infrared": 3 * (g(f(y)) - y).abs().mean(),
            "content_visible": 2 * content_loss(method.vgg(f(g(x))), method.vgg(x), ["relu1_2"]),
            "content_infrared": 2 * content_loss(method.vgg(g(f(y))), method.vgg(y), ["relu1_2"]),
            "identity_infrared": 0.25 * (g(torch.cat([y] * 3, 1)) - y).abs().mean(),
            "identity_visible": 0.25 * (luminance(f(luminance(x))) - luminance(x)).abs().mean(),
            "paired_infrared": 7 * (g(x) - y).abs().mean(),
            "real_infrared": (d_y(y) - 1).square().mean() / 2,
            "fake_infrared": d_y(g(x)).square().mean() / 2,
            "real_visible": (d_x(x) - 1).square().mean() / 2,
            "fake_visible": d_x(f(y)).square().mean() / 2,
        }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), rel=1e-4), name
    twice = terms_of(make(**weights, lambda_self=2 * method.options.lambda_self))
    for name in ("self_infrared", "self_visible"):
        assert twice[name] == pytest.approx(2 * found[name], rel=1e-4) and found[name] > 0


def test_real_and_fake_in_one_pass_equal_two_passes() -> None:
    method = make()
    discriminator, b = method.discriminators.infrared, batch(2)
    fake = torch.rand_like(b["infrared"])
    both = discriminator(torch.cat([b["infrared"], fake])).chunk(2)
    torch.testing.assert_close(both[0], discriminator(b["infrared"]))
    torch.testing.assert_close(both[1], discriminator(fake))


@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "hinge", "wgangp"])
def test_every_adversarial_loss_trains(mode: str) -> None:
    method = make(gan_mode=mode)
    optimizers = Optimizers(method.players(), 1e-3, 0.5, None, select_device("cpu", "fp32"))
    torch.manual_seed(0)
    for _ in range(2):
        for player, terms in method.updates(batch(2)):
            assert all(torch.isfinite(term) for term in terms.values())
            optimizers.backward(player, terms)
            optimizers.step(player)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_unpaired_images_that_are_not_cropped_may_differ_in_size(norm: str) -> None:
    method = make(norm=norm, lambda_cycle=1.0, lambda_identity=1.0)
    images = batch(1, 32, 40) | {"infrared": batch(1, 48, 36)["infrared"]}
    for _, terms in method.updates(images):
        for term in terms.values():
            assert torch.isfinite(term)
    same = batch()
    separate = features_of(method.vgg, same["visible"]) + features_of(method.vgg, same["infrared"])
    for joined, alone in zip(features_of(method.vgg, same["visible"], same["infrared"]), separate, strict=True):
        torch.testing.assert_close(joined, alone)


def test_the_penalty_weighs_as_in_its_paper_against_both_distances() -> None:
    b, fake = batch(), batch(1)["infrared"].flip(-1)
    method = make(gan_mode="wgangp")
    torch.manual_seed(4)
    terms = discriminator_terms(method.discriminators.infrared, b["infrared"], fake, method.options)
    torch.manual_seed(4)
    penalty = gradient_penalty(method.discriminators.infrared, b["infrared"], fake)
    judged = [method.discriminators.infrared(image).mean().item() for image in (fake, b["infrared"])]
    whole = judged[0] - judged[1] + 10 * penalty.item()  # Gulrajani et al., equation 3
    assert sum(term.item() for term in terms.values()) == pytest.approx(whole / 2, rel=1e-4)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_discriminator_judges_real_and_made_images_apart(norm: str) -> None:
    """Joined in one batch, batch norms would tell it which are real."""
    method = make(norm_D=norm)
    judge, real, fake = method.discriminators.infrared.train(), batch(2)["infrared"], batch(2)["infrared"] / 4 - 0.5
    alone = copy.deepcopy(judge)
    terms = discriminator_terms(judge, real, fake, method.options)
    expected = [0.5 * adversarial_loss(alone(image), image is real, "lsgan").item() for image in (real, fake)]
    assert [terms["real"].item(), terms["fake"].item()] == pytest.approx(expected, rel=1e-4)


def test_generating_needs_no_vgg_and_no_discriminator() -> None:
    options = CycleGANOptions(**SMALL | {"vgg_weights": "/nowhere"})
    network = CycleGAN.network(options)
    assert network(batch()["visible"]).shape == (1, 1, 32, 40)


def test_pool_returns_old_images_and_survives_saving() -> None:
    torch.manual_seed(0)
    pool = ImagePool(4)
    fresh = [torch.full((2, 1, 3, 3), float(i)) for i in range(20)]
    answers = torch.cat([pool.query(image) for image in fresh])
    assert torch.equal(answers[:4], torch.cat(fresh[:2]))
    old = sum(
        bool(answer[0, 0, 0] != image) for answer, image in zip(answers, [i // 2 for i in range(40)], strict=True)
    )
    assert 8 <= old <= 28, "about half of the answers of a full pool are old ones"
    other = ImagePool(4)
    other.load_state_dict(pool.state_dict())
    state = torch.get_rng_state()
    first = pool.query(fresh[0])
    torch.set_rng_state(state)
    assert torch.equal(first, other.query(fresh[0]))
    assert torch.equal(ImagePool(0).query(fresh[3]), fresh[3])


def test_a_batch_that_fills_the_pool_takes_no_empty_place() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        pool = ImagePool(5)
        assert all(pool.query(torch.ones(4, 1, 2, 2)).all() for _ in range(3))


def test_pool_passes_over_images_of_another_size() -> None:
    pool = ImagePool(2)
    pool.query(torch.zeros(2, 1, 4, 4))
    for size in (6, 4, 8, 4):  # as images of many sizes come
        image = torch.ones(1, 1, size, size)
        made = pool.query(image)
        assert made.shape == image.shape and (size == 4 or torch.equal(made, image))
    assert pool.state_dict()["images"][0].shape == (1, 1, 4, 4)
    for _ in range(20):  # as a run goes on with other crops
        assert pool.query(torch.rand(1, 1, 6, 6)).shape == (1, 1, 6, 6)
    held = pool.state_dict()["images"]
    assert [image.shape for image in held] == [(1, 1, 6, 6)] * 2
    assert held[0].untyped_storage().nbytes() == 36 * 4, "a checkpoint gets a copy, of the image alone"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_reach_generators_in_every_precision(precision: str) -> None:
    method, device = make(), select_device("cpu", precision)
    for player, terms in device.steps(method.updates(batch())):
        assert all(term.dtype == torch.float32 for term in terms.values()), "losses are computed in full precision"
        sum(terms.values()).backward(inputs=list(method.players()[player].parameters()))
        assert not torch.is_autocast_enabled("cpu"), "backward runs outside autocast"
    weights = [p for name, p in method.generators.named_parameters() if name.endswith("weight")]
    assert all(torch.isfinite(weight.grad).all() for weight in weights)


def test_the_registry_names_complete_methods() -> None:
    for name, method in METHODS.items():
        for member in (
            "Options",
            "network",
            "players",
            "updates",
            "saved",
            "remarks",
            "preview",
            "trained",
            "score_kind",
            "loss_groups",
        ):
            assert hasattr(method, member), (name, member)
        assert len(METHODS) == len({m.Options for m in METHODS.values()})


def test_bf16_objective_follows_fp32() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        method = make(lambda_self=0, lambda_content=0, lambda_cycle=1)
        device = select_device("cpu", precision)
        losses[precision] = {n: t.item() for _, ts in device.steps(method.updates(batch())) for n, t in ts.items()}
    for name, value in losses["fp32"].items():
        assert losses["bf16"][name] == pytest.approx(value, rel=0.05, abs=0.01)


def test_hooks_do_not_change_inference() -> None:
    network = make().generators.eval()
    x = batch()["visible"]
    with torch.inference_mode():
        a = network(x)
    b = network(x)
    torch.testing.assert_close(a, b.detach())
    assert F.l1_loss(a, b.detach()) < 1e-6


def test_a_mixed_batch_is_supervised_where_it_is_a_pair() -> None:
    method = make(lambda_paired=2.0)
    both = batch(2)
    for flags in ((1.0, 0.0), (0.0, 0.0)):
        torch.manual_seed(1)
        mixed = both | {"paired": torch.tensor(flags).view(2, 1, 1, 1)}
        term = next(iter(method.updates(mixed)))[1]["paired_infrared"].item()
        with torch.no_grad():
            made = method.generators(both["visible"])
        expected = 2.0 * (mixed["paired"] * (made - both["infrared"]).abs()).mean().item()
        assert term == pytest.approx(expected, rel=1e-4)

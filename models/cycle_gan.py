"""Visible -> infrared CycleGAN (Zhu et al., ICCV 2017) with a content loss for the cycle and a self loss.

x visible, y infrared, G = to_infrared, F = to_visible:
    L_G,F = adv(D_Y(G x)) + adv(D_X(F y)) + l_content [content(F(G x), x) + content(G(F y), y)]
          + l_self [self(G x, x) + self(F y, y)] + l_cycle [|F(G x) - x| + |G(F y) - y|] + l_identity [...]
          + l_paired |G x - y|   (aligned pairs only)
    L_D   = (adv_real + adv_fake + l_gp penalty) / 2 for each of D_X, D_Y, penalty with wgangp alone
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import initialise
from models.discriminators import ImagePool, discriminator_terms, make_discriminator
from models.generators import load_encoder, make_generator
from models.losses import adversarial_loss, content_loss, paired_loss, self_similarity_loss
from models.method import Method
from models.vgg import features_of, loss_network, random_filters
from options.cycle_gan import CycleGANOptions
from util.images import luminance

VISIBLE_CHANNELS, INFRARED_CHANNELS = 3, 1


class Generators(nn.Module):
    """Both directions; called, it makes infrared from visible: [N, 3, H, W] -> [N, 1, H, W], in [-1, 1]."""

    def __init__(self, options: CycleGANOptions) -> None:
        super().__init__()
        common = (options.ngf, options.norm, options.dropout, options.upsample)
        self.to_infrared = make_generator(options.netG, VISIBLE_CHANNELS, INFRARED_CHANNELS, *common)
        self.to_visible = make_generator(options.netG, INFRARED_CHANNELS, VISIBLE_CHANNELS, *common)

    def forward(self, visible: torch.Tensor) -> torch.Tensor:
        return self.to_infrared(visible)


class Discriminators(nn.Module):
    """A discriminator for each domain."""

    def __init__(self, options: CycleGANOptions) -> None:
        super().__init__()
        self.infrared = make_discriminator(options, INFRARED_CHANNELS)
        self.visible = make_discriminator(options, VISIBLE_CHANNELS)


class CycleGAN(Method):
    """The training method; `network` alone is what generates images afterwards."""

    Options = CycleGANOptions
    trained = "generators"
    score_kind = "generation"
    loss_groups = {
        "adversarial": ("adv_infrared", "adv_visible"),
        "cycle": ("cycle_visible", "cycle_infrared"),
        "content": ("content_visible", "content_infrared"),
        "self": ("self_infrared", "self_visible"),
        "identity": ("identity_infrared", "identity_visible"),
        "discriminator": tuple(f"{k}_{of}" for of in ("infrared", "visible") for k in ("real", "fake", "penalty")),
    }

    def __init__(self, options: CycleGANOptions) -> None:
        super().__init__()
        self.options = options
        self.generators = self.network(options)
        self.discriminators = Discriminators(options)
        for network in (self.generators, self.discriminators):
            initialise(network, options.init_type, options.init_gain)
        for generator in self.generators.children():
            load_encoder(generator)
        self.vgg = loss_network(options)
        self.infrared_pool = ImagePool(options.pool_size)
        self.visible_pool = ImagePool(options.pool_size)

    @staticmethod
    def network(options: CycleGANOptions) -> Generators:
        """The networks that are used after training, without losses or their weights."""
        return Generators(options)

    def players(self) -> dict[str, nn.Module]:
        return {"generators": self.generators, "discriminators": self.discriminators}

    def saved(self) -> dict[str, Any]:
        return self.players() | {"infrared_pool": self.infrared_pool, "visible_pool": self.visible_pool}

    def networks(self) -> list[nn.Module]:
        """List what --compile compiles. A gradient penalty is a second derivative, which compiled networks lack."""
        compiled = list(self.generators.children())
        if self.options.gan_mode != "wgangp":
            compiled += self.discriminators.children()
        return compiled + ([self.vgg] if self.vgg is not None else [])

    def remarks(self) -> list[str]:
        return random_filters(self.options)

    def updates(self, batch: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        """In what order, to lower what. batch: visible [N, 3, H, W], infrared [N, 1, H, W], in [-1, 1]; where some of
        them are pairs, paired [N, 1, 1, 1], 1 for those."""
        x, y = batch["visible"], batch["infrared"]
        fake_infrared = self.generators.to_infrared(x)
        fake_visible = self.generators.to_visible(y)
        terms = self._generator_terms(x, y, fake_infrared, fake_visible)
        if self.options.lambda_paired:
            loss = paired_loss(fake_infrared, y, batch.get("paired"))
            terms["paired_infrared"] = self.options.lambda_paired * loss
        yield "generators", terms
        yield (
            "discriminators",
            self._discriminator_terms("infrared", y, self.infrared_pool.query(fake_infrared))
            | self._discriminator_terms("visible", x, self.visible_pool.query(fake_visible)),
        )

    def _generator_terms(
        self, x: torch.Tensor, y: torch.Tensor, fake_infrared: torch.Tensor, fake_visible: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        o = self.options
        terms = {
            "adv_infrared": adversarial_loss(self.discriminators.infrared(fake_infrared), True, o.gan_mode),
            "adv_visible": adversarial_loss(self.discriminators.visible(fake_visible), True, o.gan_mode),
        }
        cycles = o.lambda_content or o.lambda_cycle
        cycled_visible = self.generators.to_visible(fake_infrared) if cycles else None
        cycled_infrared = self.generators.to_infrared(fake_visible) if cycles else None
        if o.lambda_cycle:
            terms["cycle_visible"] = o.lambda_cycle * F.l1_loss(cycled_visible.float(), x)
            terms["cycle_infrared"] = o.lambda_cycle * F.l1_loss(cycled_infrared.float(), y)
        if self.vgg is not None:
            with torch.no_grad():
                of_x, of_y = features_of(self.vgg, x, y)
        if o.lambda_content:
            of_cycled = features_of(self.vgg, cycled_visible, cycled_infrared, layers=o.content_layers)
            for name, image, reference in zip(("visible", "infrared"), of_cycled, (of_x, of_y), strict=True):
                loss = content_loss(image, reference, o.content_layers, o.content_weights)
                terms[f"content_{name}"] = o.lambda_content * loss
        if o.lambda_self:
            chosen = (o.self_layers, o.self_patch_sizes, o.self_patches, o.self_query, o.self_keep)
            of_fakes = features_of(self.vgg, fake_infrared, fake_visible, layers=o.self_layers)
            for name, image, reference in zip(("infrared", "visible"), of_fakes, (of_x, of_y), strict=True):
                terms[f"self_{name}"] = o.lambda_self * self_similarity_loss(image, reference, *chosen)
        if o.lambda_identity:
            same_infrared = self.generators.to_infrared(y.expand(-1, VISIBLE_CHANNELS, -1, -1))
            grey = luminance(x)
            same_grey = luminance(self.generators.to_visible(grey).float())
            terms["identity_infrared"] = o.lambda_identity * F.l1_loss(same_infrared.float(), y)
            terms["identity_visible"] = o.lambda_identity * F.l1_loss(same_grey, grey)
        return terms

    def _discriminator_terms(self, domain: str, real: torch.Tensor, fake: torch.Tensor) -> dict[str, torch.Tensor]:
        discriminator = self.discriminators.infrared if domain == "infrared" else self.discriminators.visible
        terms = discriminator_terms(discriminator, real, fake, self.options)
        return {f"{name}_{domain}": term for name, term in terms.items()}

    @staticmethod
    def preview(network: Generators, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What a person wants to look at: label -> images in [-1, 1]. network: as made by `network`."""
        generated = network.to_infrared(batch["visible"])
        return {
            "visible": batch["visible"],
            "generated": generated,
            "infrared": batch["infrared"],
            "cycled": network.to_visible(generated),
        }

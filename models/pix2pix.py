"""Visible -> infrared from aligned pairs: pix2pix (Isola et al., CVPR 2017) with losses on VGG16 features.

x visible, y infrared, G = to_infrared; D judges x and an infrared image beside each other:
    L_G = l_gan adv(D(x, G x)) + l_L1 |G x - y| + l_correlation [1 - cc(G x, y)] + l_content content(G x, y)
        + l_self self(G x, y)
    L_D = (adv_real(D(x, y)) + adv_fake(D(x, G x)) + l_gp penalty) / 2, penalty with wgangp alone
With --shift, y stands for the real image moved to where it fits G x best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import initialise
from models.discriminators import ImagePool, discriminator_terms, make_discriminator
from models.generators import OneDirection, load_encoder, make_generator
from models.losses import adversarial_loss, best_shift, content_loss, correlation_loss, self_similarity_loss
from models.method import Method
from models.vgg import features_of, loss_network, random_filters
from options.pix2pix import Pix2PixOptions

VISIBLE_CHANNELS, INFRARED_CHANNELS = 3, 1


class Pix2Pix(Method):
    """The training method; `network` alone is what generates images afterwards."""

    Options = Pix2PixOptions
    trained = "generator"
    score_kind = "generation"
    loss_groups = {"discriminator": ("real", "fake", "penalty")}

    def __init__(self, options: Pix2PixOptions) -> None:
        super().__init__()
        self.options = options
        self.generator = self.network(options)
        self.discriminator = make_discriminator(options, VISIBLE_CHANNELS + INFRARED_CHANNELS)
        for network in (self.generator, self.discriminator):
            initialise(network, options.init_type, options.init_gain)
        load_encoder(self.generator.to_infrared)
        self.vgg = loss_network(options)
        self.pool = ImagePool(options.pool_size)

    @staticmethod
    def network(options: Pix2PixOptions) -> OneDirection:
        """The network that is used after training, without losses or their weights."""
        common = (options.ngf, options.norm, options.dropout, options.upsample)
        return OneDirection(make_generator(options.netG, VISIBLE_CHANNELS, INFRARED_CHANNELS, *common))

    def players(self) -> dict[str, nn.Module]:
        players: dict[str, nn.Module] = {"generator": self.generator}
        return players | ({"discriminator": self.discriminator} if self.options.lambda_gan else {})

    def saved(self) -> dict[str, Any]:
        return self.players() | {"pool": self.pool}

    def networks(self) -> list[nn.Module]:
        """List what --compile compiles. A gradient penalty is a second derivative, which compiled networks lack."""
        compiled: list[nn.Module] = [self.generator.to_infrared]
        if self.options.lambda_gan and self.options.gan_mode != "wgangp":
            compiled.append(self.discriminator)
        return compiled + ([self.vgg] if self.vgg is not None else [])

    def remarks(self) -> list[str]:
        return random_filters(self.options)

    def updates(self, batch: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        """In what order, to lower what. batch: aligned visible [N, 3, H, W] and infrared [N, 1, H, W], in [-1, 1]."""
        o, x, y = self.options, batch["visible"], batch["infrared"]
        generator: Any = self.generator.to_infrared
        fake = self.generator(x) if o.draw_scale == 1 else generator.larger(x, o.draw_scale)
        if o.shift:
            y = best_shift(fake, y, o.shift)
        yield "generator", self._generator_terms(x, y, fake)
        if o.lambda_gan:
            shown = self.pool.query(torch.cat([x, fake.detach()], 1))
            yield "discriminator", discriminator_terms(self.discriminator, torch.cat([x, y], 1), shown, o)

    def _generator_terms(self, x: torch.Tensor, y: torch.Tensor, fake: torch.Tensor) -> dict[str, torch.Tensor]:
        o = self.options
        terms = {}
        if o.lambda_gan:
            logits = self.discriminator(torch.cat([x, fake], 1))
            terms["gan"] = o.lambda_gan * adversarial_loss(logits, True, o.gan_mode)
        if o.lambda_L1:
            terms["L1"] = o.lambda_L1 * F.l1_loss(fake.float(), y)
        if o.lambda_correlation:
            terms["correlation"] = o.lambda_correlation * correlation_loss(fake, y)
        if self.vgg is not None:
            with torch.no_grad():
                (of_real,) = features_of(self.vgg, y)
            (of_fake,) = features_of(self.vgg, fake)
        if o.lambda_content:
            loss = content_loss(of_fake, of_real, o.content_layers, o.content_weights)
            terms["content"] = o.lambda_content * loss
        if o.lambda_self:
            chosen = (o.self_layers, o.self_patch_sizes, o.self_patches, o.self_query, o.self_keep)
            terms["self"] = o.lambda_self * self_similarity_loss(of_fake, of_real, *chosen)
        return terms

    @staticmethod
    def preview(network: OneDirection, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What a person wants to look at: label -> images in [-1, 1]. network: as made by `network`."""
        return {"visible": batch["visible"], "generated": network(batch["visible"]), "infrared": batch["infrared"]}

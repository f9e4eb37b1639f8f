"""Tiles: exactly the whole where the network is local, and no pixel left out or counted twice."""

from __future__ import annotations

import pytest
import torch

from models.fusion_gan import FusionGAN
from models.stdfusion_net import STDFusionNet, initialise
from models.tiling import core_edges, run_local, run_tiled, tile_starts, tile_weights
from options.fusion_gan import FusionGANOptions
from options.stdfusion_net import STDFusionNetOptions


@pytest.mark.parametrize("length", [1, 15, 16, 17, 31, 32, 33, 100, 257])
@pytest.mark.parametrize("overlap", [0, 3, 8])
def test_tiles_cover_and_weigh_one(length: int, overlap: int) -> None:
    tile = 16
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + min(tile, length) == length
    assert all(a + tile - b >= overlap for a, b in zip(starts, starts[1:], strict=False))
    total = torch.zeros(length, dtype=torch.float64)
    for start, weight in zip(starts, tile_weights(starts, min(tile, length)), strict=True):
        assert (weight >= 0).all()
        total[start : start + len(weight)] += weight
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize(("height", "width"), [(50, 91), (40, 40), (90, 41), (13, 100)])
@pytest.mark.parametrize("name", ["stdfusion_net", "fusion_gan"])
def test_local_networks_are_exact(name: str, height: int, width: int) -> None:
    torch.manual_seed(0)
    if name == "stdfusion_net":
        options = STDFusionNetOptions(ngf=4)
        network = STDFusionNet.network(options)
        initialise(network, options)
    else:
        network = FusionGAN.network(FusionGANOptions(ngf=8)).eval()
    overlap = 4 * network.REACH
    visible, infrared = torch.rand(2, 2, 1, height, width) * 2 - 1
    with torch.no_grad():
        whole = network(visible, infrared)
    assert whole.std() > 1e-3
    for tiled in (
        run_tiled(network, [visible, infrared], 2 * overlap, overlap),
        run_local(network, [visible, infrared], 2 * network.REACH + 7, network.REACH),
    ):
        torch.testing.assert_close(tiled, whole, atol=1e-6, rtol=0)


def test_reach_is_what_it_says() -> None:
    for network in (
        STDFusionNet.network(STDFusionNetOptions(ngf=4)),
        FusionGAN.network(FusionGANOptions(ngf=8)).eval(),
    ):
        infrared = torch.zeros(1, 1, 41, 41, requires_grad=True)
        network(torch.zeros(1, 1, 41, 41), infrared)[..., 20, 20].sum().backward()
        rows = infrared.grad[0, 0].abs().sum(1).nonzero().flatten()
        assert rows.tolist() == list(range(20 - network.REACH, 20 + network.REACH + 1))


def test_networks_that_see_everything_fade() -> None:
    """Each tile is shifted by its own mean: between tiles there is a ramp, not a step."""
    x = torch.linspace(0, 1, 64).expand(1, 1, 32, 64)
    tiled = run_tiled(lambda part: part - part.mean(), [x], 32, 16)
    assert (tiled[..., 1:] - tiled[..., :-1]).abs().max() < 0.1
    stepped = run_tiled(lambda part: part - part.mean(), [x], 32, 0)
    assert (stepped[..., 1:] - stepped[..., :-1]).abs().max() > 0.4


def test_memory_is_that_of_a_tile_and_channels_may_change() -> None:
    seen = []

    def network(part: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(part.shape))
        return part.repeat(1, 3, 1, 1)

    x = torch.rand(2, 1, 70, 45)
    torch.testing.assert_close(run_tiled(network, [x], 32, 8), x.repeat(1, 3, 1, 1))
    assert set(seen) == {(2, 1, 32, 32)}


@pytest.mark.parametrize("overlap", [-1, 17])
def test_wrong_overlap(overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap of at most half"):
        run_tiled(lambda part: part, [torch.zeros(1, 1, 8, 8)], 32, overlap)


def test_cores_cover_evenly() -> None:
    assert core_edges(100, 30) == [0, 25, 50, 75, 100] and core_edges(5, 30) == [0, 5]
    with pytest.raises(ValueError, match="--tile 18 is too small"):
        run_local(lambda part: part, [torch.zeros(1, 1, 8, 8)], 18, 9)

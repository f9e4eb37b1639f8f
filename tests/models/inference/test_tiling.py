"""Tiles: exactly the whole where the network is local, and no pixel left out or counted twice; generators by tiles."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

from models.fusion_gan import FusionGAN
from models.generators import make_generator
from models.inference.fuser import Fuser
from models.inference.tiling import Tile, core_edges, cut_tiles, each_tile, run_local
from models.inference.trained import SHIPPED, OneDirection, load_network
from models.inference.translator import Scene, Translator
from models.stdfusion_net import STDFusionNet, initialise
from options.fuse import NetworkOptions
from options.fusion_gan import FusionGANOptions
from options.stdfusion_net import STDFusionNetOptions
from tests.conftest import ROOT
from util.device import select_device


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
    visible, infrared = torch.rand(2, 2, 1, height, width) * 2 - 1
    with torch.no_grad():
        whole = network(visible, infrared)
    assert whole.std() > 1e-3
    tiled = run_local(network, [visible, infrared], 2 * network.REACH + 7, network.REACH)
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


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Set PyTorch's number of threads for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", [STDFusionNet, FusionGAN])
def test_tiles_at_once_equal_those_one_by_one_bit_for_bit(
    method: Any, precision: str, threads: Callable[[int], None]
) -> None:
    torch.manual_seed(0)
    network, device = method.network(method.Options(ngf=8)).eval(), select_device("cpu", precision, channels_last="on")
    fuser = Fuser(network, device, NetworkOptions(tile=40), "clip")
    visible, infrared = scene(75, 90), scene(75, 90)[:, :1]
    made = []
    with torch.inference_mode():
        for count in (1, 3):
            threads(count)
            made.append(fuser(visible, infrared)[0])
            assert torch.get_num_threads() == count
    assert made[0].std() > 0 and torch.equal(*made)


def test_each_processor_has_tiles_of_its_own_as_far_as_memory_goes(threads: Callable[[int], None]) -> None:
    def work(tile: Tile) -> torch.Tensor:
        state = torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_num_threads()
        return torch.tensor([*state, threading.get_ident() == here, tile.kept[0]])

    def found(side: int, where: str = "cpu") -> list[list[int]]:
        tiles = list(cut_tiles(4 * side, side, side, 0))
        with torch.inference_mode():
            return [part.tolist() for _, part in each_tile(work, tiles, where)]

    here = threading.get_ident()
    threads(2)
    assert found(64) == [[1, 0, 1, 0, 64 * row] for row in range(4)]
    assert found(64, "cuda") == [[1, 0, 2, 1, 64 * row] for row in range(4)]
    assert [tile[2] for tile in found(1500)] == [2] * 4, "two of these would take twice the memory"
    threads(1)
    assert [tile[3] for tile in found(64)] == [1] * 4
    threads(4)
    assert [tile[2:4] for tile in found(1000)] == [[2, 0]] * 4, "two at a time, which share the threads"
    threads(2)
    with pytest.raises(ValueError, match="of a tile"):
        list(each_tile(fail, list(cut_tiles(64, 64, 32, 0)), "cpu"))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2, "what begins afterwards has all processors again"


@pytest.mark.parametrize(("available", "together"), [(2, 4), (3, 2)])
def test_where_threads_have_all_processors_twice_as_many_work(
    available: int, together: int, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.inference.tiling.processors", lambda: available)
    threads(2)
    all_there, tiles = threading.Barrier(together), list(cut_tiles(256, 32, 32, 0))

    def work(tile: Tile) -> int:
        all_there.wait(60)  # a fault where fewer work at once
        return threading.get_ident()

    assert len({thread for _, thread in each_tile(work, tiles, "cpu")}) == together


def fail(tile: Tile) -> torch.Tensor:
    """A fault of a tile's work."""
    raise ValueError("of a tile")


def test_memory_is_that_of_a_tile_and_channels_may_change() -> None:
    seen = []

    def network(part: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(part.shape))
        return part.repeat(1, 3, 1, 1)

    x = torch.rand(2, 1, 70, 45)
    torch.testing.assert_close(run_local(network, [x], 32, 4), x.repeat(1, 3, 1, 1))
    assert all(height <= 32 and width <= 32 for _, _, height, width in seen)


def test_cores_cover_evenly() -> None:
    assert core_edges(100, 30) == [0, 25, 50, 75, 100] and core_edges(5, 30) == [0, 5]
    assert core_edges(101, 32, 4) == [0, 24, 52, 76, 101]
    with pytest.raises(ValueError, match="--tile 18 is too small"):
        run_local(lambda part: part, [torch.zeros(1, 1, 8, 8)], 18, 9)


def generator(name: str = "resnet_6blocks", norm: str = "instance", upsample: str = "transpose") -> OneDirection:
    """A small one whose output spans many grey levels."""
    torch.manual_seed(0)
    network = make_generator(name, 3, 1, 4, norm, False, upsample).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data *= 2
    return OneDirection(network)


def scene(height: int, width: int) -> torch.Tensor:
    """uint8 [1, 3, height, width]: smooth blobs, brighter to the right."""
    small = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(1))
    blobs = nn.functional.interpolate(small, (height, width), mode="bicubic")
    return (0.6 * blobs + 0.4 * torch.linspace(0, 1, width)).mul(255).clamp(0, 255).to(torch.uint8)


def sees(network: Callable[[torch.Tensor], torch.Tensor], reach: int, multiple: int) -> tuple[int, int]:
    """How far a network's output depends on columns before and behind, at most, over the places of a multiple."""
    tall, wide = (16, 2 * reach + 8 * multiple) if multiple == 4 else (multiple, 2 * reach + 2 * multiple)
    before = behind = 0
    for place in range(0, multiple, multiple // 4):
        x = torch.full((1, 3, tall, wide), 1e-4, dtype=torch.double, requires_grad=True)
        column = wide // 2 // multiple * multiple + place
        network(x)[..., column].sum().backward()
        seen = x.grad.abs().sum((0, 1, 2)).nonzero().flatten()
        before, behind = max(before, column - int(seen[0])), max(behind, int(seen[-1]) - column)
    return before, behind


@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("name", ["resnet_9blocks", "resnet_6blocks", "unet_128", "efficientnet_unet"])
def test_generators_reach_no_further_than_they_say(name: str, upsample: str) -> None:
    network = generator(name, "none", upsample).to_infrared.double()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):  # no weight hides a path, no sum saturates
            weight, outputs = module.weight.data.abs_().clamp_(min=1e-2), int(isinstance(module, nn.ConvTranspose2d))
            weight.mul_(weight.shape[outputs] / weight.sum())
            nn.init.zeros_(module.bias)
    if name != "efficientnet_unet":
        assert network.reach % network.multiple == 0
        assert max(sees(network, network.reach, network.multiple)) <= network.reach
        return
    power = torch.ones(1, 1, 1, 1, dtype=torch.double)

    def drawn(x: torch.Tensor) -> torch.Tensor:
        return network(x, power, torch.ones(1, 16, x.shape[-2] // 8, x.shape[-1] // 8, dtype=torch.double))

    assert network.reach % network.stride == 0
    assert network.reach // 2 < max(sees(drawn, network.reach, network.multiple)) <= network.reach


@pytest.mark.parametrize(
    ("name", "size", "tile"),
    [("resnet_6blocks", (119, 422), 220), ("unet_128", (126, 1101), 896), ("efficientnet_unet", (61, 1983), 256)],
)
def test_exact_statistics_give_the_whole(name: str, size: tuple[int, int], tile: int) -> None:
    """Norm after norm measured over all tiles, the result is that without tiles, at odd sizes too."""
    network, device, image = generator(name), select_device("cpu", "fp32"), scene(*size)
    image = image // 5 if name == "efficientnet_unet" else image  # which it brightens, by the mean of the whole
    with torch.inference_mode():
        whole = Translator(network, device, 4000)(image)
        tiled = Translator(network, device, tile, "exact").in_tiles(image)
    assert tiled.dtype == torch.uint8 and whole.std() > 0.1
    assert ((whole + 1) * 127.5 - tiled).abs().max() <= 1


def test_each_large_image_of_a_batch_is_made() -> None:
    translate = Translator(generator("resnet_6blocks"), select_device("cpu", "fp32"), 160)
    images = torch.cat([scene(150, 180), 255 - scene(150, 180)])
    with torch.inference_mode():
        alone = [translate(image[None]) for image in images]
        assert torch.equal(translate(images), torch.cat(alone)) and not torch.equal(*alone)


def test_a_scene_is_seen_at_the_size_of_training_and_drawn_at_its_own() -> None:
    """With and without tiles; an image of the size of training, in any way, is what it was."""
    network, device, large = load_network(SHIPPED, "generation")[0], select_device("cpu", "fp32"), scene(150, 610)
    seen: list[tuple[int, ...]] = []
    with torch.inference_mode():
        plain = Translator(network, device, 4000)(large)
        made = {}
        for tile in (4000, 256):
            translator = Translator(network, device, tile, "exact", seen_at=lambda height, width: (59, 240))
            translator.network.to_infrared.encoder.register_forward_hook(
                lambda module, inputs, output: seen.append(tuple(inputs[0].shape[-2:]))
            )
            made[tile] = translator(large).float()
        same = Translator(network, device, 4000, seen_at=lambda *size: size)
        scale = same._scene(large)[0].scale
        assert torch.equal(same(large), plain) and scale == (1, 1)
    assert (64, 256) in seen and (160, 640) in seen, "the one is what is seen, the other drawn"
    assert made[4000].shape == made[256].shape == plain.shape
    assert ((made[4000] + 1) * 127.5 - made[256]).abs().max() <= 1
    assert (made[4000] - plain).abs().mean() > 0.01


@pytest.mark.parametrize("size", [(5, 7), (30, 20), (64, 16)])
def test_small_images_are_drawn_however_they_are_seen(size: tuple[int, int]) -> None:
    """Where all that is seen is one place of the encoder, and in batches: a long one is not enlarged without end."""
    network, device = generator("efficientnet_unet"), select_device("cpu", "fp32")
    images = torch.cat([scene(*size), 255 - scene(*size)])
    for seen_at in (lambda height, width: (24, 24), lambda height, width: (400 * height, 400 * width)):
        translator = Translator(network, device, seen_at=seen_at)
        assert math.prod(translator._seen(*size)) <= 512**2
        with torch.inference_mode():
            both, single = translator(images), translator(images[1:])
        assert both.shape == (2, 1, *size)
        torch.testing.assert_close(both[1:], single, atol=1e-4, rtol=0)


def test_what_is_around_a_tile_is_the_context_there() -> None:
    """The context of a ramp, seen at half the size, tells at each place of a stride of 8 where that is."""
    context = (torch.arange(20) + 0.5).mul(8).expand(1, 1, 10, 20)
    whole = Scene(torch.ones(1, 1, 1, 1), context, (0.5, 0.5))
    tiles = [Tile((0, 32, start, start + 64), (0, 32, start, start + 64)) for start in (16, 160)]
    columns = whole.around(tiles, 8)[:, 0, 2]
    expected = torch.stack([torch.arange(start, start + 64, 8) + 4 for start in (16, 160)]) / 2
    torch.testing.assert_close(columns, expected)


def test_tiles_of_a_generator_have_no_seam() -> None:
    """With the statistics of a sample, tiles are parts of one picture, wherever they are cut; with each tile's own
    they are not."""
    device, image = select_device("cpu", "fp32"), scene(120, 422)
    translator, own = Translator(generator(), device, 220), Translator(generator(), device, 4000)
    with torch.inference_mode():
        tiled = translator(image)[0, 0].float()
        one_picture = translator.by_tiles(device.images(image))[0, 0].add(1).mul(127.5)
        separate = run_local(own, [image], 220, translator.reach)[0, 0].add(1).mul(127.5)
    assert (tiled - one_picture).abs().max() <= 1
    assert (separate - one_picture).abs().mean() > 5
    edges = core_edges(422, 220 - 2 * translator.reach, 4)[1:-1]
    change = (tiled[:, 1:] - tiled[:, :-1]).abs().mean(0)
    across = torch.zeros(len(change), dtype=torch.bool)
    across[[edge - 1 for edge in edges]] = True
    assert len(edges) == 5 and change[across].mean() < 1.2 * change[~across].mean()


@pytest.mark.parametrize("statistics", ["sample", "exact"])
@pytest.mark.parametrize("name", ["resnet_6blocks", "efficientnet_unet"])
def test_tiles_of_a_generator_at_once_equal_those_one_by_one(
    name: str, statistics: str, threads: Callable[[int], None]
) -> None:
    translator, image = Translator(generator(name), select_device("cpu", "fp32"), 220, statistics), scene(119, 420)
    made = []
    with torch.inference_mode():
        for count in (1, 3):
            threads(count)
            made.append(translator(image))
    assert (made[0].int() - made[1].int()).abs().max() <= 1 and made[0].float().std() > 5


@pytest.mark.parametrize("name", ["resnet_9blocks", "unet_256", "efficientnet_unet"])
def test_tiles_leave_room_for_one_of_each_thread(name: str, threads: Callable[[int], None]) -> None:
    network, device = OneDirection(make_generator(name, 3, 1, 1, "none", False, "resize")), select_device("cpu", "fp32")
    sides = []
    for count in (1, 2, 64):
        threads(count)
        translator = Translator(network, device)
        sides.append(translator.tile)
        assert translator.whole == max(1536, translator.tile) ** 2, "what fits into memory is not cut"
    if name == "unet_256":
        assert sides == [4 * 768] * 3, "it sees so far that smaller ones would be margins alone"
    else:
        assert sides[0] == 1536 and 1024 < sides[1] <= 1536 / 2**0.5 and sides[2] == 8 * network.to_infrared.reach


def test_tiled_norms_leave_the_network_alone_and_serve_the_next_image() -> None:
    network, device = generator(), select_device("cpu", "fp32")
    before = copy.deepcopy(network)
    translator = Translator(network, device, 220)
    small, one, two = scene(64, 80), scene(119, 420), 255 - scene(119, 420)
    with torch.inference_mode():
        first = translator(one)
        translator(two)
        assert torch.equal(translator(one), first), "nothing of another image is left"
        torch.testing.assert_close(translator(small), before(device.images(small)))
        assert torch.equal(translator(torch.cat([one, two]))[:1], first)
    with pytest.raises(ValueError, match="--tile 100 is too small"):
        Translator(network, device, 100)


MEMORY = """
import resource, torch
torch.set_num_threads(1)
from tests.models.inference.test_tiling import generator, scene
from models.inference.translator import Translator
from util.device import select_device
translator, image = Translator(generator(), select_device("cpu", "fp32"), 304), scene(1200, 1600)
with torch.inference_mode():
    translator(image[..., :300, :300])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    translator(image)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)
"""


def test_memory_depends_on_the_tile() -> None:
    """MB beyond those of one tile: room for the result, but not for activations, of which each takes 30."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", MEMORY]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    assert float(done.stdout) < 20


class Mean(nn.Module):
    """A fusion network without weights: the mean of both images."""

    REACH = 0

    def forward(self, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
        return (visible + infrared) / 2


def test_a_still_video_keeps_its_brightness() -> None:
    """What stretches an image to its own ends would make frames of one scene flicker with the noise of a few pixels."""
    noise = torch.Generator().manual_seed(0)
    visible, infrared = scene(40, 60)[:, :3].float() / 2 + 40, scene(40, 60)[:, :1].float() / 2 + 40
    frames = [
        (still + 6 * torch.randn(24, *still.shape[1:], generator=noise)).round().clamp(0, 255).to(torch.uint8)
        for still in (visible, infrared)
    ]

    def wander(images: torch.Tensor) -> float:
        return images.float().mean((1, 2, 3)).std().item()

    def fused(video: bool, batch: int) -> torch.Tensor:
        fuser = Fuser(Mean(), select_device("cpu", "fp32"), NetworkOptions(), "minmax")
        if video:
            fuser.begin_video()
        parts = zip(*(part.split(batch) for part in frames), strict=True)
        return torch.cat([fuser(*part)[0] for part in parts]).add(1).mul(127.5)

    with torch.inference_mode():
        each, steady = fused(False, 4), fused(True, 4)
        torch.testing.assert_close(fused(True, 5), steady)  # whatever frames are fused together
    assert wander(steady) < wander(each) / 3
    assert steady.std() > frames[0].float().std(), "stretched all the same"

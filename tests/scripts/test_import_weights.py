"""Importing weights of others: state dicts under the known names of pytorch-CycleGAN-and-pix2pix, made
TensorFlow checkpoints, and the errors a user meets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.convert.pix2pix import generator_state, kind_of, plain
from models.fusion_gan import FusionGAN
from models.generators import make_generator
from models.inference.trained import load_network
from models.inference.translator import Translator
from options.fusion_gan import FusionGANOptions
from options.recorded import from_dict
from scripts.import_weights import ImportOptions, main
from tests.checkpoint_writer import made_fusion_gan, write_checkpoint
from util.device import select_device
from util.images import luminance
from util.training.state import load_weights, save_weights

Tensors = dict[str, torch.Tensor]


def norm(name: str, channels: int, kind: str) -> Tensors:
    """batch; instance has none; old_instance is that of PyTorch 0.3, with statistics nobody uses."""
    if kind == "instance":
        return {}
    running = {f"{name}.running_mean": torch.randn(channels), f"{name}.running_var": torch.rand(channels) + 0.5}
    if kind == "old_instance":
        return running
    affine = {f"{name}.weight": torch.randn(channels), f"{name}.bias": torch.randn(channels)}
    return affine | running | {f"{name}.num_batches_tracked": torch.tensor(7)}


def layer(name: str, *shape: int, bias: int | None) -> Tensors:
    weight = {f"{name}.weight": torch.randn(*shape) * 0.1}
    return weight | ({f"{name}.bias": torch.randn(bias)} if bias else {})


def their_resnet(inside: int, outside: int, ngf: int, blocks: int, kind: str, dropout: bool = False) -> Tensors:
    """State dict with the names of their ResNet generator."""
    biased = kind != "batch"
    state = layer("model.1", ngf, inside, 7, 7, bias=biased * ngf) | norm("model.2", ngf, kind)
    for i, width in ((4, ngf), (7, 2 * ngf)):
        state |= layer(f"model.{i}", 2 * width, width, 3, 3, bias=biased * 2 * width)
        state |= norm(f"model.{i + 1}", 2 * width, kind)
    wide = 4 * ngf
    for block in range(10, 10 + blocks):
        for i in (1, 6 if dropout else 5):
            state |= layer(f"model.{block}.conv_block.{i}", wide, wide, 3, 3, bias=biased * wide)
            state |= norm(f"model.{block}.conv_block.{i + 1}", wide, kind)
    for i, width in ((10 + blocks, wide), (13 + blocks, wide // 2)):
        state |= layer(f"model.{i}", width, width // 2, 3, 3, bias=biased * (width // 2))
        state |= norm(f"model.{i + 1}", width // 2, kind)
    return state | layer(f"model.{17 + blocks}", outside, ngf, 7, 7, bias=outside)


def their_unet(inside: int, outside: int, ngf: int, levels: int, kind: str) -> Tensors:
    """State dict with the names of their U-Net generator, whose levels lie inside each other."""
    biased = kind != "batch"
    widths = [min(2**i, 8) * ngf for i in range(levels)]

    def level(root: str, depth: int) -> Tensors:
        outer, width = widths[depth - 1], widths[depth]
        innermost = depth == levels - 1
        state = layer(f"{root}.1", width, outer, 4, 4, bias=biased * width)
        if innermost:
            up, merged = 3, width
        else:
            state |= norm(f"{root}.2", width, kind) | level(f"{root}.3.model", depth + 1)
            up, merged = 5, 2 * width
        state |= layer(f"{root}.{up}", merged, outer, 4, 4, bias=biased * outer)
        return state | norm(f"{root}.{up + 1}", outer, kind)

    state = layer("model.model.0", ngf, inside, 4, 4, bias=biased * ngf) | level("model.model.1.model", 1)
    return state | layer("model.model.3", 2 * ngf, outside, 4, 4, bias=outside)


NETWORKS = {
    "resnet_9blocks": lambda kind: their_resnet(3, 3, 4, 9, kind),
    "resnet_6blocks": lambda kind: their_resnet(3, 1, 4, 6, kind, dropout=True),
    "unet_256": lambda kind: their_unet(3, 3, 4, 8, kind),
    "unet_128": lambda kind: their_unet(1, 3, 4, 7, kind),
}


@pytest.mark.parametrize("kind", ["instance", "old_instance", "batch"])
@pytest.mark.parametrize("netG", NETWORKS)
def test_generators_are_recognised_and_mapped(netG: str, kind: str) -> None:
    theirs = NETWORKS[netG](kind)
    tensors = plain({f"module.{name}": tensor for name, tensor in theirs.items()})
    found = kind_of(tensors)
    assert (found.netG, found.ngf, found.norm) == (netG, 4, "batch" if kind == "batch" else "instance")
    assert found.dropout == (netG == "resnet_6blocks")
    ours = make_generator(netG, found.in_channels, found.out_channels, 4, found.norm, found.dropout, "transpose")
    ours.load_state_dict(generator_state(tensors, found))
    moved = [t for name, t in ours.state_dict().items() if not name.endswith("num_batches_tracked")]
    for mine, given in zip(moved, tensors.values(), strict=True):
        assert torch.equal(mine, given)


def run(path: Path, state: Tensors | None = None, **options: object) -> tuple[dict[str, str], Tensors]:
    if state is not None:
        torch.save(state, path / "latest_net_G_A.pth")
        options["from_pix2pix"] = path / "latest_net_G_A.pth"
    main(ImportOptions(out=path / "out.safetensors", **options))
    return load_weights(path / "out.safetensors")


def test_generator_file(tmp_path: Path) -> None:
    theirs = NETWORKS["resnet_9blocks"]("instance")
    metadata, tensors = run(tmp_path, theirs)
    assert metadata["model"] == "cycle_gan"
    assert (metadata["in_channels"], metadata["out_channels"], metadata["direction"]) == ("3", "3", "to_infrared")
    assert json.loads(metadata["options"])["ngf"] == 4
    assert all(name.startswith("to_infrared.") for name in tensors)
    with pytest.raises(ValueError, match="holds a resnet_9blocks, not --netG unet_256"):
        run(tmp_path, theirs, netG="unet_256")


@pytest.mark.parametrize("netG", ["resnet_9blocks", "unet_256"])
@pytest.mark.parametrize("kind", ["instance", "batch"])
def test_one_channel_outputs(tmp_path: Path, netG: str, kind: str) -> None:
    metadata, tensors = run(tmp_path, theirs := NETWORKS[netG](kind), to_one_channel=True)
    assert metadata["out_channels"] == "1"
    *_, weight, bias = theirs.values()
    axis = 0 if netG == "resnet_9blocks" else 1
    floats = [t for name, t in tensors.items() if not name.endswith("num_batches_tracked")]
    assert any(t.shape == (1,) and torch.allclose(t, bias.mean()) for t in floats)
    assert any(
        t.ndim == 4 and t.shape[axis] == 1 and torch.allclose(t, weight.mean(axis, keepdim=True)) for t in floats
    )


def test_one_channel_inputs_are_exact_for_grey_images(tmp_path: Path) -> None:
    theirs = NETWORKS["resnet_9blocks"]("instance")
    _, tensors = run(tmp_path, theirs, to_one_channel=True, direction="to_visible")
    folded = make_generator("resnet_9blocks", 1, 3, 4, "instance", False, "transpose")
    folded.load_state_dict({name.removeprefix("to_visible."): t for name, t in tensors.items()})
    whole = make_generator("resnet_9blocks", 3, 3, 4, "instance", False, "transpose")
    whole.load_state_dict(generator_state(plain(theirs), kind_of(plain(theirs))))
    grey = torch.rand(1, 1, 24, 32) * 2 - 1
    torch.testing.assert_close(folded(grey), whole(grey.expand(-1, 3, -1, -1)), atol=1e-5, rtol=0)


def test_fusion_gan_file_builds_its_network(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "CGAN.model-3", made_fusion_gan(16))
    for as_released in (False, True):
        metadata, tensors = run(
            tmp_path, from_tf=tmp_path / "CGAN.model-3", model="fusion_gan", as_released=as_released
        )
        options = from_dict(FusionGANOptions, json.loads(metadata["options"]), "options")
        assert options.bn_statistics == ("image" if as_released else "running")
        assert (options.ngf, metadata["range"]) == (16, "minmax")
        FusionGAN.network(options).load_state_dict(tensors)


def test_command(tmp_path: Path, command: Callable) -> None:
    write_checkpoint(tmp_path / "m", made_fusion_gan(16))
    words = ["scripts.import_weights", "--out", "o.safetensors", "--from-tf", "m", "--model"]
    done = command(*words, "stdfusion_net", status=2)
    assert done.stderr.count("\n") == 1
    assert "it is not one of STDFusionNet" in done.stderr
    assert not (tmp_path / "o.safetensors").exists()


def test_what_does_not_fit(tmp_path: Path) -> None:
    arrays = made_fusion_gan(16)
    with pytest.raises(ValueError, match="--from_tf needs --model"):
        ImportOptions(out=tmp_path / "out.safetensors", from_tf=tmp_path / "m")
    arrays["fusion_model/layer3/w3"] = np.zeros((3, 3, 8, 9), np.float32)
    write_checkpoint(tmp_path / "m", arrays)
    with pytest.raises(ValueError, match=r"body\.6\.weight is \(9, 8, 3, 3\), not \(4, 8, 3, 3\)"):
        run(tmp_path, from_tf=tmp_path / "m", model="fusion_gan")
    with pytest.raises(ValueError, match="0 convolutions"):
        run(tmp_path, {"x": torch.zeros(3)})
    with pytest.raises(ValueError, match="plain tensors"):
        run(tmp_path, {"x": 3})
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(ValueError, match="plain tensors"):
        run(tmp_path, from_pix2pix=tmp_path / "text.pth")
    assert not (tmp_path / "out.safetensors").exists()


class Theirs(torch.nn.Module):
    """Their ResNet generator of 6 blocks, written down anew, with batch norm, instance norm or none."""

    def __init__(self, state: Tensors, kind: str) -> None:
        super().__init__()
        self.state, self.kind = state, kind

    def conv(
        self, x: torch.Tensor, name: str, number: int, pad: int = 0, up: bool = False, stride: int = 1
    ) -> torch.Tensor:
        weight, bias = self.state[f"{name}.{number}.weight"], self.state.get(f"{name}.{number}.bias")
        if up:
            return F.conv_transpose2d(x, weight, bias, 2, 1, 1)
        if pad > 0:
            x = F.pad(x, (pad,) * 4, mode="reflect")
        return F.conv2d(x, weight, bias, stride, 1 if pad == 0 else 0)

    def norm(self, x: torch.Tensor, name: str, number: int) -> torch.Tensor:
        if self.kind == "none":
            return x
        weight, bias = (self.state.get(f"{name}.{number}.{key}") for key in ("weight", "bias"))
        return F.batch_norm(x, None, None, weight, bias, training=True)  # of one image: its own statistics

    def forward(self, x: torch.Tensor, last: int) -> torch.Tensor:
        x = self.norm(self.conv(x, "model", 1, 3), "model", 2).relu()
        for i in (4, 7):
            x = self.norm(self.conv(x, "model", i, stride=2), "model", i + 1).relu()
        for i in range(10, 16):
            block, y = f"model.{i}.conv_block", x
            second = 6 if f"{block}.6.weight" in self.state and self.state[f"{block}.6.weight"].ndim == 4 else 5
            y = self.norm(self.conv(y, block, 1, 1), block, 2).relu()
            x = x + self.norm(self.conv(y, block, second, 1), block, second + 1)
        for i in (16, 19):
            x = self.norm(self.conv(x, "model", i, up=True), "model", i + 1).relu()
        return self.conv(x, "model", last, 3).tanh()


@pytest.mark.parametrize("kind", ["batch", "instance", "none"])
@pytest.mark.parametrize("inside", [1, 3])
def test_the_picture_is_that_of_the_other_project(tmp_path: Path, kind: str, inside: int) -> None:
    """Its test.py runs networks in training mode, one image at a time; without dropout that is the default here."""
    theirs = their_resnet(inside, 3, 4, 6, "batch" if kind == "none" else kind, dropout=True)
    if kind == "none":  # whose convolutions have no bias there, but for the last
        theirs = {n: t for n, t in theirs.items() if n.endswith("weight") and t.ndim == 4 or n == "model.23.bias"}
    run(tmp_path, theirs)
    network, _, facts = load_network(tmp_path / "out.safetensors", "generation")
    assert facts.get("norm_statistics") == ("image" if kind == "batch" else None)
    visible = torch.rand(2, 3, 40, 48) * 2 - 1  # two images: each by its own statistics
    seen = luminance(visible) if inside == 1 else visible
    with torch.inference_mode():
        expected = torch.cat([Theirs(theirs, kind)(image[None], 23) for image in seen])
        torch.testing.assert_close(network(visible), luminance(expected), atol=1e-4, rtol=0)
        tiled = Translator(network, select_device("cpu", "fp32"), 176, "exact").in_tiles(visible[:1])
        difference = tiled - (luminance(expected[:1]) + 1) * 127.5
        assert difference.abs().max() < 1
    if kind != "batch":
        with pytest.raises(ValueError, match="no batch norms"):
            load_network(tmp_path / "out.safetensors", "generation", norm_statistics="trained")
        with pytest.raises(ValueError, match="no batch norms"):
            run(tmp_path, theirs, norm_statistics="trained")
        return
    trained, _, _ = load_network(tmp_path / "out.safetensors", "generation", norm_statistics="trained")
    metadata, _ = run(tmp_path, theirs, norm_statistics="trained")
    kept, _, facts = load_network(tmp_path / "out.safetensors", "generation")
    assert metadata["norm_statistics"] == facts["norm_statistics"] == "trained"
    with torch.inference_mode():
        assert torch.equal(trained(visible), kept(visible)) and not torch.allclose(kept(visible), network(visible))


def test_files_as_others_save_them(tmp_path: Path) -> None:
    """Read are state dicts in a dict, of DataParallel, in half precision; the rest is one clear line."""
    theirs = their_resnet(3, 3, 4, 6, "instance")
    _, plain_ones = run(tmp_path, theirs)
    half = {f"module.{name}": tensor.half() for name, tensor in theirs.items()}
    _, tensors = run(tmp_path, {"epoch": 3, "state_dict": half, "options": {"lr": 1.0}})
    assert all(torch.equal(tensor, plain_ones[name].half().float()) for name, tensor in tensors.items())
    first = next(iter(theirs))
    for state, message in (
        ({"G_A": theirs, "G_B": theirs}, "several networks \\(G_A, G_B\\)"),
        ({}, "no state dict"),
        (theirs | {"model.6.filt": torch.ones(3, 3)}, "anti-aliased layers .*--no_antialias"),
        (theirs | {first: theirs[first].long()}, f"its {first} is of torch.int64"),
        (theirs | {first: theirs[first] / 0}, f"its {first} holds infinite numbers or NaN"),
        (their_resnet(4, 3, 4, 6, "instance"), "takes 4 channels and makes 3"),
        (torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), "A whole network is not opened, .*state_dict"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path, state)
    file = tmp_path / "latest_net_G_A.pth"
    torch.save(theirs, file)
    content = bytearray(file.read_bytes())
    content[content.index(theirs["model.4.weight"].numpy().tobytes()) + 5] ^= 8
    file.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        run(tmp_path, from_pix2pix=file)


def test_weights_come_back_in_any_layout(tmp_path: Path) -> None:
    shared = torch.randn(2, 3, 4, 5)
    state = {"a": shared, "b": shared, "c": shared.to(memory_format=torch.channels_last), "d": shared[:, 1:]}
    save_weights(tmp_path / "new" / "w.safetensors", state, {"model": "x"})
    metadata, tensors = load_weights(tmp_path / "new" / "w.safetensors")
    assert metadata == {"model": "x"}
    for name, tensor in state.items():
        assert torch.equal(tensors[name], tensor)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "new" / "w.safetensors").read_bytes()[:-9])
    with pytest.raises(ValueError, match="not an intact"):
        load_weights(tmp_path / "cut.safetensors")
    with pytest.raises(ValueError, match="no such file"):
        load_weights(tmp_path / "absent.safetensors")

"""Importing weights of others: state dicts under the known names of pytorch-CycleGAN-and-pix2pix, made
TensorFlow checkpoints, and the errors a user meets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.fusion_gan import FusionGAN
from models.generators import make_generator
from models.pix2pix_import import generator_state, kind_of, plain
from options.fusion_gan import FusionGANOptions
from options.typed import from_dict
from scripts.import_weights import ImportOptions, main
from tests.checkpoint_writer import made_fusion_gan, write_checkpoint
from util.weights import load_weights, save_weights

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

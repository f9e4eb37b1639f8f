"""Damage of a kind, drawn from a seeded generator: words of a command line, JSON, images, checkpoints and weights."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import random
import struct
import typing
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

CANARY = "a pickle was executed"
PATHS = ("afile.txt", "afolder", "afifo", "absent", "absent/deep/er", "dangling", "loop", "", ".", "afile.txt/below",
         "café ☃", "x" * 300, "a\nb", "/proc/version", "pairs", "checkpoints", "zero.png", "v2")  # fmt: skip
WORDS = ("", " ", "abc", "None", "null", "nan", "-nan", "true", "False", "١٢", "²", "１２", "1_000", "0x10", "1e5",
         "2.5", "-1", "0", "1", "-0", "1e400", "-inf", "--", "-", "[]", "{}", "☃", "a" * 5000, "%s", "$HOME", "*", "~",
         "\udcff", "=", "1,2", "1 2", "../..")  # fmt: skip
NUMBERS = ("0", "-1", "1", "2", "3", "7", "16", "0.5", "0.999", "1e-320", "1e-9", "nan", "inf", "-inf", "100")
HUGE = ("9" * 30, "1e30", "2147483648", "4294967296", "1" * 5000)
MAY_BE_HUGE = {"seed", "display_port", "epoch", "num_test", "gallery", "max_dataset_size", "max_images", "min_boxes",
               "val_size", "save_epoch_freq", "lr_decay_iters", "examples", "limit"}  # fmt: skip
AMOUNTS = {"n_epochs", "n_epochs_decay", "steps", "seeds", "repeats", "train", "val", "test", "load_size", "crop_size",
           "batch_size", "ngf", "ndf", "num_threads", "size", "accumulate", "patch_size", "self_patch_sizes",
           "self_patches", "n_layers_D", "critic_steps", "pool_size", "samples", "count"}  # fmt: skip
KEPT = {"start_visdom", "visdom_public", "time", "follow", "display", "compile", "format", "detector", "vgg_weights",
        "workers"}  # options that cost minutes, a server or a download  # fmt: skip
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 2.5, float("nan"), float("inf"), -float("inf"), "", "abc", "4", "²", "../../x",
    "/etc/passwd", "a\0b", "x" * 300, [], {}, [1, 2], [[]], {"a": 1}, ["x"], [None], [float("nan")] * 4,
    10**12, -(10**12),
)  # fmt: skip


# Words of a command line


def options_of(cls: type) -> dict[str, Any]:
    """Option -> its type, of a dataclass and those in it."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(cls).items():
        if name in {entry.name for entry in dataclasses.fields(cls)}:
            found |= options_of(hint) if dataclasses.is_dataclass(hint) else {name: hint}
    return found


def option_value(rng: random.Random, name: str, hint: Any) -> list[str]:
    """Words to give for an option: now and then right, else wrong or extreme."""
    kinds = {hint, *typing.get_args(hint)}
    if rng.random() < 0.25:
        return [rng.choice(WORDS)]
    if typing.get_origin(hint) is typing.Literal:
        return [str(rng.choice(typing.get_args(hint)))]
    if hint is bool:
        return rng.choice([[], ["True"], ["1"], ["maybe"]])
    if Path in kinds or (hint is str and rng.random() < 0.5):
        return [rng.choice(PATHS)]
    if tuple in {typing.get_origin(kind) for kind in kinds}:
        return [rng.choice((*NUMBERS, *WORDS[:8], "relu1_2", "64")) for _ in range(rng.randint(0, 3))]
    if name in AMOUNTS:
        return [rng.choice(("0", "-1", "1", "2", "3", "2.5", "17", "32", "nan"))]
    return [rng.choice((*NUMBERS, *HUGE) if name in MAY_BE_HUGE or float in kinds else NUMBERS)]


def set_option(given: list[str], option: str, value: Sequence[str]) -> None:
    """Give an option a value, instead of the one that it has."""
    if option in given:
        place = given.index(option)
        given[place + 1 : place + 2] = value
    else:
        given += [option, *value]


def mutate_options(rng: random.Random, words: Sequence[str], options: type) -> list[str]:
    """A command's words with one to three options other than they were: another value, twice, unknown, gone."""
    given, hints = list(words), {name: hint for name, hint in options_of(options).items() if name not in KEPT}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        way, name = rng.random(), rng.choice(sorted(hints))
        present = [k for k, word in enumerate(given) if word[:2] == "--" and word[2:] in hints]
        value = option_value(rng, name, hints[name])
        dashed = name.replace("_", "-") if rng.random() < 0.2 else name
        if way < 0.06 and present:
            place = rng.choice(present)
            del given[place + rng.randint(0, 1) : place + 2]
        elif way < 0.1:
            unknown = rng.choice(("--nmae", "--strict_", "-x", "word", "--é", "--", ""))
            given.insert(rng.randint(1, len(given)), unknown)
        elif way < 0.6:
            set_option(given, f"--{name}", value)
        elif len(value) == 1 and way < 0.7:
            given.append(f"--{dashed}={value[0]}")
        else:
            given += [f"--{'no_' if hints[name] is bool and way < 0.8 else ''}{dashed}", *value]
    return given


# Bytes and JSON


def mutate_bytes(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """A file's bytes, damaged; how."""
    way = rng.randrange(6)
    if way == 0:
        return b"", "empty"
    if way == 1:
        end = rng.randrange(len(content) + 1)
        return content[:end], f"cut after {end} bytes"
    if way == 2:
        return rng.randbytes(rng.randint(1, 2000)), "random bytes"
    if way == 3:
        return content + rng.randbytes(rng.randint(1, 200)), "random bytes at the end"
    changed, count = bytearray(content or b"x"), 1 if way == 4 else rng.randint(2, 30)
    for _ in range(count):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed), f"{count} bits flipped"


def mutate_text(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """As mutate_bytes, and in ways that texts are damaged."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, content)
    middle = len(content) // 2
    return rng.choice((
        (b"\xef\xbb\xbf" + content, "BOM"),
        (content.decode().encode("utf-16"), "UTF-16"),
        (b"[" * 100_000, "deep"),
        (b'{"a":' * 100_000, "deep object"),
        (b'{"images": ' + b"9" * 5000 + b"}", "5,000 digits"),
        (rng.choice((b"5", b"null", b"[1, 2]", b'"a"')), "another value"),
        (content.replace(b"\n", b"\r\n"), "CR LF"),
        (content[:middle] + b"\0" + content[middle:], "NUL"),
        (content + content, "twice"),
        (content + b"\xe9\xff", "Latin-1"),
    ))  # fmt: skip


def _nodes(value: Any, trail: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [trail, *(found for key, item in inner for found in _nodes(item, (*trail, key)))]


def mutate_value(rng: random.Random, value: Any) -> tuple[Any, str]:
    """A JSON value with one thing in it replaced, gone or twice; what was done."""
    alike: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}  # places of one meaning, whatever their number
    for trail in _nodes(value):
        meaning = tuple("*" if isinstance(key, int) or len(key) > 30 else key for key in trail)
        alike.setdefault(meaning, []).append(trail)
    trail, junk, way = rng.choice(alike[rng.choice(sorted(alike))]), rng.choice(JUNK), rng.random()
    if not trail:
        return junk, f"all is {junk!r:.40}"
    holder = value
    for key in trail[:-1]:
        holder = holder[key]
    key, where = trail[-1], "/".join(map(str, trail))
    if way < 0.2:
        del holder[key]
        return value, f"{where} is gone"
    if way < 0.27 and isinstance(holder, list):
        holder.append(holder[key])
        return value, f"{where} is there twice"
    if way < 0.32 and isinstance(holder, dict):
        holder[rng.choice(("other", "", "__class__", "a/b"))] = junk
        return value, f"beside {where} a new key"
    if key in AMOUNTS and isinstance(junk, int) and junk > 1000:
        junk = -junk  # more would be asked for, and made
    holder[key] = junk
    return value, f"{where} is {junk!r:.40}"


def mutate_json(rng: random.Random, path: Path) -> str:
    """Damage a JSON file, or one of JSON lines; what was done."""
    content = path.read_bytes()
    if rng.random() < 0.3:
        changed, how = mutate_text(rng, content)
    elif path.suffix == ".jsonl":
        lines = content.decode().splitlines()
        k = rng.randrange(len(lines))
        value, how = mutate_value(rng, json.loads(lines[k]))
        lines[k], how = json.dumps(value), f"line {k}: {how}"
        changed = "".join(f"{line}\n" for line in lines).encode()
    else:
        value, how = mutate_value(rng, json.loads(content))
        changed = json.dumps(value).encode()
    path.write_bytes(changed)
    return f"{path.name}: {how}"


# Images

SIZES = ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2), (3, 3), (5, 4), (40, 30), (48, 40), (300, 2))
FORMATS = {
    "F": ("TIFF",), "I": ("TIFF",), "I;16": ("PNG", "TIFF"), "1": ("PNG", "BMP", "TIFF"), "P": ("PNG", "GIF", "BMP"),
    "L": ("PNG", "JPEG", "BMP", "PPM", "WEBP"), "LA": ("PNG", "TIFF"), "LAB": ("TIFF",), "CMYK": ("JPEG", "TIFF"),
    "RGB": ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"), "RGBA": ("PNG", "WEBP", "TIFF"),
    "YCbCr": ("JPEG", "TIFF"),
}  # fmt: skip


def picture_bytes(rng: random.Random) -> tuple[bytes, str]:
    """An image of an odd size, mode or format."""
    mode, (width, height) = rng.choice(sorted(FORMATS)), rng.choice(SIZES)
    kind, draw = rng.choice(FORMATS[mode]), np.random.default_rng(rng.randrange(1 << 30))
    if mode == "F":
        values = draw.normal(300, 20, (height, width)).astype(np.float32)
        values[0, 0] = rng.choice((np.nan, np.inf, -np.inf, 0, 1e30))
        image = Image.fromarray(values)
    elif mode in ("I;16", "I"):
        image = Image.fromarray(draw.integers(0, 60000, (height, width)).astype(np.uint16)).convert(mode)
    else:
        image = Image.fromarray(draw.integers(0, 255, (height, width, 3), np.uint8))
        image = Image.frombytes("LAB", image.size, image.tobytes()) if mode == "LAB" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue(), f"{mode} {width}x{height} {kind}"


def mutate_image(rng: random.Random, path: Path) -> str:
    """Damage an image, or put something else in its place or beside it; what was done."""
    content, way = path.read_bytes(), rng.random()
    if rng.random() < 0.25:
        path = path.with_name(rng.choice(("new", "²", "١", "a b", "☃", "-x", "n" * 200)) + path.suffix)
    if way < 0.35:
        changed, how = mutate_bytes(rng, content)
    elif way < 0.72:
        changed, how = picture_bytes(rng)
    elif way < 0.76 and content[1:4] == b"PNG":
        head = content[12:16] + struct.pack(">II", 60_000, 60_000) + content[24:29]
        changed = content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
        how = "60,000 x 60,000 pixels"
    else:
        how = rng.choice(("FIFO", "/dev/zero", "nowhere", path.name, "folder", "full folder"))
        path.unlink(missing_ok=True)
        put_instead(path, how, content)
        return f"{path.name[:40]}: {how[:40]}"
    path.write_bytes(changed)
    return f"{path.name[:40]}: {how}"


def put_instead(path: Path, what: str, content: bytes = b"") -> None:
    """A FIFO, a folder, or a link to what is named."""
    if what == "FIFO":
        os.mkfifo(path)
    elif "folder" in what:
        path.mkdir()
        if what.startswith("full"):
            (path / f"y{path.suffix}").write_bytes(content)
    else:
        path.symlink_to(what)


# Checkpoints and weights


class _Code:
    """What runs when it is unpickled, if anything lets it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (CANARY,)


def saved(content: Any) -> bytes:
    """As torch.save writes it."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _mutate_state(rng: random.Random, state: Any) -> str:
    trail: list[str] = []
    holder = state
    while True:
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        trail.append(str(key))
        if not (isinstance(holder[key], (dict, list)) and holder[key] and rng.random() < 0.8):
            break
        holder = holder[key]
    where, old, way = "/".join(trail), holder[key], rng.random()
    if way < 0.35:
        del holder[key]
        return f"{where} is gone"
    if isinstance(old, torch.Tensor) and way < 0.8:
        spoilt = torch.full_like(old, float("nan")) if old.is_floating_point() else -old.int()
        junk = rng.choice((old.double(), old.half(), old.long(), old[None], old.flatten()[:0], spoilt))
        holder[key] = junk
        return f"{where} is {junk.dtype} {tuple(junk.shape)}"
    holder[key] = junk = rng.choice((None, "abc", -1, 2.5, [], {}, [1], torch.zeros(3), float("nan"), 10**9))
    return f"{where} is {junk!r:.30}"


def _mutate_safetensors(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    notes, way = header["__metadata__"], rng.random()
    key, name = rng.choice(sorted(notes)), rng.choice(sorted(header.keys() - {"__metadata__"}))
    if way < 0.15:
        del notes[key]
        how = f"metadata {key} is gone"
    elif way < 0.35 and notes[key].startswith("{"):
        value, how = mutate_value(rng, json.loads(notes[key]))
        notes[key], how = json.dumps(value), f"metadata {key}: {how}"
    elif way < 0.6:
        notes[key] = rng.choice(("", "abc", "{", "nan", "-1", "[]", "null", "1e400", "²", "[" * 50_000, "9" * 5000))
        how = f"metadata {key} is {notes[key][:20]!r}"
    elif way < 0.8:
        header[f"{name}_"] = header.pop(name)
        how = f"{name} has another name"
    else:
        header[name]["shape"] = [int(np.prod(header[name]["shape"]))]
        how = f"{name} is flat"
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + size :], how


def mutate_weights(rng: random.Random, path: Path, others: Sequence[Path]) -> str:
    """Damage a checkpoint or a file of weights, or put another's content there; what was done."""
    content, way = path.read_bytes(), rng.random()
    if way < 0.3:
        changed, how = mutate_bytes(rng, content)
    elif way < 0.4:
        changed, how = rng.choice((
            (saved([1, 2]), "a list"), (saved({}), "an empty dict"), (saved({"format": 2}), "a format alone"),
            (saved({"a": {"b": torch.zeros(2)}}), "another dict"), (saved(torch.zeros(3)), "a tensor"),
            (b"\x80\x02}q\x00.", "a bare pickle"), (b"version https://git-lfs.github.com/spec/v1\n", "a pointer"),
        ))  # fmt: skip
    elif way < 0.45:
        changed, how = pickle.dumps(_Code()), "a pickle with code"
    elif way < 0.5:
        changed, how = saved({"format": 2, "x": _Code()}), "a checkpoint with code"
    elif way < 0.6 and others:
        other = rng.choice(others)
        changed, how = other.read_bytes(), f"that of {other.parent.name}/{other.name}"
    elif path.suffix == ".safetensors":
        changed, how = _mutate_safetensors(rng, content)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        how = _mutate_state(rng, state)
        changed = saved(state)
    path.write_bytes(changed)
    return f"{path.name}: {how}"

"""Instance norm, (leaky) ReLU, nearest upsampling and mirrored borders of CUDA images in one pass, by Triton kernels.

PyTorch's own kernels for these copy channels_last images to the default layout and back, one by one, and upsample in
float32: two thirds of a ResNet generator's training step (docs/benchmarks.md). Here what stands between two
convolutions is read twice and written once, in its own layout and precision, and so is its gradient. A program of a
kernel works on some rows of one image and a block of channels; sums over an image are made of its programs' sums, in
float32, without atomic operations, so that they are the same every time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from util.text import reason

try:
    import triton
    import triton.language as tl

    # Channels alone decide how numbers are read: one kernel for images of every size.
    jit: Any = triton.jit(do_not_specialize=["height", "width", "rows", "chunks"])
    inlined: Any = triton.jit
except ImportError:  # comes with PyTorch for CUDA on Linux alone
    triton = tl = None
    jit = inlined = lambda kernel: kernel

TILE, CHANNELS, WARPS = 2048, 128, 8  # numbers that a program works on at a time, and channels at most
PROGRAMS = 1056  # at least, where there are rows enough: eight for each multiprocessor of a large GPU
LEAST_CHANNELS = 8  # fewer are images, which PyTorch's kernels suit

_as_written = False


@contextmanager
def as_written() -> Iterator[None]:
    """A context in which layers run one by one, for gradients that are differentiated once more."""
    global _as_written
    before, _as_written = _as_written, True
    try:
        yield
    finally:
        _as_written = before


def fits(x: torch.Tensor) -> bool:
    """Whether `run` takes x: a CUDA tensor in channels_last, where the kernels work; not while networks are compiled or
    exported."""
    return (
        triton is not None
        and x.is_cuda
        and type(x) is torch.Tensor  # others, as fake ones, may have no content
        and x.dim() == 4
        and x.shape[1] >= LEAST_CHANNELS
        and x.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.shape[2:].numel() > 1  # one pixel lies in either layout
        and not (_as_written or torch.compiler.is_compiling() or torch.jit.is_tracing())
        and works(x.device, x.dtype)
    )


@cache
def works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels can be built for a device and a dtype, and give what the layers give in float32; else a
    warning says why not."""
    shape: tuple[int, ...] = (2, LEAST_CHANNELS + 1, 6, 10)
    settings: dict[str, Any] = {"eps": 1e-5, "slope": 0.2, "up": 2, "pad": 1}
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            number = torch.arange(math.prod(shape), dtype=torch.float32, device=device).view(shape)
            x = (3 * number.sin() + number / 100).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
            exact = x.detach().float().requires_grad_()
            made, expected = run(x, **settings), one_by_one(exact, **settings)
            weight = expected.detach().cos()
            (of_x,) = torch.autograd.grad((made * weight).sum(), x)
            (of_exact,) = torch.autograd.grad((expected * weight).sum(), exact)
            within, pairs = 1e-3 if dtype == torch.float32 else 5e-2, ((made, expected), (of_x, of_exact))
            agree = all(torch.allclose(ours.float(), theirs, rtol=within, atol=within) for ours, theirs in pairs)
        why = "they give something else than the layers do"
    except Exception as error:  # no C compiler, an old GPU, ...: whatever Triton finds
        agree, why = False, reason(error)
    if not agree:
        where = f"on {device} in {str(dtype).removeprefix('torch.')}"
        warnings.warn(f"Triton kernels do not work {where} ({why}): layers run one by one, slower", stacklevel=2)
    return agree


def one_by_one(
    x: torch.Tensor, eps: float | None = None, slope: float | None = None, up: int = 1, pad: int = 0
) -> torch.Tensor:
    """What `run` gives, by PyTorch's own layers."""
    if eps is not None:
        x = F.instance_norm(x, eps=eps)
    if slope is not None:
        x = F.leaky_relu(x, slope)
    if up > 1:
        x = F.interpolate(x, scale_factor=up)
    return F.pad(x, (pad,) * 4, mode="reflect") if pad else x


def run(
    x: torch.Tensor, eps: float | None = None, slope: float | None = None, up: int = 1, pad: int = 0
) -> torch.Tensor:
    """Normalise each channel of each image of x [N, C, H, W] (eps: of the variance; None for no norm), take the ReLU
    (slope: below 0; None for none), enlarge `up` times by repetition and mirror `pad` pixels at each side, in this
    order -> [N, C, up H + 2 pad, up W + 2 pad] in x's dtype, channels_last. Differentiable once. pad must be less than
    up H and up W. N may be 0, as where tiles stop once a norm of theirs is measured."""
    if not len(x):
        return one_by_one(x, eps, slope, up, pad)
    return _Pass.apply(x, eps, slope, up, pad)


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float | None, slope: float | None, up: int, pad: int) -> torch.Tensor:
        with torch.cuda.device_of(x):
            return _Pass._made(ctx, x, eps, slope, up, pad)

    @staticmethod
    def _made(ctx: Any, x: torch.Tensor, eps: float | None, slope: float | None, up: int, pad: int) -> torch.Tensor:
        n, channels, height, width = x.shape
        assert pad < up * min(height, width), "there is less to mirror than is asked for"
        y = _empty(x, (n, channels, up * height + 2 * pad, up * width + 2 * pad))
        sums = None
        if eps is not None:
            grid, rows, chunks, tile = _programs(x, height)
            parts = torch.empty((n, chunks, 2, channels), dtype=torch.float32, device=x.device)
            _sums_kernel[grid](x, parts, height, width, channels, rows, chunks, **tile)
            sums = parts.sum(1)
        grid, rows, chunks, tile = _programs(y, y.shape[2])
        _apply_kernel[grid](
            x, sums, y, height, width, channels, rows, chunks, eps, slope,
            NORM=eps is not None, ACT=slope is not None, UP=up, PAD=pad, **tile,
        )  # fmt: skip
        ctx.save_for_backward(x if eps is not None or slope is not None else None, sums)
        ctx.shape, ctx.settings = x.shape, (eps, slope, up, pad)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        with torch.cuda.device_of(gradient):
            return _Pass._gradient(ctx, gradient), None, None, None, None

    @staticmethod
    def _gradient(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x, sums), (eps, slope, up, pad) = ctx.saved_tensors, ctx.settings
        n, channels, height, width = ctx.shape
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = _empty(gradient, ctx.shape)
        grid, rows, chunks, tile = _programs(of_x, height)
        parts = None
        if eps is not None:
            parts = torch.empty((n, chunks, 2, channels), dtype=torch.float32, device=gradient.device)
        gathers = up > 1 or pad > 0  # then the sum over a pixel's copies is kept, else it is the gradient itself
        _gather_kernel[grid](
            gradient, x, sums, of_x, parts, height, width, channels, rows, chunks, eps, slope,
            NORM=eps is not None, ACT=slope is not None, UP=up, PAD=pad, STORE=gathers or eps is None, **tile,
        )  # fmt: skip
        if parts is not None:
            _norm_gradient_kernel[grid](
                of_x if gathers else gradient, x, sums, parts.sum(1), of_x, height, width, channels, rows, chunks, eps,
                slope, ACT=slope is not None and not gathers, **tile,
            )  # fmt: skip
        return of_x


def _empty(like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _programs(images: torch.Tensor, height: int) -> tuple[tuple[int, int], int, int, dict[str, int]]:
    """Grid of the programs that work on images, rows of each, chunks of rows of an image, and the tile's settings."""
    n, channels, _, width = images.shape
    block = min(CHANNELS, triton.next_power_of_2(channels))
    wide = min(triton.next_power_of_2(width), TILE // block)
    blocks = triton.cdiv(channels, block)
    rows = triton.cdiv(height, min(height, triton.cdiv(PROGRAMS, n * blocks)))
    chunks = triton.cdiv(height, rows)
    return (n * chunks, blocks), rows, chunks, {"WIDE": wide, "BLOCK": block, "num_warps": WARPS}


@inlined
def _place(chunks, BLOCK: tl.constexpr):
    """What a program works on: image, chunk of its rows, channels."""
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    return tl.program_id(0) // chunks, tl.program_id(0) % chunks, c


@inlined
def _tile(left, width, channels, c, WIDE: tl.constexpr):
    """The pixels of a row from `left` on: their places, which of them and of the channels are there, where they lie."""
    w = left + tl.arange(0, WIDE)
    return w, (w < width)[:, None] & (c < channels)[None, :], w[:, None] * channels + c[None, :]


@inlined
def _keep(parts, channels, c, one, two):
    """Write this program's sums, [WIDE, BLOCK] twice, to parts [N, chunks, 2, C]."""
    parts += tl.program_id(0) * 2 * channels + c
    tl.store(parts, tl.sum(one, 0), mask=c < channels)
    tl.store(parts + channels, tl.sum(two, 0), mask=c < channels)


@inlined
def _middle(x, height, width, channels, c, image):
    """An image's middle pixel, near which its sums are taken: they lose no digits where a channel lies far from 0."""
    place = (0 * image + height // 2).to(tl.int64) * width + width // 2
    return tl.load(x + place * channels + c, mask=c < channels, other=0).to(tl.float32)


@jit
def _sums_kernel(
    x, parts, height, width, channels, rows, chunks, WIDE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Sums of x and of its squares, both less the image's middle pixel, over some rows: parts [N, chunks, 2, C]."""
    image, chunk, c = _place(chunks, BLOCK)
    x += image.to(tl.int64) * height * width * channels
    middle = _middle(x, height, width, channels, c, image)
    total, squares = tl.zeros((WIDE, BLOCK), tl.float32), tl.zeros((WIDE, BLOCK), tl.float32)
    for i in range(rows):
        row = chunk * rows + i
        if row < height:
            line = x + row.to(tl.int64) * width * channels
            for left in range(0, width, WIDE):
                w, inside, at = _tile(left, width, channels, c, WIDE)
                value = tl.load(line + at, mask=inside, other=0).to(tl.float32)
                value = tl.where(inside, value - middle[None, :], 0)
                total += value
                squares += value * value
    _keep(parts, channels, c, total, squares)


@inlined
def _moments(x, sums, height, width, channels, c, image, eps):
    """Mean and 1 / deviation of an image's channels c, from what _sums_kernel summed."""
    count = height * width
    middle = _middle(x, height, width, channels, c, image)
    sums += image * 2 * channels + c
    mean = tl.load(sums, mask=c < channels, other=0) / count
    square = tl.load(sums + channels, mask=c < channels, other=0) / count
    return middle + mean, tl.rsqrt(tl.maximum(square - mean * mean, 0) + eps)


@inlined
def _mirrored(place, last):
    """Where a place beyond 0 or last is mirrored from."""
    place = tl.maximum(place, -place)
    return last - tl.maximum(last - place, place - last)


@jit
def _apply_kernel(
    x, sums, y, height, width, channels, rows, chunks, eps, slope,
    NORM: tl.constexpr, ACT: tl.constexpr, UP: tl.constexpr, PAD: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Some rows of y."""
    image, chunk, c = _place(chunks, BLOCK)
    tall, wide = UP * height + 2 * PAD, UP * width + 2 * PAD
    x += image.to(tl.int64) * height * width * channels
    y += image.to(tl.int64) * tall * wide * channels
    if NORM:
        mean, scale = _moments(x, sums, height, width, channels, c, image, eps)
    for i in range(rows):
        row = chunk * rows + i
        if row < tall:
            line = x + (_mirrored(row - PAD, UP * height - 1) // UP).to(tl.int64) * width * channels
            made = y + row.to(tl.int64) * wide * channels
            for left in range(0, wide, WIDE):
                w, inside, at = _tile(left, wide, channels, c, WIDE)
                source = _mirrored(w - PAD, UP * width - 1) // UP
                value = tl.load(line + source[:, None] * channels + c[None, :], mask=inside, other=0).to(tl.float32)
                if NORM:
                    value = (value - mean[None, :]) * scale[None, :]
                if ACT:
                    value = tl.where(value > 0, value, value * slope)
                tl.store(made + at, value, mask=inside)


@inlined
def _row_gradient(line, left, width, channels, c, UP: tl.constexpr, PAD: tl.constexpr, WIDE: tl.constexpr):
    """What a row of the result's gradient gives the pixels from `left` on: the sum over each one's copies."""
    w, inside, _ = _tile(left, width, channels, c, WIDE)
    last = UP * width - 1
    total = tl.zeros((WIDE, c.shape[0]), tl.float32)
    for j in tl.static_range(UP):
        place = w * UP + j
        total += tl.load(line + (place + PAD)[:, None] * channels + c[None, :], mask=inside, other=0).to(tl.float32)
        if PAD > 0:
            if left * UP <= PAD:
                copied = (place >= 1) & (place <= PAD)
                at = line + (PAD - place)[:, None] * channels + c[None, :]
                total += tl.load(at, mask=inside & copied[:, None], other=0).to(tl.float32)
            if (left + WIDE) * UP > last - PAD:
                copied = (place >= last - PAD) & (place < last)
                at = line + (PAD + 2 * last - place)[:, None] * channels + c[None, :]
                total += tl.load(at, mask=inside & copied[:, None], other=0).to(tl.float32)
    return total


@jit
def _gather_kernel(
    gradient, x, sums, of_x, parts, height, width, channels, rows, chunks, eps, slope,
    NORM: tl.constexpr, ACT: tl.constexpr, UP: tl.constexpr, PAD: tl.constexpr, STORE: tl.constexpr,
    WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of what the norm gives, in some rows (STORE: kept in of_x), and sums for the norm's own gradient:
    parts [N, chunks, 2, C], of it and of it times what the norm gives."""
    image, chunk, c = _place(chunks, BLOCK)
    wide, last = UP * width + 2 * PAD, UP * height - 1
    gradient += image.to(tl.int64) * (UP * height + 2 * PAD) * wide * channels
    of_x += image.to(tl.int64) * height * width * channels
    if NORM or ACT:
        x += image.to(tl.int64) * height * width * channels
    if NORM:
        mean, scale = _moments(x, sums, height, width, channels, c, image, eps)
        total, product = tl.zeros((WIDE, BLOCK), tl.float32), tl.zeros((WIDE, BLOCK), tl.float32)
    for i in range(rows):
        row = chunk * rows + i
        if row < height:
            here = row.to(tl.int64) * width * channels
            for left in range(0, width, WIDE):
                value = tl.zeros((WIDE, BLOCK), tl.float32)
                for k in tl.static_range(UP):
                    place = row * UP + k
                    line = gradient + (place + PAD).to(tl.int64) * wide * channels
                    value += _row_gradient(line, left, width, channels, c, UP, PAD, WIDE)
                    if PAD > 0:
                        if (place >= 1) & (place <= PAD):
                            line = gradient + (PAD - place).to(tl.int64) * wide * channels
                            value += _row_gradient(line, left, width, channels, c, UP, PAD, WIDE)
                        if (place >= last - PAD) & (place < last):
                            line = gradient + (PAD + 2 * last - place).to(tl.int64) * wide * channels
                            value += _row_gradient(line, left, width, channels, c, UP, PAD, WIDE)
                w, inside, at = _tile(left, width, channels, c, WIDE)
                if NORM or ACT:
                    seen = tl.load(x + here + at, mask=inside, other=0).to(tl.float32)
                    if NORM:
                        seen = (seen - mean[None, :]) * scale[None, :]
                    if ACT:
                        value = tl.where(seen > 0, value, value * slope)
                    if NORM:
                        total += value
                        product += tl.where(inside, value * seen, 0)
                if STORE:
                    tl.store(of_x + here + at, value, mask=inside)
    if NORM:
        _keep(parts, channels, c, total, product)


@jit
def _norm_gradient_kernel(
    gradient, x, sums, products, of_x, height, width, channels, rows, chunks, eps, slope,
    ACT: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradient of x in some rows, from that of what the norm gives (ACT: of what the ReLU after it gives)."""
    image, chunk, c = _place(chunks, BLOCK)
    offset = image.to(tl.int64) * height * width * channels
    mean, scale = _moments(x + offset, sums, height, width, channels, c, image, eps)
    products += image * 2 * channels + c
    total = tl.load(products, mask=c < channels, other=0) / (height * width)
    product = tl.load(products + channels, mask=c < channels, other=0) / (height * width)
    for i in range(rows):
        row = chunk * rows + i
        if row < height:
            here = offset + row.to(tl.int64) * width * channels
            for left in range(0, width, WIDE):
                w, inside, at = _tile(left, width, channels, c, WIDE)
                value = tl.load(gradient + here + at, mask=inside, other=0).to(tl.float32)
                seen = tl.load(x + here + at, mask=inside, other=0).to(tl.float32)
                seen = (seen - mean[None, :]) * scale[None, :]
                if ACT:
                    value = tl.where(seen > 0, value, value * slope)
                value = scale[None, :] * (value - total[None, :] - seen * product[None, :])
                tl.store(of_x + here + at, value, mask=inside)

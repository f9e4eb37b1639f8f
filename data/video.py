"""Videos, frame by frame: reading, two in step, writing. PyAV does it, which is not installed by default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from data.counts import ThermalRange, grey_from_counts, stretched
from data.files import is_video_name
from data.images import ImageError
from data.transforms import as_tensor, grey_tensor
from data.visible_images import images_in
from util.files import part_of
from util.images import resize
from util.text import plural

ASSUMED_RATE = Fraction(25)  # frames per second, where a video does not say
HD_HEIGHT = 720  # from here on, videos that do not name their colours have those of BT.709
BT709, UNNAMED, LIMITED = 1, 2, 1  # FFmpeg's numbers of colour spaces and of the range 16..235
QUALITY = {"crf": "16", "preset": "fast"}  # of H.264: differences are hard to see


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video."""
    return is_video_name(path.name) and not path.is_dir()


def _av() -> ModuleType:
    try:
        import av
    except ImportError:
        raise ValueError("videos need PyAV, which is not installed here: python -m pip install av") from None
    av.logging.set_level(None)  # its default; older torchvision changes it, and FFmpeg's threads then wait for Python's
    return av


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame; time: seconds since its video's first."""

    time: float
    picture: Any

    def rgb(self) -> np.ndarray:
        """uint8 [H, W, 3], upright."""
        unnamed = self.picture.colorspace == UNNAMED and self.picture.height >= HD_HEIGHT
        space = {"src_colorspace": BT709} if unnamed and self.picture.format.name.startswith("yuv") else {}
        array = self.picture.reformat(format="rgb24", **space).to_ndarray()
        return np.ascontiguousarray(np.rot90(array, self.picture.rotation // 90))

    def grey(self, thermal: ThermalRange | None = None) -> np.ndarray:
        """[H, W] through the thermal range: uint8 of BT.601 luminance, or uint16 of one channel of more than 8 bits.
        ValueError if its counts are no temperatures."""
        layout = self.picture.format
        if len(layout.components) == 1 and layout.components[0].bits > 8:
            plane, size = self.picture.planes[0], "u2" if layout.components[0].bits <= 16 else "f4"
            # As they lie in memory: reformatting would stretch 10 bits to 16.
            rows = np.frombuffer(plane, (">" if layout.name.endswith("be") else "<") + size).reshape(plane.height, -1)
            upright = np.rot90(rows[:, : plane.width], self.picture.rotation // 90)
            return grey_from_counts(upright, thermal or ThermalRange())
        array = self.rgb().astype(np.uint32)
        grey = ((299 * array[..., 0] + 587 * array[..., 1] + 114 * array[..., 2] + 500) // 1000).astype(np.uint8)
        return stretched(grey, thermal or ThermalRange())


class VideoReader:
    """A video on disk. rate: frames per second; tick: what all its times are multiples of, in seconds; size: (height,
    width) as stored; count: its frames, as far as its header tells, else 0. damaged: once all frames were read, what
    was wrong with them, or empty."""

    def __init__(self, path: Path) -> None:
        """ImageError where it is no video; ValueError where PyAV is missing."""
        self.path, self.av, self.damaged = Path(path), _av(), ""
        if self.path.exists() and not self.path.is_file():  # a pipe would be waited for
            raise ImageError(self.path, "a folder, pipe or device, no file")
        try:
            with self.av.open(str(path)) as container:
                if not container.streams.video:
                    raise ImageError(self.path, "holds no moving pictures")
                stream = container.streams.video[0]
                self.rate = Fraction(stream.average_rate or stream.guessed_rate or ASSUMED_RATE)
                # Matroska's rate is the one that its header gives, whatever the frames' times.
                constant = stream.guessed_rate in (None, self.rate) and "matroska" not in container.format.name
                self.tick = 1 / self.rate if constant or stream.time_base is None else Fraction(stream.time_base)
                self.size = stream.height, stream.width
                self.length = float((stream.duration or 0) * (stream.time_base or 0))  # seconds, 0 if unknown
                if not self.length and len(container.streams) == 1:
                    self.length = (container.duration or 0) / self.av.time_base
                self.told = stream.frames  # by the header, 0 if it does not
                self.count = self.told or round(self.length * self.rate)
        except self.av.error.FFmpegError as error:
            raise ImageError(self.path, f"cannot be read as a video ({error.strerror})") from None

    def frames(self) -> Iterator[VideoFrame]:
        """All frames in order, one in memory at a time; what cannot be decoded is left out. ImageError where reading
        fails."""
        number, broken, start, time = 0, 0, None, 0.0
        try:
            with _av().open(str(self.path)) as container:
                container.streams.video[0].thread_type = "AUTO"
                for packet in container.demux(video=0):
                    try:
                        pictures = packet.decode()
                    except self.av.error.InvalidDataError:
                        broken += 1
                        continue
                    for picture in pictures:
                        time = float(number / self.rate) if picture.time is None else picture.time
                        start = time if start is None else start
                        yield VideoFrame(time - start, picture)
                        number += 1
        except self.av.error.FFmpegError as error:
            raise ImageError(self.path, f"decoding ends at frame {number} ({error.strerror})") from None
        self.damaged = f"{plural(broken, 'part')} of it cannot be decoded" if broken else ""
        if not number:
            self.damaged = "holds no frame that can be decoded"
        # A last frame may stand for long: time tells only where no number does.
        reached, whole = (number, self.told) if self.told else (time - (start or 0), self.length)
        if number and reached + (3 if self.told else 3 / float(self.rate)) < 0.95 * whole:
            self.damaged = f"ends after {plural(number, 'frame')}, sooner than its header says"


def _shorter(first: VideoReader, second: VideoReader, frames: int) -> str:
    return f"{first.path.name} ends before {second.path.name}: {plural(frames, 'frame')} fused"


class InStep:
    """Iterates over pairs of a visible frame and the infrared frame nearest to it in time, until one of the videos
    ends. ended: then one line about the longer one, or empty."""

    def __init__(self, visible: VideoReader, infrared: VideoReader) -> None:
        self.visible, self.infrared, self.ended = visible, infrared, ""

    def __iter__(self) -> Iterator[tuple[VideoFrame, VideoFrame]]:
        later = self.infrared.frames()
        now, ahead = next(later, None), next(later, None)
        number, time = 0, 0.0
        for frame in self.visible.frames():
            while ahead is not None and abs(ahead.time - frame.time) <= abs(now.time - frame.time):
                now, ahead = ahead, next(later, None)
            if now is None or (ahead is None and frame.time > now.time + 0.75 / float(self.infrared.rate)):
                self.ended = _shorter(self.infrared, self.visible, number)
                return
            number, time = number + 1, frame.time
            yield frame, now
        if ahead is not None and ahead.time > time + 0.75 / float(self.visible.rate):
            self.ended = _shorter(self.visible, self.infrared, number)


class VideoWriter:
    """A context that writes an H.264 .mp4, whole or not at all; frames of odd sides are kept as they are."""

    def __init__(self, path: Path, rate: Fraction, tick: Fraction | None = None) -> None:
        """rate: frames per second, on average. tick: what times are multiples of, in seconds; 1 / rate by default."""
        self.path, self.rate, self.tick, self.av = Path(path), rate, tick or 1 / rate, _av()
        self.part = part_of(self.path)
        self.container: Any = None
        self.stream: Any = None
        self.last = -1

    def __enter__(self) -> VideoWriter:
        return self

    def _open(self, height: int, width: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.container = self.av.open(str(self.part), "w", format="mp4")
        self.stream = self.container.add_stream("libx264", rate=self.rate, options=QUALITY)
        self.stream.width, self.stream.height = width, height
        # Chroma of half the size needs even sides; fewer players know the other format.
        self.stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        context = self.stream.codec_context
        context.time_base = self.tick
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED

    def write(self, time: float, array: np.ndarray) -> None:
        """One frame, uint8 [H, W, 3] or [H, W], at a time in seconds; all frames have one size."""
        if self.container is None:
            self._open(*array.shape[:2])
        if array.ndim == 2:
            array = np.repeat(array[:, :, None], 3, axis=2)
        frame = self.av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
        frame = frame.reformat(format=self.stream.pix_fmt, dst_colorspace=BT709)
        self.last = max(self.last + 1, round(time / self.tick))
        frame.pts, frame.time_base = self.last, self.tick
        self.container.mux(self.stream.encode(frame))

    def __exit__(self, kind: object, *error: object) -> None:
        if self.container is None:
            return
        try:
            if kind is None:
                self.container.mux(self.stream.encode())
            self.container.close()
            if kind is None:
                self.part.replace(self.path)
        finally:
            self.part.unlink(missing_ok=True)


class FramePairs:
    """Iterates over batches (times in seconds, visible uint8 [N, 3, H, W], infrared uint8 [N, 1, H, W] or None) of
    two videos in step, or of one; all at the size of the first visible frame. errors: what was wrong with them, once
    they are read."""

    def __init__(
        self,
        visible: Path,
        infrared: Path | None,
        limits: tuple[int, int],
        limit: int | None,
        thermal: ThermalRange,
        pinned: bool = False,
    ) -> None:
        """limits: of a batch, (images, pixels). limit: frames at most. pinned: whether they lie in memory that a GPU
        can fetch by itself. ImageError for what is no video, ValueError where PyAV is missing."""
        self.thermal = thermal
        self.visible, self.infrared = VideoReader(visible), VideoReader(infrared) if infrared else None
        self.steps = InStep(self.visible, self.infrared) if infrared else None
        self.limits, self.limit, self.pinned = limits, limit, pinned
        self.errors: list[ImageError] = []
        self.paths = [video.path for video in (self.visible, self.infrared) if video]

    @property
    def count(self) -> int:
        """How many frames there are to come, at most, as far as the headers tell, else 0."""
        counts = [self.visible.count]
        if self.infrared is not None:
            counts.append(round(self.infrared.count / self.infrared.rate * self.visible.rate))
        known = [count for count in (*counts, self.limit) if count]
        return min(known) if self.visible.count else 0

    def _frames(self) -> Iterator[tuple[float, torch.Tensor, torch.Tensor | None]]:
        size = None
        for frame, partner in self.steps or ((frame, None) for frame in self.visible.frames()):
            rgb = as_tensor(frame.rgb())
            size = size or tuple(rgb.shape[-2:])
            yield frame.time, resize(rgb, size), None if partner is None else resize(self._grey(partner), size)

    def _grey(self, frame: VideoFrame) -> torch.Tensor:
        try:
            return grey_tensor(frame.grey(self.thermal))
        except ValueError as error:
            raise ImageError(self.infrared.path, str(error)) from None

    def _stack(self, frames: Sequence[torch.Tensor]) -> torch.Tensor:
        batch = torch.stack(list(frames))
        return batch.pin_memory() if self.pinned else batch

    def __iter__(self) -> Iterator[tuple[list[float], torch.Tensor, torch.Tensor | None]]:
        frames = islice(self._frames(), self.limit)
        count = images_in(self.limits, *self.visible.size)
        while True:
            batch = []
            try:
                batch.extend(islice(frames, count))  # extend keeps what came before an error
            except ImageError as error:
                self.errors.append(error)
            if batch:
                times, visible, infrared = zip(*batch, strict=True)
                yield list(times), self._stack(visible), None if infrared[0] is None else self._stack(infrared)
            if len(batch) < count:
                videos = (video for video in (self.visible, self.infrared) if video is not None and video.damaged)
                self.errors.extend(ImageError(video.path, video.damaged) for video in videos)
                return

"""Videos: in step, same size and rate, colour kept; fuse.py on videos. Needs PyAV, an optional library."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data.counts import ThermalRange
from data.images import ImageError
from data.video import InStep, VideoFrame, VideoReader, VideoWriter, is_video
from models import METHODS
from options.cycle_gan import CycleGANOptions
from tests.commands.test_fuse_command import CPU, chroma, make_run, small, weights_file

NTSC = Fraction(30000, 1001)


def needs_av() -> None:
    pytest.importorskip("av", reason="PyAV is not installed: python -m pip install av")


def level(number: int) -> int:
    """Grey level that tells a frame's number."""
    return 30 + 8 * number


def make(path: Path, count: int, rate: Fraction = NTSC, size: tuple[int, int] = (48, 64), colour: bool = True) -> Path:
    with VideoWriter(path, rate) as video:
        for number in range(count):
            array = np.full((*size, 3) if colour else size, level(number), np.uint8)
            if colour:
                array[:, : size[1] // 2] = (180, 60, 40)
            video.write(number / float(rate), array)
    return path


def number_of(grey: np.ndarray) -> int:
    return round((float(grey[:, -8:].mean()) - 30) / 8)


def test_names() -> None:
    assert is_video(Path("a.MP4")) and not is_video(Path("a.png"))


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_round_trip(tmp_path: Path, size: tuple[int, int]) -> None:
    needs_av()
    video = VideoReader(make(tmp_path / "a.mp4", 7, size=size))
    assert video.rate == NTSC and video.count == 7 and video.size == size
    frames = list(video.frames())
    assert [number_of(frame.grey()) for frame in frames] == list(range(7))
    assert frames[3].time == pytest.approx(3 / float(NTSC), abs=1e-3)
    rgb = frames[0].rgb()
    assert rgb.shape == (*size, 3) and np.abs(rgb[10, 10].astype(int) - (180, 60, 40)).max() <= 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_the_shorter_ends_it(tmp_path: Path) -> None:
    needs_av()
    long, short = (
        VideoReader(make(tmp_path / "long.mp4", 9)),
        VideoReader(make(tmp_path / "short.mp4", 6, colour=False)),
    )
    for pair, word in (((long, short), "short.mp4 ends"), ((short, long), "short.mp4 ends"), ((long, long), "")):
        steps = InStep(*pair)
        numbers = [(number_of(a.grey()), number_of(b.grey())) for a, b in steps]
        assert numbers == [(n, n) for n in range(6 if word else 9)]
        assert word in steps.ended and bool(word) == bool(steps.ended)


def test_unlike_rates_go_by_time(tmp_path: Path) -> None:
    needs_av()
    fast = VideoReader(make(tmp_path / "fast.mp4", 20, Fraction(20)))
    slow = VideoReader(make(tmp_path / "slow.mp4", 10, Fraction(10)))
    pairs = [(number_of(a.grey()), number_of(b.grey())) for a, b in InStep(fast, slow)]
    assert len(pairs) >= 19 and all(abs(a / 2 - b) <= 0.5 for a, b in pairs)


def test_variable_rates_keep_their_times(command: Callable, tmp_path: Path) -> None:
    needs_av()
    times = [0, 0.02, 0.04, 0.06, 1.06, 2.06, 2.1]
    for name in ("day", "heat"):
        with VideoWriter(tmp_path / f"{name}.mp4", Fraction(50), Fraction(1, 1000)) as video:
            for number, time in enumerate(times):
                video.write(time, np.full((48, 64), level(number), np.uint8))
    assert [frame.time for frame in VideoReader(tmp_path / "day.mp4").frames()] == pytest.approx(times, abs=1e-3)
    weights = weights_file(tmp_path / "stdfusion_net.safetensors")
    command("fuse.py", "--visible", "day.mp4", "--infrared", "heat.mp4", "--weights", weights, *CPU)
    fused = VideoReader(tmp_path / "results" / "stdfusion_net_day" / "fused" / "day.mp4")
    assert [frame.time for frame in fused.frames()] == pytest.approx(times, abs=1e-3)


@pytest.mark.parametrize(("layout", "kind"), [("gray16le", "<u2"), ("gray10le", "<u2"), ("gray16be", ">u2")])
def test_counts_of_a_thermal_video_go_through_the_thermal_range(tmp_path: Path, layout: str, kind: str) -> None:
    needs_av()
    import av

    counts = np.tile(np.arange(600, 1000, 8, dtype=np.uint16), (20, 1))
    frame = av.VideoFrame(counts.shape[1], counts.shape[0], layout)
    plane = frame.planes[0]
    rows = np.zeros((plane.height, plane.line_size // 2), kind)
    rows[:, : counts.shape[1]] = counts
    plane.update(rows.tobytes())
    grey = VideoFrame(0.0, frame).grey(ThermalRange(kelvin_per_count=0.37))
    expected = np.clip((counts * 0.37 - 253.15) / 70, 0, 1) * 65535
    assert grey.dtype == np.uint16 and np.abs(grey - expected).max() <= 2 and len(np.unique(grey)) > 15
    with pytest.raises(ValueError, match="is no temperature"):
        VideoFrame(0.0, frame).grey()


def test_frames_are_read_though_torchvision_listens_to_ffmpeg(tmp_path: Path) -> None:
    """Its older versions do, by a callback that needs Python's lock, for which FFmpeg's threads then wait."""
    needs_av()
    import av

    video = VideoReader(make(tmp_path / "a.mp4", 5))
    av.logging.set_level(av.logging.ERROR)
    frames = video.frames()
    next(frames)
    assert av.logging.get_level() is None and len(list(frames)) == 4


def test_broken_videos(tmp_path: Path) -> None:
    needs_av()
    (tmp_path / "no.mp4").write_bytes(b"no video at all")
    with pytest.raises(ImageError, match="cannot be read as a video"):
        VideoReader(tmp_path / "no.mp4")
    with pytest.raises(ImageError, match="cannot be read"):
        VideoReader(tmp_path / "missing.mp4")


def streamed(path: Path, form: str, times: Sequence[float], spoil: Sequence[int] = ()) -> Path:
    """Frames of MJPEG, each whole by itself, in a container of a kind; those of the numbers in spoil are damaged."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream("mjpeg", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.time_base = Fraction(1, 20)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level(number), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time * 20), Fraction(1, 20)
            for packet in stream.encode(frame):
                if number in spoil:
                    spoiled = av.Packet(b"no picture")
                    spoiled.pts, spoiled.dts, spoiled.time_base = packet.pts, packet.dts, packet.time_base
                    spoiled.stream = packet.stream
                    packet = spoiled
                container.mux(packet)
    return path


def test_a_damaged_frame_is_left_out_and_told(command: Callable, tmp_path: Path) -> None:
    needs_av()
    video = VideoReader(streamed(tmp_path / "day.avi", "avi", [n / 20 for n in range(10)], spoil=[4]))
    assert [number_of(frame.grey()) for frame in video.frames()] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert "1 part of it cannot be decoded" in video.damaged
    make(tmp_path / "heat.mp4", 10, Fraction(20))
    weights = weights_file(tmp_path / "stdfusion_net.safetensors")
    call = ("fuse.py", "--visible", "day.avi", "--infrared", "heat.mp4", "--weights", weights, *CPU)
    done = command(*call, status=1)
    assert "9 frames in" in done.stdout and "day.avi: 1 part" in done.stderr
    streamed(tmp_path / "day.avi", "avi", [0, 0.05], spoil=[0, 1])
    done = command(*call, status=1)
    assert "0 frames in" not in done.stdout and "day.avi" in done.stderr


def test_a_video_that_was_cut_off_is_told(tmp_path: Path) -> None:
    needs_av()
    whole = streamed(tmp_path / "whole.avi", "avi", [n / 20 for n in range(24)])
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for name, says in (("whole", ""), ("cut", "sooner than its header says")):
        video = VideoReader(tmp_path / f"{name}.avi")
        assert len(list(video.frames())) == (24 if not says else pytest.approx(11, abs=5))
        assert says in video.damaged and bool(says) == bool(video.damaged)


def test_matroska_keeps_its_times_and_knows_its_length(tmp_path: Path) -> None:
    needs_av()
    times = [n / 20 for n in range(10)] + [0.5 + n / 5 for n in range(5)]
    video = VideoReader(streamed(tmp_path / "a.mkv", "matroska", times))
    assert [frame.time for frame in video.frames()] == pytest.approx(times, abs=1e-3)
    assert video.tick <= Fraction(1, 1000) and video.count >= 15 and not video.damaged
    assert all(abs(time - round(time / video.tick) * video.tick) < 1e-3 for time in times)


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_fuse_videos(command: Callable, tmp_path: Path, size: tuple[int, int]) -> None:
    needs_av()
    visible = make(tmp_path / "day.mp4", 10, size=size)
    heat = make(tmp_path / "heat.mp4", 8, size=(30, 40), colour=False)
    weights = weights_file(tmp_path / "stdfusion_net.safetensors")
    done = command("fuse.py", "--visible", visible, "--infrared", heat, "--weights", weights, "--batch_size", 3, *CPU)
    assert "heat.mp4 ends before day.mp4: 8 frames" in done.stdout
    results = tmp_path / "results" / "stdfusion_net_day"
    fused = VideoReader(results / "fused" / "day.mp4")
    assert fused.rate == NTSC and fused.count == 8 and fused.size == size
    before, after = (next(video.frames()).rgb() for video in (VideoReader(visible), fused))
    inside = ((after > 4) & (after < 251)).all(2)
    inside[:, size[1] // 2 - 4 : size[1] // 2 + 4] = False  # chroma of half the size mixes there
    assert inside.any() and np.abs(chroma(after) - chroma(before))[:, inside].mean() < 3
    assert json.loads((results / "results.json").read_text())["frames"] == 8
    assert "day_000000" in (results / "index.html").read_text()
    assert not list(results.rglob("*.part"))


def test_videos_with_a_generator_and_a_limit(command: Callable, tmp_path: Path) -> None:
    needs_av()
    options = CycleGANOptions(netG="resnet_6blocks", ngf=4, ndf=4)
    make_run(tmp_path / "checkpoints" / "gen", "cycle_gan", options, METHODS["cycle_gan"].network(options))
    make_run(tmp_path / "checkpoints" / "std", "stdfusion_net", *small("stdfusion_net"))
    visible = make(tmp_path / "day.mp4", 26)
    command("fuse.py", "--visible", visible, "--generator", "gen", "--name", "std", "--num_test", 2, *CPU)
    page = (tmp_path / "results" / "std_day" / "index.html").read_text()
    assert "day_000000" in page and "day_000001" in page, "the gallery shows frames that are made"
    for kind in ("fused", "infrared"):
        assert VideoReader(tmp_path / "results" / "std_day" / kind / "day.mp4").count == 2


def test_a_broken_video_leaves_what_was_fused(command: Callable, tmp_path: Path) -> None:
    needs_av()
    visible, heat = make(tmp_path / "day.mp4", 3), tmp_path / "heat.mp4"
    heat.write_bytes(b"no video")
    weights = weights_file(tmp_path / "stdfusion_net.safetensors")
    arguments = ("fuse.py", "--visible", visible, "--weights", weights, *CPU)
    assert "cannot be read as a video" in command(*arguments, "--infrared", heat, status=2).stderr
    picture = tmp_path / "x.png"
    assert "two videos" in command(*arguments, "--infrared", picture, status=2).stderr
    assert "--evaluate" in command(*arguments, "--infrared", visible, "--evaluate", status=2).stderr
    assert not (tmp_path / "results").exists()


def test_each_video_has_results_of_its_own(command: Callable, tmp_path: Path) -> None:
    needs_av()
    heat, weights = make(tmp_path / "heat.mp4", 2, colour=False), weights_file(tmp_path / "stdfusion_net.safetensors")
    arguments = ("fuse.py", "--infrared", heat, "--weights", weights, *CPU)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        make(tmp_path / folder / "day.mp4", 2)
    command(*arguments, "--visible", "a/day.mp4")
    command(*arguments, "--visible", make(tmp_path / "night.mp4", 2))
    done = command(*arguments, "--visible", "b/day.mp4", status=2)
    assert f"holds what was made of {tmp_path / 'a/day.mp4'}" in done.stderr and "--overwrite" in done.stderr
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "stdfusion_net_day",
        "stdfusion_net_night",
    ]
    command(*arguments, "--visible", "a/day.mp4")
    command(*arguments, "--visible", "b/day.mp4", "--overwrite")
    assert "b/day.mp4" in (tmp_path / "results/stdfusion_net_day/results.json").read_text()


def test_without_pyav_one_line_says_what_to_install(
    command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    weights = weights_file(tmp_path / "stdfusion_net.safetensors")
    (tmp_path / "a.mp4").write_bytes(b"")
    error = command("fuse.py", "--visible", "a.mp4", "--infrared", "a.mp4", "--weights", weights, *CPU, status=2).stderr
    assert error == "error: videos need PyAV, which is not installed here: python -m pip install av\n"


def test_grey_levels_of_a_video_come_to_the_range_of_images() -> None:
    needs_av()
    import av

    levels = np.tile(np.arange(60, 140, dtype=np.uint8), (20, 1))
    frame = VideoFrame(0.0, av.VideoFrame.from_ndarray(levels, format="gray"))
    assert np.abs(frame.grey().astype(int) - levels).max() <= 1
    stretched = frame.grey(ThermalRange(eight_bit="percentile"))
    assert stretched.min() == 0 and stretched.max() == 255

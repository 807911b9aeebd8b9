"""Videos: as many frames out as in, each in its place and at its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from pytorch_icnet.imaging.draw import overlay
from pytorch_icnet.imaging.images import read_label_map
from pytorch_icnet.predict import Predictor, cli, video_files
from pytorch_icnet.predict.video_files import ClipTiming, Clock

from .clips import SIZE, images, number_of, numbered, times, write_clip

ROOT = Path(__file__).parents[2]

COMMON = ("--device", "cpu", "--backend", "eager", "--input-size", "65", "97", "--alpha", "0.3")


def predict(weights: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.main, [*map(str, arguments), "--weights", str(weights), *COMMON])


def numbers(path: Path) -> list[int]:
    return [number_of(image) for image in images(path)]


def facts(path: Path) -> dict[str, Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None and stream.time_base is not None
        return {
            "size": (stream.height, stream.width),
            "rate": stream.average_rate,
            "frames": stream.frames,
            "seconds": stream.duration * stream.time_base,
        }


@pytest.mark.parametrize(
    ("rate", "size"), [(Fraction(30000, 1001), SIZE), (Fraction(25), (81, 97)), (Fraction(24000, 1001), (66, 98))]
)
def test_frames_keep_their_places(tmp_path: Path, weights: Path, rate: Fraction, size: tuple[int, int]) -> None:
    count = 300 if size == SIZE else 20
    clip = write_clip(tmp_path / "clip.mp4", count, rate, size=size)
    assert numbers(clip) == list(range(count))
    result = predict(weights, clip, "--output", tmp_path / "out", "--save", "overlay,colour,side-by-side")
    assert result.exit_code == 0, result.output
    assert f"{count} frames in " in result.stdout
    made = tmp_path / "out" / "overlay" / "clip.mp4"
    assert numbers(made) == list(range(count))
    assert facts(made) == facts(clip) == {"size": size, "rate": rate, "frames": count, "seconds": count / rate}
    assert times(made) == times(clip)
    beside = tmp_path / "out" / "side-by-side" / "clip.mp4"
    assert facts(beside)["size"] == (size[0], 2 * size[1])
    assert [number_of(image[:, : size[1]]) for image in images(beside)] == list(range(count))
    assert facts(tmp_path / "out" / "colour" / "clip.mp4")["frames"] == count
    assert not list((tmp_path / "out").rglob(".*"))


def test_label_maps_belong_to_their_frames(tmp_path: Path, weights: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 12)
    assert predict(weights, clip, "--output", tmp_path / "out", "--save", "labels,overlay").exit_code == 0
    predictor = Predictor(weights, backend="eager", input_size=(65, 97))
    shown = images(tmp_path / "out" / "overlay" / "clip.mp4")
    kept = [read_label_map(tmp_path / "out" / "labels" / "clip" / f"{number:06d}.png") for number in range(12)]
    for number, image in enumerate(images(clip)):
        assert np.array_equal(kept[number], predictor.labels(image))
        difference = shown[number].astype(float) - overlay(image, kept[number], alpha=0.3)
        assert np.abs(difference).mean() < 8
    assert not all(np.array_equal(kept[0], other) for other in kept)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rates_keep_their_times(tmp_path: Path, weights: Path, suffix: str) -> None:
    stamps = [0, 40, 80, 200, 201, 340, 1000, 1040, 1300]
    clip = write_clip(tmp_path / f"clip{suffix}", len(stamps), Fraction(25), stamps=stamps, tick=Fraction(1, 1000))
    assert predict(weights, clip, "--output", tmp_path / "out", "--save", "overlay").exit_code == 0
    made = tmp_path / "out" / "overlay" / "clip.mp4"
    assert times(made) == times(clip) == [Fraction(stamp, 1000) for stamp in stamps]
    assert numbers(made) == list(range(len(stamps)))


def test_rates_that_milliseconds_cannot_say(tmp_path: Path, weights: Path) -> None:
    clip = write_clip(tmp_path / "clip.mkv", 40)
    assert times(clip)[1] == Fraction(33, 1000)
    assert predict(weights, clip, "--output", tmp_path / "out", "--save", "overlay").exit_code == 0
    made = tmp_path / "out" / "overlay" / "clip.mp4"
    assert facts(made)["rate"] == Fraction(30000, 1001)
    assert times(made) == [number * Fraction(1001, 30000) for number in range(40)]


def test_times_rise_whatever_the_file_says() -> None:
    clock = Clock(ClipTiming(Fraction(10), Fraction(1, 90000)))
    stamps = [Fraction(5), Fraction(51, 10), None, Fraction(5), Fraction(6)]
    assert [clock.time(stamp) for stamp in stamps] == [0, Fraction(1, 10), Fraction(2, 10), Fraction(3, 10), 1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 1)])
def test_stopped_half_way_it_can_be_played(tmp_path: Path, weights: Path, number: signal.Signals, code: int) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 4000)
    arguments = [str(clip), "--weights", str(weights), "--output", "out", "--save", "labels,overlay", *COMMON]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytorch_icnet.predict", *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while process.poll() is None and not (tmp_path / "out" / "labels" / "clip" / "000030.png").exists():
            time.sleep(0.05)
        process.send_signal(number)
        output, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert errors.count("\n") == 1 and "Traceback" not in errors
    assert "frames in " in output
    found = numbers(tmp_path / "out" / "overlay" / "clip.mp4")
    assert 20 < len(found) < 4000 and found == list(range(len(found)))
    assert not list((tmp_path / "out").rglob(".*"))


def test_readers_that_stop_early_do_not_block(tmp_path: Path) -> None:
    """With PyAV's log in Python's hands, a few hundred of these are enough to block for ever."""
    clip = write_clip(tmp_path / "clip.mp4", 40)
    assert av.logging.get_level() is None
    for _ in range(100):
        reader = video_files.open_video(clip)
        next(reader.pictures)
        reader.pictures.close()


def test_limit(tmp_path: Path, weights: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 20)
    assert predict(weights, clip, "--output", tmp_path / "out", "--limit", "7").exit_code == 0
    assert numbers(tmp_path / "out" / "overlay" / "clip.mp4") == list(range(7))


def test_damaged_video(tmp_path: Path, weights: Path) -> None:
    """What could be read is kept, and the line names the file."""
    whole = write_clip(tmp_path / "whole.mkv", 200).read_bytes()
    (tmp_path / "clip.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + whole[:30])
    result = predict(weights, tmp_path / "clip.mkv", "--output", tmp_path / "out")
    assert result.exit_code == 1
    assert str(tmp_path / "clip.mkv") in result.stderr and result.stderr.count("\n") == 1


def test_playlists_are_no_videos(tmp_path: Path, weights: Path) -> None:
    clip = write_clip(tmp_path / "secret.ts", 5)
    (tmp_path / "clip.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{clip}\n#EXT-X-ENDLIST\n")
    result = predict(weights, tmp_path / "clip.mp4", "--output", tmp_path / "out")
    assert result.exit_code == 1 and "cannot be opened as a video" in result.stderr


def test_frames_too_large(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 2)
    monkeypatch.setattr(video_files, "MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    result = predict(weights, clip, "--output", tmp_path / "out")
    assert result.exit_code == 1 and "frames of 96x64 pixels are more than" in result.stderr


def test_turned_video(tmp_path: Path) -> None:
    """Telephones store frames sideways and say so."""
    clip = write_clip(tmp_path / "clip.mp4", 1)
    data = bytearray(clip.read_bytes())
    header = data.index(b"tkhd")
    matrix = header + 4 + 4 + 36  # version and flags, then the fields before the matrix (ISO 14496-12, 8.3.2)
    assert data[matrix : matrix + 4] == b"\x00\x01\x00\x00"
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, SIZE[0] << 16, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    clip.write_bytes(data)
    reader = video_files.open_video(clip)
    (picture,) = reader.pictures
    upright = np.rot90(numbered(0), -1)
    assert picture.image.shape == upright.shape == (SIZE[1], SIZE[0], 3)


class FakeCamera:
    """Five frames, then nothing."""

    def __init__(self, source: int) -> None:
        self.left = list(range(5)) if source == 0 else []

    def isOpened(self) -> bool:
        return bool(self.left)

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FRAME_HEIGHT: 64.0, cv2.CAP_PROP_FRAME_WIDTH: 96.0}.get(what, 0.0)

    def read(self) -> tuple[bool, Any]:
        if not self.left:
            return False, None
        time.sleep(0.01)
        return True, numbered(self.left.pop(0))[..., ::-1].copy()

    def release(self) -> None:
        self.left = []


def test_camera(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    result = predict(weights, "--camera", "0", "--output", tmp_path / "out", "--save", "overlay")
    assert result.exit_code == 0, result.output
    made = tmp_path / "out" / "overlay" / "camera0.mp4"
    assert numbers(made) == list(range(5))
    seen = times(made)
    assert all(later - earlier >= Fraction(1, 100) for earlier, later in pairwise(seen))
    result = predict(weights, "--camera", "3", "--output", tmp_path / "out")
    assert result.exit_code == 1 and "camera 3: cannot be opened (no such camera?)" in result.stderr


def test_without_pyav(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 30)
    monkeypatch.setattr(video_files, "pyav", lambda: None)
    monkeypatch.setattr(cli, "pyav", lambda: None)
    result = predict(weights, clip, "--output", tmp_path / "out", "--save", "overlay")
    assert result.exit_code == 0, result.output
    assert "pip install 'pytorch-icnet[video]'" in result.stderr
    made = tmp_path / "out" / "overlay" / "clip.mp4"
    assert numbers(made) == list(range(30))
    assert facts(made)["size"] == SIZE and abs(facts(made)["rate"] - Fraction(30000, 1001)) < 0.01


@pytest.mark.parametrize(
    ("said", "meant"),
    [(29.97002997, Fraction(30000, 1001)), (23.976023976, Fraction(24000, 1001)), (25.0, 25), (12.5, Fraction(25, 2))],
)
def test_rates_of_opencv(said: float, meant: Fraction | int) -> None:
    assert video_files._rational(said) == meant


def test_folders_as_videos(tmp_path: Path, weights: Path) -> None:
    for folder in ("frames", "frames/more"):
        (tmp_path / folder).mkdir()
        for number in range(12):
            cv2.imwrite(str(tmp_path / folder / f"{number:03d}.png"), numbered(number))
    arguments = (
        tmp_path / "frames",
        "--output",
        tmp_path / "out",
        "--save",
        "overlay,labels",
        "--as-video",
        "24000/1001",
    )
    assert predict(weights, *arguments).exit_code == 0
    for name in ("frames", "more"):
        made = tmp_path / "out" / "overlay" / f"{name}.mp4"
        assert numbers(made) == list(range(12))
        assert facts(made)["rate"] == Fraction(24000, 1001) and facts(made)["seconds"] == Fraction(12 * 1001, 24000)
        assert len(list((tmp_path / "out" / "labels" / name).iterdir())) == 12
    cv2.imwrite(str(tmp_path / "frames" / "012.png"), numbered(3, (32, 96)))
    result = predict(weights, *arguments)
    assert result.exit_code == 1 and "frame 12 is 96x32, those before it 96x64; a video has one size" in result.stderr
    assert numbers(tmp_path / "out" / "overlay" / "frames.mp4") == list(range(12))


def test_a_video_does_not_replace_itself(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "overlay").mkdir()
    clip = write_clip(tmp_path / "overlay" / "clip.mp4", 3)
    result = predict(weights, clip, "--output", tmp_path)
    assert result.exit_code == 1 and "would be replaced by a result" in result.stderr
    assert numbers(clip) == list(range(3))

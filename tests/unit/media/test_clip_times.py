"""When frames are shown: uneven times, rates, cuts, and files that break off."""

import io
import re
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from crafters.media.clip import load_clip, measure, read_clip, read_frames, read_video

HEIGHT, WIDTH = 32, 48


def grey(level):
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def write(path, times, codec="libx264", **options):
    """Frame i, shown at times[i] milliseconds, is grey 4 i."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=1000, options={"crf": "1", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(grey(4 * i), format="rgb24")
            frame.pts, frame.time_base = round(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def record(path, times):
    """As a browser writes it: WebM without a duration, and without a frame rate."""

    class Pipe(io.RawIOBase):
        held = io.BytesIO()

        def writable(self):
            return True

        def write(self, data):
            return self.held.write(data)

    pipe = Pipe()
    with av.open(pipe, "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=1000)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(grey(4 * (i % 60)), format="rgb24")
            frame.pts, frame.time_base = round(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = bytearray(pipe.held.getvalue())
    at = data.index(bytes.fromhex("23E383"))  # DefaultDuration becomes a Void element
    size = 4 + (data[at + 3] & 0x7F)
    data[at : at + size] = bytes([0xEC, 0x80 | (size - 2)]) + bytes(size - 2)
    path.write_bytes(data)
    return path


def shown(frames):
    return [round(frame.float().mean().item() / 4) for frame in frames]


def assert_timely(frames, fps, times):
    """Every frame is the one that is seen at its time, to half a frame; the whole is as long as the clip."""
    usual = np.median(np.diff(times))
    for number, frame in enumerate(shown(frames)):
        now = number * 1000 / fps
        gone = times[frame + 1] if frame + 1 < len(times) else np.inf
        assert times[frame] - 500 / fps - 1 <= now <= gone + 500 / fps + 1
    assert abs(len(frames) * 1000 / fps - (times[-1] + usual)) <= 500 / fps + 2


STILL_THEN_QUICK = [0, 1000, 2000, *(2000 + np.arange(1, 61) * 16.7)]
UNEVEN = {
    "a phone in the dark": ([*np.arange(40) * 33.3, *(1333 + np.arange(20) * 66.7)], 30),
    "a still, then 60 Hz": (STILL_THEN_QUICK, 59.94),
    "a second missing": ([*np.arange(20) * 33.3, *(1667 + np.arange(20) * 33.3)], 30),
    "a container that says too much": (np.arange(60) * 1000 / 30, 30),
}


@pytest.mark.parametrize("name", UNEVEN)
@pytest.mark.parametrize("every", [1, 2])
def test_uneven_times_are_kept(tmp_path, caplog, name, every):
    times, rate = UNEVEN[name]
    frames, fps = read_clip(write(tmp_path / "clip.mp4", times), every=every)
    assert fps == pytest.approx(rate / every, rel=1e-3)
    if every == 1:
        assert_timely(frames, fps, times)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (0 if name == "a container that says too much" else 1)
    assert all(note.startswith("clip.mp4 has uneven frame times: ") for note in told)


@pytest.mark.parametrize(("hertz", "lost"), [(30, 0), (30, 0.15), (24, 0.1), (60, 0)])
def test_a_browsers_recording_has_its_own_rate(tmp_path, hertz, lost):
    """Never that of the container's clock: 60 Hz were read as 1000."""
    random = np.random.RandomState(0)
    times = [i * 1000 / hertz + random.randint(-3, 4) for i in range(2 * hertz) if i == 0 or random.rand() >= lost]
    times = np.array(times) - times[0]
    frames, fps = read_clip(record(tmp_path / "clip.webm", times))
    assert fps == pytest.approx(hertz, rel=2e-3)
    assert abs(len(frames) / fps - (times[-1] / 1000 + 1 / hertz)) < 0.6 / fps


def test_a_gif_keeps_its_delays(tmp_path):
    from PIL import Image

    delays = [100, 100, 500, 100, 100, 40]
    pictures = [Image.fromarray(grey(5 + 40 * i)) for i in range(6)]
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=delays)
    frames, fps = read_clip(tmp_path / "clip.gif")
    assert fps == 10 and [round((level - 5) / 40) for level in frames.float().mean((1, 2, 3)).tolist()] == [
        0, 1, 2, 2, 2, 2, 2, 3, 4
    ]
    pictures[0].save(tmp_path / "one.gif")
    assert len(read_clip(tmp_path / "one.gif")[0]) == 1 and read_clip(tmp_path / "one.gif")[1] == 10


@pytest.mark.parametrize(("rate", "asked"), [(60, 30), (25, 30), (24, 15), (15, 30), (50, 25)])
def test_a_condition_clip_runs_alongside_another_rate(tmp_path, caplog, rate, asked):
    """Read with the driving clip's settings, and its rate: frame n of both is of the same moment."""
    times = np.arange(60) * 1000 / rate
    clip = load_clip(write(tmp_path / "hand.mp4", times), first=6, every=2, fps=asked / 2)
    assert clip.fps == asked / 2 and len(clip.frames) == (60 * asked // rate - 6 + 1) // 2
    for number, frame in enumerate(shown(clip.frames)):
        assert abs(times[frame] - (6 + 2 * number) * 1000 / asked) <= 500 / min(rate, asked) + 1
    assert [record.getMessage() for record in caplog.records] == [
        f"hand.mp4 has {rate} frames per second and is shown at {asked}: where its frames belong one by one to those "
        "of another clip, set at_fps to 0."
    ]


def test_the_same_rate_asked_for_changes_nothing(tmp_path, caplog):
    path = write(tmp_path / "clip.mp4", np.arange(40) * 1000 / 30)
    own, fps = read_clip(path, first=3, every=2)
    assert torch.equal(own, read_clip(path, first=3, every=2, fps=fps)[0])
    assert torch.equal(own, read_clip(path, first=3, every=2, fps=30 / 1.001 / 2)[0]) and not caplog.records


def test_frames_from_the_middle_are_those_of_the_whole(tmp_path):
    path = write(tmp_path / "clip.mp4", STILL_THEN_QUICK)
    whole = read_clip(path)[0]
    assert measure(path) == (len(whole), HEIGHT, WIDTH)
    for numbers in ([0], [118, 119, 125], [len(whole) - 1]):
        read = torch.from_numpy(np.stack(read_frames(path, numbers)))
        assert torch.equal(read, whole[numbers])
    with pytest.raises(ValueError, match=r"clip\.mp4 breaks off"):
        read_frames(path, [len(whole)])


def video_of(path, public, start=0.0, duration=0.0):
    """ComfyUI's, as far as it is asked; an older one keeps to itself what nodes cut."""
    video = type("VideoFromFile", (), {"get_stream_source": lambda self: str(path)})()
    if public:
        video.get_active_trim_window = lambda: (start, duration)
    else:
        vars(video).update(_VideoFromFile__start_time=start, _VideoFromFile__duration=duration)
    return video


@pytest.mark.parametrize("public", [True, False])
def test_a_cut_video_is_read_from_its_file(tmp_path, public):
    path = write(tmp_path / "clip.mp4", np.arange(60) * 1000 / 30)
    images, fps, mask = read_video(video_of(path, public, 0.5, 1.0), first=2)
    assert shown(images * 255) == list(range(17, 45)) and fps == 30
    assert mask.shape == images.shape[:3] and mask.min() == 1
    for start in (1.5, -0.5):
        assert shown(read_video(video_of(path, public, start))[0] * 255) == list(range(45, 60))
    with pytest.raises(ValueError, match="has 0 frames"):
        read_video(video_of(path, public, 3.0))


def test_a_video_made_by_nodes_is_retimed_and_put_on_black():
    class Made:
        def get_components(self):
            images = torch.linspace(0, 1, 10)[:, None, None, None].repeat(1, 4, 6, 4)
            return type("Parts", (), {"images": images, "frame_rate": Fraction(10)})

    images, fps, mask = read_video(Made(), fps=5)
    levels = torch.linspace(0, 1, 10)[::2]
    assert fps == 5 and torch.equal(mask[:, 0, 0], levels)
    assert torch.allclose(images[:, 0, 0, 0], levels**2)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi"])
def test_a_clip_that_is_cut_off_says_so_once(tmp_path, caplog, suffix):
    options = {} if suffix in ("mkv", "avi") else {"movflags": "faststart"}
    random = np.random.RandomState(0)
    path = tmp_path / f"clip.{suffix}"
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(16):
            noise = random.randint(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    assert len(read_clip(path)[0]) == 16 and not caplog.records
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    frames, _ = read_clip(path)
    said = [record.getMessage() for record in caplog.records if "promises" in record.getMessage()]
    assert 3 < len(frames) < 13 and len(said) == 1
    assert said[0].startswith(f"clip.{suffix} promises 16 frames, {len(frames)} could be read: it is cut off")
    with pytest.raises(ValueError, match="promises 16 frames"):
        measure(path)


def test_damage_that_the_decoder_patches_is_told(tmp_path, caplog):
    random = np.random.RandomState(0)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(16):
            noise = random.randint(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray((tmp_path / "clip.mp4").read_bytes())
    start = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    data[start : start + 200] = random.bytes(200)
    (tmp_path / "clip.mp4").write_bytes(data)
    assert len(read_clip(tmp_path / "clip.mp4")[0]) == 16
    (told,) = [record.getMessage() for record in caplog.records]
    # A decoder of one thread also marks the frame after it, which is painted upon it.
    assert re.fullmatch(r"Damaged frames of clip\.mp4: [12]; flaws are seen, or the one before stays\.", told)


def test_a_hole_in_the_middle_is_told_and_the_rest_kept(tmp_path, caplog):
    path = write(tmp_path / "clip.mp4", np.arange(40) * 40)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    data[start : start + 300] = bytes(300)
    path.write_bytes(data)
    frames, _ = read_clip(path)
    assert len(frames) == 40 and shown(frames)[-1] == 39
    assert "Damaged frames of clip.mp4: " in caplog.text
    with pytest.raises(ValueError, match=r"clip\.mp4 cannot be decoded"):
        read_frames(path, range(40))

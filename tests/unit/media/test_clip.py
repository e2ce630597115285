from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
import torch
from crafters.media.clip import load_clip, read_clip
from crafters.media.frames import as_image
from helpers.real_data import real_file


def write_clip(path, frames=10, width=64, height=48, times=None, fps=10):
    """A clip whose frame i is grey 20 + 20 i, with a white upper left quarter."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(frames):
            image = np.full((height, width, 3), 20 + 20 * i, np.uint8)
            image[: height // 2, : width // 2] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (times[i] if times else i * 1000 // fps), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4")


def indices(frames):
    return [round((frame[-4:, -4:].float().mean().item() - 20) / 20) for frame in frames]


def test_all_frames(clip):
    frames, fps = read_clip(clip)
    assert frames.shape == (10, 48, 64, 3) and frames.dtype == torch.uint8
    assert indices(frames) == list(range(10))
    assert fps == pytest.approx(10)


def test_of_each_picture_only_what_is_wanted_is_kept(clip):
    whole = load_clip(clip).frames
    assert torch.equal(load_clip(clip, keep=as_image).frames, whole.float() / 255)
    assert torch.equal(load_clip(clip, keep=lambda picture: picture[..., 0] > 99).frames, whole[..., 0] > 99)


def test_chosen_frames_and_their_rate(clip):
    frames, fps = read_clip(BytesIO(clip.read_bytes()), first=1, every=3, frames=2)
    assert indices(frames) == [1, 4]
    assert fps == pytest.approx(10 / 3)


def test_long_side_shrinks_evenly_and_never_grows(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", width=200, height=90)
    assert read_clip(clip, frames=1, long_side=75)[0].shape[1:3] == (34, 76)
    assert read_clip(clip, frames=1, long_side=999)[0].shape[1:3] == (90, 200)


def test_shrinking_averages(tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv444p"
        stripes = np.zeros((96, 96, 3), np.uint8)
        stripes[:, ::2] = 200
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stripes, format="rgb24")))
        container.mux(stream.encode())
    frames, _ = read_clip(tmp_path / "clip.mkv", long_side=24)
    assert (frames.float() - 100).abs().max() < 6  # picking pixels would give 0 or 200


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_phone_clips_are_turned_upright(clip, turn):
    """The rotation stands in the MP4 track header as a matrix of 16.16 fixed-point numbers."""
    data = bytearray(clip.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][turn]
    data[matrix : matrix + 20] = (np.array([cos, sin, 0, -sin, cos]) * 65536).astype(">i4").tobytes()
    frames, _ = read_clip(BytesIO(bytes(data)), frames=1, long_side=32)
    assert frames.shape[1:3] == ((32, 24) if turn % 2 else (24, 32))
    # Turning clockwise moves the white upper left quarter to the upper right, and so on.
    height, width = frames.shape[1:3]
    corners = [frames[0, 2, 2], frames[0, 2, width - 3], frames[0, height - 3, width - 3], frames[0, height - 3, 2]]
    assert [corner.float().mean() > 128 for corner in corners].index(True) == turn


def test_progress_and_cancel(clip):
    steps = []
    read_clip(clip, every=2, frames=4, on_step=lambda *step: steps.append(step))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_clip(clip, on_step=cancel)


def test_errors(tmp_path, clip):
    with pytest.raises(ValueError, match=r"has 10 frames, none from frame 10 on"):
        read_clip(clip, first=10)
    with pytest.raises(FileNotFoundError, match=r"no video .*gone\.mp4"):
        read_clip(tmp_path / "gone.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    with pytest.raises(ValueError, match=r"text\.mp4 cannot be read as a video"):
        read_clip(text)
    with pytest.raises(ValueError, match="The video .* incomplete"):
        read_clip(BytesIO(clip.read_bytes()[:900]))
    with pytest.raises(ValueError, match="every=0"):
        read_clip(clip, every=0)

    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(ValueError, match=r"sound\.wav has no picture"):
        read_clip(tmp_path / "sound.wav")


def test_real_clip():
    frames, fps = read_clip(real_file("anchorcrafter/driving.mp4"), first=10, every=2, frames=3, long_side=1024)
    assert frames.shape == (3, 1024, 576, 3) and fps == 15
    assert frames.float().std() > 30

"""How a clip looks: orientation, the shape of its pixels, HDR, transparency; and how a written one does."""

import subprocess
import sys
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
import pytest
from crafters.media.clip import load_clip, read_clip, write_video

HEIGHT, WIDTH = 48, 64
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def quarters():
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:24, :32], image[:24, 32:], image[24:, :32], image[24:, 32:] = RED, GREEN, BLUE, GREY
    return image


def seen(image):
    """The letters of its four quarters, in reading order."""
    height, width = image.shape[:2]
    points = [image[y, x] for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    known = np.array([RED, GREEN, BLUE, GREY])
    return "".join("RGB."[np.abs(known - point.astype(int)).sum(1).argmin()] for point in points)


def encode(path, frames, codec, pixels, source="rgb24", **context):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], pixels
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=source).reformat(format=pixels)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("matrix", "view"),
    [
        ((1, 0, 0, 1), "RGB."),
        ((0, 1, -1, 0), "BR.G"),
        ((-1, 0, 0, -1), ".BGR"),
        ((0, -1, 1, 0), "G.RB"),
        ((-1, 0, 0, 1), "GR.B"),  # a front camera's
        ((1, 0, 0, -1), "B.RG"),
        ((0, 1, 1, 0), "RBG."),
        ((0, -1, -1, 0), ".GBR"),
        ((0.8, 0.6, -0.6, 0.8), "RGB."),
    ],
)
def test_all_eight_orientations_and_the_nearest_of_others(tmp_path, caplog, matrix, view):
    data = bytearray(encode(tmp_path / "clip.mp4", [quarters()] * 2, "mpeg4", "yuv420p").read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = matrix
    data[at : at + 20] = (np.array([a, b, 0, c, d]) * 65536).astype(">i4").tobytes()
    [first, _] = read_clip(BytesIO(bytes(data)), long_side=32)[0].numpy()
    assert seen(first) == view and first.shape[:2] == ((32, 24) if abs(b) > abs(a) else (24, 32))
    assert ("nearest upright view" in caplog.text) == (a == 0.8)


@pytest.mark.parametrize(("aspect", "turned", "shape"), [((4, 3), False, (48, 85)), ((1, 2), False, (48, 32)),
                                                          ((4, 3), True, (85, 48))])
def test_pixels_that_are_not_square(tmp_path, aspect, turned, shape):
    path = encode(tmp_path / "clip.mp4", [quarters()] * 2, "mpeg4", "yuv420p", sample_aspect_ratio=Fraction(*aspect))
    data = bytearray(path.read_bytes())
    if turned:
        at = data.index(b"tkhd") + 4 + 40
        data[at : at + 20] = (np.array([0, 1, 0, -1, 0]) * 65536).astype(">i4").tobytes()
    frames, _ = read_clip(BytesIO(bytes(data)))
    assert frames.shape[1:3] == shape and seen(frames[0].numpy()) == ("BR.G" if turned else "RGB.")


def colours():
    """Steps of grey, skin and strong colours, sRGB."""
    rows = [
        (255, 255, 255),
        (128, 128, 128),
        (30, 30, 30),
        (224, 172, 140),
        (200, 60, 40),
        (60, 160, 60),
        (50, 70, 200),
    ]
    image = np.empty((HEIGHT, 16 * len(rows), 3), np.uint8)
    for i, colour in enumerate(rows):
        image[:, 16 * i : 16 * i + 16] = colour
    return image


def hdr_signal(image, kind):
    """R'G'B' in 0…1 of BT.2020, white at 203 nits or 75 % of the signal (ITU-R BT.2408)."""
    share = image / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = light @ np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]).T
    if kind == "HLG":
        light = light * 0.2650
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(light <= 1 / 12, np.sqrt(3 * light), a * np.log(np.maximum(12 * light - b, 1e-9)) + c)
    power = (light * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


@pytest.mark.parametrize(("kind", "transfer"), [("HLG", 18), ("PQ", 16)])
def test_hdr_is_shown_as_on_an_ordinary_screen(tmp_path, kind, transfer):
    wanted = colours().astype(float)
    deep = (hdr_signal(wanted, kind) * 65535).round().astype(np.uint16)
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": transfer}
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = wanted.shape[1], HEIGHT, "yuv444p10le"
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        frame = av.VideoFrame.from_ndarray(deep, format="rgb48le")
        frame = frame.reformat(format="yuv444p10le", dst_colorspace=9, dst_color_range=1)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    got = read_clip(tmp_path / "clip.mkv")[0][0].numpy().astype(float)
    middle = slice(4, -4)
    for column in range(0, wanted.shape[1], 16):
        here, there = (image[middle, column + 8].mean(0) for image in (got, wanted))
        if there.min() == 255:
            assert here.min() >= 235
        else:
            assert np.abs(here - there).max() < 6
    saturation = [(image.max(-1) - image.min(-1)).mean() for image in (got, wanted)]
    assert saturation[0] == pytest.approx(saturation[1], rel=0.15)


def test_light_above_white_stays_below_it_and_keeps_its_hue():
    from crafters.media.hdr import BT709, PQ, tone_mapped

    nits = np.array([[[203, 203, 203], [1000, 1000, 1000], [1000, 250, 125]]])
    power = (nits / 10000) ** 0.1593017578125
    signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    [[white, bright, orange]] = tone_mapped((signal * 65535).round().astype(np.uint16), PQ, BT709).astype(int)
    assert 235 <= white.min() < bright.min() <= 255
    light = np.where(orange / 255 > 0.04045, ((orange / 255 + 0.055) / 1.055) ** 2.4, orange / 255 / 12.92)
    assert light[0] / light[1] == pytest.approx(4, rel=0.05) and light[1] / light[2] == pytest.approx(2, rel=0.05)


def test_colours_that_are_no_matrix_away_are_refused(tmp_path):
    path = encode(tmp_path / "clip.mp4", [quarters()] * 2, "libx264", "yuv420p", colorspace=14, color_trc=16)
    with pytest.raises(
        ValueError, match=r"clip\.mp4 has colours \(Dolby Vision's own, or ICtCp\) that cannot be shown"
    ):
        read_clip(path)


def test_dolby_visions_own_colours_are_refused(tmp_path):
    data = encode(tmp_path / "clip.mp4", [quarters()] * 2, "libx265", "yuv420p10le").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(data.replace(b"hev1", b"dvh1"))
    with pytest.raises(ValueError, match=r"clip\.mp4 has colours \(Dolby Vision's own"):
        read_clip(tmp_path / "clip.mp4")


def disc():
    """A green disc; everywhere else a magenta that is transparent."""
    image = np.full((HEIGHT, WIDTH, 4), (255, 0, 255, 0), np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image[(x - 32) ** 2 + (y - 24) ** 2 < 256] = (40, 200, 40, 255)
    return image


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("png.mov", "png", "rgba"),
        ("qtrle.mov", "qtrle", "argb"),
        ("prores.mov", "prores_ks", "yuva444p10le"),
        ("vp9.webm", "libvpx-vp9", "yuva420p"),
    ],
)
@pytest.mark.parametrize("long_side", [0, 32])
def test_what_is_transparent_is_black(tmp_path, name, codec, pixels, long_side):
    clip = load_clip(encode(tmp_path / name, [disc()] * 3, codec, pixels, "rgba"), long_side=long_side)
    frame, opacity = clip.frames[1].numpy().astype(int), clip.opacity[1].numpy()
    assert len(clip.frames) == 3 and (frame[opacity < 8] < 12).all()
    middle = frame[frame.shape[0] // 2, frame.shape[1] // 2]
    assert np.abs(middle - (40, 200, 40)).max() < 8 and opacity.max() == 255
    assert (opacity > 128).mean() == pytest.approx((disc()[..., 3] > 0).mean(), abs=0.02)
    if pixels != "yuva420p":  # there, four pixels have one colour
        assert (frame[..., 0] - frame[..., 1] < 4).all()


def test_pictures_that_move_and_are_transparent(tmp_path):
    from PIL import Image

    pictures = [Image.fromarray(np.roll(disc(), 2 * i, 1)) for i in range(3)]
    for name in ("clip.gif", "clip.apng"):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=100, disposal=2)
        clip = load_clip(tmp_path / name)
        assert clip.frames.shape == (3, HEIGHT, WIDTH, 3) and clip.frames[:, :4].max() == 0
        assert clip.opacity[0, 24, 32] == 255 and clip.opacity[:, :4].max() == 0
    assert load_clip(encode(tmp_path / "plain.mp4", [quarters()], "mpeg4", "yuv420p")).opacity is None


@pytest.mark.parametrize(
    ("kind", "pixels", "off"), [("film", "yuv420p", 2), ("fine", "yuv444p", 2), ("exact", "gbrp", 0)]
)
def test_written_colours_are_those_that_players_show(tmp_path, kind, pixels, off):
    path, wanted = tmp_path / "clip.mp4", colours()
    write_video(path, [wanted] * 3, 10, kind)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame, context = next(container.decode(stream)), stream.codec_context
        assert frame.format.name == pixels
        assert frame.colorspace == (0 if kind == "exact" else 1) and frame.color_range == (2 if kind == "exact" else 1)
        assert context.color_primaries == context.color_trc == 1
        if kind == "film":
            as_player = frame.reformat(format="rgb24", src_colorspace=1, dst_colorspace=1).to_ndarray()
            assert np.abs(as_player[:, 8::16].astype(int) - wanted[:, 8::16]).max() <= 2
    own = read_clip(path)[0][0].numpy().astype(int)
    assert np.abs(own[:, 8::16] - wanted[:, 8::16]).max() <= off


def test_an_odd_side_is_written_too(tmp_path):
    write_video(tmp_path / "clip.mp4", [quarters()[:47, :63]] * 2, 10)
    assert read_clip(tmp_path / "clip.mp4")[0].shape == (2, 47, 63, 3)


WRITE = """
import os, sys
import numpy as np
from pathlib import Path
if hasattr(os, "sched_setaffinity") and sys.argv[2] == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from crafters.media.clip import write_video
random, steps = np.random.RandomState(0), np.mgrid[:160, :224][1]
frames = [np.stack([(steps + 7 * i) % 256, steps, random.randint(0, 90, steps.shape)], -1).astype(np.uint8)
          for i in range(24)]
for kind in ("film", "fine", "exact"):
    write_video(Path(sys.argv[1]) / f"{kind}.mp4", frames, 15, kind)
"""


@pytest.mark.slow
def test_the_same_frames_are_the_same_bytes_in_every_process(tmp_path):
    """One that may use a single core, and others that have used their memory before."""
    for name, waste in (("one", ""), ("all", "junk = [bytes([i]) * 3_000_000 for i in range(9)]; del junk\n")):
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, "-c", waste + WRITE, tmp_path / name, name], check=True)
    for kind in ("film", "fine", "exact"):
        one, other = ((tmp_path / name / f"{kind}.mp4").read_bytes() for name in ("one", "all"))
        assert one == other

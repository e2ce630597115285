"""Removing a person: what the published numbers do not say."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from crafters.media.clip import read_clip
from crafters.models.loaded import Loaded
from crafters.models.propainter.flow_completion import FlowCompletion
from crafters.models.propainter.generator import Generator
from crafters.models.propainter.raft import RAFT
from crafters.models.propainter.system import TRAINING_ONLY, ProPainter
from crafters.models.propainter.transformer import SparseAttention
from crafters.models.propainter.warp import deform_conv2d
from crafters.preprocessors.background.camera import Camera
from crafters.preprocessors.background.hole import paste, working_size
from crafters.preprocessors.background.plate import inpaint_smoothly, plate
from crafters.preprocessors.background.propainter import Inpainting, Settings
from crafters.preprocessors.background.remove import cut_hole, remove_person
from crafters.preprocessors.background.stream import Stream
from helpers.propainter_files import VALID_INDICES
from helpers.real_data import real_file
from torch import nn


def test_deformable_convolution_by_its_definition():
    torch.manual_seed(0)
    groups, height, width = 2, 5, 7
    x = torch.randn(2, 4, height, width, dtype=torch.float64)
    weight, bias = torch.randn(3, 4, 3, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    offset = 3 * torch.randn(2, groups * 18, height, width, dtype=torch.float64)
    mask = torch.rand(2, groups * 9, height, width, dtype=torch.float64)

    def pixel(plane, y, x):
        inside = 0 <= y < height and 0 <= x < width
        return plane[y, x] if inside else 0.0

    def between(plane, y, x):
        top, left = int(np.floor(y)), int(np.floor(x))
        return sum(
            pixel(plane, top + i, left + j) * (1 - abs(y - top - i)) * (1 - abs(x - left - j))
            for i in (0, 1)
            for j in (0, 1)
        )

    expected = torch.zeros(2, 3, height, width, dtype=torch.float64)
    for n, y, column in np.ndindex(2, height, width):
        for channel, tap in np.ndindex(4, 9):
            at = channel // 2 * 9 + tap
            dy, dx = offset[n, 2 * at, y, column].item(), offset[n, 2 * at + 1, y, column].item()
            value = between(x[n, channel], y + tap // 3 - 1 + dy, column + tap % 3 - 1 + dx)
            expected[n, :, y, column] += weight[:, channel, tap // 3, tap % 3] * value * mask[n, at, y, column]
    actual = deform_conv2d(x, offset, mask, weight, bias)
    assert (actual - expected - bias[:, None, None]).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("network", "file", "tensors", "parameters"),
    [
        (RAFT, "raft-things.pth", 179, 5_257_536),
        (FlowCompletion, "recurrent_flow_completion.pth", 74 - 8, 5_079_555 - 4961),
        (Generator, "ProPainter.pth", 216, 39_429_667),
    ],
)
def test_released_layouts(network, file, tensors, parameters):
    """Name by name and shape by shape; flow completion's file has eight tensors that only training uses."""
    with torch.device("meta"):
        built = network()
    assert len(built.state_dict()) == tensors
    assert sum(p.numel() for p in built.parameters()) == parameters
    released = json.loads((Path(__file__).parents[2] / "data" / "propainter_keys.json").read_text())[file]
    released = {name.removeprefix("module."): shape for name, shape in released.items() if TRAINING_ONLY not in name}
    counters = ("num_batches_tracked", "valid_ind_rolled")  # whole numbers, which the list leaves out
    own = {name: list(x.shape) for name, x in built.state_dict().items() if not name.endswith(counters)}
    assert own == released


def test_tokens_around_a_window_are_the_released_ones():
    assert torch.equal(SparseAttention().valid_ind_rolled, VALID_INDICES)


def test_a_stream_computes_each_block_once_and_forgets():
    asked = []
    stream = Stream(10, 4, lambda start, stop: asked.append(start) or (torch.arange(start, stop),))
    assert stream.take([9, 0, 5])[0].tolist() == [9, 0, 5]
    assert stream.take([1, 8])[0].tolist() == [1, 8] and asked == [8, 0, 4]
    stream.forget(8)
    stream.take([8])
    assert asked == [8, 0, 4]
    stream.take([7])
    assert asked == [8, 0, 4, 4]


class StillRAFT(nn.Module):
    def forward(self, frames, iterations):
        return (torch.zeros(len(frames) - 1, 2, *frames.shape[-2:]),) * 2


class NoCompletion(nn.Module):
    def complete(self, forward, backward, masks):
        assert len(masks) == len(forward) + 1
        return forward, backward


class GreyGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def encode(self, frames, masks, remaining):
        return frames

    def forward(self, features, forward, backward, masks, remaining):
        assert len(forward) == len(masks) - 1
        return torch.zeros(len(masks), 3, *features.shape[-2:])


def grey_painter():
    """ProPainter's shape without its work."""
    return Loaded(ProPainter(StillRAFT(), NoCompletion(), GreyGenerator()))


def test_a_long_clip_holds_few_frames_at_a_time():
    frames, masks = np.full((300, 16, 16, 3), 200, np.uint8), np.zeros((300, 16, 16), bool)
    masks[:, 4:9, 5:8] = True
    most, steps = {}, []
    clip = Inpainting(grey_painter(), frames, masks, Settings(subvideo=20), lambda *step: steps.append(step))
    forget = clip._forget

    def count(before):
        for name in ("flows", "completed", "updated", "features"):
            held = sum(len(block[0]) for block in getattr(clip, name)._blocks.values())
            most[name] = max(most.get(name, 0), held)
        forget(before)

    clip._forget = count
    painted = clip.run()
    assert (painted[masks] == 127).all() and (painted[~masks] == 200).all()
    assert max(most.values()) <= 4 * 20, most
    assert steps[-1] == (599, 599) and [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_cancel_reaches_the_caller():
    def cancel(done, total):
        raise InterruptedError

    frames, masks = np.zeros((3, 16, 16, 3), np.uint8), np.ones((3, 16, 16), bool)
    with pytest.raises(InterruptedError):
        Inpainting(grey_painter(), frames, masks, on_step=cancel).run()
    with pytest.raises(InterruptedError):
        plate(frames, masks, cancel)


@pytest.fixture(scope="module")
def painter():
    """The real networks with random weights."""
    torch.manual_seed(0)
    return Loaded(ProPainter(RAFT(), FlowCompletion(), Generator()))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_short_clips_of_odd_size(painter, count):
    with torch.no_grad():
        for part in painter.module.modules():
            if hasattr(part, "conv_offset"):
                part.weight.normal_(0, 0.03), part.bias.zero_()
    images = torch.rand(count, 60, 101, 3)
    mask = torch.zeros(count, 60, 101)
    mask[:, 20:40, 30:50] = 1
    result = remove_person(images, mask, painter, dilation=2, settings=Settings(raft_iterations=1))
    assert result.shape == images.shape and result.isfinite().all()
    assert torch.equal(result[:, :10], images[:, :10])
    assert (result[:, 20:40, 30:50] - images[:, 20:40, 30:50]).abs().mean() > 0.05


def test_sizes_worked_at():
    assert working_size(768, 1360, 0.5) == (384, 680)
    assert working_size(100, 200, 0.5) == (128, 256)
    assert working_size(2160, 3840, 0.5) == (720, 1280)
    assert working_size(3840, 2160, 1.0) == (1280, 720)


def test_only_the_hole_is_pasted():
    image = torch.rand(64, 96, 3)
    hole = np.zeros((32, 48), bool)
    hole[10:20, 10:30] = True
    result = paste(image, np.full((32, 48, 3), 255, np.uint8), hole)
    assert (result[21:39, 21:59] == 1).all()
    assert torch.equal(result[:18], image[:18]) and torch.equal(result[:, 62:], image[:, 62:])


def test_other_nodes_may_fill_the_hole():
    images, mask = torch.rand(6, 200, 300, 3), torch.zeros(6, 200, 300)
    mask[:, 60:140, 100:160] = 1
    cut, hole = cut_hole(images, mask, dilation=4, scale=1.0)
    assert cut.shape == (9, 192, 288, 3) and hole.shape == (9, 192, 288)  # 4k + 1 frames, sides of 16
    assert (cut[hole > 0] - 0.5).abs().max() < 0.01 and (cut[hole == 0] - 0.5).abs().max() > 0.3
    painted = torch.where(hole[..., None] > 0, torch.tensor([0.0, 1.0, 0.0]), 0.2)
    result = remove_person(images, mask, dilation=4, filled=painted)
    assert torch.equal(result[mask.bool()], torch.tensor([0.0, 1.0, 0.0]).expand(int(mask.sum()), 3))
    assert torch.equal(result[:, :40], images[:, :40])
    with pytest.raises(ValueError, match="5 frames, the clip itself 6"):
        remove_person(images, mask, filled=painted[:5])


def test_bad_input_is_said_in_a_sentence(caplog):
    images = torch.rand(4, 32, 32, 3)
    with pytest.raises(ValueError, match="3 masks for 4 frames"):
        remove_person(images, torch.zeros(3, 32, 32))
    with pytest.raises(ValueError, match="16x24 pixels and the clip 32x32"):
        remove_person(images, torch.zeros(4, 24, 16))
    with pytest.raises(ValueError, match="covers every frame"):
        remove_person(images, torch.ones(4, 32, 32))
    assert torch.equal(remove_person(images, torch.full((1, 32, 32), 0.4)), images)
    assert "mask is empty" in caplog.text
    with pytest.raises(ValueError, match="2 neighbours"):
        Settings(neighbours=1)


def scene(count, moving, exposure=0.0):
    """A wall of blobs, under a camera that pans, turns and zooms if moving, and a box walking before it: clip, masks,
    truth."""
    rng = np.random.RandomState(0)
    wall = cv2.GaussianBlur(rng.rand(300, 420, 3).astype(np.float32), (0, 0), 3)
    wall = (wall - wall.min()) / (wall.max() - wall.min()) * 180
    frames = []
    for t in range(count):
        view = cv2.getRotationMatrix2D((210, 150), 0.3 * t * moving, 1 + 0.004 * t * moving)
        view[:, 2] -= (80 + 2.3 * t * moving, 70)
        frames.append(cv2.warpAffine(wall, view, (240, 160)) * (1 + exposure * np.sin(t)))
    truth = np.stack(frames).clip(0, 255).astype(np.uint8)
    masks = np.zeros(truth.shape[:3], bool)
    for t in range(count):
        x = 40 + 5 * t
        masks[t, 50:130, x : x + 30] = True
    frames = truth.copy()
    frames[masks] = (250, 20, 20)
    return frames, masks, truth


def hole_psnr(result, truth, masks):
    return 10 * np.log10(255**2 / max(1e-3, ((result[masks].astype(float) - truth[masks]) ** 2).mean()))


@pytest.mark.parametrize(("moving", "exposure", "least"), [(False, 0.0, 50), (False, 0.1, 38), (True, 0.05, 32)])
def test_what_other_frames_show_is_found(moving, exposure, least):
    frames, masks, truth = scene(24, moving, exposure)
    assert Camera(frames, masks).still != moving
    assert hole_psnr(plate(frames, masks), truth, masks) > least


def test_nothing_of_a_still_films_holes_is_read():
    """Its frames are filled in place, one after the other, each from the others."""
    frames, masks, _ = scene(12, moving=False, exposure=0.1)
    other = frames.copy()
    other[masks] = (10, 30, 240)
    assert np.array_equal(plate(frames, masks), plate(other, masks))


def test_what_no_frame_shows_is_smooth():
    frames, masks, truth = scene(1, moving=False)
    filled = plate(frames.copy(), masks)
    assert np.array_equal(filled[~masks], frames[~masks])
    assert hole_psnr(filled, truth, masks) > 15


def test_what_no_frame_shows_is_made_up_once_and_told(caplog):
    """A hole that never moves, in a noisy film: its filling does not tremble with the noise."""
    frames, masks, _ = scene(6, moving=False)
    masks[:] = masks[0]
    frames = (frames + np.random.RandomState(1).normal(0, 6, frames.shape)).clip(0, 255).astype(np.uint8)
    filled = plate(frames, masks)
    assert np.ptp(filled[masks].reshape(6, -1).astype(int), axis=0).max() <= 1
    assert "100 % of what is hidden is seen in no frame" in caplog.text


def travelling(count=30):
    """A wall that passes at 1.5 px a frame and the road before it, ever faster; somebody stands before both."""
    wall = cv2.GaussianBlur(np.random.RandomState(2).rand(180, 600, 3).astype(np.float32), (0, 0), 2.5)
    wall = (wall - wall.min()) / np.ptp(wall) * 200
    x, y = np.meshgrid(np.arange(200, dtype=np.float32), np.arange(180, dtype=np.float32))
    speed = 1.5 + np.maximum(0, y - 90) * 0.04
    truth = np.stack([cv2.remap(wall, 20 + x + speed * t, y, cv2.INTER_LINEAR) for t in range(count)]).astype(np.uint8)
    masks = np.zeros(truth.shape[:3], bool)
    masks[:, 50:140, 85:110] = True
    frames = truth.copy()
    frames[masks] = (250, 20, 20)
    return frames, masks, truth, speed


def test_near_and_far_are_each_followed_and_nothing_trembles():
    frames, masks, truth, speed = travelling()
    filled = plate(frames, masks)
    assert hole_psnr(filled, truth, masks) > 29
    # Moved on with the background, the filling of a frame is that of the next.
    x, y = np.meshgrid(np.arange(200, dtype=np.float32), np.arange(180, dtype=np.float32))
    inner = masks[0] & (np.roll(masks[0], 8, 1))
    moved = [cv2.remap(frame, x + speed, y, cv2.INTER_LINEAR) for frame in filled[:-1]]
    trembling = np.mean([np.abs(a.astype(int) - b)[inner].mean() for a, b in zip(moved, filled[1:], strict=True)])
    assert trembling < 3


@pytest.mark.slow
def test_the_published_scene_without_weights():
    """A travelling camera; the published background is itself ProPainter's."""
    names = ("source_video", "bkgd_video", "smplx_video")
    source, published, body = (
        read_clip(real_file(f"anicrafter/scene/{name}.mp4"), frames=40, long_side=340)[0].numpy() for name in names
    )
    person = (np.abs(source.astype(int) - published).max(-1) > 24) | (body.max(-1) > 30)
    near = np.stack([cv2.dilate((b.max(-1) > 30).astype(np.uint8), np.ones((31, 31))) for b in body]) > 0
    masks = np.stack([cv2.dilate((p & n).astype(np.uint8), np.ones((9, 9))) for p, n in zip(person, near, strict=True)])
    masks = masks > 0
    smooth = np.stack([inpaint_smoothly(*pair) for pair in zip(source, masks, strict=True)])
    found = hole_psnr(plate(source, masks), published, masks)
    assert found > 26 and found > hole_psnr(smooth, published, masks) + 1.5  # 27.7 is measured


def placed_scene(frames=3):
    """A bright clip 256×160 with a person's mask in it."""
    images, mask = torch.full((frames, 160, 256, 3), 0.8), torch.zeros(frames, 160, 256)
    mask[:, 40:130, 101:143] = 1
    return images, mask


def test_hole_of_wan_animate_is_black_squares_around_the_person():
    images, mask = placed_scene()
    cut, hole = cut_hole(images, mask, dilation=9, scale=1.0, fill=0, blocks=32)
    assert len(cut) == 5  # 4k + 1
    squares = hole.reshape(5, 5, 32, 8, 32).permute(0, 1, 3, 2, 4).flatten(3)
    assert (squares.amin(3) == squares.amax(3)).all()
    assert (hole[:3] >= mask).all() and hole.mean() < 0.5
    assert (hole[:, 32, 101 - 9] == 1).all() and (hole[:, 64, 64 - 1] == 0).all()
    assert (cut[hole > 0] == 0).all() and (cut[hole == 0] > 0.79).all()


def test_hole_shows_the_picture_and_nothing_of_it_elsewhere():
    images, mask = placed_scene()
    picture = torch.rand(3, 160, 256, 3)
    cut, hole = cut_hole(images, mask, dilation=0, scale=1.0, fill=picture)
    assert torch.equal(hole[:3], mask)
    assert (cut[:3] - picture)[mask > 0].abs().max() <= 0.5 / 255 + 1e-6
    assert (cut[:3][mask == 0] - 0.8).abs().max() < 1e-6
    still, _ = cut_hole(images, mask, dilation=0, scale=1.0, fill=picture[:1])
    assert torch.equal(still[0], cut[0]) and not torch.equal(still[1], cut[1])


def test_hole_with_pictures_of_another_clip_is_one_sentence():
    with pytest.raises(ValueError, match="3 frames but 2 pictures"):
        cut_hole(*placed_scene(), fill=torch.zeros(2, 160, 256, 3))


def test_hole_of_next_to_nobody_is_told(caplog):
    images, mask = placed_scene(5)
    mask[1:3] = 0
    mask[2, 50:60, 50:60] = 1
    cut, hole = cut_hole(images, mask, scale=1.0)
    assert "next to nobody in frames 2-3 " in caplog.text
    assert len(cut) == len(hole) == 5
    caplog.clear()
    cut_hole(*placed_scene(), scale=1.0)
    assert not caplog.text

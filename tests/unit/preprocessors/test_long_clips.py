"""Long clips fit: beside inputs and result nothing is made that is as large as half a clip, and results are the same as
those of the whole clip at once."""

import numpy as np
import pytest
import torch
from crafters.media.clip import read_video, write_video
from crafters.media.frames import to_image
from crafters.models.anchorcrafter.conditions import _behind
from crafters.models.anicrafter.conditions import compose_scene
from crafters.models.finite import check_finite
from crafters.preprocessors.background.remove import cut_hole, remove_person
from crafters.preprocessors.condition_sheet import SHOWN, condition_sheet
from crafters.preprocessors.pose.placement import Placement, place_video
from crafters.preprocessors.product.object_depth import object_depth_pictures
from crafters.preprocessors.product.stand_in import fit_stand_in
from crafters.preprocessors.segment.video import TINT, tinted
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FRAMES, HEIGHT, WIDTH = 24, 128, 160
PLACED = Placement((0.8, 0.8), (0.1, 0.1), (WIDTH, HEIGHT), (WIDTH, HEIGHT))


class Large(TorchDispatchMode):
    """Keeps all tensors of half a clip or more that are made, by their memory."""

    def __init__(self, *given):
        super().__init__()
        self.given = {of.untyped_storage().data_ptr() for of in tree_leaves(given) if isinstance(of, torch.Tensor)}
        self.made = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.nbytes() >= FRAMES * HEIGHT * WIDTH * 3 * 4 / 2 and storage.data_ptr() not in self.given:
                    self.made[storage.data_ptr()] = storage
        return out


def clip(seed=0, frames=FRAMES):
    return torch.rand(frames, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(seed))


def box():
    mask = torch.zeros(FRAMES, HEIGHT, WIDTH)
    mask[:, 30:90, 40:100] = 1
    return mask


def video(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, (clip() * 255).byte().numpy(), 10)
    return type("VideoFromFile", (), {"get_stream_source": lambda self: str(path)})()


def parts():
    images = type("Parts", (), {"images": clip(), "frame_rate": 10})()
    return type("VideoFromComponents", (), {"get_components": lambda self: images})()


# By what makes it: how many results of at least half a clip it has, the call, and its clips.
CALLS = {
    "sheet": (1, lambda a, b: condition_sheet(a[:1], a, b, b), lambda: (clip(0), clip(1))),
    "place": (1, lambda a: place_video(a, PLACED), lambda: (clip(),)),
    "depth": (1, lambda a, m: to_image(object_depth_pictures(a, m), FRAMES), lambda: (clip(), box())),
    "stand-in": (1, lambda a, m: fit_stand_in(a, m, 1.2), lambda: (clip(), box())),
    "tint": (1, lambda a, m: tinted(a, m > 0), lambda: (clip(), box())),
    "hole": (1, lambda a, m: cut_hole(a, m, scale=1.0), lambda: (clip(), box())),
    "fill": (1, lambda a, m: remove_person(a, m, dilation=2), lambda: (clip(), box())),
    "filled": (1, lambda a, m: remove_person(a, m, filled=a), lambda: (clip(), box())),
    "scene": (1, lambda a, b, m: compose_scene(a[:1], a, m, b, a, m), lambda: (clip(0), clip(1), box())),
    "finite": (0, lambda a: check_finite(a, ""), lambda: (clip(),)),
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_as_large_as_a_clip_is_made_beside_the_result(name):
    results, call, inputs = CALLS[name]
    inputs = inputs()
    with Large(inputs) as large:
        call(*inputs)
    made = len(large.made)
    assert made == results


def test_a_video_is_read_into_one_clip(tmp_path):
    for source in (video(tmp_path), parts()):
        with Large(source.get_components().images if hasattr(source, "get_components") else None) as large:
            frames, _, _ = read_video(source)
        made = len(large.made)
        assert len(frames) == FRAMES and made == 1


def test_the_sheet_is_that_of_the_whole_clip_at_once():
    person, pose, hand, depth = clip(0, 1), clip(1) * (clip(2) > 0.8), clip(3) * 0.05, clip(4) * (clip(5) > 0.9)
    whole = (person * 0.5).repeat(FRAMES, 1, 1, 1)
    for laid in (depth, hand, pose):
        whole = torch.where(laid.amax(-1, keepdim=True) > SHOWN, 0.2 * whole + 0.8 * laid, whole)
    assert torch.equal(condition_sheet(person, pose, hand, depth), whole)


def test_the_tint_is_that_of_the_whole_clip_at_once():
    images, mask = clip(), clip(1)[..., 0] > 0.5
    whole = images.clone()
    whole[mask] = (whole[mask] + whole.new_tensor(TINT)) / 2
    assert torch.equal(tinted(images, mask), whole)


def test_the_hole_is_that_of_the_whole_clip_at_once():
    images, mask = clip(frames=7), box()[:7]
    cut, hole = cut_hole(images, mask, dilation=0, scale=1.0)
    wanted = (images * 255).round().byte().numpy()
    wanted[mask.numpy() > 0] = 128
    index = [*range(7), 6, 6]
    assert np.array_equal(cut, wanted[index].astype(np.float32) / 255) and torch.equal(hole, mask[index])


@pytest.mark.parametrize("size", [1, 3, 8, 20])
def test_chunks_behind_the_person_are_those_of_both_together(size):
    first, rest = clip(0, 1), clip(1, 11)
    both = torch.cat([first, rest])
    for start in range(0, 12, size):
        chunk = slice(start, min(start + size, 12))
        assert torch.equal(_behind(first, rest, chunk), both[chunk])

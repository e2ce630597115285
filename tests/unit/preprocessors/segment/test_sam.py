"""SAM over a clip: small networks with random weights, saved and loaded in the layout of the released ones."""

import json

import numpy as np
import pytest
import torch
from crafters.models.checkpoint import CheckpointError
from crafters.models.loaded import Loaded
from crafters.preprocessors.segment.prompts import Prompt
from crafters.preprocessors.segment.sam import SAM, _forget, _Pixels, load_sam
from helpers.small_models import small_sam

pytestmark = pytest.mark.slow
SIDE, FRAMES, HEIGHT, WIDTH = 64, 8, 48, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam2.1-tiny")
    small_sam(SIDE).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam(folder):
    return SAM(Loaded(load_sam(folder)))


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_the_clip_is_followed_both_ways_with_corrections_and_several_objects(sam, frames):
    steps = []
    prompts = [
        Prompt(3, box=(5, 5, 30, 40), inside=((10, 10),)),
        Prompt(6, inside=((11, 11),), outside=((1, 1),)),
        Prompt(5, mask=np.eye(HEIGHT, WIDTH) > 0, object=2),
    ]
    masks = sam.track(frames, prompts, lambda *step: steps.append(step))
    assert {number: mask.shape for number, mask in masks.items()} == {n: (FRAMES, HEIGHT, WIDTH) for n in (1, 2)}
    assert steps == [(done, 2 * FRAMES) for done in range(1, 2 * FRAMES + 1)]
    alone = sam.track(frames, prompts[2:])
    assert (alone[2] == masks[2]).all()  # objects do not disturb each other


def test_the_memory_equals_that_of_the_whole_clip_held(sam, frames):
    """Frames made one at a time and old memory dropped: the numbers of transformers' own loop over a whole clip."""
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    clip = _Pixels(frames, SIDE, sam._mean, sam._std)
    whole = torch.stack([clip[t] for t in range(FRAMES)])
    session = Sam2VideoInferenceSession(video=whole, video_height=HEIGHT, video_width=WIDTH, dtype=torch.float32)
    number = session.obj_id_to_idx(1)
    point = {"point_coords": torch.tensor([[[[16.0, 8.0]]]]), "point_labels": torch.tensor([[[1]]]).int()}
    session.add_point_inputs(number, 0, point)
    session.obj_with_new_inputs = [1]
    model = sam.loaded.module
    expected = [out.pred_masks for out in model.propagate_in_video_iterator(session, start_frame_idx=0)]
    large = [torch.nn.functional.interpolate(mask, (HEIGHT, WIDTH), mode="bilinear")[0, 0] > 0 for mask in expected]
    masks = sam.track(frames, [Prompt(0, inside=((10, 6),))])[1]
    assert (masks == torch.stack(large).numpy()).all()


def test_memory_does_not_grow_with_the_clip():
    class Session:
        output_dict_per_obj = {0: {"non_cond_frame_outputs": dict.fromkeys(range(100))}}

    _forget(Session, 99, 16)
    assert sorted(Session.output_dict_per_obj[0]["non_cond_frame_outputs"]) == list(range(83, 100))


def test_a_cancel_ends_the_work(sam, frames):
    def cancel(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sam.track(frames, [Prompt(0, inside=((10, 6),))], cancel)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    with pytest.raises(CheckpointError, match="is a dinov2 model"):
        load_sam(tmp_path)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_sam(tmp_path / "nothing")

"""Masks over a clip without weights: prompts, GrabCut and flow, prompts from the pose, cleaning."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from crafters.media.clip import read_clip
from crafters.preprocessors.pose.keypoints import Pose, from_openpose
from crafters.preprocessors.segment import held_object
from crafters.preprocessors.segment.background_model import BackgroundModel
from crafters.preprocessors.segment.clean import clean_masks
from crafters.preprocessors.segment.flow import FlowTracker
from crafters.preprocessors.segment.prompts import Prompt, check_prompts, painted, read_box, read_points
from crafters.preprocessors.segment.tracker import Tracker
from crafters.preprocessors.segment.video import all_objects, segment_video, tinted
from helpers.poses import standing
from helpers.real_data import real_file

HEIGHT, WIDTH = 96, 128


def moving_disc(frames=6, seed=0):
    """A red disc with a dot, before a noisy wall, moving right: images float [T, H, W, 3] and its masks."""
    noise = np.random.default_rng(seed).normal(0, 0.02, (HEIGHT, WIDTH, 3))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    images, masks = [], []
    for frame in range(frames):
        centre = 40 + 4 * frame
        mask = (x - centre) ** 2 + (y - 50) ** 2 < 18**2
        image = np.stack([0.3 + x / 400, 0.5 + y / 400, np.full(x.shape, 0.55)], -1) + noise
        image[mask] = (0.8, 0.15, 0.1)
        image[(x - centre) ** 2 + (y - 45) ** 2 < 16] = (0.9, 0.8, 0.1)
        images.append(image.clip(0, 1))
        masks.append(mask)
    return torch.from_numpy(np.stack(images)).float(), np.stack(masks)


def iou(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(0, box=(18, 28, 62, 72)),
        Prompt(5, box=(38, 28, 82, 72)),
        Prompt(3, inside=((52, 60),)),
        Prompt(2, mask=moving_disc()[1][2]),
    ],
    ids=["box", "box on the last frame", "point", "mask"],
)
def test_flow_follows_a_disc_from_any_frame(prompt):
    images, truth = moving_disc()
    masks, reports = segment_video(FlowTracker(), images, [prompt])
    assert masks[1].shape == truth.shape and masks[1].dtype == torch.bool
    assert iou(masks[1], truth) > 0.9
    assert not reports[1].missing


def test_two_objects_are_kept_apart_and_progress_counts_both():
    images, truth = moving_disc()
    images[:, 5:20, 100:120] = torch.tensor([0.1, 0.2, 0.9])
    steps = []
    prompts = [Prompt(0, box=(18, 28, 62, 72)), Prompt(4, box=(96, 2, 124, 24), object=7)]
    masks, _ = segment_video(FlowTracker(), images, prompts, on_step=lambda *step: steps.append(step))
    assert steps == [(done, 12) for done in range(1, 13)]
    square = np.zeros_like(truth)
    square[:, 5:20, 100:120] = True
    assert iou(masks[1], truth) > 0.9 and iou(masks[7], square) > 0.9


def test_objects_together_and_laid_over_the_clip():
    masks = {1: torch.zeros(1, 2, 2, dtype=torch.bool), 2: torch.zeros(1, 2, 2, dtype=torch.bool)}
    masks[1][0, 0, 0] = masks[2][0, 1, 1] = True
    assert all_objects(masks)[0].tolist() == [[True, False], [False, True]]
    images = torch.full((1, 2, 2, 4), 0.5)
    assert tinted(images, all_objects(masks))[0, :, 0].tolist() == [[0.75, 0.25, 0.75], [0.5, 0.5, 0.5]]
    assert (images == 0.5).all()
    assert painted(torch.tensor([[[0.0, 0.5], [0.6, 1.0]]])).tolist() == [[False, False], [True, True]]


def test_a_later_prompt_corrects():
    images, truth = moving_disc()
    wrong = Prompt(0, box=(90, 60, 120, 90))
    alone, _ = segment_video(FlowTracker(), images, [Prompt(0, mask=np.roll(truth[0], 60, 1))])
    corrected, _ = segment_video(FlowTracker(), images, [wrong, Prompt(3, mask=truth[3])])
    assert iou(alone[1][3:], truth[3:]) < 0.5 < 0.9 < iou(corrected[1][3:], truth[3:])


def test_a_cancel_ends_the_work():
    images, _ = moving_disc()

    def cancel(done, total):
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        segment_video(FlowTracker(), images, [Prompt(0, box=(18, 28, 62, 72))], on_step=cancel)


def test_one_frame_and_large_or_tall_frames():
    images, truth = moving_disc(frames=1)
    masks, _ = segment_video(FlowTracker(), images, [Prompt(0, box=(18, 28, 62, 72))])
    assert iou(masks[1], truth) > 0.9
    tall = torch.nn.functional.interpolate(images.movedim(-1, 1), (2160, 1215)).movedim(1, -1)
    box = (18 / WIDTH * 1215, 28 / HEIGHT * 2160, 62 / WIDTH * 1215, 72 / HEIGHT * 2160)
    masks, _ = segment_video(FlowTracker(), tall, [Prompt(0, box=box)])
    scaled = torch.nn.functional.interpolate(torch.from_numpy(truth)[None].float(), (2160, 1215))[0] > 0.5
    assert masks[1].shape == (1, 2160, 1215) and iou(masks[1], scaled) > 0.9


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ([], "nothing to look for"),
        ([Prompt(6, inside=((1, 1),))], "outside the clip, whose frames are 0 to 5"),
        ([Prompt(0, inside=((500, 1),))], "point at 500,1, outside the 128x96"),
        ([Prompt(0, box=(50, 50, 50, 60))], "empty box"),
        ([Prompt(0, outside=((1, 1),))], "only points beside it"),
        ([Prompt(0, mask=np.zeros((HEIGHT, WIDTH), bool))], "empty mask"),
        ([Prompt(0, mask=np.ones((HEIGHT, WIDTH), bool))], "covers the whole frame"),
        ([Prompt(0, mask=np.ones((9, 9), bool))], "mask of 9x9 pixels, but the clip is 128x96"),
    ],
)
def test_what_cannot_be_followed_is_said(prompts, said):
    with pytest.raises(ValueError, match=said):
        check_prompts(prompts, 6, HEIGHT, WIDTH)


def test_an_object_that_is_never_found_is_said():
    class Blind(Tracker):
        spacing, outlines = 1, False

        def track(self, frames, prompts, on_step):
            return {1: np.zeros((len(frames), HEIGHT, WIDTH), bool)}

    with pytest.raises(ValueError, match="found in no frame"):
        segment_video(Blind(), moving_disc()[0], [Prompt(0, inside=((50, 50),))])


def test_points_and_boxes_are_read_as_people_write_them():
    assert read_points("320,240 350,260") == ((320, 240), (350, 260))
    assert read_points("(1, 2); (3.5, 4)") == ((1, 2), (3.5, 4))
    assert read_points('[{"x": 5, "y": 6.5}]') == ((5, 6.5),)
    assert read_points("[[1, 2], [3, 4]]") == ((1, 2), (3, 4))
    assert read_points("") == ()
    assert read_box("1,2,3,4") == (1, 2, 3, 4) and read_box(" ") is None
    for wrong in ("1,2,3", "a,b", '{"x": 1}'):
        with pytest.raises(ValueError, match="no points"):
            read_points(wrong)
    assert read_points("0,0 1,1") == ((0, 0), (1, 1))  # pixels at the corner
    for shares in ("0.5,0.25", '[{"x": 0.25, "y": 1}]'):
        with pytest.raises(ValueError, match="are shares of the picture's width and height: give pixels"):
            read_points(shares)
    with pytest.raises(ValueError, match="no box"):
        read_box("1,2")


def test_find_by_pose_says_what_is_missing():
    images, _ = moving_disc()
    with pytest.raises(ValueError, match="connect the keypoints"):
        segment_video(FlowTracker(), images, find="person")
    with pytest.raises(ValueError, match="poses of 2 frames but 6"):
        segment_video(FlowTracker(), images, poses=[Pose.empty()] * 2, find="person")
    with pytest.raises(ValueError, match="no hands in any frame"):
        segment_video(FlowTracker(), images, poses=[Pose.empty()] * 6, find="what the hands hold")


def presenter(frames=6, apart=60, thing=True, stays=False):
    """Somebody drawn, in a brown shirt before a wall, whose two hands hold a striped box that moves: images, masks and
    poses. apart: px from palm to palm. stays: the box is a print on the shirt instead."""
    import cv2

    y, x = np.mgrid[:160, :120]
    images, masks, poses = [], [], []
    noise = np.random.default_rng(1).normal(0, 4, (160, 120, 3))
    skin, brown = (215, 165, 135), (120, 80, 50)
    for frame in range(frames):
        picture = np.stack([150 + x / 4, 160 + y / 8, np.full(x.shape, 170.0)], -1)
        cv2.rectangle(picture, (25, 60), (95, 160), brown, -1)
        cv2.circle(picture, (60, 35), 18, skin, -1)
        centre = np.array([60 + frame, 105 - frame])
        palms = [centre + (side * apart // 2, 0) for side in (-1, 1)]
        left, top = (62, 103) if stays else centre
        mask = (abs(x - left) < apart // 2) & (abs(y - top) < 20) & thing
        picture[mask] = (30, 90, 200)
        picture[mask & ((x - left) // 6 % 2 == 0)] = (240, 200, 40)
        body, face, hands = np.zeros((1, 18, 3)), np.zeros((1, 68, 3)), []
        body[0, [0, 1, 2, 5, 3, 6, 4, 7]] = [(60, 40, 1), (60, 60, 1), (30, 65, 1), (90, 65, 1), (15, 110, 1),
                                             (105, 110, 1), (*palms[0], 1), (*palms[1], 1)]
        face[0, :, 0], face[0, :, 1] = 60 + 12 * np.cos(np.arange(68)), 38 + 12 * np.sin(np.arange(68))
        face[..., 2] = 1
        for side, palm in zip((1, -1), palms, strict=True):
            hand = [(*palm, 1)]
            for finger in range(5):
                root = palm + (side * 2, 3 * finger - 14)
                hand += [(*(root + (side * 3 * joint, 0)), 1) for joint in range(4)]
                mask &= ~((abs(y - root[1]) < 2) & (abs(x - root[0] - side * 5) < 6))
                cv2.line(picture, tuple(map(int, root)), tuple(map(int, root + (side * 9, 0))), skin, 2)
            hands.append(np.array(hand, float)[None])
        images.append((picture + noise).clip(0, 255))
        masks.append(mask)
        scale = np.array([120, 160, 1])
        poses.append(Pose(body / scale, face / scale, hands[1] / scale, hands[0] / scale))
    return torch.from_numpy(np.stack(images) / 255).float(), np.stack(masks), poses


@pytest.mark.parametrize("apart", [40, 60])
def test_what_two_hands_hold_is_found_over_the_clip(apart):
    images, truth, poses = presenter(apart=apart)
    masks, reports = segment_video(FlowTracker(), images, poses=poses, find="what the hands hold")
    assert iou(masks[1], truth) > 0.85  # 0.92 and 0.97 were seen
    assert not reports[1].doubt


def test_a_click_on_what_the_hands_hold_finds_it_by_them():
    images, truth, poses = presenter()
    masks, _ = segment_video(FlowTracker(), images, [Prompt(2, inside=((62.0, 103.0),))], poses)
    assert iou(masks[1], truth) > 0.85


def test_a_network_is_shown_what_the_hands_hold_by_box_and_points():
    class Network(Tracker):
        spacing, outlines = 3, True

        def track(self, frames, prompts, on_step):
            self.prompts = prompts
            return {1: np.ones((len(frames), 160, 120), bool)}

    images, truth, poses = presenter()
    segment_video(network := Network(), images, poses=poses, find="what the hands hold")
    assert len(network.prompts) == 2
    for prompt in network.prompts:
        y, x = np.nonzero(truth[prompt.frame])
        assert np.abs(np.array(prompt.box) - (x.min(), y.min(), x.max() + 1, y.max() + 1)).max() <= 6
        assert prompt.mask is None and prompt.inside and prompt.outside
        assert all(truth[prompt.frame][int(y), int(x)] for x, y in prompt.inside)
        assert not any(truth[prompt.frame][int(y), int(x)] for x, y in prompt.outside)


def test_what_hardly_stands_out_is_told(caplog, monkeypatch):
    monkeypatch.setattr("crafters.preprocessors.segment.held_object.DOUBT", 9.0)
    images, _, poses = presenter()
    _, reports = segment_video(FlowTracker(), images, poses=poses, find="what the hands hold")
    assert "hardly stands out" in str(reports[1]) and "give a point or a box" in caplog.text


def test_a_print_that_hands_pass_by_is_told(caplog):
    images, _, poses = presenter(stays=True)
    _, reports = segment_video(FlowTracker(), images, poses=poses, find="what the hands hold")
    assert "does not move with" in str(reports[1]) and "give a point or a box" in caplog.text


def test_in_doubt_a_click_counts_alone(monkeypatch):
    images, _, poses = presenter()
    click = [Prompt(2, inside=((62.0, 103.0),))]
    alone, _ = segment_video(FlowTracker(), images, click)
    monkeypatch.setattr("crafters.preprocessors.segment.held_object.DOUBT", 9.0)
    assert (segment_video(FlowTracker(), images, click, poses)[0][1] == alone[1]).all()


def test_empty_hands_are_said():
    images, _, poses = presenter(thing=False)
    with pytest.raises(ValueError, match="hold nothing that stands out"):
        segment_video(FlowTracker(), images, poses=poses, find="what the hands hold")


def test_holes_specks_and_flicker_are_cleaned_and_told():
    _, truth = moving_disc(frames=1)
    masks = np.repeat(truth, 6, 0)
    masks[1, 50, 40] = False  # a hole
    masks[2, 2, 2] = True  # a speck
    masks[4] = np.roll(truth[0], 50, 1)  # a flicker
    masks[5] = False
    cleaned, report = clean_masks(masks)
    assert (cleaned[:4] == truth).all() and not cleaned[5].any()
    assert (report.filled, report.specks, report.missing) == ([1], [2], [5])
    assert "not visible in 1 of 6 frames (5)" in str(report)
    masks[5] = truth[0]
    cleaned, report = clean_masks(masks)
    assert report.flicker == [4] and (cleaned[4] == truth[0]).all()
    assert masks[4].sum() and clean_masks(masks, grow=2)[0].sum() > cleaned.sum() > clean_masks(masks, grow=-2)[0].sum()


def test_large_holes_are_no_mistakes():
    ring = np.zeros((1, 60, 60), bool)
    ring[0, 10:50, 10:50] = True
    ring[0, 20:40, 20:40] = False
    cleaned, report = clean_masks(ring)
    assert (cleaned == ring).all() and "nothing to clean" in str(report)


def dressed(size, center, tall):
    """Somebody in a striped shirt before blocks of colour, uint8 [H,W,3], with pose and mask; what is below the picture
    scores low at its edge, as networks guess it."""
    width, height = size
    pose, draw = standing(center, tall), np.random.default_rng(3)
    wall = cv2.resize(draw.integers(90, 200, (height // 16, width // 16, 3), np.uint8), size, interpolation=0)
    at = pose.body[0, :, :2] * size
    unit = float(np.linalg.norm(at[2] - at[5]))

    def paint(joints, thick, colour):
        for picture, value in ((wall, colour), (mask, 1)):
            cv2.polylines(picture, [at[joints].round().astype(np.int32)], False, value, round(thick * unit))

    mask = np.zeros((height, width), np.uint8)
    for side in ([2, 3, 4], [5, 6, 7]):
        paint(side, 0.4, (20, 20, 120))
    paint([0, 1], 0.4, (250, 190, 150))
    shirt = np.stack([at[2], at[5], at[11] + (0.15 * unit, 0), at[8] - (0.15 * unit, 0)]).round().astype(np.int32)
    for picture, value in ((wall, (180, 20, 20)), (mask, 1)):
        cv2.fillConvexPoly(picture, shirt, value)
    for picture, value in ((wall, (240, 220, 40)), (mask, 1)):  # a belt, or a skirt
        cv2.polylines(picture, [shirt[2:]], False, value, round(0.3 * unit))
    head = (at[0] - (0, 0.1 * unit)).round().astype(int).tolist()
    for picture, value in ((wall, (250, 190, 150)), (mask, 1)):
        cv2.circle(picture, head, round(0.3 * unit), value, -1)
    body = pose.body.copy()
    below = body[0, :, 1] > 1
    body[0, below, 1:] = 0.98, 0.12
    return wall, Pose(body, pose.face * (1, 1, 0), pose.left_hand * 0, pose.right_hand * 0), mask > 0


@pytest.mark.parametrize("center", [(0.5, 0.95), (0.5, 1.2)], ids=["hips at the edge", "hips below it"])
def test_half_a_body_keeps_its_belly(center):
    picture, pose, truth = dressed((160, 160), center, 1.5)
    mask = segment_video(FlowTracker(), torch.from_numpy(picture)[None] / 255, poses=[pose], find="person")[0][1]
    assert iou(mask[0], truth) > 0.9


def test_what_follows_a_correction_and_a_mask_unlike_the_body_are_told(caplog):
    """A hat that no pose tells of is pointed at once; a pose beside the person makes masks that are worth a look."""
    picture, pose, truth = dressed((160, 160), (0.5, 0.55), 0.7)
    hat = np.zeros_like(truth)
    hat[2:14, 60:100] = True
    picture[hat] = (10, 10, 10)
    images = torch.from_numpy(np.repeat(picture[None], 3, 0)) / 255
    options = {"poses": [pose] * 3, "find": "person"}
    box = Prompt(1, inside=((80.0, 8.0),), mask=truth | hat)
    found, reports = segment_video(FlowTracker(), images, [box], **options)
    assert all(mask[hat].float().mean() > 0.9 and iou(mask, truth | hat) > 0.85 for mask in found[1])
    assert not reports[1].doubt and not caplog.text
    there, gone = standing((0.25, 0.5), 0.4), standing((0.75, 0.5), 0.4)
    wall = torch.from_numpy(cv2.resize(picture[:32], (160, 160)))[None].repeat(4, 1, 1, 1) / 255
    _, reports = segment_video(FlowTracker(), wall, poses=[there, there, gone, gone], find="person")
    assert "far from the body" in str(reports[1])
    assert "in 4 of 4 frames the mask is far from the body that the pose shows (0-3)" in caplog.text


def test_other_frames_tell_what_is_behind():
    """Before a camera that pans: a thing differs where the wall behind it is known, whatever its colour."""
    draw = np.random.default_rng(0)
    wall = cv2.resize(draw.integers(0, 255, (20, 40, 3), np.uint8), (640, 320), interpolation=cv2.INTER_CUBIC)
    frames, hidden = [], np.zeros((10, 160, 240), bool)
    for t in range(10):
        frames.append(wall[80:240, 100 + 3 * t : 340 + 3 * t].copy())
        hidden[t, 50:110, 40 + 14 * t : 70 + 14 * t] = True
        frames[t][hidden[t]] = wall[20:80, 20:50].reshape(-1, 3)
    differs, alike = BackgroundModel(frames, hidden).compare(5)
    assert differs[hidden[5]].mean() > 0.6 and alike[hidden[5]].mean() < 0.3
    assert alike[~hidden[5]].mean() > 0.9 and differs[~hidden[5]].mean() < 0.03


@pytest.fixture(scope="module")
def presenting():
    from crafters.scenes.scene import make_scene

    return make_scene(5, "test", (192, 256), 3)


@pytest.mark.slow
def test_on_a_scene_of_exact_masks(presenting):
    scene = presenting
    images = torch.from_numpy(scene.frames).float() / 255
    y, x = np.nonzero(scene.product_mask[0])
    box = Prompt(0, box=(float(x.min() - 3), float(y.min() - 3), float(x.max() + 4), float(y.max() + 4)))
    product = segment_video(FlowTracker(), images, [box])[0][1]
    person = segment_video(FlowTracker(), images, poses=scene.poses, find="person")[0][1]
    held, reports = segment_video(FlowTracker(), images, poses=scene.poses, find="what the hands hold")
    assert iou(product, scene.product_mask) > 0.9
    assert iou(person, scene.person_mask) > 0.8
    # Fingers hide much of it, and its white lid has the beard's colour.
    assert iou(held[1], scene.product_mask) > 0.6 or "hardly stands out" in str(reports[1])


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "split"), [(6, "test"), (23, "test"), (7, "train")])
def test_what_is_held_in_scenes(seed, split):
    from crafters.scenes.scene import make_scene

    scene = make_scene(seed, split, (216, 384), 5)
    images = torch.from_numpy(scene.frames).float() / 255
    held = segment_video(FlowTracker(), images, poses=scene.poses, find="what the hands hold")[0][1]
    assert iou(held, scene.product_mask) > 0.85


@pytest.mark.parametrize(("motion", "doubted"), [(-0.19, True), (-0.01, False)])
def test_what_moves_against_the_hands_is_doubted(motion, doubted):
    """Half a blouse beside a held mug had −0.195, of what was rightly found nothing less than −0.011."""
    result = held_object._Result(score=1.7, motion=motion, touch=0.55, area=1.0, views={}, size=1.0)
    assert ("does not move with them" in held_object._doubt(result, seldom=False)) == doubted


@pytest.fixture(scope="module")
def filmed():
    """The published presenter at a third of the frames: images, the colour rule's yellow of the toy, poses."""
    keypoints = json.loads((Path(__file__).parents[3] / "data" / "real_keypoints.json").read_text())["driving"]
    poses, _ = from_openpose(keypoints)
    frames, _ = read_clip(real_file("anchorcrafter/driving.mp4"), every=3, frames=len(poses), long_side=480)
    red, green, blue = (frames[..., channel].int() for channel in range(3))
    return frames.float() / 255, ((red > 150) & (red - blue > 90) & (green - blue > 50)).numpy(), poses


@pytest.fixture(scope="module")
def published():
    """The published mask of the toy, at every second frame of the driving clip's first 33, in its place there."""
    import cv2

    masks, _ = read_clip(real_file("anchorcrafter/evaluation/gt/mask/1.mp4"), long_side=480)
    back = np.float32([[1 / 0.895, 0, -27 / 0.895], [0, 1 / 0.895, -48 / 0.895]])
    return np.stack([cv2.warpAffine(np.float32(mask.numpy().max(-1) > 100), back, (270, 480)) > 0.5 for mask in masks])


@pytest.mark.slow
@pytest.mark.parametrize("shown", ["held", "click", "box"])
def test_a_filmed_toy_by_hands_click_and_box(filmed, published, shown):
    images, yellow, poses = filmed
    y, x = np.nonzero(published[0])
    box = (float(x.min() - 3), float(y.min() - 3), float(x.max() + 4), float(y.max() + 4))
    prompts = {"click": [Prompt(0, inside=((101.0, 227.0),))], "box": [Prompt(0, box=box)]}.get(shown, ())
    find = "what the hands hold" if shown == "held" else None
    mask = segment_video(FlowTracker(), images, prompts, None if shown == "box" else poses, find)[0][1].numpy()
    # Every sixth frame is in both.
    assert iou(mask[::2], published[:10:3]) > {"held": 0.75, "click": 0.75, "box": 0.8}[shown]
    found = (mask & yellow).sum((1, 2)) / yellow.sum((1, 2))
    assert found.mean() > 0.8 and found.min() > 0.5


@pytest.mark.slow
def test_on_a_filmed_jogger():
    options = {"every": 4, "frames": 4, "long_side": 480}
    clip, _ = read_clip(real_file("anicrafter/scene/source_video.mp4"), **options)
    body, _ = read_clip(real_file("anicrafter/scene/smplx_video.mp4"), **options)
    masks, _ = segment_video(FlowTracker(), clip.float() / 255, [Prompt(0, box=(146, 84, 267, 270))])
    assert iou(masks[1], body[..., 0] > 100) > 0.75  # the body mesh wears no clothes and no headphones

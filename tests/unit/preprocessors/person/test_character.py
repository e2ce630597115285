import numpy as np
import pytest
import torch
from crafters.preprocessors.person.character import HEIGHT, WIDTH, head_square, prepare_character, visible_ratio
from crafters.preprocessors.pose.keypoints import Pose
from helpers.poses import standing, together, with_joint


def figure(width=300, height=500, background=(0.2, 0.6, 0.3), center=(0.5, 0.5), size=0.8):
    """A photo [1,H,W,3] of a reddish figure on a plain background, its pose and its mask [1,H,W]."""
    pose = standing(center, size)
    (left, top), (right, bottom) = pose.body[0, :, :2].min(0), pose.body[0, :, :2].max(0)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    mask = (x > left) & (x < right) & (y > top - 0.03) & (y < bottom + 0.02)
    photo = torch.where(mask[..., None], torch.tensor([0.8, 0.3, 0.2]), torch.tensor(background))
    return photo[None], with_face(pose, size), mask[None].float()


def with_face(pose, size=0.8):
    """A frontal face: jaw, brows and the rest between them."""
    nose, (w, h) = pose.body[0, 0, :2], np.array([0.06, 0.05]) * size
    face = np.tile(nose, (68, 1))
    angle = np.linspace(0, np.pi, 17)
    face[:17] = nose + np.stack([-w * np.cos(angle), 0.2 * h + h * np.sin(angle)], axis=1)
    face[17:27] = nose + np.stack([np.linspace(-0.8 * w, 0.8 * w, 10), np.full(10, -h)], axis=1)
    return Pose(pose.body, np.column_stack([face, np.full(68, 0.9)])[None], pose.left_hand, pose.right_hand)


def without(pose, joints):
    for joint in joints:
        pose = with_joint(pose, joint, (0.5, 0.5, 0.05))
    return pose


def test_the_person_is_cut_out_and_framed():
    photo, pose, mask = figure()
    made = prepare_character(photo, [pose], mask)
    assert made.body.shape == (1, HEIGHT, WIDTH, 3) and made.head.shape == (1, 448, 448, 3)
    assert made.mask.equal(mask[0] > 0.5) and made.visible_ratio == 1.0
    body = made.body[0]
    assert body[0].equal(torch.ones(WIDTH, 3))  # no green is left, and the margin is white
    red = (body - torch.tensor([0.8, 0.3, 0.2])).abs().amax(-1) < 0.01
    rows, columns = (red.any(dim).nonzero().flatten() for dim in (1, 0))
    assert (body[~red] > 0.19).all() and 0.25 < red.float().mean() < 0.9
    # A tenth of the person around it, in the middle; 300×500 is as slender as the frame.
    assert (rows[-1] - rows[0]) / HEIGHT == pytest.approx(1 / 1.1, abs=0.02)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(WIDTH / 2, abs=4)
    assert made.sheet().shape == (1, HEIGHT // 2, WIDTH // 2 + 448, 3)


def test_a_wide_person_gets_white_above_alone():
    photo, pose, mask = figure(900, 400)
    body = prepare_character(photo, [pose], mask).body[0]
    columns = (body < 0.9).any(-1).any(0).nonzero().flatten()
    rows = (body < 0.9).any(-1).any(1).nonzero().flatten()
    assert (columns[-1] - columns[0]) / WIDTH == pytest.approx(1 / 1.1, abs=0.02)
    assert HEIGHT - rows[-1] < 0.1 * HEIGHT < rows[0]


def test_the_mask_may_be_found():
    photo, pose, mask = figure()
    plain = prepare_character(photo, [pose])
    assert (plain.mask != (mask[0] > 0.5)).float().mean() < 0.03
    transparent = prepare_character(torch.cat([photo, mask[..., None]], dim=-1), [pose])
    assert transparent.mask.equal(mask[0] > 0.5)
    assert transparent.photo.equal(photo[0]) and transparent.pose.body.tolist() == pose.body.tolist()
    opaque = prepare_character(torch.cat([photo, torch.ones_like(photo[..., :1])], dim=-1), [pose])
    assert opaque.mask.equal(plain.mask) and not opaque.notes
    grey = photo.mean(-1, keepdim=True)
    assert prepare_character(grey, [pose], mask).body.shape[-1] == 3


def test_on_another_background_colours_tell_roughly():
    photo, pose, mask = figure()
    leaves = torch.rand(1, 20, 12, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.3, 0.8, 0.5])
    leaves = leaves.repeat_interleave(25, 1).repeat_interleave(25, 2)
    made = prepare_character(torch.where(mask[..., None] > 0.5, photo, leaves), [pose])
    both, either = made.mask & (mask[0] > 0.5), made.mask | (mask[0] > 0.5)
    assert both.sum() > 0.8 * either.sum()
    (note,) = made.notes
    assert "cut out by colours, roughly" in note


def test_a_plain_background_is_seen_between_limbs():
    """But a shirt of its very colour is not: a bone runs through it."""
    photo, pose, mask = figure()
    gap = torch.zeros_like(mask[0], dtype=torch.bool)
    gap[350:390, 147:154] = True  # between the legs
    shirt = torch.zeros_like(gap)
    shirt[180:250, 140:160] = True
    background = photo[0, 0, 0].clone()
    photo[0, gap | shirt] = background
    made = prepare_character(photo, [pose])
    assert not made.mask[gap].any() and made.mask[shirt].all()
    assert made.mask[wider(gap, 3) & ~wider(gap, 2)].all()
    assert made.body[0].sub(background).abs().amax(-1).min() < 0.05  # the shirt is still there


def test_what_has_the_background_colour_on_the_body_is_kept_and_told():
    """Cheeks, a forearm up to the edge of the body and the middle of the shirt, in the colour of the wall."""
    photo, pose, mask = figure()
    at = (pose.body[0, :, :2] * (300, 500)).round().astype(int)
    gone = torch.zeros_like(mask[0], dtype=torch.bool)
    gone[at[0, 1] - 6 : at[0, 1] + 20, at[0, 0] - 12 : at[0, 0] + 12] = True
    gone[at[1, 1] + 10 : at[8, 1], at[8, 0] : at[11, 0]] = True
    gone[at[6, 1] : at[7, 1], at[6, 0] - 8 :] = True  # nothing but the pose tells of it
    photo[0, gone] = photo[0, 0, 0].clone()
    made = prepare_character(photo, [pose])
    body = gone & (mask[0] > 0.5)
    assert made.mask[body].float().mean() > 0.9
    (note,) = made.notes
    assert "has the colour of the background" in note


def test_a_second_person_is_left_out_and_told():
    photo, pose, mask = figure(600, 500, center=(0.3, 0.5), size=0.5)
    other, smaller, second = figure(600, 500, center=(0.75, 0.5), size=0.4)
    pair = torch.where(second[..., None] > 0.5, other, photo)
    unseen = prepare_character(pair, [pose])
    assert not unseen.mask[second[0] > 0.5].any() and unseen.mask[mask[0] > 0.5].float().mean() > 0.9
    assert any("as large as a second person" in note for note in unseen.notes)
    pair[:, 240:260, 150:450] = torch.tensor([0.8, 0.3, 0.2])  # hand in hand
    joined = prepare_character(pair, [pose])
    assert any("lies beside the body that the pose shows" in note for note in joined.notes)


def wider(mask, reach):
    return torch.nn.functional.max_pool2d(mask[None, None].float(), 2 * reach + 1, 1, reach)[0, 0] > 0


def test_a_back_is_taken_and_said():
    photo, pose, mask = figure()
    turned = pose.body.copy()
    turned[0, [2, 3, 4, 8, 9, 10, 16, 5, 6, 7, 11, 12, 13, 17]] = turned[
        0, [5, 6, 7, 11, 12, 13, 17, 2, 3, 4, 8, 9, 10, 16]
    ]
    back = without(Pose(turned, pose.face * (1, 1, 0), pose.left_hand, pose.right_hand), [0, 14, 15])
    made = prepare_character(photo, [back], mask)
    assert made.head is not None and made.notes == ("The person is seen from behind: the avatar will have no face.",)
    assert not prepare_character(photo, [pose], mask).notes


def test_somebody_who_sits_is_framed_whole():
    photo, pose, mask = figure(500, 400, size=0.6)
    seated = pose.body.copy()
    seated[0, [9, 12], 1], seated[0, [10, 13], 1] = seated[0, [8, 11], 1] + 0.02, seated[0, [8, 11], 1] + 0.25
    mask[0, :, : photo.shape[2] // 4] = 0
    made = prepare_character(photo, [Pose(seated, pose.face, pose.left_hand, pose.right_hand)], mask)
    assert made.visible_ratio == 1.0 and made.body.shape == (1, HEIGHT, WIDTH, 3)


def test_the_head_fills_its_square():
    photo, pose, _ = figure()
    x, y, side = head_square(pose, 300, 500)
    nose = pose.body[0, 0, :2] * (300, 500)
    assert x == pytest.approx(nose[0], abs=2) and nose[1] - 20 < y < nose[1] + 20
    face = pose.face[0, :, :2] * (300, 500)
    assert side > 1.5 * np.ptp(face, axis=0).max()
    bright = photo.clone()
    bright[0, int(nose[1]) - 1 : int(nose[1]) + 2, int(nose[0]) - 1 : int(nose[0]) + 2] = torch.tensor([0.0, 0.0, 1.0])
    head = prepare_character(bright, [pose], figure()[2]).head[0]
    at = (head[..., 2] - head[..., 0] > 0.3).nonzero().float().mean(0)
    assert (at - 224).abs().max() < 60


def test_a_head_from_behind_is_found_by_ears_and_neck():
    _, pose, _ = figure()
    blind = Pose(pose.body, pose.face * (1, 1, 0.1), pose.left_hand, pose.right_hand)
    x, y, side = head_square(without(blind, [0, 14, 15]), 300, 500)
    ears = pose.body[0, [16, 17], :2].mean(0) * (300, 500)
    assert (x, y) == pytest.approx(tuple(ears)) and 30 < side < 300
    assert head_square(without(blind, [0, 14, 15, 16, 17]), 300, 500) is None


@pytest.mark.parametrize(
    "hidden, ratio", [([], 1.0), ([10, 13], 0.75), ([9, 10, 12, 13], 0.5), ([8, 9, 10, 11, 12, 13], 0.25)]
)
def test_the_lowest_joint_tells_how_much_is_seen(hidden, ratio):
    assert visible_ratio(without(standing(), hidden)) == ratio


def test_joints_outside_the_photo_are_not_seen():
    assert visible_ratio(standing(center=(0.5, 0.97), size=1.0)) == 0.25


def test_a_mask_chooses_one_of_two():
    photo, pose, mask = figure(600, 500, center=(0.25, 0.5), size=0.4)
    other = standing((0.75, 0.5), 0.5)
    made = prepare_character(photo, [together(with_face(other, 0.5), pose)], mask)
    alone = prepare_character(photo, [pose], mask)
    assert made.head.equal(alone.head)


@pytest.mark.parametrize("side", [70, 1500])
def test_small_and_large_photos(side):
    photo, pose, mask = figure(side, side * 5 // 3)
    assert prepare_character(photo, [pose], mask).body.shape == (1, HEIGHT, WIDTH, 3)


PHOTO, POSE, MASK = figure()
FACE_ONLY = without(POSE, [2, 5, 8, 9, 10, 11, 12, 13])
BEHIND = without(Pose(POSE.body, POSE.face * (1, 1, 0), POSE.left_hand, POSE.right_hand), [0, 14, 15, 16, 17])
PAIR, TWO_POSES = (
    figure(600, 500, center=(0.25, 0.5), size=0.45)[0],
    together(standing((0.25, 0.5)), standing((0.7, 0.5))),
)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((PHOTO, [Pose.empty()], MASK), "No person was found"),
        ((PHOTO, [standing(score=0.1)], MASK), "No person was found"),
        ((PHOTO, [FACE_ONLY], MASK), "no more than a face"),
        ((PHOTO, [BEHIND], MASK), "No head was found .* switch `head` off"),
        ((PHOTO, [standing((0.05, 0.5), 0.05)], MASK), "No joint of the person lies in the mask"),
        ((PAIR, [TWO_POSES]), "several people in the photo: connect a mask"),
        ((torch.minimum(PAIR, PAIR.flip(2)), [TWO_POSES]), "several people"),
        ((PHOTO, [POSE], 0 * MASK), "The mask shows no person"),
        ((PHOTO, [POSE], MASK[:, :100]), "mask is 300×100 .* but the photo 300×500"),
        ((PHOTO[:, ::10, ::10], [POSE], MASK[:, ::10, ::10]), "only 3. pixels tall"),
        ((torch.cat([PHOTO, PHOTO]), [POSE]), r"one photo \[1,H,W,3\]; this is \[2,"),
        ((PHOTO, [POSE, POSE]), "2 poses for one photo"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        prepare_character(*arguments)
    assert str(error.value).count("\n") == 0


def test_without_a_head_the_body_alone_is_taken():
    made = prepare_character(PHOTO, [BEHIND], MASK, with_head=False)
    assert made.head is None and made.sheet().shape == (1, HEIGHT // 2, WIDTH // 2, 3)

"""Products for motions that know none: hands that stay closed on them, tables that stand."""

import logging
import math
from dataclasses import replace

import pytest
import torch
from crafters.models.body.anny import anny_body
from crafters.models.body.layout import SIDES
from crafters.models.body.motion import MotionError
from crafters.models.drawing.camera import Camera
from crafters.models.staging.held import HeldProduct
from crafters.models.staging.hold import Hold, hold_in_hands, stand_in_scene
from crafters.models.staging.product_solid import product_solid
from crafters.scenes.motion import make_motion
from crafters.scenes.person import make_person

PICTURE = (320, 180)
BOX, BOTTLE = (0.13, 0.20, 0.07), (0.08, 0.24, 0.08)
SIDE = Hold()


@pytest.fixture(scope="module")
def motion():
    """The right hand waves, the left hangs."""
    person = make_person(3, "test")
    return make_motion(1, "test", person, None, 8, 5.0, "wave").body_motion(person, PICTURE)


def solid(size, kind="box"):
    outline = torch.zeros(100, 100)
    outline[:, 10:90] = 1
    if kind == "bottle":
        outline[:30, :35] = outline[:30, 65:] = 0  # its neck
    return torch.from_numpy(product_solid(outline, size, kind).vertices)


def held(motion, hands=("right",), size=BOX, hold=SIDE, earlier=(), kind="box"):
    vertices = solid(size, kind)
    moved, place = hold_in_hands(motion, anny_body().skeleton, vertices, size, hands, hold, earlier)
    return moved, HeldProduct(vertices, torch.zeros(0, 3).long(), size, place, hands)


def seen_from(product, motion, body=anny_body):
    """The body's vertices [F,V,3] in the product's frame."""
    place = product.places(motion, body().skeleton)
    vertices = body().vertices(motion.pose, motion.betas, motion.trans).double()
    return (vertices - place[:, None, :3, 3]) @ place[:, :3, :3]


def gap(local, size):
    """m to an upright box."""
    return ((local.abs() - torch.tensor(size, dtype=torch.float64) / 2).clamp(min=0)).norm(dim=-1)


def depth_inside(local, size):
    return (torch.tensor(size, dtype=torch.float64) / 2 - local.abs()).amin(-1)


@pytest.mark.parametrize(
    "hold", [Hold(), Hold(offset=0.06), Hold(turn=math.pi / 2), Hold(turn=math.pi / 4), Hold(under=True)],
    ids=["side", "higher", "turned", "over corner", "below"],
)
@pytest.mark.parametrize("hand", SIDES)
def test_a_hand_is_closed_on_it_and_carries_it(motion, hand, hold):
    moved, product = held(motion, (hand,), hold=hold)
    hands = anny_body().hands[hand].unique()
    local = seen_from(product, moved)[:, hands]
    assert gap(local, BOX).amin(1).max() < 0.006, "it is never let go"
    assert depth_inside(local, BOX).max() < 0.02, "no finger goes into it worth noticing"
    assert (gap(local[0], BOX) < 0.012).sum() > 100, "palm and fingers lie on it"
    tips = anny_body().skinning[hands][:, 25:55].sum(1) > 0.95  # of what no wrist bends
    assert (local[:, tips] - local[:1, tips]).norm(dim=-1).max() < 1e-3, "it is fixed to the hand"
    wrist = 20 if hand == "left" else 21
    assert torch.equal(moved.pose[:, :wrist], motion.pose[:, :wrist]) and torch.equal(moved.trans, motion.trans)


def test_a_bottle_is_held_by_its_neck(motion):
    moved, product = held(motion, size=BOTTLE, hold=Hold(offset=0.09), kind="bottle")
    local = seen_from(product, moved)[0, anny_body().hands["right"].unique()]
    around = local[(local[:, 1] + 0.09).abs() < 0.02][:, [0, 2]].norm(dim=-1)
    assert 0.008 < around.min() < 0.03  # the neck's radius is 1.5 cm, the body's 4


@pytest.mark.parametrize("size", [(0.3, 0.2, 0.15), (0.06, 0.1, 0.06)])
def test_two_hands_hold_it_between_them(motion, size):
    moved, product = held(motion, SIDES, size)
    local = seen_from(product, moved)
    for hand in SIDES:
        its = local[:, anny_body().hands[hand].unique()]
        assert gap(its, size).amin(1).max() < 0.02
        assert depth_inside(its, size).max() < 0.025
    rest = torch.ones(local.shape[1], dtype=torch.bool)
    rest[torch.cat([anny_body().hands[hand].unique() for hand in SIDES])] = False
    assert depth_inside(local[:, rest], size).max() < 0.01, "it is before the body"


def test_a_product_in_each_hand(motion):
    once, first = held(motion, ("right",))
    twice, second = held(once, ("left",), BOTTLE, earlier=[first])
    for product, hand in ((first, "right"), (second, "left")):
        local = seen_from(product, twice)[:, anny_body().hands[hand].unique()]
        assert gap(local, product.size).amin(1).max() < 0.006
    with pytest.raises(ValueError, match="right hand holds a product already"):
        held(twice, ("right",), earlier=[first, second])
    with pytest.raises(ValueError, match="left hand holds a product already"):
        held(twice, SIDES, earlier=[second])


def test_it_goes_where_the_hand_of_another_body_is(motion):
    moved, product = held(motion)
    skeleton = anny_body().skeleton
    tall = motion.betas[0].clone()
    tall[0] += 2
    there = replace(moved, betas=tall.expand_as(moved.betas)).joints(skeleton)[:, 21]
    places = product.places(moved, skeleton, tall)
    away = (there - moved.joints(skeleton)[:, 21]).norm(dim=-1)
    assert away.min() > 0.005
    before = product.places(moved, skeleton)
    torch.testing.assert_close(places[:, :3, 3] - there, before[:, :3, 3] - moved.joints(skeleton)[:, 21])


def test_a_table_stands_still_where_it_was_put(motion):
    place = stand_in_scene(motion, anny_body().skeleton, BOX, 0.7, 0.8, 0.4, 0.0)
    product = HeldProduct(solid(BOX), torch.zeros(0, 3).long(), BOX, place)
    places = product.places(motion, anny_body().skeleton)
    assert torch.equal(places, places[:1].expand(len(motion), 4, 4))
    foot = places[0, :3, 3] + torch.tensor([0, BOX[1] / 2, 0], dtype=torch.float64)
    seen = Camera.of(motion, 0).project(foot) + 0.5
    torch.testing.assert_close(seen, torch.tensor([0.7, 0.8], dtype=torch.float64) * torch.tensor(PICTURE))
    chest = motion.joints(anny_body().skeleton)[0, 9, 2]
    assert float(chest - foot[2]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda motion: held(motion, size=(0.5, 2.5, 0.5)), "50 × 250 × 50 cm is larger than the person"),
        (lambda motion: held(motion, hold=Hold(offset=0.15)), "15 cm from the middle of a product that has 10 cm"),
        (lambda motion: held(motion, hold=Hold(under=True, offset=0.1)), "that has 4 cm to either side"),
        (lambda motion: stand_in_scene(motion, anny_body().skeleton, BOX, 0.5, 0.5, 20.0, 0.0), "before the camera"),
    ],
)
def test_what_cannot_be_held_is_one_sentence(motion, call, sentence):
    with pytest.raises((ValueError, MotionError), match=sentence):
        call(motion)


def test_a_motion_of_another_length_is_refused_where_the_product_moves_in_the_hand(motion):
    _, product = held(motion)
    moving = product._replace(place=product.place.expand(len(motion) + 1, 4, 4))
    with pytest.raises(MotionError, match="moves for 9 frames, the motion for 8"):
        moving.places(motion, anny_body().skeleton)


def test_a_hand_that_leaves_the_picture_is_told(motion, caplog):
    with caplog.at_level(logging.WARNING):
        held(motion.moved(x=5.0))
    assert "outside the picture in frames 1-8" in caplog.text

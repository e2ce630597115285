"""Products among gaussians: sharp, and before or behind what they are before or behind."""

import numpy as np
import pytest
import torch
from crafters.models.avatar.animate import Posed
from crafters.models.avatar.render import render_avatar, render_body
from crafters.models.avatar.with_products import among, draw_products
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.rasterize import Render, rasterize
from crafters.models.drawing.texture import pyramid
from crafters.models.staging.held import HeldProduct, transform
from crafters.models.staging.hold import Hold, hold_in_hands, stand_in_scene
from crafters.preprocessors.product.views import on_black
from crafters.scenes.product import make_product, views
from crafters.scenes.render import render
from helpers.made_up import waving

CAMERA = Camera.centred(200, 96, 64)
SIZE = (0.3, 0.3, 0.2)


def red(place, size=SIZE):
    """A red box."""
    shown = torch.ones(3, 64, 64)
    colour = torch.zeros(3, 64, 64, 3)
    colour[..., 0] = 1
    return HeldProduct.of(colour, shown, size, "box", place)


def at(x, y, z):
    return transform(torch.eye(3, dtype=torch.float64)[None], torch.tensor([[x, y, z]], dtype=torch.float64))


def wall(z):
    """Green gaussians all over the picture."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, 120) * 0.3 * z, torch.linspace(-1, 1, 120) * 0.3 * z, indexing="ij")
    xyz = torch.stack([x.flatten(), y.flatten(), torch.full((14400,), z)], 1)
    count = len(xyz)
    return Posed(xyz, torch.tensor([1.0, 0, 0, 0]).expand(count, 4), torch.full((count, 3), 0.01),
                 torch.full((count, 1), 0.95), torch.tensor([0.0, 1, 0]).expand(count, 3))


def drawn(posed, product):
    alone = rasterize(posed.xyz, posed.rgb, posed.opacity, posed.scale, posed.rotation, CAMERA)
    seen = draw_products([product], [product.place[0]], CAMERA)
    return alone, among(Render(*(plane.clone() for plane in alone)), posed, seen, CAMERA, "torch")


def test_it_covers_what_is_behind_it_and_nothing_else():
    alone, both = drawn(wall(2.0), red(at(0, 0, 1.0)))
    assert both.rgb[:, 32, 48].tolist() == pytest.approx([1, 0, 0], abs=0.02)
    assert float(both.alpha[0, 32, 48]) == pytest.approx(1, abs=1e-4)
    assert float(both.depth[0, 32, 48]) == pytest.approx(0.9, abs=1e-3)
    for before, after in zip(alone, both, strict=True):
        assert torch.equal(before[:, :, :8], after[:, :, :8])
    edge = (both.rgb[0] > 0.01) & (both.rgb[0] < 0.99)
    assert both.rgb[2].max() < 1e-6 and (both.rgb[:2].sum(0) > 0.9 * alone.rgb[1]).all() and edge.any()


def test_what_is_before_it_covers_it():
    alone, both = drawn(wall(0.6), red(at(0, 0, 1.0)))
    torch.testing.assert_close(both.rgb[1], alone.rgb[1], atol=0.02, rtol=0)
    assert both.rgb[0, 32, 48] < 0.1 and (both.alpha >= alone.alpha - 1e-6).all()
    assert float(both.depth[0, 32, 48] / both.alpha[0, 32, 48]) == pytest.approx(0.6, abs=0.06)


def test_some_before_and_some_behind_are_told_apart():
    near, far = wall(0.6), wall(2.0)
    left = near.xyz[:, 0] < 0
    posed = Posed(*(torch.cat([a[left], b]) for a, b in zip(near, far, strict=True)))
    _, both = drawn(posed, red(at(0, 0, 1.0)))
    assert both.rgb[1, 32, 30] > 0.9 and both.rgb[0, 32, 66] > 0.98


def test_of_two_the_nearer_is_seen():
    front, behind = red(at(0, 0, 1.0)), red(at(0.1, 0, 1.5))
    blue = pyramid(np.array([[[0, 0, 255, 255]]], np.uint8).repeat(8, 0).repeat(8, 1), 1)
    behind = behind._replace(texture=blue)
    seen = draw_products([behind, front], [behind.place[0], front.place[0]], CAMERA)
    left, right = seen.rgb[:, 32 - seen.rows.start, 48 - seen.columns.start], seen.rgb[:, seen.rgb.shape[1] // 2]
    assert left.tolist() == [1, 0, 0] and (right[2] > 0.99).any()


@pytest.mark.parametrize("place", [(0.0, 0.0, -2.0), (9.0, 0.0, 2.0)])
def test_what_is_out_of_sight_is_not_drawn(place):
    product = red(at(*place))
    assert draw_products([product], [product.place[0]], CAMERA) is None


def test_a_handles_hole_is_seen_through():
    mask = torch.ones(3, 64, 64)
    mask[:, 24:40, 24:40] = 0
    product = HeldProduct.of(torch.ones(3, 64, 64, 3) * mask[..., None], mask, SIZE, "flat", at(0, 0, 1.0))
    seen = draw_products([product], [product.place[0]], CAMERA)
    row = seen.coverage[seen.coverage.shape[0] // 2]
    assert row[len(row) // 2] == 0 and row[len(row) // 2 - 20] == 1


def test_a_label_is_as_sharp_as_the_product_itself():
    """At 720p, a third of the picture high, from views of 518 px, against the made-up product that they are of."""
    product = make_product(7, "test")  # a box
    camera = Camera.centred(1250, 1280, 720)
    place = at(0.02, 0.01, 1.2)
    product_views = on_black([torch.from_numpy(view)[None] / 255 for view in views(product)])
    held = HeldProduct.of(*product_views, product.size, "box", place)
    seen = draw_products([held], [place[0]], camera)
    true = torch.from_numpy(render([product.meshes(place[0])], camera).colour)[seen.rows, seen.columns] / 255
    shown = seen.rgb.movedim(0, -1)
    inside = torch.nonzero(seen.coverage == 1)
    low, high = inside.amin(0) + 6, inside.amax(0) - 6
    shown, true = (picture[low[0] : high[0], low[1] : high[1]] for picture in (shown, true))
    assert shown.shape[0] > 200
    assert (shown - true).abs().mean() < 0.04
    edges = [picture.diff(dim=1).abs().amax(-1).flatten().quantile(0.98) for picture in (shown, true)]
    assert edges[0] > 0.75 * edges[1]


@pytest.fixture(scope="module")
def held(body):
    motion = waving(2, 320, 192)
    product = red(at(0, 0, 0), (0.1, 0.2, 0.1))
    motion, place = hold_in_hands(motion, body.skeleton, product.vertices, product.size, ("right",), Hold())
    return motion, product._replace(place=place, hands=("right",))


def test_avatar_alpha_mesh_and_mask_include_what_is_held(avatar, rig, body, held):
    motion, product = held
    clip = render_avatar(avatar, rig, motion, 320, 192, products=[product])
    is_red = (clip.image[..., 0] > 0.8) & (clip.image[..., 1:] < 0.2).all(-1)
    assert is_red.flatten(1).sum(1).min() > 30 and (clip.alpha[is_red] > 0.9).all()
    hand = motion.joints(body.skeleton)[0, 21]
    assert (clip.depth[is_red] - hand[2]).abs().max() < 0.4
    image, mask = render_body(body, motion, 320, 192, products=[product])
    bare, without = render_body(body, motion, 320, 192)
    assert ((mask > 0) & (without == 0)).flatten(1).sum(1).min() > 20
    assert (mask[is_red].float().mean() > 0.95) and (image[mask > 0] > 0).all()


@pytest.mark.parametrize(("nearer", "before"), [(0.6, True), (-0.6, False)])
def test_a_product_before_the_torso_hides_it_and_one_behind_is_hidden(avatar, rig, body, nearer, before):
    motion = waving(1, 320, 192)
    chest = Camera.of(motion, 0).project(motion.joints(body.skeleton)[0, 6]) + 0.5
    x, y = (chest / chest.new_tensor(motion.size)).tolist()
    size = (0.08, 0.08, 0.05)
    product = red(stand_in_scene(motion, body.skeleton, size, x, y + 0.02, nearer, 0.0), size)
    bare = render_avatar(avatar, rig, motion, 320, 192)
    clip = render_avatar(avatar, rig, motion, 320, 192, products=[product])
    changed = (clip.image - bare.image).abs().amax(-1) > 0.1
    if before:
        shown = (clip.image[..., 0] > 0.8) & (clip.image[..., 1:] < 0.2).all(-1)
        assert shown.sum() > 10
    else:
        assert changed.float().mean() < 1e-3

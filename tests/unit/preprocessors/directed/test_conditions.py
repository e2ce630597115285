"""Conditions of a staged motion: those of a made-up scene with the same motion, and of the filmed clip of it."""

import numpy as np
import pytest
import torch
from crafters.models.body.anny import anny_body
from crafters.models.body.body import BodyModel
from crafters.models.body.layout import BodyModelError
from crafters.models.staging.held import HeldProduct
from crafters.preprocessors.condition_colours import WALL, hand_colour, inferno
from crafters.preprocessors.directed.conditions import held_conditions
from crafters.preprocessors.hand_mesh.hands import fit_hands, render_hands
from crafters.preprocessors.product.object_depth import object_depth
from crafters.scenes.motion import make_motion
from crafters.scenes.scene import Scene, make_scene

SIZE, FRAMES, FPS = (216, 288), 4, 15.0


def staged(scene: Scene, seed: int) -> HeldProduct:
    """The scene's own product in its own place."""
    motion = make_motion(seed, "test", scene.person, scene.product.size, FRAMES, FPS, scene.kind)
    meshes = scene.product.meshes(torch.eye(4))
    first = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    faces = torch.cat([mesh.faces + int(start) for mesh, start in zip(meshes, first, strict=False)])
    return HeldProduct(torch.cat([mesh.vertices for mesh in meshes]), faces, scene.product.size, motion.product)


@pytest.fixture(scope="module", params=[(1, "raise"), (2, "hold"), (3, "turn"), (4, "point")], ids=lambda each: each[1])
def pair(request):
    seed, kind = request.param
    scene = make_scene(seed, "test", SIZE, FRAMES, FPS, kind)
    return scene, held_conditions(anny_body(), scene.motion, staged(scene, seed))


def iou(a, b) -> float:
    a, b = np.asarray(a), np.asarray(b)
    return (a & b).sum() / (a | b).sum()


def test_the_same_motion_gives_the_scenes_conditions(pair):
    """What differs is the edge of a pixel, which the scene draws smooth, and clothes, which the bare body has not."""
    scene, made = pair
    assert iou(made.product_mask, scene.product_mask) > 0.96
    hands = (made.hand_mesh > 0).any(-1).numpy(), scene.hand_mesh.any(-1)
    assert iou(*hands) > 0.96
    both = hands[0] & hands[1]
    assert np.abs(made.hand_mesh.numpy()[both].astype(int) - scene.hand_mesh[both]).mean() < 0.5
    both = made.product_mask.numpy() & scene.product_mask
    assert np.abs(made.object_depth.numpy()[both].astype(int) - scene.object_depth[both]).mean() < 2
    for found, true in zip(made.poses, scene.poses, strict=True):
        for part, wanted in zip(found.parts, true.parts, strict=True):
            assert np.nanmax(np.abs(part[..., :2] - wanted[..., :2])) * SIZE[1] < 0.05
            assert (np.abs(part[..., 2] - wanted[..., 2]) < 0.01).mean() > 0.9


def test_all_is_black_where_nothing_is_and_hands_are_cut_by_the_product(pair):
    _, made = pair
    mask = made.product_mask
    assert mask.any() and not made.object_depth[~mask].any() and not made.hand_mesh[mask].any()
    assert made.object_depth[mask].any(-1).all()
    assert made.hand_mesh.dtype == made.object_depth.dtype == torch.uint8


def test_it_looks_like_the_conditions_made_of_the_filmed_clip(pair):
    scene, made = pair
    meshes = fit_hands(scene.poses, SIZE, FPS)
    filmed = render_hands(meshes, torch.from_numpy(scene.product_mask))
    mine, theirs = ((clip > 0).any(-1) for clip in (made.hand_mesh, filmed))
    assert iou(mine, theirs) > 0.45  # as well as keypoints tell a hand, which is seen from its edge in a turn
    means = [clip[shown].float().mean(0) for clip, shown in ((made.hand_mesh, mine), (filmed, theirs))]
    assert (means[0] - means[1]).abs().max() < 12  # levels: one colour, one light
    table = {tuple(colour) for colour in hand_colour(torch.linspace(0, 1.05, 20_000)).tolist()}
    assert {tuple(colour) for colour in made.hand_mesh[mine].tolist()} <= table

    clip = torch.from_numpy(scene.frames).float() / 255
    filmed = object_depth(clip, torch.from_numpy(scene.product_mask).float())
    mine, theirs = (_levels(shown[scene.product_mask & made.product_mask.numpy()]) for shown in
                    (made.object_depth, filmed))
    assert abs(float(mine.float().mean() - theirs.float().mean())) < 30
    assert mine.min() > 255 / WALL


def _levels(colours: torch.Tensor) -> torch.Tensor:
    """Of 255, of inferno's colours [n,3]."""
    table = inferno(torch.arange(256, dtype=torch.uint8)).int()
    key = torch.tensor([1 << 16, 1 << 8, 1], dtype=torch.int)
    keys, order = (table * key).sum(1).sort()
    return order[torch.searchsorted(keys, (colours.int() * key).sum(1))]


def test_a_body_without_hands_is_told(pair):
    scene, _ = pair
    from dataclasses import replace

    body: BodyModel = replace(anny_body(), hands={})
    with pytest.raises(BodyModelError, match="hands of a body with .* are not known"):
        held_conditions(body, scene.motion, staged(scene, 1))

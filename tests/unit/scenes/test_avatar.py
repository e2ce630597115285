from dataclasses import replace

import numpy as np
import pytest
import torch
from crafters.models.avatar.animate import Animator
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.models.body.motion import BodyMotion
from crafters.scenes.avatar import avatar_rig, degrade, estimated, misjudge, scene_avatar
from crafters.scenes.person import make_person

pytestmark = pytest.mark.slow

pytest.importorskip("anny")
COUNT = 3000


@pytest.fixture(scope="module")
def person():
    return make_person(3, "train")


@pytest.fixture(scope="module")
def avatar(person):
    return scene_avatar(person, COUNT, 1)


def motion(frames=6):
    """Arms lowered more and more, one knee lifted."""
    pose = torch.zeros(frames, 55, 3)
    pose[:, 0, 0] = torch.pi
    lowered = torch.linspace(0, 1.2, frames)
    pose[:, 16, 2], pose[:, 17, 2], pose[:, 4, 0] = -lowered, lowered, lowered / 2
    trans = torch.tensor([0.1, 0.3, 4.0]).expand(frames, 3)
    camera = torch.tensor([300.0, 300.0]).expand(frames, 2), torch.tensor([128.0, 96.0]).expand(frames, 2)
    return BodyMotion(pose, trans, torch.zeros(frames, 10), *camera, (256, 192), tuple(range(frames)), 15.0)


def test_gaussians_lie_on_the_person_however_they_stand(person, avatar):
    moving = motion()
    posed = Animator(avatar, avatar_rig(avatar))(moving.pose, moving.trans).xyz
    corners = person.vertices(moving.pose, moving.trans)[:, person.faces]  # [F,f,3,3]
    for frame, median, most in ((0, 2e-4, 3e-3), (5, 2e-3, 0.03)):
        a, b, c = corners[frame].unbind(1)
        normal = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
        near = torch.cdist(posed[frame], (a + b + c) / 3).topk(64, largest=False).indices  # [N,64]
        height = ((posed[frame][:, None] - a[near]) * normal[near]).sum(-1).abs().amin(1)
        assert height.median() < median and height.quantile(0.98) < most


def test_its_rig_is_the_one_any_avatar_gets(avatar):
    body = anny_body()
    mine = avatar_rig(avatar)
    found = rig_from_body(body, avatar.points, avatar.neutral_transforms, torch.zeros(len(body.template), dtype=bool))
    same = (mine.skinning == found.skinning).all(1) & (mine.shape_dirs == found.shape_dirs).flatten(1).all(1)
    assert same.float().mean() > 0.995  # vertices may lie at one place
    assert torch.equal(mine.constrained, found.constrained)


def test_gaussians_face_outwards_in_the_colours_of_the_person(person, avatar):
    from crafters.models.body.rotation import axis_angle_to_matrix, quaternion_to_axis_angle
    from crafters.models.drawing.mesh import vertex_normals

    still = motion(1)
    posed = Animator(avatar, avatar_rig(avatar))(still.pose, still.trans)
    vertices = person.vertices(still.pose, still.trans)[0]
    nearest = torch.cdist(posed.xyz[0], vertices).argmin(1)
    flat = axis_angle_to_matrix(quaternion_to_axis_angle(posed.rotation[0]))[..., 2]  # the thin axis
    along = (flat * vertex_normals(vertices, person.faces)[nearest]).sum(1)
    assert along.median() > 0.95
    assert ((avatar.rgb - person.colours[nearest]).abs().mean(1).median()) < 0.15


def test_skin_below_clothes_has_no_gaussians(person, avatar):
    """From the front, what shines through must be what the renderer shows."""
    from crafters.models.drawing.camera import Camera
    from crafters.models.drawing.rasterize import rasterize
    from crafters.scenes.render import Mesh, render

    still = motion(1)
    camera = Camera((300.0, 300.0), (128.0, 96.0), (256, 192))
    posed = Animator(scene_avatar(person, 12_000), avatar_rig(scene_avatar(person, 12_000)))(still.pose, still.trans)
    drawn = rasterize(posed.xyz[0], posed.rgb, posed.opacity, posed.scale, posed.rotation[0], camera)
    picture = render([[Mesh(person.vertices(still.pose, still.trans)[0], person.faces, person.colours)]], camera)
    solid = (picture.coverage > 0.99) & (drawn.alpha[0].numpy() > 0.95)
    error = np.abs(drawn.rgb.movedim(0, -1).numpy() * 255 - picture.colour)[solid]
    assert solid.sum() > 2000 and error.mean() < 12


def test_the_same_seed_gives_the_same_avatar(person, avatar):
    assert torch.equal(scene_avatar(person, COUNT, 1).rgb, avatar.rgb)
    assert not torch.equal(scene_avatar(person, COUNT, 2).offset, avatar.offset)


def test_a_degraded_avatar_has_fewer_gaussians_and_errors(avatar):
    worse = degrade(avatar, np.random.default_rng(0))
    assert 0.4 * COUNT < len(worse) < 0.62 * COUNT
    again = degrade(avatar, np.random.default_rng(0))
    assert torch.equal(worse.rgb, again.rgb)
    perfect = degrade(avatar, np.random.default_rng(0), share=1.1, strength=0.0)
    assert len(perfect) >= 0.97 * COUNT and torch.equal(perfect.betas, avatar.betas)
    spread = worse.offset.std(0), avatar.offset.std(0)
    assert (spread[0] > spread[1]).all()


def test_estimated_are_both_wrong_by_one_seed(avatar):
    true = motion(4)
    (worse, wrong), (again, _) = (estimated(avatar, true, 3) for _ in range(2))
    assert torch.equal(worse.rgb, again.rgb) and len(worse) < COUNT and not torch.equal(wrong.pose, true.pose)


def test_a_misjudged_motion_is_near_the_true_one_and_smooth():
    true = motion(24)
    wrong = misjudge(true, np.random.default_rng(0))
    body = anny_body()
    rest = body.skeleton.rest(torch.zeros(10))
    at = []
    for moving in (true, wrong):
        transforms = body.skeleton.transforms(moving.pose.float(), rest)
        posed = (transforms[..., :3, :3] @ rest[..., None]).squeeze(-1) + transforms[..., :3, 3]
        at.append(posed + moving.trans[:, None].float())
    error = at[0] - at[1]  # [F,55,3] m
    assert 0.005 < error.norm(dim=-1).mean() < 0.05 and error.norm(dim=-1).max() < 0.2
    assert error.diff(dim=0).norm(dim=-1).max() < 0.03
    exact = misjudge(true, np.random.default_rng(0), strength=0.0)
    torch.testing.assert_close(exact.trans, true.trans)
    assert replace(exact, pose=true.pose).betas.equal(true.betas)


@pytest.mark.slow
def test_scenes_become_training_clips(tmp_path):
    from crafters.scenes.anicrafter_data import clip_folder, make_avatar_scene, write_avatar_scene
    from crafters.training.datasets.anicrafter import find_clips, windows

    size = (128, 96)
    write_avatar_scene(tmp_path, 5, "test", size, 4, 15.0)
    assert [path.name for path in tmp_path.iterdir()] == [clip_folder(tmp_path, 5).name]
    clips, faults = find_clips(tmp_path, 5)
    assert not faults and clips[0].frames == 4 and clips[0].size == size
    made = make_avatar_scene(5, "test", size, 4)
    window = next(windows(clips, 5))
    shown, film = window.scene(), window.film()
    assert (shown.free[1:] == 1 - torch.from_numpy(made.mask).float()).all()
    for frames, exact in ((shown.blend[1:], made.blend), (shown.mesh[1:], made.mesh), (film[1:], made.scene.frames)):
        assert (frames - torch.from_numpy(exact) / 255).abs().mean() < 0.01
    assert torch.equal(film[0], shown.blend[0]) and (film[0][:8, :8] == 1).all()

    person = made.scene.person_mask
    overlap = (made.mask & person).sum() / (made.mask | person).sum()
    assert 0.4 < overlap < 0.95
    error = np.abs(made.blend.astype(int) - made.scene.frames).mean(-1)
    assert error[person].mean() > 5 * error[~(person | made.mask)].mean()
    perfect = make_avatar_scene(5, "test", size, 4, strength=0.0)
    better = np.abs(perfect.blend.astype(int) - perfect.scene.frames).mean(-1)
    assert better[person].mean() < error[person].mean()

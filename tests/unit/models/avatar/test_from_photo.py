from dataclasses import replace

import pytest
import torch
from crafters.models.avatar.files import kept_avatar
from crafters.models.avatar.from_photo import project_photo
from crafters.models.avatar.render import render_avatar
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from crafters.models.body.motion import BodyMotion, MotionError
from crafters.models.drawing.camera import Camera
from crafters.models.drawing.mesh import visible_surface
from crafters.preprocessors.body_motion.estimate import estimate_motion
from crafters.preprocessors.person.character import prepare_character
from crafters.preprocessors.pose.keypoints import Pose
from crafters.scenes.scene import make_scene

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 192, 288
LOW_ARMS = {16: (0, 0, -1.1), 17: (0, 0, 1.1)}
STAND = {0: (3.14159, 0, 0), **LOW_ARMS}
POSES = {
    "standing": STAND,
    "from behind": {0: (0, 0, 3.14159), **LOW_ARMS},
    "sitting": {**STAND, 1: (-1.4, 0.3, 0), 2: (-1.4, -0.3, 0), 4: (1.4, 0, 0), 5: (1.4, 0, 0)},
    "an arm before the chest": {**STAND, 17: (0, 0.3, 0.9), 19: (0, 1.9, 0)},
}
RED, BLUE, SKIN, GREY = (0.8, 0.1, 0.1), (0.1, 0.2, 0.8), (0.9, 0.7, 0.5), (0.3, 0.3, 0.3)
RIGHT_ARM = (17, 19, 21, *range(40, 55))


@pytest.fixture(scope="module")
def body():
    return anny_body()


def motion_of(pose, distance=3.2, height=0.35, betas=None):
    """One frame at that distance, the hips that much below the picture's middle."""
    bends = torch.zeros(1, 55, 3, dtype=torch.float64)
    for joint, bend in pose.items():
        bends[0, joint] = torch.tensor(bend)
    focal, principal = torch.tensor([[400.0, 400.0]]), torch.tensor([[WIDTH / 2, HEIGHT / 2]])
    betas = torch.zeros(1, 10) if betas is None else betas[None]
    trans = torch.tensor([[0.0, height, distance]])
    return BodyMotion(bends, trans, betas, focal, principal, (WIDTH, HEIGHT), (0,), 30.0)


def colours_of(body):
    """A red left half, a blue right half, grey legs, skin on the head, a green face."""
    joint = body.skinning.argmax(1)
    colours = torch.tensor(BLUE).repeat(len(body.template), 1)
    colours[body.template[:, 0] > 0] = torch.tensor(RED)
    colours[torch.isin(joint, torch.tensor([1, 2, 4, 5, 7, 8, 10, 11]))] = torch.tensor(GREY)
    head = torch.isin(joint, torch.tensor([15, 22, 23, 24]))
    colours[head] = torch.tensor(SKIN)
    colours[head & (body.template[:, 2] > body.template[head, 2].quantile(0.8))] = torch.tensor([0.1, 0.9, 0.1])
    return colours


def photo_of(body, motion, colours):
    """[H,W,3] on white, and the mask [H,W]."""
    vertices = body.vertices(motion.pose, motion.betas, motion.trans)[0]
    width, height = motion.size
    camera = Camera(tuple(motion.focal[0].tolist()), tuple(motion.principal[0].tolist()), motion.size)
    picture, mask = torch.ones(height * width, 3), torch.zeros(height * width, dtype=torch.bool)
    for part in visible_surface(vertices, body.faces, camera):
        picture[part.pixel] = (part.weights[..., None] * colours[body.faces[part.face]]).sum(1)
        mask[part.pixel] = True
    return picture.view(height, width, 3), mask.view(height, width)


def seen(avatar, body, motion):
    """The picture on white, and the alpha."""
    rig = rig_from_body(body, avatar.points, avatar.neutral_transforms)
    clip = render_avatar(avatar, rig, motion, *motion.size)
    return clip.image[0] + 1 - clip.alpha[0][..., None], clip.alpha[0]


def overlap(alpha, mask):
    alpha = alpha > 0.5
    return float((alpha & mask).sum() / (alpha | mask).sum())


@pytest.fixture(scope="module")
def shot(body):
    """A function from a pose's name to motion, photo, mask and the avatar made of them."""
    made = {}

    def shoot(name):
        if name not in made:
            motion = motion_of(POSES[name])
            photo, mask = photo_of(body, motion, colours_of(body))
            made[name] = motion, photo, mask, project_photo(photo, mask, body, motion, 12_000)
        return made[name]

    return shoot


@pytest.mark.parametrize("name", POSES)
def test_it_looks_as_its_photo(shot, body, name):
    motion, photo, mask, avatar = shot(name)
    picture, alpha = seen(avatar, body, motion)
    assert overlap(alpha, mask) > 0.95
    error = (picture - photo).square().mean(-1)
    assert error.mean() < 10**-2.3 and error[mask].mean() < 10**-2
    assert 6_000 < len(avatar) < 13_000 and avatar.has_head == 0


def test_its_back_is_the_mirrored_front_but_for_the_face(shot, body):
    _, _, _, avatar = shot("standing")
    picture, alpha = seen(avatar, body, motion_of(POSES["from behind"]))
    solid = alpha > 0.9
    chest = picture[110:140]
    left, right = chest[:, : WIDTH // 2 - 4], chest[:, WIDTH // 2 + 4 :]
    left, right = left[solid[110:140, : WIDTH // 2 - 4]], right[solid[110:140, WIDTH // 2 + 4 :]]
    # From behind, the red left half is at the left.
    assert (left[:, 0] > left[:, 2]).float().mean() > 0.9 and (right[:, 2] > right[:, 0]).float().mean() > 0.9
    green = (picture[..., 1] - picture[..., [0, 2]].amax(-1) > 0.3) & solid
    assert green.sum() < 10 < (seen(avatar, body, motion_of(STAND))[0][..., 1] > 0.8).sum()


def test_what_an_arm_hides_has_the_colours_around(shot, body):
    motion, photo, mask, _ = shot("an arm before the chest")
    colours = colours_of(body)
    colours[torch.isin(body.skinning.argmax(1), torch.tensor(RIGHT_ARM))] = torch.tensor([0.1, 0.9, 0.1])
    photo, _ = photo_of(body, motion, colours)
    avatar = project_photo(photo, mask, body, motion, 12_000)
    picture, alpha = seen(avatar, body, motion_of(STAND))
    green = (picture[..., 1] - picture[..., [0, 2]].amax(-1) > 0.3) & (alpha > 0.9)
    trunk = torch.zeros_like(green)
    trunk[100:150, WIDTH // 2 - 14 : WIDTH // 2 + 14] = True
    assert (green & trunk).sum() < 0.03 * trunk.sum() and (green & ~trunk).sum() > 100


def wider(mask, reach):
    grown = torch.nn.functional.max_pool2d(mask[None, None].float(), 2 * reach + 1, 1, reach)
    return grown[0, 0] > 0


def test_clothes_keep_their_outline(body):
    """Wide trousers and sleeves, whose folds the body does not have."""
    motion = motion_of(STAND)
    photo, mask = photo_of(body, motion, colours_of(body))
    clothed = wider(mask, 5)  # 4 cm
    photo[clothed & ~mask] = torch.tensor([0.2, 0.6, 0.6])
    avatar = project_photo(photo, clothed, body, motion, 12_000)
    picture, alpha = seen(avatar, body, motion)
    assert overlap(alpha, clothed) > 0.94
    assert (picture - photo).square().mean() < 10**-2
    # It goes on moving with the body.
    away = replace(motion, trans=motion.trans + torch.tensor([[0.2, 0, 0]]))
    moved = seen(avatar, body, away)[1]
    assert overlap(moved, clothed.roll(25, 1)) > 0.9


def test_a_skirt_hangs_between_the_legs(body):
    motion = motion_of(STAND)
    photo, mask = photo_of(body, motion, colours_of(body))
    skirt = torch.zeros_like(mask)
    skirt[150:200, WIDTH // 2 - 22 : WIDTH // 2 + 22] = True
    photo[skirt] = torch.tensor([0.9, 0.8, 0.1])
    avatar = project_photo(photo, mask | skirt, body, motion, 12_000)
    picture, alpha = seen(avatar, body, motion)
    assert overlap(alpha, mask | skirt) > 0.93
    assert (picture[155:195, WIDTH // 2 - 3 : WIDTH // 2 + 3] - torch.tensor([0.9, 0.8, 0.1])).abs().mean() < 0.08


def test_half_a_body_gets_legs(body):
    motion = motion_of(STAND, distance=1.5, height=0.75)  # cut below the chest
    photo, mask = photo_of(body, motion, colours_of(body))
    assert mask[-1].any()
    avatar = project_photo(photo, mask, body, motion, 12_000, 0.5)
    assert avatar.visible_ratio == 0.5
    # In large, where a splat is no wider than it is: the rasteriser adds half a pixel.
    whole = motion_of(STAND).resized(3 * WIDTH, 3 * HEIGHT)
    picture, alpha = seen(avatar, body, whole)
    _, expected = photo_of(body, whole, colours_of(body))
    assert overlap(alpha, expected) > 0.93
    assert picture[alpha > 0.9].min(-1).values.max() < 0.7  # no white from beside the person
    assert picture.isfinite().all()


STREET = torch.tensor([0.1, 0.9, 0.1])


def test_what_is_not_seen_is_filled_from_its_own_part_and_said(body, caplog):
    """Cut at the knees and the wrists: hands as bare as the face, legs as the trousers, nothing of the street."""
    motion = motion_of(STAND)
    joint = body.skinning.argmax(1)
    colours = colours_of(body)
    colours[torch.isin(joint, torch.tensor([23, 24, 15, 22]))] = torch.tensor(SKIN)
    photo, mask = photo_of(body, motion, colours)
    seen_rows = torch.zeros_like(mask)
    seen_rows[:205] = True
    painted = torch.isin(joint, torch.tensor((20, 21, *range(25, 55)))).float()[:, None].repeat(1, 3)
    hands = mask & (photo_of(body, motion, painted)[0][..., 0] > 0.5)
    shown = mask & seen_rows & ~wider(hands, 2)
    photo = torch.where(mask[..., None], photo, STREET)
    shown = wider(shown, 1)  # and a little of the street along the outline
    avatar = project_photo(photo, shown, body, motion, 12_000)
    picture, alpha = seen(avatar, body, motion_of(STAND).resized(2 * WIDTH, 2 * HEIGHT))
    _, truth = photo_of(body, motion.resized(2 * WIDTH, 2 * HEIGHT), colours)
    assert overlap(alpha, truth) > 0.88  # no limb is left out
    rows = torch.arange(2 * HEIGHT)[:, None].expand(-1, 2 * WIDTH)
    legs = truth & (alpha > 0.9) & (rows > 430)
    assert (picture - torch.tensor(GREY))[legs].abs().mean() < 0.06
    bare = hands.repeat_interleave(2, 0).repeat_interleave(2, 1) & truth & (alpha > 0.9)
    assert bare.sum() > 50 and (picture - torch.tensor(SKIN))[bare].abs().mean() < 0.1
    (told,) = [record.getMessage() for record in caplog.records if "of the body" in record.getMessage()]
    assert "legs (" in told and "hands (" in told and "head" not in told


def test_a_limb_that_the_photo_shows_nowhere_is_not_left_out(body):
    """A leg that was thought to stand where the photo shows only street."""
    motion = motion_of({**STAND, 1: (0, 0, 0.9)})
    photo, mask = photo_of(body, motion, colours_of(body))
    leg = torch.isin(body.skinning.argmax(1), torch.tensor([1, 4, 7, 10])).float()
    mask &= photo_of(body, motion, leg[:, None].repeat(1, 3))[0][..., 0] < 0.5
    avatar = project_photo(photo, mask, body, motion, 12_000)
    large = motion_of(STAND).resized(2 * WIDTH, 2 * HEIGHT)
    assert overlap(seen(avatar, body, large)[1], photo_of(body, large, colours_of(body))[1]) > 0.9


def test_what_is_too_far_from_the_body_for_cloth_hangs_on_no_limb(body):
    motion = motion_of(STAND)
    photo, mask = photo_of(body, motion, colours_of(body))
    mask[:, : WIDTH // 2 - 60] = True  # 0.48 m from the middle: a wall
    avatar = project_photo(photo, mask, body, motion, 12_000)
    turned = motion_of({**STAND, 16: (0, 0, 1.0), 17: (0, 0, -1.0)}).resized(2 * WIDTH, 2 * HEIGHT)
    alpha = seen(avatar, body, turned)[1]
    _, expected = photo_of(body, turned, colours_of(body))
    hanging = (alpha > 0.5) & ~wider(expected, 8)
    assert hanging.sum() < 0.25 * expected.sum()  # what is as near as a wide sleeve


def test_the_bodys_shape_is_kept(body):
    betas = torch.tensor([1.5, -1.0, *[0.0] * 8])
    motion = motion_of(STAND, betas=betas)
    photo, mask = photo_of(body, motion, colours_of(body))
    avatar = project_photo(photo, mask, body, motion, 12_000)
    assert avatar.betas.tolist() == betas.tolist()
    assert overlap(seen(avatar, body, motion)[1], mask) > 0.95


def test_large_and_small_photos_are_alike(shot, body):
    motion, photo, mask, avatar = shot("standing")

    def resized(factor):
        shown = torch.nn.functional.interpolate(photo.movedim(-1, 0)[None], scale_factor=factor, mode="area")
        where = torch.nn.functional.interpolate(mask[None, None].float(), scale_factor=factor, mode="area") > 0.5
        made = project_photo(shown[0].movedim(0, -1).contiguous(), where[0, 0], body, motion, 12_000)
        return seen(made, body, motion)

    small, large = resized(1 / 3), resized(4)
    assert overlap(small[1], mask) > 0.85 and overlap(large[1], mask) > 0.95
    assert (large[0] - photo).square().mean() < 10**-2.3 and (small[0] - photo).square().mean() < 10**-1.5


def test_a_mask_elsewhere_is_said(shot, body):
    motion, photo, mask, _ = shot("standing")
    corner = torch.zeros_like(mask)
    corner[:20, :20] = True
    with pytest.raises(ValueError, match="body lies nowhere in the person's mask: connect the motion .* this photo"):
        project_photo(photo, corner, body, motion)
    with pytest.raises(ValueError, match="would stretch this motion"):
        project_photo(photo[:, :100], mask[:, :100], body, motion)


def test_a_kept_avatar_is_made_once(shot, tmp_path):
    avatar, made = shot("standing")[3], []

    def make():
        made.append(1)
        return avatar

    path = tmp_path / "below" / "a.safetensors"
    first, second = kept_avatar(path, make), kept_avatar(path, make)
    assert len(made) == 1 and first.rgb.equal(second.rgb) and first.rgb.equal(avatar.rgb)
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_photo_and_keypoints_are_enough(body):
    """In a room, which the mask is cut out of roughly; a photo is a clip of one frame."""
    scene = make_scene(4, "test", (192, 320), 1)
    character = prepare_character(torch.from_numpy(scene.person_photo).float()[None] / 255, [scene.person_pose])
    motion, report = estimate_motion(body, [character.pose], (192, 320), 30.0)
    assert len(motion) == 1 and report.error < 4
    avatar = project_photo(character.photo, character.mask, body, motion, 12_000, character.visible_ratio)
    picture, alpha = seen(avatar, body, motion)
    assert overlap(alpha, character.mask) > 0.9
    inside = character.mask & (alpha > 0.9)
    assert (picture - character.photo)[inside].square().mean() < 10**-2
    with pytest.raises(MotionError, match="The photo does not show the person's pose: four points"):
        estimate_motion(body, [Pose.empty()], (192, 320), 30.0)

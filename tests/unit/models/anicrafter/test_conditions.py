import pytest
import torch
from crafters.media.frames import resize_lanczos
from crafters.models.anicrafter import conditions
from crafters.models.anicrafter.schedule import sigmas, timesteps
from helpers.real_data import real_file


def frames(count, height=32, width=48):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(count))


def test_frame_k_belongs_to_driving_frame_k_minus_1():
    reference, blend, mesh = frames(1), frames(8), frames(8)
    scene = conditions.assemble(reference, blend, mesh)
    assert scene.latent_size == (3, 4, 6)
    assert torch.equal(scene.blend[0], reference[0]) and torch.equal(scene.mesh[0], reference[0])
    assert torch.equal(scene.blend[3], blend[2]) and torch.equal(scene.mesh[8], mesh[7])
    assert (scene.free[0] == 1).all() and torch.equal(scene.free[1:], conditions.body_free(mesh))


@pytest.mark.parametrize(("count", "trimmed", "padded"), [(81, 80, 84), (80, 80, 80), (4, 4, 4), (7, 4, 8)])
def test_length_becomes_a_multiple_of_4(count, trimmed, padded):
    clip = torch.arange(count)
    assert conditions.fit_length(clip).tolist() == list(range(trimmed))
    assert conditions.fit_length(clip, "pad").tolist() == [*range(count), *[count - 1] * (padded - count)]


def test_too_short_a_clip_is_refused_or_padded():
    with pytest.raises(ValueError, match="choose pad"):
        conditions.fit_length(frames(3))
    assert len(conditions.fit_length(frames(1), "pad")) == 4
    with pytest.raises(ValueError, match="longer clip"):
        conditions.fit_length(frames(4)[:0], "pad")


def test_avatar_is_weighted_by_alpha_twice_unless_told_otherwise():
    alpha = torch.full((1, 16, 16), 0.5)
    avatar, background = torch.full((1, 16, 16, 3), 0.4), torch.full((1, 16, 16, 3), 0.2)
    true = conditions.compose(avatar, alpha, background, alpha_twice=False, truncate=False)
    torch.testing.assert_close(true, torch.full_like(true, 0.4 + 0.1))
    published = conditions.compose(avatar, alpha, background, truncate=False)
    torch.testing.assert_close(published, torch.full_like(true, 0.2 + 0.1))
    levels = conditions.compose(avatar, alpha, background) * 255
    torch.testing.assert_close(levels, torch.full_like(levels, 76.0))  # 76.5 cut down
    with pytest.raises(ValueError, match="alpha is 16×8, but the avatar 16×16"):
        conditions.compose(avatar, alpha[:, :8], background)
    with pytest.raises(ValueError, match="avatar has 1 frames, but the background 2: .* at its end"):
        conditions.compose(avatar, alpha, background.expand(2, -1, -1, -1))


def person(count):
    """Avatar, alpha, mesh with a body in its middle, and the mesh's mask."""
    mesh = frames(count) * 0.8 + 0.1
    mesh[:, :, :16] = 0
    return frames(count), frames(count)[..., 0], mesh, (mesh[..., 0] > 0).float()


@pytest.mark.parametrize(("motion", "film", "how"), [(9, 9, "trim"), (9, 9, "pad"), (5, 11, "trim"), (5, 11, "pad")])
@pytest.mark.parametrize("masked", [True, False])
def test_the_scene_is_what_its_clips_make_together(motion, film, how, masked, caplog):
    avatar, alpha, mesh, mask = person(motion)
    reference, background = frames(1), frames(film, 64, 96)
    clips = avatar, alpha, background, mesh, mask if masked else None
    scene, blend = conditions.compose_scene(reference, *clips, how)
    assert ("The motion ends at frame 5 of 11" in caplog.text) == (motion < film)

    longer = [torch.cat([clip, clip.new_zeros(film - motion, *clip.shape[1:])]) for clip in (avatar, alpha, mesh, mask)]
    whole = conditions.compose(*longer[:2], resize_lanczos(background, 48, 32))
    assert torch.equal(blend, whole)
    free = 1 - longer[3] if masked else conditions.body_free(longer[2])
    wanted = conditions.assemble(reference, *(conditions.fit_length(clip, how) for clip in (whole, longer[2], free)))
    assert scene.latent_size == wanted.latent_size
    place = (slice(1, 8), slice(3, 30), slice(10, 40))
    for name in ("blend", "mesh", "free"):
        made, clip = getattr(scene, name), getattr(wanted, name)
        assert made.shape == clip.shape and len(made) == len(clip)
        assert torch.equal(made[:], clip) and torch.equal(made[place], clip[place]) and torch.equal(made[-1], clip[-1])
    assert torch.equal(scene.concat_mask(), wanted.concat_mask())


def test_the_scene_copies_no_clip():
    avatar, alpha, mesh, mask = person(8)
    scene, blend = conditions.compose_scene(frames(1), avatar, alpha, frames(8), mesh, mask)
    assert scene.blend.untyped_storage().data_ptr() == blend.untyped_storage().data_ptr()
    assert scene.mesh.clip is mesh and scene.free.clip is mask


def test_more_motion_than_film_is_refused():
    avatar, alpha, mesh, mask = person(8)
    with pytest.raises(ValueError, match=r"avatar has 8 frames, but the background 5: cut .* at its end .*first_frame"):
        conditions.compose_scene(frames(1), avatar, alpha, frames(5), mesh, mask)
    with pytest.raises(ValueError, match=r"have \[7, 8\] frames"):
        conditions.compose_scene(frames(1), avatar, alpha, frames(8), mesh[:7], mask)
    with pytest.raises(ValueError, match="background is 48×48: at the avatar's 48×32 it would be"):
        conditions.compose_scene(frames(1), avatar, alpha, frames(8, 48, 48), mesh, mask)
    with pytest.raises(ValueError, match="mask is 24×32 but the scene is 48×32"):
        conditions.compose_scene(frames(1), avatar, alpha, frames(8), mesh, mask[..., :24])


@pytest.mark.parametrize(
    ("reference", "blend", "mesh", "free", "fault"),
    [
        (frames(1, 32, 40), frames(4, 32, 40), frames(4, 32, 40), None, "multiples of 16"),
        (frames(1), frames(5), frames(5), None, "multiple of 4"),
        (frames(1), frames(8), frames(4), None, "mesh has 4 frames; 8 wanted"),
        (frames(2), frames(4), frames(4), None, "reference has 2 frames; 1 wanted"),
        (frames(1, 48, 48), frames(4), frames(4), None, "reference is 48×48"),
        (frames(1), frames(4), frames(4), torch.ones(4, 16, 48), "mask is 48×16"),
    ],
)
def test_what_does_not_fit_together_is_refused(reference, blend, mesh, free, fault):
    with pytest.raises(ValueError, match=fault):
        conditions.assemble(reference, blend, mesh, free)


@pytest.mark.parametrize("size", [(16, 16), (16, 64), (48, 32), (720, 1280), (1280, 720)])
def test_mask_of_any_size(size):
    free = torch.ones(4, *size)
    free[:, : size[0] // 2] = 0
    scene = conditions.assemble(frames(1, *size), frames(4, *size), frames(4, *size), free)
    mask = scene.concat_mask()
    assert mask.shape == (1, 4, 2, size[0] // 8, size[1] // 8)
    assert (mask[:, :, 0] == 1).all() and 0 <= mask.min() and mask.max() <= 1.000001
    torch.testing.assert_close(mask[:, :, 1].mean(), torch.tensor(0.5), atol=0.02, rtol=0)


def test_reference_is_whole_and_centred_on_white():
    tall = conditions.fit_reference(torch.zeros(1, 100, 50, 3), 32, 64)[0]
    assert tall.shape == (32, 64, 3)
    assert (tall[:, 26:38] < 0.1).all() and (tall[:, :20] == 1).all() and (tall[:, 44:] == 1).all()
    small = conditions.fit_reference(torch.zeros(1, 8, 8, 3), 32, 64)[0]
    assert (small[:, 16:48] < 0.1).all() and (small[:, :12] == 1).all()


def test_reference_is_cut_to_the_person():
    photo, mask = torch.full((1, 60, 90, 3), 0.2), torch.zeros(1, 60, 90)
    mask[:, 20:41, 60:81] = 1
    fitted = conditions.fit_reference(photo, 44, 44, mask)[0]  # from rows 19…40, 20 of 22 on the person, two-fold
    assert (fitted[4:, 4:] < 0.3).all() and (fitted[0] > 0.9).all() and (fitted[:, 0] > 0.9).all()
    with pytest.raises(ValueError, match="empty"):
        conditions.fit_reference(photo, 44, 44, torch.zeros_like(mask))
    with pytest.raises(ValueError, match="is 64×64, but the photo 90×60"):
        conditions.fit_reference(photo, 44, 44, torch.ones(1, 64, 64))
    mask[:, :, 62:] = 0
    with pytest.raises(ValueError, match=r"shows \d×2\d pixels of a person"):
        conditions.fit_reference(photo, 44, 44, mask)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1360, 768), (640, 352)])
def test_a_background_is_resized_but_not_stretched(width, height):
    conditions.check_background(torch.zeros(1, 768, 1360, 3), width, height)
    with pytest.raises(ValueError, match=f"background is 768×1360: at the avatar's {width}×{height} it would be"):
        conditions.check_background(torch.zeros(1, 1360, 768, 3), width, height)


@pytest.mark.parametrize(
    ("first", "last", "box"),
    [  # by hand: cx = int((l + r) / 2), w' = 1.1 (r - l), l' = cx - w'//2, r' = cx + w' - w'//2, then int, inside 0…90
        (60, 79, (59, 79)),  # cx 69, w' 20.9: 59, 79.9
        (60, 80, (59, 81)),  # cx 70, w' 22: 59, 81
        (0, 89, (0, 90)),  # beyond both edges
        (50, 50, (50, 51)),  # one pixel wide: published, an empty picture
    ],
)
def test_box_is_rounded_as_published(first, last, box):
    person = torch.zeros(90, 90, dtype=torch.bool)
    person[first : last + 1, 30:41] = True
    assert conditions._box(person, 1.1) == (*box, 30, 41)
    assert conditions._box(person.T, 1.1) == (30, 41, *box)


def test_clip_image_is_squashed_without_antialiasing():
    stripes = torch.zeros(1, 64, 2240, 3)
    stripes[:, :, ::10] = 1  # an antialiased resize to a tenth would blur these to grey
    image = conditions.clip_image(stripes)
    assert image.shape == (1, 224, 224, 3)
    assert image.std() < 1e-3 and image.mean().abs() < 0.1  # every sample falls between the stripes


def test_published_schedule():
    times = timesteps(sigmas(50, 5.0), rounded=False)
    known = [1000, 995.9349, 991.7355, 987.3949, 982.9059]
    torch.testing.assert_close(times[:5], torch.tensor(known), atol=1e-4, rtol=0)
    torch.testing.assert_close(times[-5:], torch.tensor([303.0303, 241.9355, 172.4138, 92.5926, 0]), atol=1e-4, rtol=0)
    rounded = timesteps(sigmas())
    assert rounded[:10].tolist() == [1000, 996, 992, 988, 984, 980, 972, 968, 964, 956]
    assert rounded[-5:].tolist() == [304, 242, 172, 92.5, 0]


@pytest.mark.slow
def test_mask_of_the_published_scene():
    """The numbers measured on the published mesh video (specification of the released system)."""
    import cv2
    import numpy as np
    from PIL import Image

    video = cv2.VideoCapture(str(real_file("anicrafter/scene/smplx_video.mp4")))
    mesh = []
    while len(mesh) < 80:
        frame = Image.fromarray(cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB))
        mesh.append(torch.from_numpy(np.array(frame.resize((1280, 720), Image.Resampling.LANCZOS))))
    free = torch.stack([conditions.body_free(frame[None].float() / 255)[0] for frame in mesh])
    black = torch.zeros(1).expand(81, 720, 1280, 3)
    mask = conditions.Scene(black, black, torch.cat([torch.ones_like(free[:1]), free])).concat_mask()[0]

    def close(value, known):
        assert abs(float(value) - known) < 6e-5, f"{float(value):.5f} instead of {known}"

    for index, share in ((0, 0.89412), (39, 0.84275), (79, 0.81869)):
        close(free[index].mean(), share)
    close(free.mean(), 0.85482)
    close(free[:, ::8, ::8].mean(), 0.85597)
    blurred = mask[:, 1:]
    close(blurred.min(), 0.00742)
    close(blurred.max(), 1.0)
    close(blurred.mean(), 0.85596)
    for channel, share in enumerate((0.8947, 0.8977, 0.8993, 0.8995)):
        close(mask[channel, 1].mean(), share)
    close(mask[0, 20].mean(), 0.8389)

"""What `anchor_condition` hands to the networks, and what it refuses."""

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from crafters.models.anchorcrafter.conditions import ProductTokens, anchor_condition, centre, clip_resize
from crafters.models.loaded import Loaded
from helpers.plain_anchor import small_system
from helpers.small_models import ANCHOR, MIMIC

HEIGHT, WIDTH, FRAMES = 128, 64, 9


class FakeVAE:
    """Answers means of 8×8 pixels, and keeps what it was given."""

    def __init__(self, channels=4):
        self.channels, self.seen = channels, []

    def encode(self, images):
        self.seen.append(images)
        grey = F.avg_pool2d(images.mean(-1, keepdim=True).movedim(-1, 1), 8)
        return grey.expand(-1, self.channels, -1, -1)


class FakeClip:
    def __init__(self, width=32):
        self.width, self.seen = width, []

    def encode_image(self, image, crop=True):
        self.seen.append((image, crop))
        return {"image_embeds": torch.linspace(-1, 1, self.width)[None]}


@dataclass
class Inputs:
    person: torch.Tensor
    person_pose: torch.Tensor
    pose: torch.Tensor
    product: ProductTokens | None
    object_depth: torch.Tensor | None
    hand: torch.Tensor | None


@pytest.fixture(scope="module")
def anchor():
    return Loaded(small_system(ANCHOR))


@pytest.fixture(scope="module")
def mimic():
    return Loaded(small_system(MIMIC))


@pytest.fixture(scope="module")
def given():
    torch.manual_seed(5)
    images = {"person": 1, "person_pose": 1, "pose": FRAMES, "object_depth": FRAMES, "hand": FRAMES}
    images = {name: torch.rand(count, HEIGHT, WIDTH, 3) for name, count in images.items()}
    product = ProductTokens(torch.rand(3, 96, 96, 3), torch.randn(1, 3 * 1370, 32))
    return Inputs(product=product, **images)


@pytest.fixture
def make(given):
    def make(model, vae=None, clip=None, **options):
        names = set(Inputs.__dataclass_fields__)
        inputs = replace(given, **{name: options.pop(name) for name in names & set(options)})
        return anchor_condition(model, vae or FakeVAE(), clip or FakeClip(), **vars(inputs), **options)

    return make


NO_PRODUCT = {"product": None, "object_depth": None, "hand": None}


def test_what_the_networks_are_given(make, anchor, given):
    clip = FakeClip()
    condition = make(anchor, clip=clip)
    assert condition.frames == FRAMES + 1
    system = anchor.module
    black = torch.zeros_like(given.person)
    motion = torch.cat([torch.cat([given.person_pose, given.pose]), torch.cat([black, given.hand])], -1)
    track = torch.cat([black, given.object_depth])
    motion, track = (x.movedim(-1, 1) * 2 - 1 for x in (motion, track))
    torch.testing.assert_close(condition.maps, system.pose_net(motion) + system.track_net(track))
    tokens = torch.cat([torch.linspace(-1, 1, 32).view(1, 1, 32), system.object_tokens(given.product.tokens)], 1)
    assert condition.context.shape == (1, 20, 32)
    torch.testing.assert_close(condition.context, tokens)
    torch.testing.assert_close(condition.image_latent, FakeVAE().encode(given.person))
    frontal = F.pad(given.product.views[1:2, :, 16:-16], (0, 0, 0, 0, 16, 16))
    torch.testing.assert_close(condition.object_latent, FakeVAE().encode(frontal))
    assert condition.time_ids == (6, 127, 0)
    [(image, crop)] = clip.seen
    assert not crop and torch.equal(image, clip_resize(given.person)) and image.shape == (1, 224, 224, 3)


def test_no_hand_is_a_black_hand(make, anchor, given):
    without, black = make(anchor, hand=None), make(anchor, hand=torch.zeros_like(given.hand))
    assert torch.equal(without.maps, black.maps)
    assert not torch.equal(without.maps, make(anchor).maps)


def test_mimicmotion(make, mimic, given):
    condition = make(mimic, **NO_PRODUCT)
    pose = torch.cat([given.person_pose, given.pose]).movedim(-1, 1) * 2 - 1
    torch.testing.assert_close(condition.maps, mimic.module.pose_net(pose))
    assert condition.context.shape == (1, 1, 32) and condition.object_latent is None


def test_alpha_is_left_out_and_inputs_stay(make, anchor, given):
    kept = {name: value.clone() for name, value in vars(given).items() if name != "product"}
    opaque = {name: F.pad(value, (0, 1), value=0.3) for name, value in kept.items()}
    plain, with_alpha = make(anchor), make(anchor, **opaque)
    for field in ("maps", "context", "image_latent", "object_latent"):
        assert torch.equal(getattr(plain, field), getattr(with_alpha, field))
    assert all(torch.equal(getattr(given, name), value) for name, value in kept.items())


def test_one_noise_for_both_images(make, anchor, given):
    vae = FakeVAE()
    condition = make(anchor, vae, noise_augmentation=0.5, augmentation_seed=3)
    person, product = vae.seen
    noise = person - given.person
    torch.testing.assert_close(product - centre(given.product.views[1:2], HEIGHT, WIDTH), noise)
    # 0.5 in [−1, 1] is 0.25 in 0…1.
    assert noise.std() == pytest.approx(0.25, rel=0.02) and abs(noise.mean()) < 0.01
    assert condition.time_ids == (6, 127, 0.5)
    assert not torch.equal(condition.image_latent, make(anchor).image_latent)


def test_noise_seed(make, anchor):
    def latent(seed, strength=0.5):
        return make(anchor, noise_augmentation=strength, augmentation_seed=seed).image_latent

    assert torch.equal(latent(1), latent(1))
    assert not torch.equal(latent(1), latent(2))
    assert torch.equal(latent(1, 0.0), latent(2, 0.0))


def test_published_exposure(make, anchor, given):
    vae = FakeVAE()
    make(anchor, vae, published_exposure=True)
    person, product = vae.seen
    assert torch.equal(person, given.person)
    torch.testing.assert_close(product, centre(given.product.views[1:2], HEIGHT, WIDTH) * 255)


def test_progress(make, anchor):
    seen = []
    make(anchor, on_step=lambda done, total: seen.append((done, total)))
    # Person, product, CLIP, and ten frames of maps in chunks of eight.
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_cancel(make, anchor, last):
    class CancelError(Exception):
        pass

    def on_step(done, total):
        if done == last:
            raise CancelError

    with pytest.raises(CancelError):
        make(anchor, on_step=on_step)


def sized(frames, height=HEIGHT, width=WIDTH):
    return torch.zeros(frames, height, width, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"person": sized(1, 120)}, ["64×120", "multiples of 64"]),
        ({"person": sized(2)}, ["person has 2 frames", "one image"]),
        ({"person_pose": sized(3)}, ["person_pose has 3 frames", "one image"]),
        ({"person_pose": sized(1, 64)}, ["person_pose is 64×64", "person photo 64×128"]),
        ({"pose": sized(0)}, ["no frames"]),
        ({"pose": sized(4, 128, 128)}, ["pose is 128×128", "person photo 64×128"]),
        ({"object_depth": sized(8)}, ["object_depth has 8 frames", "pose clip has 9"]),
        ({"object_depth": sized(9, 64)}, ["object_depth is 64×64", "person photo 64×128"]),
        ({"hand": sized(10)}, ["hand has 10 frames", "pose clip has 9"]),
        ({"hand": sized(9, 64)}, ["hand is 64×64", "person photo 64×128"]),
        ({"product": None}, ["connect product", "MimicMotion"]),
        ({"object_depth": None}, ["connect object_depth", "MimicMotion"]),
        ({"product": ProductTokens(sized(3), torch.zeros(1, 4110, 24))}, ["4110 tokens of 24", "4110 of 32", "DINOv2"]),
        ({"product": ProductTokens(sized(3), torch.zeros(1, 4122, 32))}, ["4122 tokens of 32", "4110 of 32"]),
        ({"clip": FakeClip(24)}, ["24 numbers", "reads 32", "ViT-H"]),
        ({"vae": FakeVAE(16)}, ["(1, 16, 16, 8)", "Stable Video Diffusion"]),
    ],
)
def test_refusals_name_both_sides(make, anchor, change, words):
    with pytest.raises(ValueError) as error:
        make(anchor, **change)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("kept", ["product", "object_depth", "hand"])
def test_mimicmotion_refuses_a_product(make, mimic, given, kept):
    with pytest.raises(ValueError, match="knows no product: disconnect product, object_depth and hand"):
        make(mimic, **{**NO_PRODUCT, kept: getattr(given, kept)})


@pytest.mark.parametrize(("height", "width"), [(4, 4), (7, 4), (4, 9), (9, 3), (2, 2), (1, 7), (3, 1)])
def test_centre(height, width):
    image = torch.arange(1, 4 * 4 * 3 + 1.0).view(1, 4, 4, 3)
    placed = centre(image, height, width)
    # Where an odd row or column is left over, the far side gets it; where one must go, it goes there too.
    expected = torch.zeros(1, height, width, 3)
    for y in range(height):
        for x in range(width):
            sy, sx = y - (height - 4) // 2, x - (width - 4) // 2
            if 0 <= sy < 4 and 0 <= sx < 4:
                expected[0, y, x] = image[0, sy, sx]
    assert torch.equal(placed, expected)


def test_clip_resize_ignores_the_aspect_ratio_and_smooths():
    stripes = torch.zeros(1, 512, 1024, 3)
    stripes[:, :, ::2] = 1
    small = clip_resize(stripes)
    assert small.shape == (1, 224, 224, 3)
    torch.testing.assert_close(small[:, 20:-20, 20:-20], torch.full((1, 184, 184, 3), 0.5), atol=0.02, rtol=0)

"""Everything the sampler needs that does not change over its steps: tokens, condition maps and image latents."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..chunks import Chunker
from ..loaded import Loaded
from .system import AnchorCrafter

FPS_ID, MOTION_BUCKET = 6, 127  # what every published run and the training used (7 fps, minus one)
MAP_FRAMES = 8  # frames that go through the map nets at once
BLACK = 0.0  # of an IMAGE; the networks see it as −1


@dataclass(frozen=True)
class ProductTokens:
    """A product as the network sees it.

    views: [3, S, S, 3] in 0…1 on black, the frontal one in the middle; tokens: [1, 3·T, D] of DINOv2.
    """

    views: torch.Tensor
    tokens: torch.Tensor


@dataclass(frozen=True)
class AnchorCondition:
    """N = driving frames + 1; frame 0 is the reference person.

    maps: [N, C, h, w] pose plus object-track map; context: [1, T, D] tokens; image_latent and object_latent:
    [1, 4, h, w], unscaled (object_latent None for MimicMotion); time_ids: fps − 1, motion bucket, noise augmentation.
    """

    maps: torch.Tensor
    context: torch.Tensor
    image_latent: torch.Tensor
    object_latent: torch.Tensor | None
    time_ids: tuple[float, float, float]

    @property
    def frames(self) -> int:
        return len(self.maps)


def anchor_condition(
    model: Loaded,
    vae,
    clip_vision,
    person: torch.Tensor,
    person_pose: torch.Tensor,
    pose: torch.Tensor,
    product: ProductTokens | None = None,
    object_depth: torch.Tensor | None = None,
    hand: torch.Tensor | None = None,
    noise_augmentation: float = 0.0,
    augmentation_seed: int = 0,
    published_exposure: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> AnchorCondition:
    """Encode all conditions of one clip.

    All images are [·, H, W, 3] in 0…1, H and W multiples of 64. person and person_pose: one image and the drawing of
    its pose; pose, object_depth, hand: F frames each, already placed on the person, where black means nothing there
    (hand left out: no hand mesh anywhere). vae and clip_vision: ComfyUI's objects or the ones of `encoders`.
    noise_augmentation: strength of the Gaussian noise added to person and product image in [−1, 1] before encoding.
    published_exposure: the published inference code hands the product to the VAE 255 times too bright (0…255 taken
    for 0…1), which its training did not; True repeats that, for comparison with published results.
    on_step(done, total) is called per encoded piece and may raise to cancel.

    Raises ValueError when lengths or sizes differ, or the conditions do not belong to the model.
    """
    system: AnchorCrafter = model.module
    # Without alpha, on the CPU: a clip's drawings are only brought to the device a few frames at a time.
    person, person_pose, pose = (clip[..., :3].cpu() for clip in (person, person_pose, pose))
    object_depth, hand = (None if clip is None else clip[..., :3].cpu() for clip in (object_depth, hand))
    _check(system, person, person_pose, pose, product, object_depth, hand)
    height, width = person.shape[1:3]
    frames = len(pose) + 1
    on_step = on_step or (lambda done, total: None)
    total = 3 + -(-frames // MAP_FRAMES)

    generator = torch.Generator().manual_seed(augmentation_seed)
    # One noise for both images; the factor 2 of [−1, 1] against 0…1 is taken back by the VAE's own scaling.
    noise = torch.randn(person.shape, generator=generator) * noise_augmentation / 2
    image_latent = vae.encode(person + noise)
    if image_latent.shape != (1, 4, height // 8, width // 8):
        shape = tuple(image_latent.shape)
        raise ValueError(f"This VAE makes latents of shape {shape}: connect the one of Stable Video Diffusion.")
    on_step(1, total)
    object_latent = None
    if product is not None:
        exposure = 255 if published_exposure else 1
        view = front_view(product.views.cpu(), height, width, system.config.whole_view)
        object_latent = vae.encode(view * exposure + noise)
    on_step(2, total)
    embedding = clip_vision.encode_image(clip_resize(person), crop=False)["image_embeds"]
    wanted = system.config.cross_attention_dim
    if embedding.shape != (1, wanted):
        raise ValueError(
            f"This CLIP vision model gives {embedding.shape[-1]} numbers where the checkpoint reads {wanted}: "
            "connect the one of Stable Video Diffusion (ViT-H)."
        )
    on_step(3, total)

    device, dtype = model.load(), model.dtype
    context = embedding[:, None].to(device, dtype)  # [1, 1, D]
    if product is not None:
        context = torch.cat([context, system.object_tokens(product.tokens.to(device, dtype))], 1)

    black = torch.full_like(person, BLACK)

    def maps(chunk: slice) -> torch.Tensor:
        motion = _behind(person_pose, pose, chunk)
        if product is not None:
            hands = _behind(black, black.expand_as(pose) if hand is None else hand, chunk)
            motion = torch.cat([motion, hands], -1)
        out = system.pose_net(_network(motion, device, dtype))
        if product is not None:
            out = out + system.track_net(_network(_behind(black, object_depth, chunk), device, dtype))
        on_step(3 + -(-chunk.stop // MAP_FRAMES), total)
        return out.cpu()

    return AnchorCondition(
        maps=Chunker(MAP_FRAMES, "condition frames").joined(frames, maps),
        context=context.cpu(),
        image_latent=image_latent.float(),
        object_latent=None if object_latent is None else object_latent.float(),
        time_ids=(FPS_ID, MOTION_BUCKET, noise_augmentation),
    )


def _behind(first: torch.Tensor, clip: torch.Tensor, chunk: slice) -> torch.Tensor:
    """The chunk of a clip [F, …] behind one frame [1, …]."""
    rest = clip[max(chunk.start - 1, 0) : chunk.stop - 1]
    return rest if chunk.start else torch.cat([first, rest])


def _network(images: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    return images.movedim(-1, 1).to(device, dtype) * 2 - 1


def front_view(views: torch.Tensor, height: int, width: int, whole: bool) -> torch.Tensor:
    """The middle one of [3, S, S, 3] as the VAE sees it, [1, height, width, 3]; see AnchorConfig.whole_view."""
    view, side = views[1:2], min(height, width)
    if whole and view.shape[1] > side:
        view = F.interpolate(view.movedim(-1, 1), (side, side), mode="bilinear", antialias=True).movedim(1, -1)
    return centre(view, height, width)


def centre(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[1, S, S, 3] → [1, height, width, 3]: padded with black around the middle, or cut there where it is larger."""
    top, left = (height - image.shape[1]) // 2, (width - image.shape[2]) // 2
    bottom, right = height - image.shape[1] - top, width - image.shape[2] - left
    return F.pad(image, (0, 0, left, right, top, bottom), value=BLACK)


def clip_resize(image: torch.Tensor, size: int = 224) -> torch.Tensor:
    """The SVD pipeline's antialiased resize to CLIP's square, aspect ignored: [1, H, W, 3] → [1, size, size, 3]."""
    from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import _resize_with_antialiasing

    pixels = image[..., :3].movedim(-1, 1).float().cpu() * 2 - 1
    return (_resize_with_antialiasing(pixels, (size, size)) / 2 + 0.5).movedim(1, -1)


def _check(system, person, person_pose, pose, product, object_depth, hand) -> None:
    height, width = person.shape[1:3]
    if height % 64 or width % 64:
        raise ValueError(f"The person photo is {width}×{height}; both sides must be multiples of 64: fit it first.")
    if len(pose) < 1:
        raise ValueError("The pose clip has no frames.")
    clips = {"person": person, "person_pose": person_pose, "pose": pose, "object_depth": object_depth, "hand": hand}
    for name, clip in clips.items():
        if clip is None:
            continue
        if clip.shape[1:3] != person.shape[1:3]:
            raise ValueError(
                f"{name} is {clip.shape[2]}×{clip.shape[1]} but the person photo {width}×{height}: "
                "place it on the person first."
            )
        frames = 1 if name.startswith("person") else len(pose)
        if len(clip) != frames:
            against = "one image is wanted" if frames == 1 else f"the pose clip has {frames}"
            how = "" if frames == 1 else ": read both clips alike, with the driving clip's fps as at_fps"
            raise ValueError(f"{name} has {len(clip)} frames but {against}{how}.")
    if system.config.product:
        if product is None or object_depth is None:
            missing = "product" if product is None else "object_depth"
            raise ValueError(f"This checkpoint shows a product: connect {missing}, or load MimicMotion for none.")
        tokens, channels = 3 * system.config.view_tokens, system.config.view_dim
        if product.tokens.shape[1:] != (tokens, channels):
            got = "{1} tokens of {2} channels".format(*product.tokens.shape)
            raise ValueError(
                f"The product was encoded to {got}, but this checkpoint reads {tokens} of {channels}: load the DINOv2 "
                "it was trained with (large, without registers, for the released one)."
            )
    elif product is not None or object_depth is not None or hand is not None:
        raise ValueError(
            "This checkpoint (MimicMotion) knows no product: disconnect product, object_depth and hand, "
            "or load AnchorCrafter."
        )

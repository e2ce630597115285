"""What AniCrafter is told, as frames: reference still, avatar over background, body mesh, and where no body is.

The clip that is generated has T = 4n+1 frames: the reference still, then one frame per driving frame. IMAGE means
float [F, H, W, 3] in 0…1 here, MASK float [F, H, W].
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ...media.box import box_of
from ...media.frames import gathered, resize_lanczos, stepped
from ..avatar.render import STRETCH

STRIDE = 4  # frames to a latent frame, after the first
GRID = 16  # both sides are multiples: the VAE's 8 times the transformer's patch of 2
LATENT = 8
CLIP_SIZE = 224
SMALLEST = 8  # px, the sides of a person who can be shown
BODY_LEVEL = 0.005  # a mesh frame shows no body where no channel is above this: −0.99 of −1…1


class Behind:
    """A clip behind a still, [T, H, W, …], neither of them copied: what an index asks for, [frames, rows, columns], is
    put together then.

    still: [1, H, W, …]; clip: [F, H, W, …]; frames: of each of the T − 1 frames behind the still, which one of the clip
    it is, black (0) beyond its end; see: what is made of a part of the clip.
    """

    def __init__(
        self, still: torch.Tensor, clip: torch.Tensor, frames: Sequence[int],
        see: Callable[[torch.Tensor], torch.Tensor] = lambda part: part,
    ):
        self.still, self.clip, self.frames, self.see = still, clip, frames, see
        self.shape = torch.Size([1 + len(frames), *still.shape[1:]])

    def __len__(self) -> int:
        return len(self.frames) + 1

    def __getitem__(self, index: int | slice | tuple) -> torch.Tensor:
        wanted, *place = index if isinstance(index, tuple) else (index,)
        chosen = range(len(self))[wanted]
        if isinstance(chosen, int):
            return self._part(chosen, *place)
        return gathered((self._part(t, *place) for t in chosen), len(chosen))

    def _part(self, t: int, *place: slice) -> torch.Tensor:
        if t == 0:
            return self.still[(0, *place)]
        frame = self.frames[t - 1]
        part = self.clip[(min(frame, len(self.clip) - 1), *place)]
        return self.see(part if frame < len(self.clip) else torch.zeros_like(part)).to(self.still)


@dataclass(frozen=True)
class Scene:
    """T = 4n+1 aligned frames, the reference still first.

    blend: [T, H, W, 3], avatar over background; mesh: [T, H, W, 3], the body's mesh on black; free: [T, H, W], 1 where
    no body is, all 1 in the first frame.
    """

    blend: torch.Tensor
    mesh: torch.Tensor | Behind
    free: torch.Tensor | Behind

    @property
    def latent_size(self) -> tuple[int, int, int]:
        """(frames, height, width) of the latents."""
        frames, height, width = self.free.shape
        return (frames - 1) // STRIDE + 1, height // LATENT, width // LATENT

    def concat_mask(self) -> torch.Tensor:
        """The mask beside the image latents: [1, 4, n+1, H/8, W/8], 1 = known; blurred across the body's outline.

        The four channels are the four frames of a latent frame; the first, which stands for one frame, is all 1.
        (AniCrafter; the blur's width follows the full frame's shorter side.)
        """
        frames, height, width = self.latent_size
        small = self.free[1:, ::LATENT, ::LATENT][:, None]  # [4n, 1, h, w]
        kernel = _gaussian(min(self.free.shape[1:]) // GRID | 1).to(small)
        edge = len(kernel) // 2
        small = F.conv2d(F.pad(small, (edge, edge, 0, 0), "reflect"), kernel.view(1, 1, 1, -1))
        small = F.conv2d(F.pad(small, (0, 0, edge, edge), "reflect"), kernel.view(1, 1, -1, 1))
        packed = small.view(frames - 1, STRIDE, height, width).transpose(0, 1)
        return torch.cat([packed.new_ones(STRIDE, 1, height, width), packed], 1)[None]


def assemble(
    reference: torch.Tensor, blend: torch.Tensor, mesh: torch.Tensor, free: torch.Tensor | None = None
) -> Scene:
    """Put the reference still before the driving frames: generated frame k ≥ 1 belongs to driving frame k−1.

    reference: IMAGE [1, H, W, 3] (`fit_reference`); blend and mesh: IMAGE of 4n driving frames (`fit_length`); free:
    MASK of as many, 1 where no body is; left out, it is where the mesh frames are black (`body_free`).

    Raises ValueError when sizes or lengths do not fit.
    """
    free = body_free(mesh) if free is None else free
    _check_sizes(*blend.shape[1:3], reference=reference, mesh=mesh, mask=free)
    if len(blend) < STRIDE or len(blend) % STRIDE:
        raise ValueError(f"There are {len(blend)} driving frames; their number must be a multiple of {STRIDE}: fit it.")
    for name, clip, frames in (("reference", reference, 1), ("mesh", mesh, len(blend)), ("mask", free, len(blend))):
        if len(clip) != frames:
            raise ValueError(f"{name} has {len(clip)} frames; {frames} wanted.")
    reference = reference[..., :3].to(blend)
    return Scene(
        torch.cat([reference, blend[..., :3]]),
        torch.cat([reference, mesh[..., :3].to(blend)]),
        torch.cat([torch.ones_like(free[:1]), free]).to(blend),
    )


def compose_scene(
    reference: torch.Tensor,
    avatar: torch.Tensor,
    alpha: torch.Tensor,
    background: torch.Tensor,
    mesh: torch.Tensor,
    mesh_mask: torch.Tensor | None = None,
    how: str = "trim",
    alpha_twice: bool = True,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Scene, torch.Tensor]:
    """The scene of a film, and its blend [F, H, W, 3], which the scene keeps no second time; nor does it the mesh.

    reference: `fit_reference`; avatar, alpha, mesh, mesh_mask (1 on the body): of the person, for as long as they are
    in the film, whose frames those of background are, of any size in the avatar's shape; how: as in `fit_length`;
    alpha_twice: as in `compose`. Raises ValueError when sizes or lengths do not fit.
    """
    film, (height, width) = len(background), avatar.shape[1:3]
    check_background(background, width, height)
    masks = {} if mesh_mask is None else {"mask": mesh_mask}
    _check_end(film, avatar, alpha, mesh, *masks.values())
    frames = fit_length(torch.arange(film), how).tolist()
    _check_sizes(height, width, reference=reference, mesh=mesh, **masks)
    shown = avatar.new_empty(1 + max(film, len(frames)), height, width, 3)
    shown[0] = reference[0, ..., :3]
    nobody = avatar.new_zeros(1, height, width, 3), alpha.new_zeros(1, *alpha.shape[1:])
    for t in stepped(range(film), on_step):
        person = (avatar[t, None], alpha[t, None]) if t < len(avatar) else nobody
        behind = resize_lanczos(background[t, None], width, height).to(shown)
        shown[1 + t] = compose(*person, behind, alpha_twice)[0]
    shown[1 + film :] = shown[film]
    still = shown[:1]
    free = still.new_ones(1, height, width)
    scene = Scene(
        shown[: 1 + len(frames)],
        Behind(still, mesh, frames, lambda part: part[..., :3]),
        Behind(free, mesh, frames, body_free) if mesh_mask is None
        else Behind(free, mesh_mask, frames, lambda part: 1 - part),
    )
    return scene, shown[1 : 1 + film]


def _check_sizes(height: int, width: int, **clips: torch.Tensor) -> None:
    if height % GRID or width % GRID:
        raise ValueError(f"The frames are {width}×{height}; both sides must be multiples of {GRID}.")
    for name, clip in clips.items():
        if clip.shape[1:3] != (height, width):
            raise ValueError(f"{name} is {clip.shape[2]}×{clip.shape[1]} but the scene is {width}×{height}.")


def check_background(background: torch.Tensor, width: int, height: int) -> None:
    """Raises ValueError where resizing the background, IMAGE, to the avatar's size would stretch it visibly."""
    own_height, own_width = background.shape[1:3]
    if abs(width / height * own_height / own_width - 1) > STRETCH:
        raise ValueError(
            f"The background is {own_width}×{own_height}: at the avatar's {width}×{height} it would be stretched. Crop "
            "it, or render the avatar and the mesh in its shape."
        )


def compose(
    avatar: torch.Tensor,
    alpha: torch.Tensor,
    background: torch.Tensor,
    alpha_twice: bool = True,
    truncate: bool = True,
) -> torch.Tensor:
    """Avatar over background, all at the size that is generated: IMAGE.

    avatar: IMAGE as rendered on black, that is, already multiplied by its alpha; alpha: MASK; background: IMAGE.
    alpha_twice: multiply the avatar by its alpha once more, as the published system did in training too, which darkens
    soft edges; False gives the true composite. truncate: cut the levels to 8 bits downwards, as it did.

    Raises ValueError when sizes or lengths differ.
    """
    for name, clip in (("alpha", alpha), ("background", background)):
        if len(clip) != len(avatar):
            raise ValueError(
                f"The avatar has {len(avatar)} frames, but the {name} {len(clip)}: cut the longer one at its end, so "
                "that frames stay together."
            )
        if clip.shape[1:3] != avatar.shape[1:3]:
            (h, w), (height, width) = clip.shape[1:3], avatar.shape[1:3]
            raise ValueError(f"The {name} is {w}×{h}, but the avatar {width}×{height}: both must be as large.")
    alpha = alpha[..., None]
    shown = avatar[..., :3] * alpha if alpha_twice else avatar[..., :3]
    blend = (shown + background[..., :3] * (1 - alpha)).clamp(0, 1)
    return (blend * 255).floor() / 255 if truncate else blend


def _check_end(frames: int, *clips: torch.Tensor) -> None:
    """Clips of the person have one length, at most the film's; nobody is in what they lack at its end."""
    lengths = {len(clip) for clip in clips}
    if len(lengths) > 1:
        raise ValueError(
            f"The avatar, its alpha, the mesh and its mask have {sorted(lengths)} frames: render all of one motion."
        )
    (length,) = lengths
    if length > frames:
        raise ValueError(
            f"The avatar has {length} frames, but the background {frames}: cut the motion at its end (Edit Motion's "
            f"frames: {frames}). If the film was cut at its beginning or is of another rate, say so in Load Motion "
            "(first_frame, film_fps)."
        )
    if length < frames:
        logging.getLogger(__name__).warning(
            "The motion ends at frame %d of %d: the person is gone from there on. To go on, repeat it (Edit Motion's "
            "frames); of another rate, retime it (Load Motion's film_fps).",
            *(length, frames),
        )


def body_free(mesh: torch.Tensor) -> torch.Tensor:
    """Mesh frames on black, IMAGE → MASK, 1 where there is no body."""
    return (mesh[..., :3] <= BODY_LEVEL).all(-1).float()


def fit_length(clip: torch.Tensor, how: str = "trim") -> torch.Tensor:
    """The driving frames [F, …] cut (`trim`) to a multiple of 4, or filled up to it (`pad`) with the last one.

    Raises ValueError when nothing would be left.
    """
    over = len(clip) % STRIDE
    if how == "pad" and over:
        clip = torch.cat([clip, clip[-1:].expand(STRIDE - over, *clip.shape[1:])])
    elif over:
        clip = clip[: len(clip) - over]
    if len(clip) == 0:
        raise ValueError(f"Fewer than {STRIDE} driving frames: choose pad, or give a longer clip.")
    return clip


def fit_reference(
    image: torch.Tensor, height: int, width: int, mask: torch.Tensor | None = None, margin: float = 1.1
) -> torch.Tensor:
    """The character's photo, whole and centred on white: IMAGE [1, h, w, 3] → [1, height, width, 3].

    mask: MASK [1, h, w], 1 on the person; all else becomes white, and the photo is cut to the person's box enlarged by
    `margin`. Larger photos are reduced by Lanczos, the result fitted by bicubic (AniCrafter, reference frame).

    Raises ValueError for a mask that is empty, holds next to nothing or has another size.
    """
    from PIL import Image, ImageOps

    image = image[:1, ..., :3].cpu()
    if mask is not None:
        if mask.shape[1:] != image.shape[1:3]:
            (h, w), (height, width) = mask.shape[1:], image.shape[1:3]
            raise ValueError(
                f"The mask of the character's photo is {w}×{h}, but the photo {width}×{height}: give the mask that "
                "belongs to this photo."
            )
        person = mask[0].cpu() > 0.5
        image = torch.where(person[..., None], image, 1.0)
        top, bottom, left, right = _box(person, margin)
        if min(bottom - top, right - left) < SMALLEST:
            raise ValueError(
                f"The mask of the character's photo shows {right - left}×{bottom - top} pixels of a person: "
                "give a mask that covers the whole person."
            )
        image = image[:, top:bottom, left:right]
    photo = Image.fromarray((image[0] * 255).round().clamp(0, 255).byte().numpy())
    ratio = min(width / photo.width, height / photo.height)
    if ratio < 1:
        size = max(1, int(photo.width * ratio)), max(1, int(photo.height * ratio))
        photo = photo.resize(size, Image.Resampling.LANCZOS)
    photo = ImageOps.pad(photo, (width, height), color="white")
    return torch.frombuffer(bytearray(photo.tobytes()), dtype=torch.uint8).view(1, height, width, 3).float() / 255


def _box(person: torch.Tensor, margin: float) -> tuple[int, int, int, int]:
    """Top, bottom, left, right; rounded as published, which does not count the last row and column of the person."""
    if not person.any():
        raise ValueError("The mask of the character's photo is empty: nobody to show.")
    (left, top, right, bottom), spans = box_of(person), []
    for first, last, size in ((top, bottom - 1, person.shape[0]), (left, right - 1, person.shape[1])):
        length, middle = (last - first) * margin, (first + last) // 2
        start = max(0, int(middle - length // 2))
        stop = int(min(size, middle + length - length // 2))
        spans += [start, max(stop, start + 1)]
    return tuple(spans)


def clip_image(reference: torch.Tensor) -> torch.Tensor:
    """The reference as Wan's CLIP sees it, squashed to a square without antialiasing: IMAGE → [1, 224, 224, 3]."""
    pixels = reference[:1, ..., :3].movedim(-1, 1).float()
    return F.interpolate(pixels, (CLIP_SIZE, CLIP_SIZE), mode="bicubic").movedim(1, -1)


def _gaussian(size: int) -> torch.Tensor:
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8  # OpenCV's width for a kernel of this size
    x = torch.arange(size) - (size - 1) / 2
    weights = torch.exp(-0.5 * (x / sigma) ** 2)
    return weights / weights.sum()

"""AnchorCrafter's stages: what of a clip its training set and its graph take."""

import torch

from ..media.clip import read_clip
from ..media.photo import read_photo
from ..preprocessors.hand_mesh.hands import fit_hands, render_hands
from ..preprocessors.hand_mesh.recover import recover_hands
from ..preprocessors.person.size import fit_person
from ..preprocessors.pose.draw_pose import draw_poses
from ..preprocessors.pose.extract import extract_poses
from ..preprocessors.pose.keypoints import Pose
from ..preprocessors.pose.placement import fit_placement, place_pose, place_video
from ..preprocessors.product.from_clip import views_from_clip
from ..preprocessors.product.object_depth import object_depth
from ..preprocessors.product.views import product_views
from ..preprocessors.segment.prompts import HELD, Prompt
from .common import best_frame, segment
from .conditions import VIEWS
from .stages import Clip, Stage


def _anchor_film(clip: Clip) -> dict:
    return {"anchor_film": clip.path("film")}


def _product_mask(clip: Clip, sam) -> dict:
    prompts = _prompts(clip)
    find = None if prompts else HELD
    return {"product_mask": segment(clip, "product_mask", sam, prompts=prompts, poses=clip.poses(), find=find)}


def _prompts(clip: Clip) -> tuple[Prompt, ...]:
    """What the user pointed at, in the film's pixels and frames."""
    told = clip.options
    if told.point is None and told.box is None:
        return ()
    height, width = read_clip(clip.source, frames=1)[0].shape[1:3]
    scale = min(1.0, told.long_side / max(width, height)) if told.long_side else 1.0
    margin = [(round(side * scale) - kept) // 2 for side, kept in zip((width, height), clip.size, strict=True)]

    def place(xy: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value * scale - margin[i % 2] for i, value in enumerate(xy))

    inside = () if told.point is None else (place(told.point),)
    box = None if told.box is None else place(told.box)
    return (Prompt(round((told.frame - told.first) / told.every), inside, box=box),)


def _object_depth(clip: Clip, depth) -> dict:
    on_step = clip.progress("object_depth")
    return {"object_depth": object_depth(clip.images, clip.read("product_mask"), depth, on_step)}


def _hand(clip: Clip, hamer) -> dict:
    poses, on_step = clip.poses(), clip.progress("hand")
    if hamer is None:
        meshes = fit_hands(poses, clip.size, clip.fps, clip.options.field_of_view, on_step)
    else:
        meshes = recover_hands(*hamer, clip.images, poses, clip.fps, on_step)
    return {"hand": render_hands(meshes, clip.read("product_mask"), clip.progress("hand, drawing"))}


def _pose(clip: Clip) -> dict:
    return {"pose": _drawn(clip.poses(), clip.size)}


def _drawn(poses: list[Pose], size: tuple[int, int]) -> torch.Tensor:
    return torch.from_numpy(draw_poses(poses, *size))


def _person(clip: Clip) -> dict:
    poses = clip.poses()
    best = best_frame(poses, clip.read("product_mask"))
    return {"person": clip.images[best], "person_pose": _drawn([poses[best]], clip.size)[0] / 255}


def _views(clip: Clip) -> dict:
    if clip.options.product:
        photos = {}
        for name, path in zip(("front", "left", "right"), clip.options.product, strict=False):
            photo, mask = read_photo(path)
            photos |= {name: photo[0], f"{name}_mask": None if mask is None else mask[0]}
        found = product_views(**photos).views
    else:
        found, _, _ = views_from_clip(clip.images, clip.read("product_mask"), on_step=clip.progress("views"))
    return dict(zip(VIEWS, found, strict=True))


def _placed(clip: Clip, dwpose) -> dict:
    photo = fit_person(read_photo(clip.options.person)[0], clip.options.short_side)
    size = photo.shape[2], photo.shape[1]
    poses, (own,) = clip.poses(), extract_poses(dwpose, photo)
    placement = fit_placement(poses, own, clip.size, size)
    hand, depth = (place_video(clip.read(what), placement, clip.progress(what)) for what in ("hand", "object_depth"))
    return {
        "photo": photo[0],
        "photo_pose": _drawn([own], size)[0] / 255,
        "placed_pose": _drawn([place_pose(pose, placement) for pose in poses], size),
        "placed_hand": hand,
        "placed_depth": depth,
    }


STAGES = (
    Stage(makes=("anchor_film",), make=_anchor_film, of=("film",)),
    Stage(
        makes=("product_mask",), make=_product_mask, of=("film", "keypoints"), tools=("sam",),
        settings=("point", "box", "frame"),
    ),
    Stage(makes=("object_depth",), make=_object_depth, of=("film", "product_mask"), tools=("depth",)),
    Stage(
        makes=("hand",), make=_hand, of=("film", "keypoints", "product_mask"), tools=("hamer",),
        settings=("field_of_view",),
    ),
    Stage(makes=("pose",), make=_pose, of=("film", "keypoints")),
    Stage(makes=("person", "person_pose"), make=_person, of=("film", "keypoints", "product_mask"), shared=True),
    Stage(makes=VIEWS, make=_views, of=("film", "product_mask"), settings=("product",), shared=True),
    Stage(
        makes=("photo", "photo_pose", "placed_pose", "placed_hand", "placed_depth"), make=_placed,
        of=("film", "keypoints", "hand", "object_depth"), tools=("dwpose",), settings=("person", "short_side"),
        wanted=lambda options: options.person is not None,
    ),
)

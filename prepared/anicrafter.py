"""AniCrafter's stages: what of a clip its training set and its graph take."""

import torch

from ..host.memory import compute_device
from ..media.photo import read_photo
from ..models.anicrafter.conditions import compose
from ..models.avatar.files import load_avatar
from ..models.avatar.render import render_avatar, render_body
from ..models.avatar.rig import rig_from_body
from ..models.avatar.standing import unposed
from ..preprocessors.background.remove import remove_person
from ..preprocessors.body_motion.estimate import estimate_motion
from ..preprocessors.segment.prompts import PERSON
from .common import best_frame, segment
from .stages import Clip, Stage


def _source(clip: Clip) -> dict:
    return {"source": clip.path("film")}


def _person_mask(clip: Clip, sam) -> dict:
    return {"person_mask": segment(clip, "person_mask", sam, poses=clip.poses(), find=PERSON)}


def _background(clip: Clip, propainter) -> dict:
    on_step = clip.progress("background")
    return {"background": remove_person(clip.images, clip.read("person_mask"), propainter, on_step=on_step)}


def _motion(clip: Clip, body, multihmr) -> dict:
    degrees, on_step = clip.options.field_of_view or None, clip.progress("motion")
    found, _ = estimate_motion(body, clip.poses(), clip.size, clip.fps, degrees, multihmr, clip.images, on_step)
    return {"motion": found}


def _mesh(clip: Clip, body) -> dict:
    drawn, mask = render_body(body, clip.read("motion"), *clip.size, clip.progress("mesh"), length=len(clip.images))
    return {"mesh": drawn, "mesh_mask": mask}


def _reference(clip: Clip) -> dict:
    if clip.options.character:
        photo, mask = read_photo(clip.options.character)
    else:
        best, masks = best_frame(clip.poses()), clip.read("person_mask")
        photo, mask = clip.images[best, None], masks[best, None]
    return {"reference": photo[0] if mask is None else torch.cat([photo[0], mask[0, ..., None]], -1)}


def _blend(clip: Clip, body) -> dict:
    avatar = load_avatar(clip.options.avatar)
    rig = rig_from_body(body, avatar.points, unposed(avatar, body.skeleton))
    drawn = render_avatar(
        avatar, rig, clip.read("motion"), *clip.size, compute_device(), on_step=clip.progress("avatar"),
        length=len(clip.images),
    )
    return {"blend": compose(drawn.image, drawn.alpha, clip.read("background"))}


STAGES = (
    Stage(makes=("source",), make=_source, of=("film",)),
    Stage(makes=("person_mask",), make=_person_mask, of=("film", "keypoints"), tools=("sam",)),
    Stage(makes=("background",), make=_background, of=("film", "person_mask"), tools=("propainter",)),
    Stage(
        makes=("motion",), make=_motion, of=("film", "keypoints"), tools=("body", "multihmr"),
        settings=("field_of_view",),
    ),
    Stage(makes=("mesh", "mesh_mask"), make=_mesh, of=("film", "motion"), tools=("body",)),
    Stage(makes=("reference",), make=_reference, of=("film", "keypoints", "person_mask"), settings=("character",)),
    Stage(
        makes=("blend",), make=_blend, of=("film", "motion", "background"), tools=("body",), settings=("avatar",),
        wanted=lambda options: options.avatar is not None,
    ),
)

"""How well conditions are found without any weights, against scenes in which everything is known exactly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..media.box import box_of
from ..metrics.masks import iou
from ..models.avatar.render import render_body
from ..models.body.anny import anny_body
from ..models.body.motion import BodyMotion
from ..preprocessors.background.plate import inpaint_smoothly
from ..preprocessors.background.remove import remove_person
from ..preprocessors.body_motion.estimate import MotionReport, estimate_motion
from ..preprocessors.condition_colours import inferno
from ..preprocessors.hand_mesh.hands import fit_hands, render_hands
from ..preprocessors.pose.keypoints import Pose
from ..preprocessors.product.object_depth import object_depth
from ..preprocessors.segment.flow import FlowTracker
from ..preprocessors.segment.prompts import Prompt
from ..preprocessors.segment.video import segment_video
from ..scenes.scene import Scene
from .judge import clip_psnr

NOISE = 0.002  # of the picture's longer side: how far a keypoint lies from the truth, about
BODY = 22  # joints without face and fingers
MARGIN = 3  # px that the product's box is too large


@dataclass(frozen=True)
class Found:
    """What the stages made of a scene, beside what it really is: pictures uint8 [F,H,W,3], masks bool [F,H,W]."""

    person: np.ndarray
    product: np.ndarray | None
    held: np.ndarray | None
    depth: np.ndarray | None
    hands: np.ndarray | None
    motion: BodyMotion
    report: MotionReport
    background: np.ndarray


def find_conditions(scene: Scene, on_stage: Callable[[str], None] = lambda stage: None) -> Found:
    """Every stage without weights, each from the true result of those before it, so that errors do not add up.

    Keypoints are the scene's, a little wrong (`NOISE`); the product is shown by a box on the first frame.
    """
    images, poses = torch.from_numpy(scene.frames).float() / 255, noisy(scene.poses, scene.size)
    degrees = float(np.degrees(2 * np.arctan(max(scene.size) / 2 / float(scene.motion.focal[0, 0]))))

    def masks(stage: str, prompts: Sequence[Prompt] = (), find: str | None = None) -> np.ndarray:
        on_stage(stage)
        return segment_video(FlowTracker(), images, prompts, poses, find)[0][1].numpy()

    product = held = depth = hands = None
    person = masks("person", find="person")
    if scene.product is not None:
        product = masks("product", [_box(scene.product_mask)])
        held = masks("what the hands hold", find="what the hands hold")
        on_stage("object depth")
        depth = object_depth(images, torch.from_numpy(scene.product_mask)).numpy()
        on_stage("hand mesh")
        hands = render_hands(
            fit_hands(poses, scene.size, scene.fps, degrees), torch.from_numpy(scene.product_mask)
        ).numpy()
    on_stage("body motion")
    motion, report = estimate_motion(anny_body(), poses, scene.size, scene.fps, degrees)
    on_stage("background")
    hole = torch.from_numpy(scene.objects > 0).float()
    background = (remove_person(images, hole, dilation=2, scale=1.0) * 255).round().byte().numpy()
    return Found(person, product, held, depth, hands, motion, report, background)


def score(scene: Scene, found: Found) -> dict[str, float]:
    """Of one scene; what it does not have is left out.

    IoU of the masks (the person's without what is held) and of the hand meshes' silhouettes; share of the hand mesh
    that lies on the visible product; the product's depth: correlation with the truth over all its pixels, and mean
    difference of the colours' levels; the body: see `joint_errors`, and the joints' mean acceleration before and after
    smoothing, m/s²; PSNR in the hole, in dB, and of the hole filled smoothly from its edge.
    """
    scores = {"person IoU": _iou(scene.person_mask, found.person & ~scene.product_mask)}
    if scene.product is not None:
        lit = scene.hand_mesh.any(-1)
        scores |= {
            "product IoU": _iou(scene.product_mask, found.product),
            "held IoU": _iou(scene.product_mask, found.held),
            "hand IoU": _iou(lit, found.hands.any(-1)),
            "hand on product": float((found.hands.any(-1) & scene.product_mask).sum() / found.hands.any(-1).sum()),
            "depth correlation": depth_correlation(scene, found.depth),
            "depth level": depth_level(scene, found.depth),
        }
    pixels, degrees = joint_errors(scene, found.motion)
    hole = scene.objects > 0
    smooth = np.stack([inpaint_smoothly(frame, mask) for frame, mask in zip(scene.frames, hole, strict=True)])
    return scores | {
        "joints, px": pixels,
        "bones, °": degrees,
        "jitter before": found.report.shaking_before,
        "jitter after": found.report.shaking,
        "hole PSNR": clip_psnr(scene.background, found.background, hole),
        "hole PSNR, smooth": clip_psnr(scene.background, smooth, hole),
    }


def noisy(poses: Sequence[Pose], size: tuple[int, int]) -> list[Pose]:
    """Keypoints as a network finds them: each off by about `NOISE`, anew in every frame, always in the same way."""
    draw = np.random.default_rng(0)
    off = np.append(NOISE * max(size) / np.array(size), 0)
    return [Pose(*(part + off * draw.standard_normal(part.shape) for part in pose.parts)) for pose in poses]


def depth_correlation(scene: Scene, depth: np.ndarray) -> float:
    """Pearson's, of the levels of uint8 colours [F,H,W,3] with the true inverse depth, over the product's pixels."""
    mask = scene.product_mask
    return float(np.corrcoef(_levels(depth[mask]), 1 / scene.depth[mask])[0, 1])


def depth_level(scene: Scene, depth: np.ndarray) -> float:
    """Mean difference of the product's levels, of 255, to those of the scene's own condition."""
    mask = scene.product_mask
    return float(np.abs(_levels(depth[mask]) - _levels(scene.object_depth[mask])).mean())


def joint_errors(scene: Scene, motion: BodyMotion) -> tuple[float, float]:
    """Mean distance in px of the body's joints, and mean angle in degrees of its bones to the true ones; of those that
    lie in the picture."""
    frames = list(motion.frames)
    skeleton = anny_body().skeleton
    true, found = scene.motion.joints(skeleton)[frames, :BODY], motion.joints(skeleton)[:, :BODY]

    def seen(points: torch.Tensor, of: BodyMotion) -> torch.Tensor:
        return points[..., :2] / points[..., 2:] * of.focal[:1, None] + of.principal[:1, None]

    at = seen(true, scene.motion)
    inside = ((at >= 0) & (at < torch.tensor(scene.size))).all(-1)
    parents = list(skeleton.parents[1:BODY])
    bones = [points[:, 1:] - points[:, parents] for points in (true, found)]
    angle = torch.rad2deg(torch.nn.functional.cosine_similarity(*bones, dim=-1).clamp(-1, 1).acos())
    both = inside[:, 1:] & inside[:, parents]
    return float((at - seen(found, motion)).norm(dim=-1)[inside].mean()), float(angle[both].mean())


def sheet(scene: Scene, found: Found, frame: int) -> np.ndarray:
    """uint8 picture of one frame [2·H,n·W,3], what was found above the truth: the clip, the person's and the product's
    mask, hand mesh, object depth, body mesh over the person, background."""
    picture = scene.frames[frame]

    def tinted(mask: np.ndarray) -> np.ndarray:
        return np.where(mask[frame][..., None], picture // 2 + np.array([127, 0, 127], np.uint8), picture)

    def over(motion: BodyMotion) -> np.ndarray:
        if frame not in motion.frames:
            return picture // 2
        mesh, mask = (shown[frame] for shown in render_body(anny_body(), motion, *scene.size))
        return np.where(mask.bool().numpy()[..., None], (mesh * 255).byte().numpy(), picture // 2)

    pairs = [(picture, picture), (tinted(found.person), tinted(scene.objects > 0))]
    if scene.product is not None:
        pairs += [
            (tinted(found.held), tinted(scene.product_mask)),
            (found.hands[frame], scene.hand_mesh[frame]),
            (found.depth[frame], scene.object_depth[frame]),
        ]
    pairs += [(over(found.motion), over(scene.motion)), (found.background[frame], scene.background[frame])]
    return np.concatenate([np.concatenate(row, 1) for row in zip(*pairs, strict=True)])


def _levels(colours: np.ndarray) -> np.ndarray:
    """The inferno levels of uint8 [N,3]."""
    table = inferno(torch.arange(256).byte()).numpy().astype(np.int64)
    key = {tuple(row): level for level, row in enumerate(table.tolist())}
    unique, place = np.unique(colours, axis=0, return_inverse=True)
    levels = np.array([key.get(tuple(row), int(((table - row) ** 2).sum(1).argmin())) for row in unique.tolist()])
    return levels[place.ravel()]


def _box(mask: np.ndarray) -> Prompt:
    """Around the product on the first frame that shows it."""
    frame = int(np.flatnonzero(mask.any((1, 2)))[0])
    height, width = mask.shape[1:]
    box = np.array(box_of(mask[frame])) + (-MARGIN, -MARGIN, MARGIN, MARGIN)
    return Prompt(frame, box=tuple(float(side) for side in np.clip(box, 0, (width, height, width, height))))


def _iou(truth: np.ndarray, found: np.ndarray) -> float:
    return iou((truth & found).sum((1, 2)), (truth | found).sum((1, 2)))

"""The hand-mesh condition of a clip: which keypoints are whose hand, meshes on them, and their picture."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ...media.frames import frame_ranges, gathered, resize, stepped
from ...models.body.layout import SIDES
from ...models.drawing.camera import Camera
from ...models.hmr.multihmr import intrinsics
from ..condition_colours import draw_hands, hand_condition
from ..pose.keypoints import VISIBLE, Pose
from .hand_fit import LEAST, STEPS, fit_hand, hand_distance, shows_hand
from .hand_model import hand_model

LONGEST_GAP = 0.2  # s; a hand that is lost for longer is away
_AT_ARMS_LENGTH = 2.0  # s, in which both hands stay about as far from the camera
_NEAREST = 0.1  # of the distances, which are right
_BODY_WRIST = {"left": 7, "right": 4}
_ONE_PLACE = 0.25  # of a hand's size: nearer to each other, two hands are one that was found twice


@dataclass(frozen=True)
class HandMeshes:
    """`vertices` [F,V,3] m before `camera`, `there` [F] bool and `faces` [f,3] by side.

    drawn: in which of the frames `render_hands` found each hand to be seen, bool [F] by side; as a text it is counted.
    """

    vertices: dict[str, torch.Tensor]
    there: dict[str, torch.Tensor]
    faces: dict[str, torch.Tensor]
    camera: Camera
    drawn: dict[str, torch.Tensor] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = {**self.there, **self.drawn}
        return ", ".join(f"{side} hand in {int(seen.sum())} of {len(seen)} frames" for side, seen in shown.items())


@torch.inference_mode(False)  # ComfyUI calls nodes in inference mode, in which nothing can be fitted
@torch.enable_grad()
def fit_hands(
    poses: Sequence[Pose], size: tuple[int, int], fps: float, degrees: float = 60.0,
    on_step: Callable[[int, int], None] | None = None,
) -> HandMeshes:
    """Anny's hands on the first person of each of `poses`, in pictures of `size` px (width, height).

    degrees: the camera's field of view over the longer side. A hand that is lost for at most a fifth of a second is
    carried over; otherwise it is missing. Raises ValueError when no frame shows a hand.
    """
    points = hand_points(poses, size)
    runs = {side: stretches(shows_hand(points[side]), int(fps * LONGEST_GAP)) for side in SIDES}
    if not any(runs.values()):
        raise ValueError(
            f"None of {len(poses)} frames shows a hand: at least {LEAST} of its 21 points must be found. Check the "
            "pose in a preview, or use a clip in which hands are larger."
        )
    camera = intrinsics(*size, degrees).float()
    total, done = STEPS * sum(map(len, runs.values())), 0

    def step(_: int, __: int) -> None:
        nonlocal done
        done += 1
        if on_step is not None:
            on_step(done, total)

    vertices, there, faces = {}, {}, {}
    usual = _usual_distance(points, camera, fps)
    for side in SIDES:
        model = hand_model(side)
        vertices[side] = torch.zeros(len(poses), *model.template.shape)
        there[side], faces[side] = torch.zeros(len(poses), dtype=torch.bool), model.faces
        for run in runs[side]:
            pose = fit_hand(model, points[side][run], camera, usual[run], step)
            vertices[side][run] = pose.to_camera(model.vertices(pose.angles))
            there[side][run] = True
    return HandMeshes(vertices, there, faces, Camera.centred(camera[0, 0].item(), *size))


def _usual_distance(points: dict[str, torch.Tensor], camera: torch.Tensor, fps: float) -> torch.Tensor:
    """How far from the camera hands are, m [F], by what `hand_distance` finds of both within some time. Bent, hidden
    or misplaced fingers make a hand look smaller, hardly ever larger: the nearest count."""
    found = torch.stack([hand_distance(hand_model(side), points[side], camera) for side in SIDES], 1)
    reach = round(_AT_ARMS_LENGTH * fps)
    around = [found[max(frame - reach, 0) : frame + reach + 1].flatten() for frame in range(len(found))]
    usual = torch.stack([distances.nanquantile(_NEAREST) for distances in around])
    return usual.where(usual.isfinite(), found.flatten().nanquantile(_NEAREST))  # no hand for long


def hand_points(poses: Sequence[Pose], size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """[F,21,3] (x, y px, score; 0 for what does not count) by side, crossed ones put right by the body's wrists."""
    rows = {side: np.zeros((len(poses), 21, 3)) for side in SIDES}
    scale = np.array([*size, 1.0])
    for frame, pose in enumerate(poses):
        if not pose.people:
            continue
        hands = {"left": pose.left_hand[0] * scale, "right": pose.right_hand[0] * scale}
        wrists = {side: pose.body[0, joint] * scale for side, joint in _BODY_WRIST.items()}
        for side, points in _whose(hands, wrists).items():
            seen = (points[:, 2] > VISIBLE) & np.isfinite(points).all(1)
            rows[side][frame] = np.where(seen[:, None], points, 0)
    return {side: torch.from_numpy(points).float() for side, points in rows.items()}


def _whose(hands: dict[str, np.ndarray], wrists: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The hands by the side they belong to."""
    first = {side: points[0] for side, points in hands.items()}
    known = all(point[2] > VISIBLE for point in [*first.values(), *wrists.values()])
    if not known:
        return hands

    def far(hand: str, wrist: str) -> float:
        return float(np.linalg.norm(first[hand][:2] - wrists[wrist][:2]))

    extent = max(float(np.ptp(points[points[:, 2] > VISIBLE, :2], axis=0).max()) for points in hands.values())
    if np.linalg.norm(first["left"][:2] - first["right"][:2]) < _ONE_PLACE * extent:
        # Hands may touch, but then so do the body's wrists.
        if np.linalg.norm(wrists["left"][:2] - wrists["right"][:2]) > extent:
            own = min(SIDES, key=lambda side: far(side, side))
            return {own: hands[own]}
        return hands
    if far("left", "right") + far("right", "left") < 0.5 * (far("left", "left") + far("right", "right")):
        return {"left": hands["right"], "right": hands["left"]}
    return hands


def render_hands(
    meshes: HandMeshes, product: torch.Tensor | None = None, on_step: Callable[[int, int], None] | None = None
) -> torch.Tensor:
    """AnchorCrafter's hand condition, uint8 RGB [F,H,W,3]; see `hand_pictures`."""
    return gathered(hand_pictures(meshes, product, on_step), len(next(iter(meshes.there.values()))))


def hand_pictures(
    meshes: HandMeshes, product: torch.Tensor | None = None, on_step: Callable[[int, int], None] | None = None
) -> Iterator[torch.Tensor]:
    """AnchorCrafter's hand condition frame by frame, uint8 RGB [H,W,3]: hands on black, without what the visible
    product covers.

    product: [F,H,W], bool or 0…1, at the meshes' size. The nearer hand covers the other. Notes in `meshes.drawn` where
    each hand is to be seen, and warns of gaps. Raises ValueError for a product of another size.
    """
    width, height = meshes.camera.size
    frames = len(next(iter(meshes.there.values())))
    if product is not None and product.shape != (frames, height, width):
        raise ValueError(
            f"The hands fill {frames} frames of {width}x{height} pixels, the product mask is {list(product.shape)}."
        )
    meshes.drawn.update({side: torch.zeros(frames, dtype=torch.bool) for side in meshes.there})

    def draw(frame: int) -> torch.Tensor:
        sides = [side for side, there in meshes.there.items() if there[frame]]
        if not sides:
            return torch.zeros(height, width, 3, dtype=torch.uint8)
        vertices = [meshes.vertices[side][frame] for side in sides]
        faces = [meshes.faces[side] + count for side, count in zip(sides, (0, len(vertices[0])), strict=False)]
        picture, face = draw_hands(torch.cat(vertices), torch.cat(faces), meshes.camera)
        shown = face if product is None else face[product[frame] < 0.5]
        for side, first in zip(sides, (0, len(faces[0])), strict=False):
            meshes.drawn[side][frame] = ((shown >= first) & (shown < first + len(meshes.faces[side]))).any()
        return picture

    for frame in stepped(range(frames), on_step):
        picture = draw(frame)
        yield picture if product is None else hand_condition(picture[None], product[frame, None])[0]
    for side, seen in meshes.drawn.items():
        if seen.any() and not seen.all():
            missing = frame_ranges(torch.nonzero(~seen)[:, 0].tolist())
            logging.getLogger(__name__).warning("The %s hand is not drawn in frames %s.", side, missing)


def masks_at(product: torch.Tensor, count: int, width: int, height: int) -> torch.Tensor:
    """The product's masks [count,height,width] for `render_hands`, of [count,h,w], or of one for all frames.

    Raises ValueError for another number.
    """
    if len(product) not in (1, count):
        raise ValueError(f"There are {count} frames but {len(product)} product masks: give one or as many.")
    product = product.cpu().expand(count, -1, -1)
    return resize(product.permute(1, 2, 0), width, height).permute(2, 0, 1)


def stretches(seen: torch.Tensor, longest_gap: int) -> list[slice]:
    """Stretches of frames with a hand, over gaps of at most `longest_gap` frames."""
    runs: list[slice] = []
    for frame in torch.nonzero(seen)[:, 0].tolist():
        if runs and frame - runs[-1].stop <= longest_gap:
            runs[-1] = slice(runs[-1].start, frame + 1)
        else:
            runs.append(slice(frame, frame + 1))
    return runs

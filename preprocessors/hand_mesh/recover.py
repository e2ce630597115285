"""Hand meshes as HaMeR sees them: MANO's right hand, and its mirror image."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ...models.body.layout import SIDES
from ...models.body.rotation import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
)
from ...models.drawing.camera import Camera
from ...models.hmr.hamer import HandParameters, full_translation, scaled_focal
from ...models.hmr.mano import Mano
from ...models.loaded import Loaded
from ...models.normalise import IMAGENET, normalise
from ..body_motion.smooth import smooth_pose, smooth_translation
from ..body_motion.targets import SURE
from ..pose.keypoints import Pose
from .crop import hand_crop
from .hands import LONGEST_GAP, HandMeshes, hand_points, stretches

_LEAST = 4  # sure points that make a hand


def recover_hands(
    network: Loaded, mano: Mano, images: torch.Tensor, poses: Sequence[Pose], fps: float,
    on_step: Callable[[int, int], None] | None = None,
) -> HandMeshes:
    """HaMeR's hands of the first person of each of `poses`, smoothed over time.

    images: float [F,H,W,3] in 0…1. Raises ValueError when no frame shows a hand.
    """
    height, width = images.shape[1:3]
    points = hand_points(poses, (width, height))
    sure = {side: points[side][..., 2] > SURE for side in SIDES}
    runs = {side: stretches(sure[side].sum(1) >= _LEAST, int(fps * LONGEST_GAP)) for side in SIDES}
    if not any(runs.values()):
        raise ValueError(
            f"None of {len(poses)} frames shows a hand: at least {_LEAST} of its 21 points must score above {SURE}."
        )
    device, dtype = network.load(), network.dtype
    total, done = sum(run.stop - run.start for side in SIDES for run in runs[side]), 0
    vertices, there, faces = {}, {}, {}
    for side in SIDES:
        right = side == "right"
        mirror = torch.tensor([1.0 if right else -1.0, 1.0, 1.0])
        vertices[side] = torch.zeros(len(poses), *mano.template.shape)
        there[side] = torch.zeros(len(poses), dtype=torch.bool)
        faces[side] = mano.faces if right else mano.faces.flip(1)
        for run in runs[side]:
            found, places = [], []
            for frame in range(run.start, run.stop):
                seen = sure[side][frame]
                if int(seen.sum()) >= _LEAST:  # over a gap the last box stays
                    xy = points[side][frame, seen, :2].double().numpy()
                    box = np.concatenate([xy.min(0), xy.max(0)])
                image = (images[frame, ..., :3] * 255).round().byte().cpu().numpy()
                crop = hand_crop(image, box, right)
                pixels = normalise(torch.from_numpy(crop.pixels).permute(2, 0, 1)[None] / 255, IMAGENET)
                with torch.no_grad():
                    hand = HandParameters(*(x.float().cpu() for x in network.module(pixels.to(device, dtype))))
                found.append(hand)
                places.append(
                    full_translation(
                        hand.cam, torch.from_numpy(crop.centre).float()[None], torch.tensor([crop.side]),
                        torch.tensor([[width, height]]), torch.tensor([int(right)]),
                    )
                )
                done += 1
                if on_step is not None:
                    on_step(done, total)
            pose = matrix_to_axis_angle(torch.cat([hand.rotations for hand in found]))
            betas = torch.cat([hand.betas for hand in found]).mean(0).expand(len(found), -1)
            shape = mano.vertices(axis_angle_to_matrix(smooth_pose(pose, fps)), betas)
            vertices[side][run] = shape * mirror + smooth_translation(torch.cat(places), fps)[:, None]
            there[side][run] = True
    focal = scaled_focal(torch.tensor([width, height])).item()
    return HandMeshes(vertices, there, faces, Camera.centred(focal, width, height))

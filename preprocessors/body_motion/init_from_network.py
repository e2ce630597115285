"""Where the fit starts when Multi-HMR has seen the person."""

from collections.abc import Callable

import torch

from ...models.hmr.multihmr import FIELD_OF_VIEW, find_cells, find_in_window, intrinsics, unproject
from ...models.loaded import Loaded
from .body_points import BodyPoints
from .fit import Fit, project_body
from .person_crop import person_crop, search_window

_SURE, _LEAST = 0.3, 0.1  # scores of people; what scores less than the second is nobody


def fit_from_network(
    network: Loaded, body: BodyPoints, images: torch.Tensor, keypoints: torch.Tensor, box: torch.Tensor,
    camera: torch.Tensor, on_step: Callable[[int, int], None] | None = None,
) -> Fit | None:
    """Pose, shape and place in each of `images` [F,H,W,3] (0…1) of the person with those COCO-WholeBody `keypoints`
    [F,133,3] and `box` [F,4] px, before `camera` [3,3]; None when it is seen nowhere.

    Where it is not seen it stays as in the nearest frame where it is (AniCrafter, `TemporalSMPLify`).
    """
    device, dtype = network.load(), network.dtype
    module = network.module
    height, width = images.shape[1:3]
    crop_camera = intrinsics(module.image, module.image)
    # The network's distances are for 60°: under a smaller angle the same picture is farther away.
    farther = (camera[0, 0] / intrinsics(width, height, FIELD_OF_VIEW)[0, 0]).float()
    found: dict[int, tuple[torch.Tensor, ...]] = {}
    for frame, image in enumerate(images):
        picture, crop = person_crop(image, box[frame].double().numpy(), module.image)
        with torch.no_grad():
            tokens = module.tokens(picture[None].to(device, dtype))
            scores = module.scores(tokens)
            window = search_window(keypoints[frame].double().numpy(), crop)
            cell = find_in_window(scores, _SURE, window) if window else _anywhere(scores)
            people = module(tokens, crop_camera[None].float().to(device), scores, cell)
        if people.score.max() >= _LEAST:
            rotations, betas = people.rotations.float().cpu(), people.betas.float().cpu()
            place, distance = people.place.float().cpu(), people.distance.float().cpu()
            head = unproject(place, distance, crop_camera.float())
            at = body(rotations[:, 1:], betas)
            points = project_body(at.points, at, rotations[:, 0], head, crop_camera.float())
            largest = (points.amax(1) - points.amin(1)).prod(1).argmax()
            place, distance = crop.to_picture(place, distance)
            full = unproject(place, distance * farther, camera.float())
            found[frame] = rotations[largest], betas[largest], full[largest]
        if on_step is not None:
            on_step(frame + 1, len(images))
    if not found:
        return None
    nearest = [min(found, key=lambda other: abs(other - frame)) for frame in range(len(images))]
    return Fit(*(torch.stack(rows) for rows in zip(*(found[frame] for frame in nearest), strict=True)))


def _anywhere(scores: torch.Tensor) -> torch.Tensor:
    cell = find_cells(scores, _SURE, suppress=False)
    return cell if len(cell) else find_cells(scores, scores.max().item(), suppress=False)[:1]

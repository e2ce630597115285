"""The photo that becomes an avatar: cut out, framed as LHM was trained, and its head beside it (LHM, section on input).

Photos are upright: whoever reads a file turns it by its EXIF orientation, as ComfyUI's Load Image does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .keypoints import VISIBLE, Pose
from .plain_background import TOLERANCE, find_on_plain_background
from .segment.flow import FlowTracker
from .segment.from_pose import LIMBS
from .segment.video import segment_video

WIDTH, HEIGHT = 1022, 1694  # what LHM sees of the body
ASPECT = 5 / 3
LONG_SIDE = 896  # which it was once shrunk to, as published
HEAD_SIDE = 448
BODY_MARGIN = 1.1
HEAD_MARGIN = 1.65  # of the root of the head box's area
MIN_PERSON = 64  # px
SECOND_PERSON = 0.25  # of the first one's area
SMALLEST_GAP = 5e-4  # of the person's area, where the background is seen between arm and body
THICK = 0.03  # of the person's height: so far around bones nothing is background
# A face's 68 points end at brows and jaw; the head is that much taller and wider.
HEAD_HEIGHT, HEAD_WIDTH = 1.8, 1.25
JAW, CHIN, BROWS = [0, 16], 8, slice(17, 27)
FACE_JOINTS, NECK = [0, 14, 15, 16, 17], 1  # nose, eyes, ears
EYES, SHOULDERS, TRUNK = [14, 15], [2, 5], [2, 5, 11, 8]
NECK_TO_HEAD = 1.6  # the head's height in distances of its middle from the neck
# Which part of a standing person lies above a joint; the lowest joint seen tells how much the photo shows.
REACH = {1.0: [10, 13], 0.75: [9, 12], 0.5: [8, 11], 0.25: [2, 5]}  # ankles, knees, hips, shoulders


@dataclass(frozen=True)
class Character:
    """body [1,1694,1022,3], the person on white; head [1,448,448,3] or None; both in 0…1.

    photo [H,W,3] in 0…1 as it was given, mask [H,W] bool and pose: where the person is in it. visible_ratio: which part
    of a standing person it shows, 0.25…1. notes: sentences on what may be wrong with it.
    """

    body: torch.Tensor
    head: torch.Tensor | None
    photo: torch.Tensor
    mask: torch.Tensor
    pose: Pose
    visible_ratio: float
    notes: tuple[str, ...] = ()

    def sheet(self) -> torch.Tensor:
        """What the network sees, side by side: [1,H,W,3]."""
        picture = self.body[0, ::2, ::2]
        if self.head is None:
            return picture[None]
        beside = torch.ones(picture.shape[0], HEAD_SIDE, 3)
        beside[:HEAD_SIDE] = self.head[0]
        return torch.cat([picture, beside], dim=1)[None]


def prepare_character(
    image: torch.Tensor, poses: Sequence[Pose], mask: torch.Tensor | None = None, with_head: bool = True
) -> Character:
    """From a photo [1,H,W,1, 3 or 4] in 0…1 and the pose of the people in it.

    The person is where `mask` [1,H,W] is 1; without one, where the photo's alpha is, or what stands on a plain
    background, or else what colours and pose tell. with_head=False does without the head's close-up.

    Raises ValueError saying what is wrong and what to do: several pictures, no person or several, only a face, no
    head, too small.
    """
    if image.ndim != 4 or len(image) != 1 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(f"A character is made from one photo [1,H,W,3]; this is {[*image.shape]}.")
    if len(poses) != 1:
        raise ValueError(f"There are {len(poses)} poses for one photo: connect the pose of that photo.")
    photo = image[0].float().cpu().clamp(0, 1)
    rgb = photo[..., :3] if photo.shape[-1] > 1 else photo.expand(-1, -1, 3)
    where, notes = _given_mask(photo, mask), []
    pose = _only_person(poses[0], where, chosen=mask is not None)
    ratio = visible_ratio(pose)
    if where is None:
        where, note = _cut_out(rgb, pose)
        notes += note
    rows = where.any(1).nonzero()
    tall = int(rows.max() - rows.min()) + 1
    if tall < MIN_PERSON:
        raise ValueError(f"The person is only {tall} pixels tall: take a larger photo (at least {MIN_PERSON}).")
    if from_behind(pose):
        notes.append("The person is seen from behind: the avatar will have no face.")
    on_white = torch.where(where[..., None], rgb, torch.ones(3)).numpy()
    head = _head(on_white, pose) if with_head else None
    return Character(_body(on_white, where.numpy()), head, rgb.contiguous(), where, pose, ratio, tuple(notes))


def visible_ratio(pose: Pose) -> float:
    """Which part of a standing person the photo shows, by the lowest joints seen. Raises ValueError for a face only."""
    for ratio, joints in REACH.items():
        if _seen(pose.body[0])[joints].any():
            return ratio
    raise ValueError("The photo shows no more than a face: take one that shows at least head and shoulders.")


def _seen(points: np.ndarray) -> np.ndarray:
    inside = (points[:, :2] >= 0).all(axis=1) & (points[:, :2] <= 1).all(axis=1)
    return inside & (points[:, 2] > VISIBLE)


def from_behind(pose: Pose) -> bool:
    """Whether no eye is seen and the left shoulder is where the right one of somebody who faces the camera is."""
    body, seen = pose.body[0], _seen(pose.body[0])
    return not seen[EYES].any() and bool(seen[SHOULDERS].all()) and body[SHOULDERS[1], 0] < body[SHOULDERS[0], 0]


def _given_mask(photo: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    """Bool [H,W], of `mask` or the photo's alpha; None where neither says anything."""
    if mask is not None:
        mask, size = mask.reshape(-1, *mask.shape[-2:]), photo.shape[:2]
        if mask.shape != (1, *size):
            raise ValueError(
                f"The mask is {mask.shape[2]}×{mask.shape[1]} ({len(mask)} of them) but the photo {size[1]}×{size[0]}: "
                "connect the mask of this photo."
            )
        where = mask[0].cpu() > 0.5
    elif photo.shape[-1] == 4 and not (photo[..., 3] > 0.5).all():
        where = photo[..., 3] > 0.5
    else:
        return None
    if not where.any():
        raise ValueError("The mask shows no person: it must be 1 where the person is.")
    return where


def _cut_out(rgb: torch.Tensor, pose: Pose) -> tuple[torch.Tensor, list[str]]:
    """The person's mask [H,W], found by a plain background or by colours along the bones, and what to say of it."""
    found, _ = find_on_plain_background(rgb.numpy())
    if found is None:
        masks, _ = segment_video(FlowTracker(), rgb[None], poses=[pose], find="person")
        return masks[1][0], [
            "The background is not plain: the person is cut out by colours, roughly. Segment Video with Load SAM, "
            "connected as mask, does it better."
        ]
    _one_piece(found)
    return torch.from_numpy(found & ~_gaps(rgb.numpy(), found, pose)), []


def _gaps(rgb: np.ndarray, where: np.ndarray, pose: Pose) -> np.ndarray:
    """Where a plain background is seen through the person, as between arm and body: its colour, and no bone there."""
    import cv2

    height, width = where.shape
    plain = where & (np.abs(rgb - np.median(rgb[~where], axis=0)).max(axis=-1) <= TOLERANCE)
    bones, seen = np.zeros((height, width), np.uint8), _seen(pose.body[0])
    at = (np.nan_to_num(pose.body[0, :, :2]) * (width, height)).round().astype(int)
    thick = max(1, round(2 * THICK * np.ptp(np.flatnonzero(where.any(axis=1)))))
    for a, b in LIMBS:
        if seen[a] and seen[b]:
            cv2.line(bones, at[a].tolist(), at[b].tolist(), 1, thick)
    if seen[TRUNK].all():
        cv2.fillConvexPoly(bones, at[TRUNK], 1)
    _, region, stats, _ = cv2.connectedComponentsWithStats(plain.astype(np.uint8), connectivity=4)
    gap = stats[:, cv2.CC_STAT_AREA] >= SMALLEST_GAP * where.sum()
    gap[0] = False
    gap[np.unique(region[bones > 0])] = False
    # The outermost pixels around it are a mixture.
    return cv2.dilate(gap[region].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


TWO = "There are several people in the photo: connect a mask that is 1 on one of them, or cut the photo."


def _one_piece(mask: np.ndarray) -> None:
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    area = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1]
    if len(area) > 1 and area[1] > SECOND_PERSON * area[0]:
        raise ValueError(TWO)


def _only_person(pose: Pose, where: torch.Tensor | None, chosen: bool) -> Pose:
    """The one person of `pose`; of several, if one was chosen by a mask, the one with most joints in it."""
    people = [i for i in range(pose.people) if _seen(pose.body[i]).any()]
    if not people:
        raise ValueError("No person was found in the photo: take one that shows head and torso clearly.")
    sizes = {i: float(np.ptp(pose.body[i][_seen(pose.body[i]), :2], axis=0).prod()) for i in people}
    people.sort(key=sizes.get, reverse=True)
    if len(people) > 1 and not chosen and sizes[people[1]] > SECOND_PERSON * sizes[people[0]]:
        raise ValueError(TWO)
    if where is None:
        return pose.person(people[0])

    def inside(person: int) -> int:
        points = pose.body[person][_seen(pose.body[person])]
        height, width = where.shape
        x, y = ((points[:, i] * side).astype(int).clip(0, side - 1) for i, side in enumerate((width, height)))
        return int(where.numpy()[y, x].sum())

    best = max(people, key=inside)
    if not inside(best):
        raise ValueError("No joint of the person lies in the mask: connect mask and pose of the same photo.")
    return pose.person(best)


def _body(on_white: np.ndarray, where: np.ndarray) -> torch.Tensor:
    """The person with a tenth around it, made 5:3 by white at both sides or above, in LHM's size."""
    import cv2

    (top, bottom), (left, right) = (_span(where.any(axis)) for axis in (1, 0))
    crop = on_white[top:bottom, left:right]
    height, width = crop.shape[:2]
    above, beside = max(0, round(width * ASPECT) - height), max(0, round(height / ASPECT) - width)
    crop = np.pad(crop, ((above, 0), (beside // 2, beside - beside // 2), (0, 0)), constant_values=1.0)
    scale = LONG_SIDE / crop.shape[0]
    crop = cv2.resize(crop, (max(1, int(crop.shape[1] * scale)), LONG_SIDE), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))[None]


def _span(seen: np.ndarray) -> tuple[int, int]:
    """First and last+1 of a line that is seen, a tenth larger, within the photo."""
    at = np.flatnonzero(seen)
    middle, half = (at[0] + at[-1] + 1) / 2, (at[-1] + 1 - at[0]) * BODY_MARGIN / 2
    return max(0, int(middle - half)), min(len(seen), int(np.ceil(middle + half)))


def _head(on_white: np.ndarray, pose: Pose) -> torch.Tensor:
    """The head's close-up; what lies outside the photo is white."""
    import cv2

    height, width = on_white.shape[:2]
    found = head_square(pose, width, height)
    if found is None:
        raise ValueError(
            "No head was found in the photo: take one that shows it, or switch `head` off to make the avatar from the "
            "body alone."
        )
    x, y, side = found
    scale = HEAD_SIDE / side
    if scale < 1:  # shrink over areas, then cut: a warp would skip pixels
        on_white = cv2.resize(on_white, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        x, y, scale = x * scale, y * scale, 1.0
    corner = np.array([[scale, 0, HEAD_SIDE / 2 - scale * x], [0, scale, HEAD_SIDE / 2 - scale * y]])
    crop = cv2.warpAffine(
        on_white, corner, (HEAD_SIDE, HEAD_SIDE), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(1.0, 1.0, 1.0),
    )  # fmt: skip
    return torch.from_numpy(crop)[None]


def head_square(pose: Pose, width: int, height: int) -> tuple[float, float, float] | None:
    """Middle x, y and side, px, of the square around the head of the pose's first person; None where no head is seen.

    By the face's points, from which the skull is reckoned; of a head seen from the side or behind by eyes, ears and
    neck.
    """
    size = np.array([width, height])
    face, body = pose.face[0], pose.body[0]
    if _seen(face)[[*JAW, CHIN]].all() and _seen(face)[BROWS].any():
        points = face[:, :2] * size
        brow = points[BROWS][_seen(face)[BROWS]].mean(axis=0)
        up = (brow - points[CHIN]) * HEAD_HEIGHT
        across = np.linalg.norm(points[JAW[1]] - points[JAW[0]]) * HEAD_WIDTH
        tall = np.linalg.norm(up)
        middle = points[CHIN] + up / 2
        # In a profile the jaw's two ends meet; a head is never so slender.
        side = np.sqrt(tall * max(across, 0.7 * tall))
    else:
        seen = [joint for joint in FACE_JOINTS if _seen(body)[joint]]
        if len(seen) < 2 or not _seen(body)[NECK]:
            return None
        middle = (body[seen, :2] * size).mean(axis=0)
        side = NECK_TO_HEAD * np.linalg.norm(middle - body[NECK, :2] * size)
    return (float(middle[0]), float(middle[1]), float(HEAD_MARGIN * side)) if side >= 4 else None

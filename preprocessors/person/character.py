"""The photo that becomes an avatar: cut out, framed as LHM was trained, and its head beside it (LHM, section on input).

Photos are upright: whoever reads a file turns it by its EXIF orientation, as ComfyUI's Load Image does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...media.box import box_of
from ..plain_background import TOLERANCE, find_on_plain_background
from ..pose.keypoints import VISIBLE, Pose
from ..segment.body import AWAY, NEAR, SURE, draw_body
from ..segment.flow import FlowTracker
from ..segment.grabcut import ROUNDS, WIDE, cut
from ..segment.video import segment_video

WIDTH, HEIGHT = 1022, 1694  # what LHM sees of the body
ASPECT = 5 / 3
LONG_SIDE = 896  # which it was once shrunk to, as published
HEAD_SIDE = 448
BODY_MARGIN = 1.1
HEAD_MARGIN = 1.65  # of the root of the head box's area
MIN_PERSON = 64  # px
SECOND_PERSON = 0.25  # of the first one's area
SMALLEST_GAP = 5e-4  # of the person's area, where the background is seen between arm and body
ALIKE = 0.08  # of the surest part of the body, in the background's colour: more is worth a word
BESIDE = 0.15  # of the person's area, beyond what the pose explains: more is worth a word
CUT_AT = 960  # px of the longer side that GrabCut works at
# A face's 68 points end at brows and jaw; the head is that much taller and wider.
HEAD_HEIGHT, HEAD_WIDTH = 1.8, 1.25
JAW, CHIN, BROWS = [0, 16], 8, slice(17, 27)
FACE_JOINTS, NECK = [0, 14, 15, 16, 17], 1  # nose, eyes, ears
EYES, SHOULDERS = [14, 15], [2, 5]
NECK_TO_HEAD = 1.6  # the head's height in distances of its middle from the neck
# Which part of a standing person lies above a joint; the lowest joint seen tells how much the photo shows.
REACH = {1.0: [10, 13], 0.75: [9, 12], 0.5: [8, 11], 0.25: [2, 5]}  # ankles, knees, hips, shoulders
SEVERAL_PEOPLE = "There are several people in the photo: connect a mask that is 1 on one of them, or cut the photo."


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
    chosen = _only_person(poses[0], where, by_mask=mask is not None)
    pose = poses[0].person(chosen)
    ratio = visible_ratio(pose)
    if where is None:
        others = [poses[0].person(i) for i in range(poses[0].people) if i != chosen]
        where, note = _cut_out(rgb, pose, others)
        notes += note
    _, top, _, bottom = box_of(where)
    tall = bottom - top
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


def _cut_out(rgb: torch.Tensor, pose: Pose, others: Sequence[Pose]) -> tuple[torch.Tensor, list[str]]:
    """The person's mask [H,W], found by a plain background or by colours along the bones, and what to say of it."""
    photo, notes = rgb.numpy(), []
    where, _ = find_on_plain_background(photo)
    body = _body_levels(pose, photo.shape)
    if where is None:
        masks, reports = segment_video(FlowTracker(), rgb[None], poses=[pose], find="person")
        where = masks[1][0].numpy()
        notes.append(
            "The background is not plain: the person is cut out by colours, roughly. Segment Video with Load SAM, "
            "connected as mask, does it better."
        )
        if reports[1].doubt:
            notes.append("What was cut out is far from the body that the pose shows: look at the mask.")
    elif body is None:
        _one_piece(where)
    else:
        where, alike = _by_body(photo, where, body)
        if alike > ALIKE:
            notes.append(
                f"{alike:.0%} of the person has the colour of the background: there the cut-out follows the pose "
                "and may be wrong. Connect a mask, such as of Segment Video with Load SAM."
            )
    if body is None:
        return torch.from_numpy(where), notes
    for other in others:
        theirs = _body_levels(other, photo.shape)
        if theirs is not None:
            where = where & ~((theirs >= NEAR) & (theirs > body))
    own = _touching(where, body == SURE)
    if (where & ~own).sum() > SECOND_PERSON * own.sum():
        notes.append("Something as large as a second person stands apart from the person and was left out.")
    beside = float((own & (body == AWAY)).sum() / max(1, own.sum()))
    if beside > BESIDE:
        notes.append(
            f"{beside:.0%} of what was cut out lies beside the body that the pose shows: if it is somebody or "
            "something else, connect a mask that is 1 on the person."
        )
    return torch.from_numpy(own), notes


def _body_levels(pose: Pose, shape: tuple[int, ...]) -> np.ndarray | None:
    """`draw_body` in a photo of that height and width; joints outside of it are not used."""
    seen = _seen(pose.body[0])
    body = np.where(seen[:, None], pose.body[0], (np.nan, np.nan, 0))
    return draw_body(replace(pose, body=body[None]), (shape[1], shape[0]))


def _by_body(photo: np.ndarray, where: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, float]:
    """The mask corrected where the colour of the plain background says nothing: on the body, and between its limbs.
    And which share of the body's surest part has that colour."""
    import cv2

    plain = np.abs(photo - np.median(photo[~where], axis=0)).max(axis=-1) <= TOLERANCE
    zoom = min(1.0, CUT_AT / max(where.shape))
    size = tuple(max(1, round(side * zoom)) for side in where.shape[::-1])

    def small(picture: np.ndarray) -> np.ndarray:
        return cv2.resize(picture.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)

    # What is unlike the background is the person. Of the rest the body knows some, GrabCut tells the rest.
    labels = np.choose(body, (cv2.GC_BGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD, cv2.GC_FGD)).astype(np.uint8)
    labels[where & ~plain] = cv2.GC_FGD
    labels[~where & ~plain & (body < SURE)] = cv2.GC_PR_BGD
    pixels = cv2.resize((photo * 255).round().astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    found = cut(pixels, small(labels), ROUNDS, WIDE).astype(np.float32)
    found = cv2.resize(found, where.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    unsure = (plain | ~where) & (body > AWAY)
    _, region, stats, _ = cv2.connectedComponentsWithStats((unsure & where & ~found).astype(np.uint8), connectivity=4)
    gap = (stats[:, cv2.CC_STAT_AREA] >= SMALLEST_GAP * where.sum())[region] & (region > 0)
    # The outermost pixels around a gap are a mixture.
    gap = cv2.dilate(gap.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return (where & ~gap) | (unsure & found), float((plain & (body == SURE)).sum() / max(1, (body == SURE).sum()))


def _touching(mask: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The pieces of the mask that share a pixel with `core`; the mask itself if none does."""
    import cv2

    _, piece = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    kept = np.unique(piece[core & mask])
    return np.isin(piece, kept) if len(kept) else mask


def _one_piece(mask: np.ndarray) -> None:
    import cv2

    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    area = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1]
    if len(area) > 1 and area[1] > SECOND_PERSON * area[0]:
        raise ValueError(SEVERAL_PEOPLE)


def _only_person(pose: Pose, where: torch.Tensor | None, by_mask: bool) -> int:
    """The number of the one person of `pose`; of several, chosen by a mask, that of the one with most joints in it."""
    people = [i for i in range(pose.people) if _seen(pose.body[i]).any()]
    if not people:
        raise ValueError("No person was found in the photo: take one that shows head and torso clearly.")
    sizes = {i: float(np.ptp(pose.body[i][_seen(pose.body[i]), :2], axis=0).prod()) for i in people}
    people.sort(key=sizes.get, reverse=True)
    if len(people) > 1 and not by_mask and sizes[people[1]] > SECOND_PERSON * sizes[people[0]]:
        raise ValueError(SEVERAL_PEOPLE)
    if where is None:
        return people[0]

    def inside(person: int) -> int:
        points = pose.body[person][_seen(pose.body[person])]
        height, width = where.shape
        x, y = ((points[:, i] * side).astype(int).clip(0, side - 1) for i, side in enumerate((width, height)))
        return int(where.numpy()[y, x].sum())

    best = max(people, key=inside)
    if not inside(best):
        raise ValueError("No joint of the person lies in the mask: connect mask and pose of the same photo.")
    return best


def _body(on_white: np.ndarray, where: np.ndarray) -> torch.Tensor:
    """The person with a tenth around it, made 5:3 by white at both sides or above, in LHM's size."""
    import cv2

    left, top, right, bottom = box_of(where)
    crop = on_white[_grown(top, bottom, where.shape[0]), _grown(left, right, where.shape[1])]
    height, width = crop.shape[:2]
    above, beside = max(0, round(width * ASPECT) - height), max(0, round(height / ASPECT) - width)
    crop = np.pad(crop, ((above, 0), (beside // 2, beside - beside // 2), (0, 0)), constant_values=1.0)
    scale = LONG_SIDE / crop.shape[0]
    crop = cv2.resize(crop, (max(1, int(crop.shape[1] * scale)), LONG_SIDE), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))[None]


def _grown(first: int, end: int, size: int) -> slice:
    """A tenth larger, within the photo."""
    middle, half = (first + end) / 2, (end - first) * BODY_MARGIN / 2
    return slice(max(0, int(middle - half)), min(size, int(np.ceil(middle + half))))


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
    )
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

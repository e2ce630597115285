"""One person of a clip: chosen once, and found again in every frame by where the joints are."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations

import numpy as np

from ...media.frames import frame_ranges
from .keypoints import VISIBLE, Pose

PATIENCE = 8  # frames for which somebody who is hidden is looked for where they would be by then
NEAR = 0.7  # of half a body's height: as far as somebody may be from there, less where they are scored low
RETURN = 1.5  # as far, and as unlike in size, as somebody may be who was longer away, a little more for each frame
UNSURE = 0.5  # of a person's usual scores: points scored lower are no person (DWPose takes an empty picture for one)
CLEAR = 0.15  # so much nearer one must be than anybody else not to be mistaken
FEWEST = 3  # joints seen in both that tell how far apart two figures are


@dataclass
class _Seen:
    """Somebody in one frame: joints xy [18,2], NaN where not seen; their scores' mean; size: the root of the area that
    their box has inside the picture."""

    person: int
    xy: np.ndarray
    score: float
    size: float


@dataclass
class _Track:
    """The same person by frames, each right after the one before or after a short gap."""

    seen: dict[int, _Seen]
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))
    doubt: list[int] = field(default_factory=list)
    after: "_Track | None" = None  # the same person before they were longer away

    @property
    def first(self) -> int:
        return next(iter(self.seen))

    @property
    def last(self) -> int:
        return next(reversed(self.seen))

    @property
    def score(self) -> float:
        return float(np.mean([seen.score for seen in self.seen.values()]))

    def expected(self, frame: int) -> np.ndarray:
        return self.seen[self.last].xy + self.speed * (frame - self.last)

    def take(self, frame: int, seen: _Seen) -> None:
        moved = seen.xy - self.seen[self.last].xy
        if np.isfinite(moved).any():
            self.speed = (self.speed + np.nanmedian(moved, axis=0) / (frame - self.last)) / 2
        self.seen[frame] = seen


def follow_person(poses: Sequence[Pose], index: int = 0, click: tuple[float, float] | None = None) -> list[Pose]:
    """One and the same person in every frame, without people where they are not seen.

    It is the one who is the `index`-th largest (0 = the largest) in the sum over the frames, so that who only passes
    by does not count for much, or whoever is at `click` (x, y in 0…1)
    in the first frame in which somebody is. Joints that are not seen do not count. Where never two are seen at once,
    all are taken for one. Warns of frames in which it may be somebody else. Raises ValueError where nobody is at
    `click`.
    """
    people = [_people(pose) for pose in poses]
    tracks = _tracks(people)
    chains = _chains(tracks, alone=all(len(seen) <= 1 for seen in people))
    chosen = _largest(chains, index) if click is None else _clicked(chains, people, click)
    frames = {frame: seen.person for track in chosen for frame, seen in track.seen.items()}
    if doubt := sorted(frame for track in chosen for frame in track.doubt):
        logging.getLogger(__name__).warning(
            "Which person it is, is in doubt in %d of %d frames (%s): look at the pose there, or show one person only.",
            *(len(doubt), len(poses), frame_ranges(doubt)),
        )
    return [pose.person(frames[i]) if i in frames else Pose.empty() for i, pose in enumerate(poses)]


def _people(pose: Pose) -> list[_Seen]:
    people = []
    for person, body in enumerate(pose.body):
        there = (body[:, 2] > VISIBLE) & np.isfinite(body).all(1)
        if there.any():
            xy = np.where(there[:, None], body[:, :2], np.nan)
            size = float(np.ptp(body[there, :2].clip(0, 1), axis=0).prod() ** 0.5)
            people.append(_Seen(person, xy, float(body[there, 2].mean()), size))
    return people


def _tracks(people: list[list[_Seen]]) -> list[_Track]:
    """Who is who from frame to frame, the surest first."""
    tracks: list[_Track] = []
    for frame, here in enumerate(people):
        waiting = [track for track in tracks if frame - track.last <= PATIENCE]
        away = np.array([[_away(track.expected(frame), seen.xy) for seen in here] for track in waiting])
        away = away.reshape(len(waiting), len(here))
        left = dict(enumerate(here))
        taken = np.zeros(len(waiting), dtype=bool)
        for place in away.ravel().argsort():
            which, person = np.unravel_index(place, away.shape)
            if taken[which] or person not in left:
                continue
            if away[which, person] > NEAR * min(1.0, left[person].score / waiting[which].score):
                continue
            if (np.delete(away[which], person) < away[which, person] + CLEAR).any():
                waiting[which].doubt.append(frame)
            waiting[which].take(frame, left.pop(person))
            taken[which] = True
        tracks += [_Track({frame: seen}) for seen in left.values()]
    return tracks


def _chains(tracks: list[_Track], alone: bool) -> list[list[_Track]]:
    """Tracks of one person who was away in between, the likeliest first; one after the other if `alone`."""
    if alone:
        sure = max((track.score for track in tracks), default=0.0) * UNSURE
        tracks = [track for track in tracks if track.score > sure]
    pairs = []
    for before, track in pairwise(tracks) if alone else permutations(tracks, 2):
        gap = track.first - before.last
        if gap > 0 and min(before.score, track.score) > UNSURE * max(before.score, track.score):
            away = _away(before.seen[before.last].xy, track.seen[track.first].xy) / (1 + gap / 20)
            if alone or away <= RETURN:
                pairs.append((away, before, track))
    followed: set[int] = set()
    for away, before, track in sorted(pairs, key=lambda pair: pair[0]):
        if id(before) not in followed and track.after is None:
            followed.add(id(before))
            track.after = before
            if away > NEAR:
                track.doubt = list(track.seen)
    chains = []
    for track in tracks:
        if id(track) not in followed:
            chain = [track]
            while chain[-1].after is not None:
                chain.append(chain[-1].after)
            chains.append(chain[::-1])
    return chains


def _largest(chains: list[list[_Track]], index: int) -> list[_Track]:
    def size(chain: list[_Track]) -> float:
        return sum(seen.size for track in chain for seen in track.seen.values())

    ordered = sorted(chains, key=size, reverse=True)
    return ordered[index] if index < len(ordered) else []


def _clicked(chains: list[list[_Track]], people: list[list[_Seen]], click: tuple[float, float]) -> list[_Track]:
    for frame, here in enumerate(people):
        boxes = [(np.nanmin(seen.xy, 0), np.nanmax(seen.xy, 0)) for seen in here]
        at = [s for s, (low, high) in zip(here, boxes, strict=True) if (low <= click).all() and (click <= high).all()]
        if at:
            nearest = min(at, key=lambda seen: np.nanmin(np.linalg.norm(seen.xy - click, axis=1)))
            return next((chain for chain in chains if any(track.seen.get(frame) is nearest for track in chain)), [])
    raise ValueError("Nobody is at the click in any frame: click on the person's chest in a frame that shows them.")


def _away(a: np.ndarray, b: np.ndarray) -> float:
    """How far two figures [18,2] are apart and how unlike in size: joints' mean distance in half bodies' heights, and
    the logarithm of the sizes' ratio."""
    both = np.isfinite(a).all(1) & np.isfinite(b).all(1)
    comparable = both.sum() >= FEWEST
    a, b = (x[both if comparable else np.isfinite(x).all(1)] for x in (a, b))
    size = [max(float(np.sqrt(np.square(x - x.mean(0)).sum(1).mean())), 1e-6) for x in (a, b)]
    if not comparable:
        return float(np.linalg.norm(a.mean(0) - b.mean(0)) / (2 * max(size)))
    return float(np.linalg.norm(a - b, axis=1).mean() / (2 * max(size)) + abs(np.log(size[0] / size[1])))

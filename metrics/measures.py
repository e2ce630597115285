"""What each metric measures of one pair of clips: (values, weights) by frame, or both sides' features.

A frame that does not count has the value NaN. `tick` is called while networks run and may raise to cancel.
"""

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import torch

from . import inputs
from .face import align_face
from .landmarks import People
from .masks import extract_object, iou, overlap
from .networks import Networks
from .pair import Pair
from .similarity import consistency, cosine

Tick = Callable[[], None]
ByFrame = tuple[np.ndarray, np.ndarray]
Features = tuple[torch.Tensor, torch.Tensor]


class UnmeasurableError(ValueError):
    """Why a metric says nothing about a pair."""


def _once_each(values: Iterable[float]) -> ByFrame:
    values = np.array(list(values), dtype=np.float64)
    if np.isnan(values).all():
        raise UnmeasurableError("No frame counts: what is compared was found in none of them.")
    return values, np.isfinite(values).astype(np.float64)


def object_iou(threshold: int, pair: Pair, networks: Networks, tick: Tick) -> ByFrame:
    """Weighted by the union, so that the clip's value is the sum of intersections by the sum of unions."""
    intersection, union = overlap(pair.truth_mask, pair.result_mask, threshold)
    if not union.any():
        raise UnmeasurableError("The masks show no product in any frame.")
    return np.array([iou(*frame) for frame in zip(intersection, union, strict=True)]), union.astype(np.float64)


def object_clip(pair: Pair, networks: Networks, tick: Tick) -> ByFrame:
    def features(frames: np.ndarray, masks: np.ndarray) -> torch.Tensor:
        crops = (extract_object(frame, mask) for frame, mask in zip(frames, masks, strict=True))
        return networks.embed("clip", map(inputs.clip_input, crops), tick)

    truth, result = features(pair.truth, pair.truth_mask), features(pair.result, pair.result_mask)
    return _once_each(cosine(truth, result).numpy())


def landmarks(
    points: Callable[[People, int, int], np.ndarray],
    distance: Callable[[np.ndarray, np.ndarray], float],
    pair: Pair,
    networks: Networks,
    tick: Tick,
) -> ByFrame:
    frames = zip(pair.truth_people, pair.result_people, strict=True)
    return _once_each(distance(*(points(people, *pair.size) for people in frame)) for frame in frames)


def face(pair: Pair, networks: Networks, tick: Tick) -> ByFrame:
    def features(frames: Iterable[np.ndarray], people: Iterable[People]) -> torch.Tensor:
        faces = (align_face(frame, who) for frame, who in zip(frames, people, strict=True))
        return networks.embed("adaface", map(inputs.adaface_input, faces), tick)

    if not align_face(pair.person, pair.person_people).any():
        raise UnmeasurableError("No face was found in the reference photo.")
    reference = features([pair.person], [pair.person_people])
    return _once_each(cosine(features(pair.result, pair.result_people), reference).numpy())


def consistent(
    network: str, prepare: Callable[[np.ndarray], torch.Tensor], pair: Pair, networks: Networks, tick: Tick
) -> ByFrame:
    """Of the generated clip alone; its first frame has nothing before it."""
    features = networks.embed(network, map(prepare, pair.result), tick)
    return _once_each([np.nan, *consistency(features).tolist()])


def pictures(pair: Pair, networks: Networks, tick: Tick) -> Features:
    """Features of every frame."""
    sides = pair.truth, pair.result
    truth, result = (networks.embed("inception", map(inputs.inception_input, side), tick) for side in sides)
    return truth, result


def runs(
    network: str, prepare: Callable[[np.ndarray], torch.Tensor], pair: Pair, networks: Networks, tick: Tick
) -> Features:
    """Features of every run of 16 frames."""
    if len(pair.truth) < inputs.WINDOW:
        raise UnmeasurableError(f"The clip has {len(pair.truth)} frames; the network sees {inputs.WINDOW} at once.")
    truth, result = (networks.embed(network, inputs.windows(side, prepare), tick) for side in (pair.truth, pair.result))
    return truth, result


def likeness(
    measure: Callable[..., float], inside: bool | None, threshold: int, pair: Pair, networks: Networks, tick: Tick
) -> ByFrame:
    """Frame by frame, of the true product's pixels (`inside` True), of the others (False), or of all (None)."""

    def frame(i: int) -> float:
        tick()
        if inside is None:
            return measure(pair.truth[i], pair.result[i])
        product = cv2.resize(pair.truth_mask[i], pair.size, interpolation=cv2.INTER_NEAREST) > threshold
        return measure(pair.truth[i], pair.result[i], product == inside)

    return _once_each(frame(i) for i in range(len(pair.truth)))

"""`crafters evaluate`: generated clips in folders against the true ones, in the published layout."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..metrics import CLEAN, METRICS

if TYPE_CHECKING:
    import numpy as np

    from ..metrics.pair import Pair
    from ..metrics.report import Report
    from ..preprocessors.pose.keypoints import Pose

VIDEOS = {".mp4", ".mov", ".mkv", ".webm", ".avi"}
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
DETECTOR, POSE = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"


def register(commands) -> None:
    """Add `evaluate` to the sub-commands of `crafters`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure generated clips against the true ones",
        description="Compares clips of the same name in two folders. Product masks are clips of that name too, by "
        "default in the folder `mask` inside each; reference photos have the clip's name or its first part (before _).",
        epilog=f"Metrics: {', '.join(METRICS)}. What lacks its weights, masks or poses is named below the table, and "
        "the rest is measured.",
    )
    evaluate.add_argument("--results", type=Path, required=True, metavar="DIR", help="generated clips")
    evaluate.add_argument("--truth", type=Path, required=True, metavar="DIR", help="true clips, in the same frame")
    evaluate.add_argument("--result-masks", type=Path, metavar="DIR", help="default: mask inside --results")
    evaluate.add_argument("--truth-masks", type=Path, metavar="DIR", help="default: mask inside --truth")
    evaluate.add_argument("--people", type=Path, metavar="DIR", help="reference photos, for face-cos")
    evaluate.add_argument("--metrics", nargs="+", choices=METRICS, metavar="NAME", help="default: all")
    evaluate.add_argument(
        "--threshold", type=int, choices=range(255), default=CLEAN, metavar="LEVEL",
        help="grey level above which a mask counts as clean; default: %(default)s",
    )
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="write report.md, .csv, .json and .png there")
    evaluate.set_defaults(command=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    from ..host import folders
    from ..host.memory import Managed
    from ..host.progress import Progress
    from ..metrics.evaluate import evaluate
    from ..metrics.networks import Networks

    detector, reasons = _detector(args.metrics)
    pairs = find_pairs(
        args.results,
        args.truth,
        args.result_masks or args.results / "mask",
        args.truth_masks or args.truth / "mask",
        args.people,
        detector,
    )
    networks = Networks(folders.path, Managed)
    report = evaluate(pairs, networks, args.metrics, args.threshold, Progress("Evaluate"), reasons)
    print(report.markdown(), end="")
    if args.out is not None:
        _write(report, args.out)
    return 0 if report.measured and not report.unreadable else 1


def _write(report: Report, out: Path) -> None:
    from PIL import Image

    from ..files.whole import whole
    from ..metrics.plot import plot

    for suffix, text in (("md", report.markdown()), ("csv", report.csv()), ("json", report.json())):
        with whole(out / f"report.{suffix}") as part:
            part.write_text(text, encoding="utf-8")
    with whole(out / "report.png") as part:
        Image.fromarray(plot(report)).save(part, "PNG")


def find_pairs(
    results: Path,
    truth: Path,
    result_masks: Path,
    truth_masks: Path,
    people: Path | None = None,
    detector: Callable | None = None,
) -> dict[str, Callable[[], Pair]]:
    """Every clip of either folder by its name, as something that reads it and its like from the other folder.

    detector: uint8 picture → Pose; without it the pairs have no poses. Raises FileNotFoundError for a folder that is
    not there or holds no clips; reading raises ValueError for a clip without its counterpart.
    """
    sides = _clips(results), _clips(truth)
    masks = _clips(result_masks, needed=False), _clips(truth_masks, needed=False)
    photos = {} if people is None else _files(people, PICTURES)
    return {
        name: partial(_read_pair, name, [side.get(name) for side in (*sides, *masks)], _photo(name, photos), detector)
        for name in sorted(set(sides[0]) | set(sides[1]))
    }


def _clips(folder: Path, needed: bool = True) -> dict[str, Path]:
    found = _files(folder, VIDEOS) if needed or folder.is_dir() else {}
    if needed and not found:
        raise FileNotFoundError(f"{folder} holds no video ({', '.join(sorted(VIDEOS))}).")
    return found


def _files(folder: Path, suffixes: set[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes}


def _photo(clip: str, photos: dict[str, Path]) -> Path | None:
    """The person's photo: called as the clip, or PERSON or PERSON_0 for a clip PERSON_PRODUCT; or the only one."""
    person = clip.partition("_")[0]
    named = (photos.get(name) for name in (clip, person, f"{person}_0"))
    return next(filter(None, named), next(iter(photos.values())) if len(photos) == 1 else None)


def _read_pair(name: str, paths: list[Path | None], photo: Path | None, detector: Callable | None) -> Pair:
    from ..media.clip import read_clip
    from ..metrics.pair import Pair

    if None in paths[:2]:
        have, lack = ("true", "generated") if paths[0] is None else ("generated", "true")
        raise ValueError(f"There is a {have} clip {name}, but no {lack} one of that name.")
    result, truth, result_mask, truth_mask = (path and read_clip(path)[0].numpy() for path in paths)
    person = None if photo is None else _picture(photo)
    people = {}
    if detector is not None:
        people = {"truth_people": _poses(detector, truth), "result_people": _poses(detector, result)}
        people["person_people"] = None if person is None else _poses(detector, [person])[0]
    return Pair(truth, result, truth_mask, result_mask, person=person, **people)


def _picture(path: Path) -> np.ndarray:
    from ..media.photo import read_photo

    return (read_photo(path)[0][0] * 255).round().byte().numpy()


def _detector(metrics: list[str] | None) -> tuple[Callable | None, dict[str, str]]:
    """DWPose if one of the metrics needs poses, and else why there are none."""
    from ..host import folders
    from ..metrics.catalogue import catalogue
    from ..preprocessors.pose.dwpose import DWPose

    table = catalogue()
    if not any("result_people" in table[name].needs for name in metrics or METRICS):
        return None, {}
    try:
        return DWPose(folders.path(DETECTOR, folders.OWN), folders.path(POSE, folders.OWN)), {}
    except FileNotFoundError as error:
        return None, dict.fromkeys(("truth_people", "result_people", "person_people"), str(error))


def _poses(detector: Callable, frames: Sequence[np.ndarray]) -> list[Pose]:
    """The largest person of a clip; a frame without them is empty."""
    from ..host.progress import Progress
    from ..media.frames import stepped
    from ..preprocessors.pose.follow import follow_person

    return follow_person([detector(frame) for frame in stepped(frames, Progress("Poses"))])

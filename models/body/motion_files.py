"""Motion files: a folder with one SMPL-X JSON per frame, as AniCrafter's scenes have it, and AMASS's `.npz`."""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...files.bounded import MIB, read_json, read_npz
from ...files.whole import whole
from .layout import BETAS, JOINTS, PELVIS_AT_REST
from .motion import BodyMotion, MotionError
from .rotation import axis_angle_to_quaternion, quaternion_product, quaternion_to_axis_angle

# JSON entries in the order of the joints, and how many joints each holds (0: one, not in a list).
_POSE = {"root_pose": 0, "body_pose": 21, "jaw_pose": 0, "leye_pose": 0, "reye_pose": 0, "lhand_pose": 15,
         "rhand_pose": 15}
_ROWS = {"trans": (3,), "betas": (BETAS,), "focal": (2,), "princpt": (2,), "img_size_wh": (2,)}
_MOST = 256 * MIB  # bytes of an .npz file's arrays: half an hour at 120 frames per second
_FIELD_OF_VIEW = 60.0  # degrees over the longer side, what AniCrafter's motion estimator assumes
_FILL, _PERSON = 0.8, 1.75  # a person of so many metres fills so much of the default camera's height
_Z_UP = (np.pi / 2, 0.0, 0.0)  # turns AMASS's world (z up, y away) into the camera's frame


def read_motion(path: str | Path, fps: float = 30.0, size: tuple[int, int] = (1280, 720)) -> BodyMotion:
    """A folder of JSONs or an AMASS `.npz`; `fps` is for the folder, which does not say it, `size` for AMASS.

    JSONs belong to the frame whose number is in their name, `00001.json` or `frame_1.json`, counted from 1 as published
    (from 0 where there is a frame 0). Missing numbers, and frames that are all zero, which is how some tools write that
    they found nobody, are reported, not closed up: see `BodyMotion.missing` and `filled`. Where a JSON's camera is that
    of a padded picture (`pad_ratio`), the film's own is given.

    AMASS has no camera: one of a 60° field of view is placed so that the person starts at its centre. Its world (z up,
    facing −y) becomes the camera's frame. Betas of SMPL-H files (156 values per frame) and of the male and the female
    SMPL-X describe other models' shapes, and are taken as zero.

    Raises MotionError with a sentence that names the file.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, fps)
    if path.suffix.lower() != ".npz":
        raise MotionError(f"{path} is neither a folder of SMPL-X JSONs nor an AMASS .npz file.")
    return _read_amass(path, size)


def save_motion(motion: BodyMotion, path: str | Path) -> None:
    """A folder of JSONs, which read back equal; or, by the suffix `.npz`, AMASS, SMPL-X layout.

    AMASS knows one shape per person (the mean is written) and no camera (it is added as extra entries, which
    `read_motion` understands).
    """
    path = Path(path)
    amass = path.suffix.lower() == ".npz"
    if not amass and path.is_dir() and any(path.iterdir()):
        raise MotionError(f"{path} already holds files, which would mix with these: choose a new folder.")
    with whole(path) as part:
        (_save_amass if amass else _save_folder)(motion, part)


def _read_folder(folder: Path, fps: float) -> BodyMotion:
    files: dict[int, Path] = {}
    for file in sorted(folder.glob("*.json")):
        digits = re.search(r"(\d+)$", file.stem)
        if not digits:
            raise MotionError(f"{file} has no frame number at the end of its name.")
        number = int(digits[1])
        if number in files:
            raise MotionError(f"{folder}: {files[number].name} and {file.name} are both frame {number}.")
        files[number] = file
    if not files:
        raise MotionError(f"{folder} holds no JSON files: choose the folder with one SMPL-X JSON per frame.")
    read = {number: _read_json(files[number]) for number in sorted(files)}
    numbers = [number for number, frame in read.items() if frame is not None]
    if not numbers:
        raise MotionError(f"{folder}: all frames are zero, so nobody was found in the video that they were made from.")
    frames = [read[number] for number in numbers]
    row = {name: torch.tensor(np.stack([frame[name] for frame in frames])) for name in frames[0]}
    sizes = row.pop("img_size_wh")
    for number, size in zip(numbers, sizes, strict=True):
        if not size.equal(sizes[0]):
            raise MotionError(
                f"{files[number]} is for pictures of {size[0]:g}×{size[1]:g}, {files[numbers[0]].name} for "
                f"{sizes[0, 0]:g}×{sizes[0, 1]:g}: a motion has one size."
            )
    row["principal"] = row.pop("princpt")
    width, height = (int(side) for side in sizes[0])
    try:
        motion = BodyMotion(**row, size=(width, height), frames=_from_zero(numbers, min(files)), fps=fps)
    except MotionError as error:
        raise MotionError(f"{folder}: {error}") from error
    if motion.missing:
        logging.getLogger(__name__).warning(
            "%s has no pose for %d of its frames %d to %d, the first being %d.",
            *(folder, len(motion.missing), numbers[0], numbers[-1], motion.missing[0] + (min(files) > 0)),
        )
    return motion


def _from_zero(numbers: Sequence[int], first: int) -> tuple[int, ...]:
    """Frame numbers of files, counted from 0; in the files it is from 1, as published, unless their `first` is 0."""
    return tuple(int(number) - (first > 0) for number in numbers)


def _read_json(file: Path) -> dict[str, np.ndarray] | None:
    """Its entries as arrays, `pose` [55,3] for all of `_POSE`; None where nobody was found."""
    data = read_json(file, MIB, MotionError)
    if not isinstance(data, dict):
        raise MotionError(f"{file} holds no frame of SMPL-X parameters.")
    shapes = {name: (count, 3) if count else (3,) for name, count in _POSE.items()} | _ROWS
    arrays = {}
    for name, shape in shapes.items():
        if name not in data:
            raise MotionError(f"{file} has no `{name}`: it is not a frame of SMPL-X parameters with its camera.")
        try:
            arrays[name] = np.array(data[name], dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise MotionError(f"{file}: `{name}` is not a list of numbers.") from error
        if arrays[name].shape != shape:
            raise MotionError(f"{file}: `{name}` has the shape {arrays[name].shape}, not {shape}.")
        if not np.isfinite(arrays[name]).all():
            raise MotionError(f"{file}: `{name}` holds values that are no numbers.")
    pose = np.concatenate([arrays.pop(name).reshape(-1, 3) for name in _POSE])
    if not pose.any() and not arrays["trans"].any():
        return None
    return {"pose": pose, **arrays, **_unpadded(file, data.get("pad_ratio", 0), arrays)}


def _unpadded(file: Path, ratio: object, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Size and principal point in the film itself of a camera that sees it padded evenly by `ratio` of each side (LHM,
    video2motion). The padding changes neither the focal length nor where the body stands."""
    if not isinstance(ratio, int | float) or not 0 <= ratio < np.inf:
        raise MotionError(f"{file}: `pad_ratio` is {ratio!r}, not a number from 0 on.")
    size = np.round(arrays["img_size_wh"] / (1 + ratio))
    return {"img_size_wh": size, "princpt": arrays["princpt"] - (arrays["img_size_wh"] - size) // 2}


def _save_folder(motion: BodyMotion, folder: Path) -> None:
    folder.mkdir()
    for i, number in enumerate(motion.frames):
        parts = motion.pose[i].split([max(1, count) for count in _POSE.values()])
        frame = {"betas": motion.betas[i].tolist()}
        for (name, count), part in zip(_POSE.items(), parts, strict=True):
            frame[name] = part.tolist() if count else part[0].tolist()
        frame["trans"] = motion.trans[i].tolist()
        frame["focal"], frame["princpt"] = motion.focal[i].tolist(), motion.principal[i].tolist()
        frame["img_size_wh"], frame["pad_ratio"] = list(motion.size), 0.0
        (folder / f"{number + 1:05d}.json").write_text(json.dumps(frame), encoding="utf-8")


def _read_amass(path: Path, size: tuple[int, int]) -> BodyMotion:
    wanted = ("poses", "trans", "betas", "mocap_framerate", "mocap_frame_rate", *_CAMERA)
    held = read_npz(path, wanted, _MOST, MotionError)
    gender = _gender(path)
    data = {name: array.astype(np.float64) for name, array in held.items()}
    fps = data.get("mocap_framerate", data.get("mocap_frame_rate"))
    missing = [name for name in ("poses", "trans") if name not in data] + ["mocap_framerate"] * (fps is None)
    if missing:
        raise MotionError(f"{path} has no `{missing[0]}`: it is not an AMASS motion.")
    poses, trans = data["poses"], data["trans"]
    if poses.ndim != 2 or poses.shape[1] not in (156, 165) or trans.shape != (len(poses), 3) or fps.size != 1:
        raise MotionError(
            f"{path}: `poses` {poses.shape} and `trans` {trans.shape} must be [F,156] or [F,165] and [F,3]."
        )
    betas = torch.from_numpy(data.get("betas", np.zeros(BETAS)).ravel()[:BETAS])
    betas = torch.nn.functional.pad(betas, (0, BETAS - len(betas)))
    smplh = poses.shape[1] == 156
    if smplh or gender in ("male", "female"):
        if betas.any():
            logging.getLogger(__name__).warning(
                "%s: the performer's shape is left out, the mean body moves instead: it is of the %s model, whose "
                "shapes are not those of the neutral SMPL-X.",
                *(path.name, "SMPL-H" if smplh else f"{gender} SMPL-X"),
            )
        betas = torch.zeros_like(betas)
    if smplh:  # which has no jaw and no eyes
        poses = np.concatenate([poses[:, :66], np.zeros((len(poses), 9)), poses[:, 66:]], axis=1)
    count = len(poses)
    pose = torch.from_numpy(poses).unflatten(1, (JOINTS, 3))
    turned = _turn_root(pose, 1), torch.from_numpy(trans)[:, [0, 2, 1]] * torch.tensor([1.0, -1.0, 1.0])
    placed = all(name in data for name in _CAMERA)
    if placed:
        focal, principal = torch.from_numpy(data["focal"]), torch.from_numpy(data["princpt"])
        size = int(data["img_size_wh"][0]), int(data["img_size_wh"][1])
        frames = _from_zero(data["frames"], min(data["frames"], default=1))
    else:
        focal, principal, frames = *_default_camera(size, count), tuple(range(count))
    try:
        motion = BodyMotion(*turned, betas.expand(count, -1), focal, principal, size, frames, fps.item())
    except MotionError as error:
        raise MotionError(f"{path}: {error}") from error
    if placed:
        return motion
    distance = _PERSON * focal[0, 1] / (_FILL * size[1])
    start = torch.tensor([0.0, 0.0, distance]) - torch.tensor(PELVIS_AT_REST) - motion.trans[0]
    return motion.moved(*start.tolist())


def _gender(path: Path) -> str:
    """Which SMPL-X the betas belong to, lower case; neutral where it is not said."""
    try:
        return str(read_npz(path, ["gender"], MIB)["gender"].astype(str)).lower()
    except (KeyError, ValueError):
        return "neutral"


_CAMERA = ("focal", "princpt", "img_size_wh", "frames")


def _default_camera(size: tuple[int, int], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    focal = max(size) / (2 * np.tan(np.radians(_FIELD_OF_VIEW / 2)))
    pair = torch.tensor([[focal, focal], [size[0] / 2, size[1] / 2]], dtype=torch.float64)
    return pair[0].expand(count, -1), pair[1].expand(count, -1)


def _turn_root(pose: torch.Tensor, sign: int) -> torch.Tensor:
    """The pelvis turned from AMASS's world into the camera's frame (`sign` 1) or back (−1)."""
    turn = axis_angle_to_quaternion(sign * torch.tensor(_Z_UP, dtype=torch.float64))
    root = quaternion_to_axis_angle(quaternion_product(turn, axis_angle_to_quaternion(pose[:, 0])))
    return torch.cat([root[:, None], pose[:, 1:]], dim=1)


def _save_amass(motion: BodyMotion, path: Path) -> None:
    with path.open("wb") as file:
        np.savez(
            file,
            poses=_turn_root(motion.pose, -1).flatten(1).numpy(),
            trans=(motion.trans * torch.tensor([1.0, -1.0, 1.0]))[:, [0, 2, 1]].numpy(),
            betas=torch.cat([motion.betas.mean(0), torch.zeros(6)]).numpy(),
            gender="neutral",
            surface_model_type="smplx",
            mocap_frame_rate=motion.fps,
            mocap_framerate=motion.fps,
            focal=motion.focal.numpy(),
            princpt=motion.principal.numpy(),
            img_size_wh=np.array(motion.size),
            frames=np.array(motion.frames) + 1,
        )

"""`crafters doctor`: versions, the device, which weights are there, which workflows are ready."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
from pathlib import Path

from ..host.comfyui import PACK, comfyui_version, find_comfyui, too_old
from ..host.folders import folders, models_root
from ..host.weights import BY_HAND, CATALOGUE, ByHand, WeightSet, describe_size, needed_by, needed_by_hand, restricted

# Package -> a module of it that shows whether it really works: some only import their parts when asked.
_NEEDED = {
    "torch": "torch",
    "diffusers": "diffusers.models.unets.unet_spatio_temporal_condition",
    "transformers": "transformers.models.dinov2.modeling_dinov2",
    "cv2": "cv2",
    "av": "av",
    "numpy": "numpy",
    "safetensors": "safetensors.torch",
    "PIL": "PIL.Image",
    "huggingface_hub": "huggingface_hub",
    "aiohttp": "aiohttp",
    "accelerate": "accelerate",
    "anny": "anny",
    "pydantic": "pydantic",
    "sentencepiece": "sentencepiece",
    "smplx": "smplx.vertex_ids",
    "tqdm": "tqdm",
    "yaml": "yaml",
}


def register(commands) -> None:
    """Add `doctor` to the sub-commands of `crafters`."""
    doctor = commands.add_parser("doctor", help="say what is installed, which weights are there and what is missing")
    doctor.add_argument("--models", type=Path, metavar="DIR", help="model folder; default: ComfyUI's")
    doctor.add_argument("--commercial", action="store_true",
                        help="say instead which parts of each workflow forbid or limit commercial use, and what serves "
                        "in their place")
    doctor.set_defaults(command=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    if args.commercial:
        print("\n".join(licences()))
        return 0
    lines, sound = examine(args.models)
    print("\n".join(lines))
    return 0 if sound else 1


def examine(root: Path | None = None) -> tuple[list[str], bool]:
    """The report's lines, and whether everything needed can be imported and ComfyUI, if there is one, is new enough.

    root: a model folder in ComfyUI's layout; None for the one `files.models_root` finds.
    """
    versions, sound = _versions()
    comfyui, new_enough = _comfyui()
    lines = [*versions, _onnxruntime(), f"ComfyUI: {comfyui}", "", f"Models in {(root or models_root()).absolute()}"]
    lines += [f"  {_weights(weights, root)}" for weights in CATALOGUE]
    lines += [f"  {_by_hand(weights, root)}" for weights in BY_HAND]
    lines += ["", "Workflows"]
    lines += [f"  {_workflow(file, root)}" for file in _graphs()]
    return lines, sound and new_enough


def licences() -> list[str]:
    """For each shipped workflow the parts that may not simply be used commercially. No legal advice."""
    lines = []
    for file in _graphs():
        found = restricted(json.loads(file.read_text(encoding="utf-8")))
        lines.append(f"{file.stem}:" + " nothing restricted" * (not found))
        lines += [f"  {one.part} ({one.licence}): {one.instead}" for one in found]
    return [
        *lines, "", "These are the licences as the authors state them: read them yourself. An avatar that LHM has made "
        "counts as LHM's. Of the Python packages smplx is for non-commercial research; only SMPL-X needs it.",
    ]


def _graphs() -> list[Path]:
    return sorted((PACK / "workflows" / "api").glob("*.json"))


def _versions() -> tuple[list[str], bool]:
    lines, sound = [f"python {platform.python_version()} on {platform.platform()}"], True
    for package, module in _NEEDED.items():
        try:
            importlib.import_module(module)
        # A broken installation also shows as RuntimeError (transformers, diffusers), OSError (a missing library)
        # or AttributeError (two packages that do not fit together).
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            sound = False
            reason = str(error).strip().splitlines() or [type(error).__name__]
            lines.append(f"{package}: BROKEN: {reason[-1]}")
            continue
        loaded = importlib.import_module(package)
        lines.append(f"{package} {getattr(loaded, '__version__', '')}{_detail(package)}")
    return lines, sound


def _detail(package: str) -> str:
    if package == "torch":
        import torch

        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            return f", device: {properties.name}, {describe_size(properties.total_memory)}"
        return f", device: {'mps' if torch.backends.mps.is_available() else 'cpu'}"
    return ""


def _onnxruntime() -> str:
    try:
        import onnxruntime
    except ImportError:
        return "onnxruntime: not installed, DWPose runs on OpenCV (onnxruntime-gpu makes it quick on an NVIDIA GPU)"
    return f"onnxruntime {onnxruntime.__version__}, providers: {', '.join(onnxruntime.get_available_providers())}"


def _comfyui() -> tuple[str, bool]:
    comfy_dir = find_comfyui()
    if comfy_dir is None:
        return "not found (set COMFYUI_DIR to its folder)", True
    version = comfyui_version(comfy_dir)
    told = too_old(version)
    return f"{version} in {comfy_dir}{told and f': {told}'}", not told


def _weights(weights: WeightSet, root: Path | None) -> str:
    missing = [file for file in weights.files if not _place(file.kind, file.name, root)]
    if not missing:
        return f"{weights.name}: {_place(weights.files[-1].kind, weights.files[-1].name, root)}"
    note = describe_size(sum(file.size for file in missing)) + (", gated" if weights.gated else "")
    return f"{weights.name}: missing ({weights.purpose}; {note}): crafters download {weights.name}"


def _by_hand(weights: ByHand, root: Path | None) -> str:
    if place := _place(weights.kind, weights.file, root):
        return f"{weights.name}: {place}"
    goal = folders(weights.kind, root)[0] / weights.file
    return (
        f"{weights.name}: missing ({weights.purpose}; its licence lets nobody fetch it for you): register at "
        f"{weights.page} and put {goal.name} into {goal.parent}"
    )


def _workflow(file: Path, root: Path | None) -> str:
    prompt = json.loads(file.read_text(encoding="utf-8"))
    fetched = [
        weights.name
        for weights in needed_by(prompt)
        if not all(_place(part.kind, part.name, root) for part in weights.files)
    ]
    by_hand = [weights.name for weights in needed_by_hand(prompt) if not _place(weights.kind, weights.file, root)]
    needs = [f"crafters download {' '.join(fetched)}"] * bool(fetched) + [f"{name} by hand" for name in by_hand]
    return f"{file.stem}: " + (f"needs {' and '.join(needs)}" if needs else "ready")


def _place(kind: str, name: str, root: Path | None) -> Path | None:
    return next((folder / name for folder in folders(kind, root) if (folder / name).is_file()), None)

"""Model folders: ComfyUI's own inside ComfyUI, the same layout elsewhere.

Names are relative to a model folder and use forward slashes on every system. A `kind` is a folder of ComfyUI's
(`checkpoints`, `diffusion_models`, `clip_vision`, `diffusers`, …) or the pack's own, `crafters`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..files.names import inside

OWN = "crafters"
WEIGHTS = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".bin"})
EXTENSIONS = WEIGHTS | {".onnx", ".npz", ".pkl"}  # what the pack's own folder holds
_FOLDER_MARKS = {"config.json", "model_index.json"}
_ALIASES = {"diffusion_models": ["unet"], "text_encoders": ["clip"]}


def register() -> None:
    """Inside ComfyUI: make `crafters` a model folder; called when the nodes are loaded, any number of times.

    Folders that `extra_model_paths.yaml` gave to `crafters` are kept.
    """
    import folder_paths

    folder_paths.add_model_folder_path(OWN, os.path.join(folder_paths.models_dir, OWN))
    folders, _ = folder_paths.folder_names_and_paths[OWN]
    # ComfyUI gives a new kind an empty set of extensions, which would list every file.
    folder_paths.folder_names_and_paths[OWN] = (folders, set(EXTENSIONS))


def models_root() -> Path:
    """Where models lie outside ComfyUI: `CRAFTERS_MODELS`, else the `models` of the ComfyUI found, else `./models`."""
    from .comfyui import find_comfyui, pack_base

    named = os.environ.get("CRAFTERS_MODELS")
    if named:
        return Path(named)
    comfy_dir = find_comfyui()
    if comfy_dir is None:
        return Path("models")
    base = None if os.environ.get("COMFYUI_DIR") else pack_base(comfy_dir)
    return (base or comfy_dir) / "models"


def folders(kind: str, root: Path | None = None) -> list[Path]:
    """The folders searched for models of a kind, the default first.

    Inside ComfyUI they are ComfyUI's; elsewhere `root` (default `models_root()`) plus what the `extra_model_paths.yaml`
    of the ComfyUI found there adds.
    """
    host = _comfyui()
    if host:
        return [Path(folder) for folder in host.folder_names_and_paths[kind][0]]
    root = root or models_root()
    own = [root / name for name in [kind, *_ALIASES.get(kind, [])]]
    return own + _extra_folders(root.parent / "extra_model_paths.yaml", kind)


def names(*kinds: str, suffixes: Iterable[str] = WEIGHTS) -> list[str]:
    """The model files of these kinds with one of the suffixes, sorted, without repeats; no folder counts as empty."""
    host = _comfyui()
    found = set()
    for kind in kinds:
        if host:
            found.update(name.replace("\\", "/") for name in host.get_filename_list(kind))
        else:
            found.update(name for folder in folders(kind) for name in _files(folder, EXTENSIONS))
    return sorted(name for name in found if name.lower().endswith(tuple(suffixes)))


def likeliest_first(mark: str, *kinds: str, suffixes: Iterable[str] = WEIGHTS) -> list[str]:
    """`names`, but those that hold `mark` come first: a widget offers the first."""
    return sorted(names(*kinds, suffixes=suffixes), key=lambda name: (mark not in name.lower(), name))


def input_names(suffixes: Iterable[str]) -> list[str]:
    """Files with one of the suffixes in ComfyUI's input folder, where users put what is theirs; sorted."""
    host = _comfyui()
    return sorted(_files(Path(host.get_input_directory()), suffixes)) if host else []


def input_folders(suffix: str) -> list[str]:
    """Folders directly in ComfyUI's input folder that hold files with that suffix; sorted."""
    host = _comfyui()
    root = Path(host.get_input_directory()) if host else Path("input")
    return sorted(folder.name for folder in root.glob("*/") if next(folder.glob(f"*{suffix}"), None))


def input_folder() -> Path:
    """ComfyUI's input folder."""
    return Path(_comfyui().get_input_directory())


def input_path(name: str) -> Path:
    """The path of a name from `input_names` or `input_folders`. Raises FileNotFoundError."""
    try:
        found = input_folder() / _relative(name)
        if found.exists():
            return found.resolve()
    except (ValueError, OSError):  # a name that no file can have
        pass
    raise FileNotFoundError(f"There is no {name[:200]!r} in ComfyUI's input folder: put it there, or choose another.")


def uploaded(name: str) -> Path | None:
    """The file that the value of an upload widget names; None for other words."""
    try:
        found = Path(_comfyui().get_annotated_filepath(name))
    except ValueError:
        return None
    return found if name and os.path.isfile(found) else None


def given(name: str) -> Path | None:
    """What the user brought that the value of a widget names: an upload, a folder of them, or a file by its full path.

    None for other words.
    """
    folder = _below(_comfyui().get_input_directory(), name)
    if os.path.isdir(folder) or (os.path.isabs(name) and os.path.isfile(name)):
        return Path(folder or name)
    return uploaded(name)


def named(name: str) -> Path | None:
    """What the value of a widget names: `given`, or a model's file or folder of any kind; None for other words."""
    if found := given(name):
        return found
    kinds = [kind for kind in _comfyui().folder_names_and_paths if kind not in ("configs", "custom_nodes")]
    for path in (_below(folder, name) for kind in kinds for folder in folders(kind)):
        if os.path.isfile(path) or any(os.path.isfile(os.path.join(path, mark)) for mark in _FOLDER_MARKS):
            return Path(path)
    return None


def _below(folder: str | Path, name: str) -> str:
    """The path of a name below a folder, which need not be there; no path at all where it leads elsewhere."""
    path = os.path.normpath(os.path.join(folder, name.replace("\\", "/")))
    return path if path.startswith(os.path.join(os.path.normpath(folder), "")) else ""


def folder_names(*kinds: str) -> list[str]:
    """The model folders (diffusers or transformers layout) of these kinds, at most two levels down, sorted."""
    found = set()
    for root in (folder for kind in kinds for folder in folders(kind)):
        for name, below, files in _walk(root):
            marked = name.parts and not _FOLDER_MARKS.isdisjoint(files)
            if marked:
                found.add(name.as_posix())
            if marked or len(name.parts) == 2:
                below.clear()
    return sorted(found)


def exists(name: str, *kinds: str) -> bool:
    """Whether `path` would find it."""
    try:
        return path(name, *kinds).exists()
    except FileNotFoundError:
        return False


def path(name: str, *kinds: str) -> Path:
    """The absolute path of a model file or model folder, by a name from `names` or `folder_names`.

    Backslashes, as in a workflow saved on Windows, are understood.
    Raises FileNotFoundError: which name, which folders were searched, how to get it.
    """
    searched = [folder for kind in kinds for folder in folders(kind)]
    try:
        relative = _relative(name)
        for folder in searched:
            if (folder / relative).exists():
                return (folder / relative).absolute()
    except (ValueError, OSError):  # a name that no file can have
        pass
    told = f"{name[:200]!r} is not in {' or '.join(map(str, searched))}"
    raise FileNotFoundError(f"{told}: {_advice(name.replace(chr(92), '/'))}")


def _relative(name: str) -> Path:
    """The path that a name to be read means; a link below its folder may lead where its owner wants. Or ValueError."""
    relative = Path(name.replace("\\", "/"))
    if not relative.parts or relative.anchor or ".." in relative.parts or "\0" in name:
        raise ValueError(name)
    return relative


def new_model(name: str, kind: str, suffix: str = ".safetensors") -> Path:
    """Where a model file made here goes: the kind's first folder.

    Raises ValueError for a name that leads elsewhere or ends otherwise, FileExistsError rather than overwrite a file.
    """
    found = inside(folders(kind)[0], name, [suffix])
    if found.exists():
        raise FileExistsError(f"There is already a {name} in {found.parent}: choose another name, or remove it.")
    return found


def output_path(prefix: str, suffix: str) -> Path:
    """A new name in ComfyUI's output folder, `prefix` (which may name a folder) numbered as ComfyUI does.

    Raises ValueError for a prefix that leads elsewhere.
    """
    inside(Path(_comfyui().get_output_directory()), prefix)
    folder, name, counter, _, _ = _comfyui().get_save_image_path(prefix, _comfyui().get_output_directory())
    return Path(folder) / f"{name}_{counter:05}_{suffix}"


def output_folder(name: str) -> Path:
    """A folder in ComfyUI's output folder, which need not be there. Raises ValueError for one elsewhere."""
    return inside(Path(_comfyui().get_output_directory()), name)


def output_folders(holding: str) -> list[str]:
    """The folders at most three levels below ComfyUI's output folder that hold a file of that name, sorted."""
    host = _comfyui()
    root, found = Path(host.get_output_directory()) if host else Path("output"), []
    for name, below, files in _walk(root):
        if holding in files:
            found.append(name.as_posix())
        if holding in files or len(name.parts) == 3:
            below.clear()
    return sorted(found)


def _advice(name: str) -> str:
    from .weights import providing

    weights = providing(name)
    if weights:
        return f"fetch it with `crafters download {weights.name}`, or choose another."
    return "put it there, or see `crafters doctor` for the weights that `crafters download NAME` can fetch."


def _comfyui() -> Any | None:
    """ComfyUI's `folder_paths` when ComfyUI is the process we run in."""
    return sys.modules.get("folder_paths")


def _files(folder: Path, suffixes: Iterable[str]) -> Iterator[str]:
    for name, _, files in _walk(folder):
        for file in files:
            if os.path.splitext(file)[1].lower() in suffixes:
                yield (name / file).as_posix()


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Every folder below `root` by its path from there, the names of folders (to be cut) and of files in it.

    Links are followed last, and each real folder is looked into once: links to folders above lead round without end.
    """
    seen, waiting = set(), [root]
    while waiting:
        for here, below, files in os.walk(waiting.pop(0)):
            real = os.path.realpath(here)
            if real in seen:
                below.clear()
                continue
            seen.add(real)
            yield Path(os.path.relpath(here, root)), below, files
            waiting += [path for path in (Path(here, name) for name in below) if path.is_symlink()]


def _extra_folders(config: Path, kind: str) -> list[Path]:
    """What an `extra_model_paths.yaml` says of a kind, read as ComfyUI reads it."""
    if not config.is_file():
        return []
    import yaml

    extra = []
    for entry in (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).values():
        base = Path(os.path.expandvars(os.path.expanduser((entry or {}).get("base_path", ""))))
        for name in [kind, *_ALIASES.get(kind, [])]:
            lines = (entry or {}).get(name, "").split("\n")
            extra += [(config.parent / base / line).resolve() for line in lines if line]
    return extra

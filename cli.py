"""The command line: `crafters run | prepare | animate | train | evaluate | demo-data | demo | doctor | …`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import math
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import anicrafter_cli, prepare_cli
from .demo.scenes import cli as demo_cli
from .metrics import cli as metrics_cli
from .models.bounded import parse_json
from .models.whole import whole
from .runtime.client import TIMEOUT, ComfyClient, ComfyError, Prompt, output_files
from .runtime.download import DownloadError, download
from .runtime.files import OWN, new_model
from .runtime.server import PACK, ComfyServer, ServerError, comfyui_version, find_comfyui, pack_base
from .runtime.weights import CATALOGUE, describe_size, named
from .training import cli as training_cli

if TYPE_CHECKING:
    from .demo.run import Demo


class UsageError(ValueError):
    """A mistake in what was asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The `crafters` command. Returns 0, 1 for a failed run, 2 for a mistake in the call; argparse exits with 2."""
    args = _parser().parse_args(arguments)
    try:
        return args.command(args)
    except ValueError as error:  # of settings, data, weights; UsageError is one
        if os.environ.get("CRAFTERS_TRACEBACK"):
            raise
        return _fail(error, 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        from .models.chunks import OUT_OF_MEMORY, out_of_memory

        if _disk_is_full(error):
            return _fail(f"the disk is full ({error}): free some space and run the command again.", 1)
        if out_of_memory(error):
            return _fail(OUT_OF_MEMORY, 1)
        if isinstance(error, (ComfyError, DownloadError, ServerError, OSError)):
            return _fail(error, 1)
        raise


def _disk_is_full(error: Exception) -> bool:
    """torch and safetensors raise their own, in which the system's words are found."""
    told = getattr(error, "errno", None) in (errno.ENOSPC, getattr(errno, "EDQUOT", None))
    return told or any(words in str(error) for words in (os.strerror(errno.ENOSPC), "file write failed"))


def _fail(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crafters", description="AnchorCrafter and AniCrafter for ComfyUI.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a workflow on a ComfyUI server")
    run.add_argument("workflow", type=Path, help="an API-format workflow, e.g. workflows/api/AnchorCrafter.json")
    run.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUE",
        help="change an input; NODE is an id, a title or a class name; VALUE is JSON or text; a local file is uploaded",
    )
    where = run.add_mutually_exclusive_group()
    where.add_argument("--server", default="http://127.0.0.1:8188", metavar="URL", help="default: %(default)s")
    where.add_argument("--start", action="store_true", help="start a ComfyUI of this machine for this call")
    run.add_argument("--out", type=Path, default=Path("output"), metavar="DIR", help="default: %(default)s")
    run.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="SECONDS",
        help="give up a server without any sign of life for so long; default: %(default).0f",
    )
    run.set_defaults(command=_run)

    doctor = commands.add_parser("doctor", help="say what is installed, which weights are there and what is missing")
    doctor.set_defaults(command=_doctor)

    names = ", ".join(f"{weights.name} ({describe_size(weights.size)})" for weights in CATALOGUE)
    fetch = commands.add_parser("download", help="fetch weights", description=f"Weights: {names}.")
    fetch.add_argument("names", nargs="+", metavar="NAME")
    fetch.set_defaults(command=_download)
    for command in (doctor, fetch):
        command.add_argument("--models", type=Path, metavar="DIR", help="model folder; default: ComfyUI's")

    convert = commands.add_parser("convert", help="write one plain file from published ones")
    convert.add_argument("what", choices=["anicrafter", "sapiens"])
    convert.add_argument("files", nargs="+", type=Path, help="AniCrafter's last two shards; Sapiens' TorchScript file")
    convert.add_argument("--out", type=Path, help="default: WHAT.safetensors in models/crafters")
    convert.add_argument("--dtype", choices=["fp32", "fp16", "bf16"], help="default: LoRA as published, Sapiens bf16")
    convert.set_defaults(command=_convert)

    prompt = commands.add_parser("cache-prompt", help="encode AniCrafter's prompt once; UMT5 is not needed again")
    prompt.add_argument("encoder", type=Path, help="UMT5: ComfyUI's single file, or a diffusers pipeline's folder")
    prompt.add_argument("--out", type=Path, help="default: anicrafter_prompt.safetensors in models/crafters")
    prompt.set_defaults(command=_cache_prompt)

    for module in (prepare_cli, anicrafter_cli, demo_cli, training_cli, metrics_cli):
        module.register(commands)

    demo = commands.add_parser("demo", help="make both systems' videos of made-up scenes with small networks")
    demo.add_argument("--seed", type=int, default=1, help="of the scenes, which no network was trained on")
    demo.add_argument("--out", type=Path, default=Path("output"), metavar="DIR", help="default: %(default)s")
    demo.add_argument("--embedded", action="store_true", help="run the nodes' code here, without a ComfyUI")
    demo.set_defaults(command=_demo)
    return parser


def _demo(args: argparse.Namespace) -> int:
    from .demo.run import WEIGHTS, moving, presenting

    comfy_dir = None if args.embedded else find_comfyui()
    if comfy_dir is None:
        print("Without ComfyUI" + (":" if args.embedded else ", as none was found:"), "the nodes' own classes.")
    else:
        print(f"ComfyUI {comfyui_version(comfy_dir)} in {comfy_dir}")
    args.out.mkdir(parents=True, exist_ok=True)
    lines = [f"# Demo, scene {args.seed}", ""]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crafters-demo-")))
        server = comfy_dir and stack.enter_context(ComfyServer(comfy_dir, pack_base(comfy_dir), models=WEIGHTS))
        for make, workflow in ((presenting, "AnchorCrafter"), (moving, "AniCrafter")):
            prompt = read_prompt(Path(f"workflows/api/{workflow}.json"))
            demo = make(folder / workflow, prompt, args.seed)
            if server:
                paths = asyncio.run(_execute(server.url, demo.prompt, demo.files, args.out))
            else:
                paths = [_embedded_video(demo, args.out)]
            lines += _judged(demo, paths, args.out)
            for path in paths:
                print(path)
    report = args.out / "demo.md"
    with whole(report) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines), report, sep="\n")
    return 0


def _embedded_video(demo: Demo, out: Path) -> Path:
    from .demo.embedded import animate_arguments, run_embedded
    from .demo.run import FPS, WEIGHTS
    from .preprocessors.clip import write_video

    path = out / f"{demo.name}-embedded.mp4"
    if demo.name == "AniCrafter":
        if code := main(animate_arguments(demo.prompt, WEIGHTS, path)):
            raise SystemExit(code)
    else:
        frames = run_embedded(demo.prompt, WEIGHTS)
        write_video(path, (frames * 255).round().byte().numpy(), FPS)
    return path


def _judged(demo: Demo, paths: list[Path], out: Path) -> list[str]:
    """Lines of a table of what the video is worth; a contact sheet beside it."""
    from PIL import Image

    from .preprocessors.clip import read_clip

    (video,) = (path for path in paths if path.suffix == ".mp4")
    values, sheet = demo.judge(read_clip(video)[0].numpy())
    with whole(out / f"{demo.name}-sheet.png") as part:
        Image.fromarray(sheet).save(part, "PNG")
    print(out / f"{demo.name}-sheet.png")
    table = [f"| {name} | {value:.3g} |" for name, value in values.items()]
    return [f"## {demo.name}", "", "| | |", "|---|---|", *table, ""]


def _convert(args: argparse.Namespace) -> int:
    from .models.checkpoint import DTYPES

    out = args.out or new_model(f"{args.what}.safetensors", OWN)
    if args.what == "anicrafter":
        from .models.anicrafter.checkpoint import convert

        convert(args.files, out, DTYPES.get(args.dtype))
    else:
        from .models.avatar.lhm.convert import convert_sapiens

        if len(args.files) != 1:
            raise UsageError("Sapiens is one file: name sapiens_1b_epoch_173_torchscript.pt2 alone.")
        convert_sapiens(args.files[0], out, DTYPES[args.dtype or "bf16"])
    print(out)
    return 0


def _cache_prompt(args: argparse.Namespace) -> int:
    from .models.anicrafter.prompt import NEGATIVE_PROMPT, PROMPT, TextEncoder, load_text_encoder, save_prompts
    from .runtime.memory import Managed

    out = args.out or new_model("anicrafter_prompt.safetensors", OWN)
    module, tokenize = load_text_encoder(args.encoder)
    encoder = TextEncoder(Managed(module), tokenize)
    save_prompts(out, encoder.encode(PROMPT), encoder.encode(NEGATIVE_PROMPT))
    print(out)
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from .runtime.doctor import examine

    lines, sound = examine(args.models)
    print("\n".join(lines))
    return 0 if sound else 1


def _download(args: argparse.Namespace) -> int:
    unknown = [name for name in args.names if named(name) is None]
    if unknown:
        known = ", ".join(weights.name for weights in CATALOGUE)
        raise UsageError(f"no weights are called {unknown[0]!r}; there are {known}.")
    for name in args.names:
        download(named(name), print, args.models)
    return 0


def _run(args: argparse.Namespace) -> int:
    prompt = read_prompt(args.workflow)
    changed = [apply_setting(prompt, setting) for setting in args.settings]
    args.out.mkdir(parents=True, exist_ok=True)
    # Ended by the system or by a parent: neither the job nor a server started here must stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _server(args) as url:
        try:
            paths = asyncio.run(_execute(url, prompt, changed, args.out, args.timeout))
        except ComfyError as error:
            raise ComfyError(_at_node(error, prompt)) from error
    for path in paths:
        print(path)
    return 0


def read_prompt(path: Path) -> Prompt:
    """An API-format workflow: node id -> {class_type, inputs, _meta}. Raises UsageError."""
    # A shipped workflow is found from anywhere by its path inside the pack.
    found = next((file for file in (path, PACK / path) if file.is_file()), None)
    if found is None:
        shipped = ", ".join(str(file.relative_to(PACK)) for file in sorted(PACK.glob("workflows/api/*.json")))
        raise UsageError(f"there is no workflow {path}; the pack has {shipped or 'none'}.")
    try:
        prompt = parse_json(found.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}.") from error
    if isinstance(prompt, dict) and isinstance(prompt.get("nodes"), list):
        raise UsageError(f"{path} is in the editor's format: save it in ComfyUI with Export (API), and run that file.")
    nodes = list(prompt.values()) if isinstance(prompt, dict) else []
    if not nodes or not all(isinstance(node, dict) and "class_type" in node and "inputs" in node for node in nodes):
        raise UsageError(f"{path} is not an API-format workflow (node id -> class_type and inputs).")
    for node_id, node in prompt.items():
        for key, value in node["inputs"].items() if isinstance(node["inputs"], dict) else ():
            _check_finite(value, f"{path}, node {node_id}.{key}")
    return prompt


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where} is {value}: give a finite number.")


def apply_setting(prompt: Prompt, setting: str) -> tuple[str, str]:
    """Change one input of `prompt` by "NODE.INPUT=VALUE"; returns the node id and the input's name.

    VALUE is JSON where it parses, else text; an input that holds text keeps text, so that `title=2024` is no number.
    Raises UsageError naming what exists.
    """
    target, equals, text = setting.partition("=")
    # Titles and inputs may hold dots themselves: the first split that names a node decides.
    splits = [(target[:dot], target[dot + 1 :]) for dot, letter in enumerate(target) if letter == "."]
    if not equals or not splits:
        raise UsageError(f"--set {setting!r} is not NODE.INPUT=VALUE.")
    for name, key in splits:
        nodes = _nodes_called(prompt, name)
        if len(nodes) > 1:
            raise UsageError(f"--set {setting!r}: {name!r} could be node {' or '.join(nodes)}; use the number.")
        if nodes:
            inputs = prompt[nodes[0]]["inputs"]
            if key not in inputs:
                raise UsageError(f"--set {setting!r}: {name} has {', '.join(inputs) or 'no inputs'}, not {key!r}.")
            value = _value(text, inputs[key])
            _check_finite(value, f"--set {target}")
            inputs[key] = value
            return nodes[0], key
    known = ", ".join(f"{node_id} ({_title(prompt, node_id)})" for node_id in prompt)
    raise UsageError(f"--set {setting!r} names no node of the workflow; there are {known}.")


def _nodes_called(prompt: Prompt, name: str) -> list[str]:
    if name in prompt:
        return [name]
    titled = [node_id for node_id, node in prompt.items() if (node.get("_meta") or {}).get("title") == name]
    return titled or [node_id for node_id, node in prompt.items() if node["class_type"] == name]


def _title(prompt: Prompt, node_id: str) -> str:
    node = prompt[node_id]
    return (node.get("_meta") or {}).get("title") or node["class_type"]


def _value(text: str, current: object) -> Any:
    try:
        value = parse_json(text)
    except ValueError:
        return text
    return text if isinstance(current, str) and not isinstance(value, str | list) else value


@contextlib.contextmanager
def _server(args: argparse.Namespace) -> Iterator[str]:
    if not args.start:
        yield args.server
        return
    from .runtime.files import models_root

    comfy_dir = find_comfyui()
    if comfy_dir is None:
        raise ServerError("no ComfyUI was found on this machine: set COMFYUI_DIR to its folder.")
    with ComfyServer(comfy_dir, pack_base(comfy_dir), models=models_root()) as server:
        yield server.url


async def _execute(
    url: str, prompt: Prompt, changed: list[tuple[str, str]], out: Path, timeout: float = TIMEOUT
) -> list[Path]:
    from tqdm import tqdm

    notes = {}
    async with ComfyClient(url, timeout) as client:
        await _upload_files(client, prompt, changed)
        with tqdm(unit="step", leave=False, disable=None) as bar:

            def show(node_id: str, value: float, maximum: float) -> None:
                bar.set_description(_title(prompt, node_id) if node_id in prompt else node_id, refresh=False)
                bar.total, bar.n = maximum or None, value
                bar.refresh()

            try:
                outputs = await client.queue(prompt, on_progress=show, on_note=notes.__setitem__)
            finally:
                for node_id, text in notes.items():
                    print(f"{_title(prompt, node_id) if node_id in prompt else node_id}: {text}", file=sys.stderr)
        return [await client.download(file, out) for file in output_files(outputs)]


async def _upload_files(client: ComfyClient, prompt: Prompt, changed: list[tuple[str, str]]) -> None:
    """Upload the local files among the changed values of upload widgets, and name them as the server does."""
    for node_id, key in changed:
        node = prompt[node_id]
        value = node["inputs"][key]
        if not isinstance(value, str) or not os.path.isfile(value):  # which a long text, too, may be asked
            continue
        schema = (await client.node_info(node["class_type"])).get("input", {})
        widget = {**schema.get("required", {}), **schema.get("optional", {})}.get(key, [None])
        if isinstance(widget[-1], dict) and any(name.endswith("_upload") and on for name, on in widget[-1].items()):
            node["inputs"][key] = await client.upload(Path(value))


def _at_node(error: ComfyError, prompt: Prompt) -> str:
    if error.node_id is None:
        return error.message
    names = [_title(prompt, error.node_id)] if error.node_id in prompt else []
    names += [error.class_type] if error.class_type not in [None, *names] else []
    return f"node {error.node_id} ({', '.join(names)}): {error.message}"


if __name__ == "__main__":
    sys.exit(main())

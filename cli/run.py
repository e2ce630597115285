"""`crafters run`: a workflow on a ComfyUI server, its inputs changed and uploaded, its results fetched."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from os.path import isfile
from pathlib import Path
from typing import Any, TypeVar

from ..files.bounded import parse_json
from ..host.comfyui import ServerError, find_comfyui, pack_base
from ..host.prompt import Prompt, UsageError, check_finite, read_prompt
from ..models.anchorcrafter.schedule import FAST
from .client import TIMEOUT, ComfyClient, ComfyError, output_files
from .server import ComfyServer

T = TypeVar("T")


def register(commands) -> None:
    """Add `run` to the sub-commands of `crafters`."""
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
    run.add_argument(
        "--fast", action="store_true",
        help="AnchorCrafter or MimicMotion in a fraction of the time: {steps} steps, {schedule}, guidance in a part of "
        "them".format(**FAST),
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


def _run(args: argparse.Namespace) -> int:
    prompt = read_prompt(args.workflow)
    if args.fast:
        make_fast(prompt)
    changed = [apply_setting(prompt, setting) for setting in args.settings]
    args.out.mkdir(parents=True, exist_ok=True)
    # Ended by the system or by a parent: neither the job nor a server started here must stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _server(args) as url:
        try:
            paths = until_stopped(execute(url, prompt, changed, args.out, args.timeout))
        except ComfyError as error:
            raise ComfyError(at_node(error, prompt)) from error
    for path in paths:
        print(path)
    return 0


def make_fast(prompt: Prompt) -> None:
    """Every Anchor Sampler of `prompt` gets the fast setting. Raises UsageError where there is none."""
    samplers = [node["inputs"] for node in prompt.values() if node["class_type"] == "CraftersAnchorSampler"]
    if not samplers:
        raise UsageError("--fast is a setting of Anchor Sampler, and the workflow has none.")
    for inputs in samplers:
        inputs.pop("sigmas", None)  # which would go before it
        inputs.update(FAST)


def apply_setting(prompt: Prompt, setting: str) -> tuple[str, str]:
    """Change one input of `prompt` by "NODE.INPUT=VALUE"; returns the node id and the input's name.

    VALUE is JSON where it parses, else text; an input that holds text keeps text, so that `title=2024` is no number.
    Raises UsageError naming what exists.
    """
    target, equals, text = setting.partition("=")
    if not equals or "." not in target:
        raise UsageError(f"--set {setting!r} is not NODE.INPUT=VALUE.")
    node_id, key = find_input(prompt, target, f"--set {setting!r}")
    inputs = prompt[node_id]["inputs"]
    value = read_value(text, inputs[key])
    check_finite(value, f"--set {target}")
    inputs[key] = value
    return node_id, key


def find_input(prompt: Prompt, target: str, asked: str) -> tuple[str, str]:
    """The node id and the input that "NODE.INPUT" names. Raises UsageError, which begins with `asked`."""
    # Titles and inputs may hold dots themselves: the first split that names a node decides.
    for name, key in ((target[:dot], target[dot + 1 :]) for dot, letter in enumerate(target) if letter == "."):
        nodes = _nodes_called(prompt, name)
        if len(nodes) > 1:
            raise UsageError(f"{asked}: {name!r} could be node {' or '.join(nodes)}; use the number.")
        if nodes:
            inputs = prompt[nodes[0]]["inputs"]
            if key not in inputs:
                raise UsageError(f"{asked}: {name} has {', '.join(inputs) or 'no inputs'}, not {key!r}.")
            return nodes[0], key
    known = ", ".join(f"{node_id} ({title(prompt, node_id)})" for node_id in prompt)
    raise UsageError(f"{asked} names no node of the workflow; there are {known}.")


def _nodes_called(prompt: Prompt, name: str) -> list[str]:
    if name in prompt:
        return [name]
    titled = [node_id for node_id, node in prompt.items() if (node.get("_meta") or {}).get("title") == name]
    return titled or [node_id for node_id, node in prompt.items() if node["class_type"] == name]


def title(prompt: Prompt, node_id: str) -> str:
    """What a node is called: its title, its class, or for one that is not of the graph its id."""
    node = prompt.get(node_id)
    return (node.get("_meta") or {}).get("title") or node["class_type"] if node else node_id


def read_value(text: str, current: object) -> Any:
    """A value that is given as text, for an input that holds `current`."""
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
    from ..host.folders import models_root

    comfy_dir = find_comfyui()
    if comfy_dir is None:
        raise ServerError("no ComfyUI was found on this machine: set COMFYUI_DIR to its folder.")
    with ComfyServer(comfy_dir, pack_base(comfy_dir), models=models_root()) as server:
        yield server.url


def until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """What it returns. Ended by Ctrl-C, the system or a parent, it may clean up: no job must stay behind on a server.

    It is cancelled from outside once, where asyncio.run would cancel each task in it, those that clean up too.
    """
    sent = []

    async def run() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()

        def stop(number: int, _: object) -> None:
            sent.append(number)
            loop.call_soon_threadsafe(task.cancel)

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return await work
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt if sent[0] == signal.SIGINT else SystemExit(128 + sent[0]) from None


async def execute(
    url: str, prompt: Prompt, changed: list[tuple[str, str]], out: Path, timeout: float = TIMEOUT
) -> list[Path]:
    from tqdm import tqdm

    notes = {}
    async with ComfyClient(url, timeout) as client:
        values = {(node_id, key): prompt[node_id]["inputs"][key] for node_id, key in changed}
        # A long text, too, may be asked.
        files = {place: Path(value) for place, value in values.items() if isinstance(value, str) and isfile(value)}
        await upload_files(client, prompt, files, client.upload)
        with tqdm(unit="step", leave=False, disable=None) as bar:

            def show(node_id: str, value: float, maximum: float) -> None:
                bar.set_description(title(prompt, node_id), refresh=False)
                bar.total, bar.n = maximum or None, value
                bar.refresh()

            try:
                outputs = await client.queue(prompt, on_progress=show, on_note=notes.__setitem__)
            finally:
                for node_id, text in notes.items():
                    print(f"{title(prompt, node_id)}: {text}", file=sys.stderr)
        return [await client.download(file, out) for file in output_files(outputs)]


async def upload_files(
    client: ComfyClient, prompt: Prompt, files: dict[tuple[str, str], Path], upload: Callable[[Path], Awaitable[str]]
) -> None:
    """Upload those files, by node id and input, that are of an upload widget, and name them there as `upload` says."""
    for (node_id, key), path in files.items():
        node = prompt[node_id]
        schema = (await client.node_info(node["class_type"])).get("input", {})
        widget = {**schema.get("required", {}), **schema.get("optional", {})}.get(key, [None])
        if isinstance(widget[-1], dict) and any(name.endswith("_upload") and on for name, on in widget[-1].items()):
            node["inputs"][key] = await upload(path)


def at_node(error: ComfyError, prompt: Prompt) -> str:
    """The error with the node at fault."""
    if error.node_id is None:
        return error.message
    names = [title(prompt, error.node_id)] if error.node_id in prompt else []
    names += [error.class_type] if error.class_type not in [None, *names] else []
    return f"node {error.node_id} ({', '.join(names)}): {error.message}"

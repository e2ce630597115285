"""A client of ComfyUI's HTTP and websocket API."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from ..models.whole import whole

Prompt = dict[str, dict[str, Any]]
OnProgress = Callable[[str, float, float], None]
OnPreview = Callable[[bytes], None]

POLL_SECONDS = 1.0
LOST_SECONDS = 30.0


class ComfyError(RuntimeError):
    """A run that failed: `message`, and where known the `node_id` and `class_type` of the node at fault."""

    def __init__(self, message: str, node_id: str | None = None, class_type: str | None = None):
        super().__init__(message)
        self.message, self.node_id, self.class_type = message, node_id, class_type


class InterruptError(ComfyError):
    """The run was interrupted, here or by another client."""


class ComfyClient:
    """`async with ComfyClient("http://127.0.0.1:8188") as client:`; every method raises ComfyError on failure."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.client_id = uuid.uuid4().hex

    async def __aenter__(self) -> ComfyClient:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=30))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def node_info(self, class_type: str) -> dict[str, Any]:
        """The schema of a node class as `/object_info` states it; empty for a class the server does not have."""
        return (await self._get(f"/object_info/{class_type}")).get(class_type, {})

    async def upload(self, path: Path) -> str:
        """Put an image, a video or a sound into the server's input folder; returns the name that nodes know it by.

        A file of that name with other content is left alone: the server then chooses another name.
        """
        with Path(path).open("rb") as file:
            form = aiohttp.FormData({"type": "input"})
            form.add_field("image", file, filename=Path(path).name)
            status, body = await self._request("POST", "/upload/image", data=form)
        if status == 413:
            raise ComfyError(f"{path} is larger than this server accepts: start it with a larger --max-upload-size.")
        if status != 200:
            raise ComfyError(f"The server refused the upload of {path} ({status}).")
        answer = json.loads(body)
        return "/".join(part for part in (answer.get("subfolder"), answer["name"]) if part)

    async def queue(
        self, prompt: Prompt, on_progress: OnProgress | None = None, on_preview: OnPreview | None = None
    ) -> dict[str, Any]:
        """Run an API-format prompt to its end and return the outputs by node id, as `/history` states them.

        on_progress(node_id, value, maximum) is called when a node starts (0, 0) and at each of its steps;
        on_preview(image file bytes) at each preview. Cancelling this coroutine interrupts the run.
        The websocket only carries progress: the outcome is read from the history, so a dropped one loses nothing.
        """
        try:
            socket = await self._session.ws_connect(
                f"{self.url}/ws", params={"clientId": self.client_id}, max_msg_size=0, heartbeat=60
            )
        except aiohttp.ClientError as error:
            raise self._unreachable() from error
        prompt_id = str(uuid.uuid4())  # ours, so that a cancelled submission can be taken back
        async with socket:
            try:
                prompt_id = await self._submit(prompt, prompt_id)
                blocked = await _follow(socket, prompt_id, on_progress, on_preview)
                outputs = await self._outcome(prompt_id)
            except asyncio.CancelledError:
                await self.interrupt(prompt_id)
                raise
        if blocked:
            raise blocked
        return outputs

    async def interrupt(self, prompt_id: str) -> None:
        """Take a prompt off the queue, or stop it if it is running."""
        await self._request("POST", "/queue", json={"delete": [prompt_id]})
        await self._request("POST", "/interrupt", json={"prompt_id": prompt_id})

    async def download(self, file: dict[str, str], folder: Path) -> Path:
        """Fetch one entry of `output_files` into `folder`, under a free name; returns its path."""
        keys = {key: file.get(key, "") for key in ("filename", "subfolder", "type")}
        target = _free_name(Path(folder) / Path(keys["filename"]).name)
        try:
            async with self._session.get(f"{self.url}/view", params=keys) as response:
                if response.status != 200:
                    raise ComfyError(f"The server did not hand out {keys['filename']} ({response.status}).")
                with whole(target) as part, part.open("wb") as out:
                    async for chunk in response.content.iter_chunked(1 << 20):
                        out.write(chunk)
        except aiohttp.ClientError as error:
            raise self._unreachable() from error
        return target

    async def _submit(self, prompt: Prompt, prompt_id: str) -> str:
        request = {"prompt": prompt, "client_id": self.client_id, "prompt_id": prompt_id}
        status, body = await self._request("POST", "/prompt", json=request)
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise ComfyError(f"The server answered {status} to the prompt: {body[:200]!r}") from error
        failed = answer.get("node_errors") or {}
        if status == 200 and failed:
            # The server would run the outputs that are valid and leave the others out.
            await self.interrupt(answer["prompt_id"])
        if status != 200 or failed:
            raise _validation_error(answer.get("error") or {}, failed)
        return answer["prompt_id"]

    async def _outcome(self, prompt_id: str) -> dict[str, Any]:
        wait = 0.02
        while True:
            # In this order: the server moves a prompt from the queue to the history in one step.
            queued = await self._patient_get("/queue")
            entry = (await self._patient_get(f"/history/{prompt_id}")).get(prompt_id)
            if entry:
                break
            if not any(item[1] == prompt_id for items in queued.values() for item in items):
                raise InterruptError("The run was taken off the server's queue.")
            await asyncio.sleep(wait)
            wait = min(2 * wait, POLL_SECONDS)
        for kind, data in entry["status"]["messages"]:
            if kind == "execution_interrupted":
                raise InterruptError("The run was interrupted.", data.get("node_id"), data.get("node_type"))
            if kind == "execution_error":
                message = f"{data['exception_type']}: {data['exception_message']}".strip()
                raise ComfyError(message, data.get("node_id"), data.get("node_type"))
        return entry["outputs"]

    async def _patient_get(self, path: str) -> dict[str, Any]:
        """`_get` that waits for a server that is busy or whose connection failed for a moment."""
        end = asyncio.get_running_loop().time() + LOST_SECONDS
        while True:
            try:
                return await self._get(path)
            except ComfyError:
                if asyncio.get_running_loop().time() > end:
                    raise
                await asyncio.sleep(POLL_SECONDS)

    async def _get(self, path: str) -> dict[str, Any]:
        status, body = await self._request("GET", path)
        if status != 200:
            raise ComfyError(f"{self.url}{path} answered {status}.")
        return json.loads(body)

    async def _request(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, self.url + path, **options) as response:
                return response.status, await response.read()
        except aiohttp.ClientError as error:
            raise self._unreachable() from error

    def _unreachable(self) -> ComfyError:
        return ComfyError(f"No ComfyUI answers at {self.url}: is it running?")


def output_files(outputs: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Every file that a run's outputs name (images, videos, sounds), in the order of the nodes.

    What nodes only show on the canvas, which ComfyUI keeps as temporary files, is left out.
    """
    for node in outputs.values():
        for values in node.values():
            if isinstance(values, list):
                yield from (
                    value
                    for value in values
                    if isinstance(value, dict) and "filename" in value and value.get("type") != "temp"
                )


async def _follow(
    socket: aiohttp.ClientWebSocketResponse,
    prompt_id: str,
    on_progress: OnProgress | None,
    on_preview: OnPreview | None,
) -> ComfyError | None:
    """Hand on progress and previews until the run ends or the websocket closes.

    Returns what a node said that gave nothing to those behind it: the server goes on with the others, and its history
    does not know of it.
    """
    blocked = None
    async for message in socket:
        if message.type == aiohttp.WSMsgType.BINARY:
            # Event 1: four bytes of event, four of image format, then a JPEG or PNG.
            if on_preview and int.from_bytes(message.data[:4], "big") == 1:
                on_preview(message.data[8:])
            continue
        if message.type != aiohttp.WSMsgType.TEXT:
            break
        event = json.loads(message.data)
        data = event.get("data") or {}
        if data.get("prompt_id") != prompt_id:
            continue
        if data.get("exception_type") == "ExecutionBlocked":
            told = data["exception_message"].removeprefix("Execution Blocked: ")
            blocked = blocked or ComfyError(told, data.get("node_id"), data.get("node_type"))
            continue
        if event["type"] in ("execution_success", "execution_error", "execution_interrupted"):
            break
        if event["type"] == "executing":
            if data.get("node") is None:
                break
            if on_progress:
                on_progress(data.get("display_node") or data["node"], 0, 0)
        elif event["type"] == "progress" and on_progress and data.get("node"):
            on_progress(data["node"], data["value"], data["max"])
    return blocked


def _validation_error(error: dict[str, Any], node_errors: dict[str, Any]) -> ComfyError:
    told = [
        (node_id, node.get("class_type"), _sentence(problem))
        for node_id, node in node_errors.items()
        for problem in node.get("errors", [])
    ]
    if not told:
        node = error.get("extra_info") or {}
        return ComfyError(_sentence(error), node.get("node_id"), node.get("class_type"))
    (node_id, class_type, message), *more = told
    others = "".join(f"; node {number} ({name}): {text}" for number, name, text in more)
    return ComfyError(message + others, node_id, class_type)


def _sentence(problem: dict[str, Any]) -> str:
    parts = [(problem.get(key) or "").strip().rstrip(".:") for key in ("message", "details")]
    return ": ".join(part for part in parts if part) or "refused"


def _free_name(path: Path) -> Path:
    """`path`, or the first of `name_1`, `name_2`… that is not taken."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return free

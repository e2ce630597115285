"""A client of ComfyUI's HTTP and websocket API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from ..files.names import inside, plain
from ..files.whole import whole
from ..host.prompt import Prompt

OnProgress = Callable[[str, float, float], None]
OnPreview = Callable[[bytes], None]
OnNote = Callable[[str, str], None]

POLL_SECONDS = 1.0
TIMEOUT = 60.0  # s without a sign of life from the server
INTERRUPT_SECONDS = 5.0  # a server that does not answer must not hold up who wants to leave
PREVIEW, TEXT = 1, 3  # kinds of binary events


class ComfyError(RuntimeError):
    """A run that failed: `message`, and where known the `node_id` and `class_type` of the node at fault."""

    def __init__(self, message: str, node_id: str | None = None, class_type: str | None = None):
        super().__init__(message)
        self.message, self.node_id, self.class_type = message, node_id, class_type


class InterruptError(ComfyError):
    """The run was interrupted, here or by another client."""


class LostError(ComfyError):
    """The server cannot be asked any more, which says nothing of the run: another server may do it."""


class ComfyClient:
    """`async with ComfyClient("http://127.0.0.1:8188") as client:`; every method raises ComfyError on failure, or
    OSError for a file of this machine.

    timeout: seconds without any sign of life from the server after which it is given up.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT):
        self.url, self.timeout = url.rstrip("/"), timeout
        self.client_id = uuid.uuid4().hex
        self._schemas: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> ComfyClient:
        patience = aiohttp.ClientTimeout(total=None, sock_connect=min(30, self.timeout), sock_read=self.timeout)
        self._session = aiohttp.ClientSession(timeout=patience)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def check(self) -> None:
        """Raises LostError unless a ComfyUI answers."""
        await self._get("/queue")

    async def node_info(self, class_type: str) -> dict[str, Any]:
        """The schema of a node class as `/object_info` first stated it; empty for one that the server does not have."""
        if class_type not in self._schemas:
            path = f"/object_info/{class_type}"
            answer = await self._get(path)
            with self._understood(path):
                self._schemas[class_type] = answer.get(class_type, {})
        return self._schemas[class_type]

    async def upload(self, path: Path, name: str = "") -> str:
        """Put an image, a video or a sound into the server's input folder; returns the name that nodes know it by.

        name: to call it by there, if not as here. A file of that name with other content is left alone: the server then
        chooses another name.
        """
        with Path(path).open("rb") as file:
            form = aiohttp.FormData({"type": "input"})
            form.add_field("image", file, filename=name or Path(path).name)
            status, body = await self._request("POST", "/upload/image", data=form)
        if status == 413:
            raise ComfyError(f"{path} is larger than this server accepts: start it with a larger --max-upload-size.")
        if status != 200:
            raise ComfyError(f"The server refused the upload of {path} ({status}).")
        with self._understood("/upload/image"):
            answer = json.loads(body)
            return "/".join(part for part in (answer.get("subfolder"), answer["name"]) if part)

    async def queue(
        self,
        prompt: Prompt,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
        on_note: OnNote | None = None,
    ) -> dict[str, Any]:
        """Run an API-format prompt to its end and return the outputs by node id, as `/history` states them.

        on_progress(node_id, value, maximum) is called when a node starts (0, 0) and at each of its steps;
        on_preview(image file bytes) at each preview; on_note(node_id, text) when a node shows a text under itself, each
        time all of it. Cancelling this coroutine interrupts the run.
        The websocket only carries these: the outcome is read from the history, so a dropped one loses nothing.
        """
        try:
            socket = await self._session.ws_connect(
                f"{self.url}/ws", params={"clientId": self.client_id}, max_msg_size=0, heartbeat=self.timeout / 3
            )
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise self._unreachable() from error
        prompt_id = str(uuid.uuid4())  # ours, so that a cancelled submission can be taken back
        async with socket:
            try:
                prompt_id = await self._submit(prompt, prompt_id)
                events = _Events(prompt_id, on_progress, on_preview, on_note)
                following = asyncio.create_task(events.follow(socket))
                try:
                    outputs = await self._outcome(prompt_id, following)
                finally:
                    following.cancel()
            except asyncio.CancelledError:
                with contextlib.suppress(ComfyError, asyncio.TimeoutError):
                    await asyncio.wait_for(self.interrupt(prompt_id), INTERRUPT_SECONDS)
                raise
        if events.blocked:
            raise events.blocked
        return outputs

    async def interrupt(self, prompt_id: str) -> None:
        """Take a prompt off the queue, or stop it if it is running."""
        await self._request("POST", "/queue", json={"delete": [prompt_id]})
        await self._request("POST", "/interrupt", json={"prompt_id": prompt_id})

    async def download(self, file: dict[str, str], folder: Path) -> Path:
        """Fetch one entry of `output_files` into `folder`, under a free name; returns its path."""
        keys = {key: str(file.get(key, "")) for key in ("filename", "subfolder", "type")}
        try:
            inside(folder, plain(keys["filename"]))
        except ValueError as error:
            raise ComfyError(f"The server calls a file what is not written here: {error}") from error
        target = _free_name(Path(folder) / keys["filename"])
        try:
            async with self._session.get(f"{self.url}/view", params=keys) as response:
                if response.status != 200:
                    raise ComfyError(f"The server did not hand out {keys['filename']} ({response.status}).")
                with whole(target) as part, part.open("wb") as out:
                    async for chunk in response.content.iter_chunked(1 << 20):
                        out.write(chunk)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise self._unreachable() from error
        return target

    async def _submit(self, prompt: Prompt, prompt_id: str) -> str:
        request = {"prompt": prompt, "client_id": self.client_id, "prompt_id": prompt_id}
        status, body = await self._request("POST", "/prompt", json=request)
        with self._understood("/prompt"):
            answer = json.loads(body)
            failed = answer.get("node_errors") or {}
            if status == 200 and failed:
                # The server would run the outputs that are valid and leave the others out.
                await self.interrupt(answer["prompt_id"])
            if status != 200 or failed:
                raise _validation_error(answer.get("error") or {}, failed)
            return str(answer["prompt_id"])

    async def _outcome(self, prompt_id: str, following: asyncio.Task) -> dict[str, Any]:
        """following: ends when the server has said that the run is over, or the websocket is lost."""
        wait = 0.02
        while True:
            # In this order: the server moves a prompt from the queue to the history in one step.
            queued = await self._patient_get("/queue")
            history = await self._patient_get(f"/history/{prompt_id}")
            with self._understood("/history"):
                entry = history.get(prompt_id)
                if entry:
                    break
                if not any(item[1] == prompt_id for items in queued.values() for item in items):
                    if following.done() and not following.cancelled() and not following.result():
                        raise LostError("The server was restarted in the middle of the run: start the run again.")
                    raise InterruptError("The run was taken off the server's queue.")
            await (asyncio.sleep(wait) if following.done() else asyncio.wait([following], timeout=wait))
            wait = min(2 * wait, POLL_SECONDS)
        with self._understood("/history"):
            for kind, data in entry["status"]["messages"]:
                if kind == "execution_interrupted":
                    raise InterruptError("The run was interrupted.", data.get("node_id"), data.get("node_type"))
                if kind == "execution_error":
                    message = f"{data['exception_type']}: {data['exception_message']}".strip()
                    raise ComfyError(message, data.get("node_id"), data.get("node_type"))
            return dict(entry["outputs"])

    async def _patient_get(self, path: str) -> dict[str, Any]:
        """`_get` that waits for a server that is busy or whose connection failed for a moment."""
        clock = asyncio.get_running_loop().time
        end = clock() + self.timeout / 2  # the websocket's heartbeat has waited for the other half
        while True:
            # Not by asyncio.wait_for, which until Python 3.12 swallows a cancellation that comes with the answer.
            patience = aiohttp.ClientTimeout(total=max(end - clock(), POLL_SECONDS))
            try:
                return await self._get(path, timeout=patience)
            except ComfyError:
                if clock() > end:
                    raise
                await asyncio.sleep(POLL_SECONDS)

    async def _get(self, path: str, **options: Any) -> dict[str, Any]:
        status, body = await self._request("GET", path, **options)
        if status != 200:
            raise LostError(f"{self.url}{path} answered {status}.")
        with self._understood(path):
            return dict(json.loads(body))

    async def _request(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, self.url + path, **options) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise self._unreachable() from error

    def _unreachable(self) -> LostError:
        return LostError(f"No ComfyUI answers at {self.url}: is it running?")

    @contextlib.contextmanager
    def _understood(self, path: str) -> Iterator[None]:
        """What is no answer of a ComfyUI, in whatever way, is one sentence."""
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise LostError(f"{self.url}{path} gives an answer that no ComfyUI gives: is there one?") from error


def output_files(outputs: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Every file that a run's outputs name (images, videos, sounds), in the order of the nodes.

    What nodes only show on the canvas, which ComfyUI keeps as temporary files, is left out.
    """
    for node in outputs.values():
        for values in node.values() if isinstance(node, dict) else ():
            if isinstance(values, list):
                yield from (
                    value
                    for value in values
                    if isinstance(value, dict) and "filename" in value and value.get("type") != "temp"
                )


class _Events:
    """What the websocket says of one run, handed on.

    `blocked`: what a node said that gave nothing to those behind it: the server goes on with the others, and its
    history does not know of it.
    """

    def __init__(
        self,
        prompt_id: str,
        on_progress: OnProgress | None,
        on_preview: OnPreview | None,
        on_note: OnNote | None,
    ):
        self.prompt_id, self.blocked = prompt_id, None
        self._on_progress, self._on_preview, self._on_note = on_progress, on_preview, on_note

    async def follow(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Until the run is over: True; or the websocket is lost: False."""
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                self._binary(message.data)
            elif message.type == aiohttp.WSMsgType.TEXT and self._is_last(_event(message.data)):
                return True
        return False

    def _binary(self, data: bytes) -> None:
        kind = int.from_bytes(data[:4], "big")
        if kind == PREVIEW and self._on_preview:
            self._on_preview(data[8:])  # after four bytes of image format
        elif kind == TEXT and self._on_note:
            end = 8 + int.from_bytes(data[4:8], "big")
            self._on_note(data[8:end].decode(errors="replace"), data[end:].decode(errors="replace"))

    def _is_last(self, event: dict[str, Any]) -> bool:
        kind, data = event.get("type"), event["data"]
        if data.get("prompt_id") != self.prompt_id:
            return False
        if data.get("exception_type") == "ExecutionBlocked":
            told = str(data.get("exception_message")).removeprefix("Execution Blocked: ")
            self.blocked = self.blocked or ComfyError(told, data.get("node_id"), data.get("node_type"))
            return False
        node = data.get("node")
        if node and self._on_progress:
            if kind == "executing":
                self._on_progress(data.get("display_node") or node, 0, 0)
            elif kind == "progress":
                self._on_progress(node, data.get("value") or 0, data.get("max") or 0)
        ended = kind in ("execution_success", "execution_error", "execution_interrupted")
        return ended or (kind == "executing" and node is None)


def _event(text: str) -> dict[str, Any]:
    """An event with its `data`, which are empty for what is no event of ComfyUI's: events are only for show."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    data = event.get("data") if isinstance(event, dict) else None
    return {**event, "data": data} if isinstance(data, dict) else {"data": {}}


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
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return free

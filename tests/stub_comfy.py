"""A stand-in for ComfyUI with its queue, cache and API, that computes nothing and fails when a graph asks for it.

    python stub_comfy.py --port 8188

Its nodes are LoadImage, Work and SaveVideo. A Work takes `seconds`, and what its `fault` says happens there.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import threading
from collections import Counter

from aiohttp import web

SCHEMAS = {
    "LoadImage": {"input": {"required": {"image": [["absent.png"], {"image_upload": True}]}}},
    "Work": {"input": {"required": {}}},
    "SaveVideo": {"input": {"required": {}}},
}
GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "absent.png"}, "_meta": {"title": "Person Photo"}},
    "2": {"class_type": "LoadImage", "inputs": {"image": "absent.png"}, "_meta": {"title": "Product Front"}},
    "3": {"class_type": "Work", "inputs": {"of": ["1", 0], "seconds": 0.0, "fault": "", "text": ""},
          "_meta": {"title": "Conditions"}},
    "4": {"class_type": "Work", "inputs": {"of": ["3", 0], "with": ["2", 0], "seed": 1, "seconds": 0.0, "fault": ""},
          "_meta": {"title": "Sampler"}},
    "5": {"class_type": "SaveVideo", "inputs": {"of": ["4", 0], "filename_prefix": "video/result"}},
}


class StubComfy:
    """lacks: says of every prompt that it lacks weights; odd: names its files so; broken: content that is no picture;
    silent: accepts, and answers nothing more.

    ran: how often a node of each class was run; jobs: by the file of a job, how often it was saved; uploads: how many.
    """

    def __init__(self, lacks=False, odd=None, broken=b"broken", deadly=lambda: os._exit(137)):
        self.lacks, self.odd, self.broken, self.deadly, self.silent = lacks, odd, broken, deadly, False
        self.ran, self.jobs, self.uploads, self.interrupted = Counter(), Counter(), 0, 0
        self.files, self.outputs = {}, {}
        self._cache, self._history, self._sockets = {}, {}, {}
        self._queue, self._running, self._current, self._ended = [], [], None, False
        self._work = asyncio.Event()

    def app(self):
        app = web.Application(client_max_size=1 << 30, middlewares=[self._silence])
        app.add_routes([
            web.get("/ws", self._ws), web.post("/prompt", self._prompt), web.get("/queue", self._get_queue),
            web.post("/queue", self._delete), web.post("/interrupt", self._interrupt), web.get("/view", self._view),
            web.get("/history/{id}", self._get_history), web.post("/upload/image", self._upload),
            web.get("/object_info/{kind}", self._schema), web.get("/system_stats", self._stats),
        ])
        app.cleanup_ctx.append(self._worker)
        return app

    @web.middleware
    async def _silence(self, request, handler):
        if self.silent:
            await asyncio.sleep(3600)
        return await handler(request)

    async def _worker(self, _):
        task = asyncio.create_task(self._work_on())
        yield
        self._ended = True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _work_on(self):
        while True:
            await self._work.wait()
            if not self._queue:
                self._work.clear()
                continue
            self._running = [self._queue.pop(0)]
            _, prompt_id, prompt, client = self._running[0]
            self._current = asyncio.create_task(self._run(prompt_id, prompt, client))
            messages, outputs = [], {}
            try:
                outputs = await self._current
            except asyncio.CancelledError:
                if self._ended:
                    return
                self.interrupted += 1
                messages = [["execution_interrupted", {}]]
            except FaultError as error:
                messages = [["execution_error", error.args[0]]]
            self._history[prompt_id] = {"status": {"messages": messages}, "outputs": outputs}
            self._running = []
            await self._say(client, "executing", {"node": None, "prompt_id": prompt_id})

    async def _run(self, prompt_id, prompt, client):
        outputs, seen = {}, {}

        async def signature(node_id):
            if node_id in seen:
                return seen[node_id]
            node = prompt[node_id]
            inputs = {key: await signature(value[0]) if isinstance(value, list) else value
                      for key, value in node["inputs"].items()}
            made_of = json.dumps([node["class_type"], inputs], sort_keys=True)
            seen[node_id] = hashlib.sha256(made_of.encode()).hexdigest()
            if seen[node_id] not in self._cache:
                await self._say(client, "executing", {"node": node_id, "prompt_id": prompt_id})
                self._cache[seen[node_id]] = await self._node(node_id, node["class_type"], node["inputs"], seen)
            if self._cache[seen[node_id]]:
                outputs[node_id] = self._cache[seen[node_id]]
            return seen[node_id]

        for node_id, node in prompt.items():
            if node["class_type"] == "SaveVideo":
                await signature(node_id)
        self._cache = {key: self._cache[key] for key in seen.values()}  # as ComfyUI: what the last prompt has made
        return outputs

    async def _node(self, node_id, kind, inputs, seen):
        def fail(told):
            raise FaultError({"exception_type": "RuntimeError", "exception_message": told, "node_id": node_id,
                              "node_type": kind})

        self.ran[kind] += 1
        if kind == "LoadImage" and self.files.get(inputs["image"]) in (None, self.broken):
            fail(f"cannot identify {inputs['image']}")
        if kind == "Work":
            fault = inputs["fault"]
            await asyncio.sleep(3600 if fault == "stall" else inputs["seconds"])
            if fault == "die":
                self.deadly()
                await asyncio.sleep(3600)
            elif fault:
                fail(fault)
        if kind == "SaveVideo":
            prefix = inputs["filename_prefix"]
            self.jobs[prefix] += 1
            name = self.odd or f"{prefix.rpartition('/')[2]}_{self.jobs[prefix]:05}_.mp4"
            self.outputs[prefix.rpartition("/")[0], name] = seen[inputs["of"][0]].encode()
            return {"images": [{"filename": name, "subfolder": prefix.rpartition("/")[0], "type": "output"}]}
        return {}

    async def _say(self, client, kind, data):
        if socket := self._sockets.get(client):
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": kind, "data": data})

    async def _ws(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query["clientId"]
        self._sockets[client] = socket
        async for _ in socket:
            pass
        if self._sockets.get(client) is socket:
            del self._sockets[client]
        return socket

    async def _prompt(self, request):
        asked = await request.json()
        if self.lacks:
            told = {"message": "Value not in list", "details": "weights.safetensors"}
            error = {"node_errors": {"4": {"class_type": "Work", "errors": [told]}}, "error": {}}
            return web.json_response(error, status=400)
        self._queue.append([0, asked["prompt_id"], asked["prompt"], asked["client_id"]])
        self._work.set()
        return web.json_response({"prompt_id": asked["prompt_id"], "node_errors": {}})

    async def _get_queue(self, _):
        return web.json_response({"queue_running": self._running, "queue_pending": self._queue})

    async def _delete(self, request):
        gone = (await request.json())["delete"]
        self._queue = [item for item in self._queue if item[1] not in gone]
        return web.Response()

    async def _interrupt(self, request):
        if self._running and self._running[0][1] == (await request.json())["prompt_id"]:
            self._current.cancel()
        return web.Response()

    async def _get_history(self, request):
        entry = self._history.get(request.match_info["id"])
        return web.json_response({request.match_info["id"]: entry} if entry else {})

    async def _view(self, request):
        content = self.outputs.get((request.query["subfolder"], request.query["filename"]))
        return web.Response(body=content) if content is not None else web.Response(status=404)

    async def _upload(self, request):
        field = (await request.post())["image"]
        self.uploads += 1
        self.files[field.filename] = field.file.read()
        return web.json_response({"name": field.filename, "subfolder": "", "type": "input"})

    async def _schema(self, request):
        kind = request.match_info["kind"]
        return web.json_response({kind: SCHEMAS[kind]} if kind in SCHEMAS else {})

    async def _stats(self, _):
        return web.json_response({})


def write_comfy(folder, pids):
    """A folder that is taken for a ComfyUI, and whose server writes its process number into the file `pids`."""
    (folder / "comfy").mkdir(parents=True)
    (folder / "comfy" / "cli_args.py").touch()
    (folder / "main.py").write_text(f"""
import os, runpy
with open({str(pids)!r}, "a") as file:
    print(os.getpid(), file=file)
runpy.run_path({__file__!r}, run_name="__main__")
""")
    return folder


class FaultError(Exception):
    """A node failed; its argument is what the history says of it."""


class Serving:
    """`with Serving(StubComfy()) as url:` in a thread of this process. `stop()` ends it as a crash would."""

    def __init__(self, stub, port=0):
        self.stub, self.port = stub, port
        self._started, self._ended = threading.Event(), None

    def __enter__(self):
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._started.wait(30)
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        with contextlib.suppress(RuntimeError):  # it has ended before
            self._loop.call_soon_threadsafe(self._ended.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(30)

    async def _serve(self):
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(self.stub.app(), shutdown_timeout=0.01)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self.port = runner.addresses[0][1]
        self._started.set()
        await self._ended.wait()
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    web.run_app(StubComfy().app(), host="127.0.0.1", port=parser.parse_known_args()[0].port, print=None)

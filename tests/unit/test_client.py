"""The API client against a small server that misbehaves on purpose."""

import asyncio

import pytest
from aiohttp import web
from crafters.runtime import client as module
from crafters.runtime.client import ComfyClient, ComfyError, InterruptError, output_files

PROMPT = {"1": {"class_type": "Node", "inputs": {}}}
DONE = {"status": {"messages": []}, "outputs": {"1": {"images": [{"filename": "a.png"}], "animated": [True]}}}


class Fake:
    """A ComfyUI whose websocket says `messages` and closes, and whose run takes `polls` looks at the queue."""

    def __init__(self, messages=(), polls=2, entry=DONE):
        self.messages, self.polls, self.entry = list(messages), polls, entry
        self.prompt_id, self.posts, self.failures = None, [], 0

    async def ws(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        while self.prompt_id is None:
            await asyncio.sleep(0.01)
        for message in self.messages:
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_json({**message, "data": {"prompt_id": self.prompt_id, **message["data"]}})
        await socket.close()
        return socket

    async def prompt(self, request):
        self.prompt_id = (await request.json())["prompt_id"]
        return web.json_response({"prompt_id": self.prompt_id, "node_errors": []})

    async def queue(self, request):
        if self.failures:
            self.failures -= 1
            return web.Response(status=500)
        self.polls -= 1
        running = [[0, self.prompt_id, PROMPT]] if self.polls > 0 else []
        return web.json_response({"queue_running": running, "queue_pending": []})

    async def history(self, request):
        return web.json_response({self.prompt_id: self.entry} if self.polls <= 0 and self.entry else {})

    async def post(self, request):
        self.posts.append((request.path, await request.json()))
        return web.Response()

    def run(self, use):
        """`await use(client)` with this server running."""

        async def session():
            app = web.Application()
            routes = [web.get("/ws", self.ws), web.post("/prompt", self.prompt), web.get("/queue", self.queue)]
            routes += [web.post("/queue", self.post), web.post("/interrupt", self.post)]
            app.add_routes([*routes, web.get("/history/{id}", self.history)])
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                async with ComfyClient(f"http://127.0.0.1:{runner.addresses[0][1]}/") as client:
                    return await use(client)
            finally:
                await runner.cleanup()

        return asyncio.run(session())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


def test_a_dropped_websocket_loses_nothing():
    outputs = Fake(polls=5).run(lambda client: client.queue(PROMPT))
    assert list(output_files(outputs)) == [{"filename": "a.png"}]


def test_a_server_that_fails_for_a_moment_is_waited_for():
    fake = Fake()
    fake.failures = 3
    assert fake.run(lambda client: client.queue(PROMPT)) == DONE["outputs"]


def test_a_server_that_stays_lost_is_an_error(monkeypatch):
    monkeypatch.setattr(module, "LOST_SECONDS", 0.1)
    fake = Fake()
    fake.failures = 10**6
    with pytest.raises(ComfyError, match="answered 500"):
        fake.run(lambda client: client.queue(PROMPT))


def test_progress_and_previews():
    messages = [
        {"type": "executing", "data": {"node": "1"}},
        {"type": "progress", "data": {"node": "1", "value": 2, "max": 5}},
        {"type": "progress", "data": {"node": "1", "value": 9, "max": 9, "prompt_id": "another"}},
        b"\0\0\0\1\0\0\0\1JPEG",
        {"type": "execution_success", "data": {}},
    ]
    steps, previews = [], []
    Fake(messages).run(lambda client: client.queue(PROMPT, lambda *step: steps.append(step), previews.append))
    assert steps == [("1", 0, 0), ("1", 2, 5)]
    assert previews == [b"JPEG"]


def test_interrupted_by_another_client():
    messages = [["execution_start", {}], ["execution_interrupted", {"node_id": "1", "node_type": "Node"}]]
    with pytest.raises(InterruptError) as error:
        Fake(entry={"status": {"messages": messages}, "outputs": {}}).run(lambda client: client.queue(PROMPT))
    assert (error.value.node_id, error.value.class_type) == ("1", "Node")


def test_a_prompt_taken_off_the_queue():
    with pytest.raises(InterruptError, match="taken off"):
        Fake(entry=None).run(lambda client: client.queue(PROMPT))


def test_cancelling_interrupts_the_run():
    fake = Fake(polls=10**6)

    async def cancel(client):
        task = asyncio.create_task(client.queue(PROMPT))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    fake.run(cancel)
    assert fake.posts == [("/queue", {"delete": [fake.prompt_id]}), ("/interrupt", {"prompt_id": fake.prompt_id})]

"""The API client against a small server that misbehaves on purpose."""

import asyncio

import pytest
from aiohttp import web
from crafters.cli import client as module
from crafters.cli.client import ComfyClient, ComfyError, InterruptError, output_files

PROMPT = {"1": {"class_type": "Node", "inputs": {}}}
DONE = {"status": {"messages": []}, "outputs": {"1": {"images": [{"filename": "a.png"}], "animated": [True]}}}


class Fake:
    """A ComfyUI whose websocket says `messages` and closes, unless it `stays`, and whose run takes `polls` looks at the
    queue. `answers`: by path, what it answers in place of what it should; None: nothing at all."""

    def __init__(self, messages=(), polls=2, entry=DONE, stays=False, answers=None):
        self.messages, self.polls, self.entry, self.stays = list(messages), polls, entry, stays
        self.answers = answers or {}
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
        if self.stays:
            await socket.receive()
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

    @web.middleware
    async def odd(self, request, handler):
        name = "/" + request.path.split("/")[1]
        if name not in self.answers:
            return await handler(request)
        if name == "/prompt":
            await handler(request)
        if self.answers[name] is None:
            await asyncio.sleep(60)
        return web.Response(body=self.answers[name])

    def run(self, use, timeout=60):
        """`await use(client)` with this server running."""

        async def session():
            app = web.Application(middlewares=[self.odd])
            routes = [web.get("/ws", self.ws), web.post("/prompt", self.prompt), web.get("/queue", self.queue)]
            routes += [web.post("/queue", self.post), web.post("/interrupt", self.post)]
            app.add_routes([*routes, web.get("/history/{id}", self.history)])
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                async with ComfyClient(f"http://127.0.0.1:{runner.addresses[0][1]}/", timeout) as client:
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


def test_a_server_that_stays_lost_is_an_error():
    fake = Fake()
    fake.failures = 10**6
    with pytest.raises(ComfyError, match="answered 500"):
        fake.run(lambda client: client.queue(PROMPT), timeout=0.2)


@pytest.mark.parametrize("path", ["/ws", "/prompt", "/queue", "/history"])
def test_a_silent_server_is_given_up(path):
    with pytest.raises(ComfyError, match="No ComfyUI answers"):
        Fake(answers={path: None}).run(lambda client: client.queue(PROMPT), timeout=0.4)


ODD = [b"", b"<html>", b"null", b"[]", b"7", b'"text"', b"\xff\xfe", b'{"a": 1}', b'{"error": 3}', b"[[[[" * 5000]


@pytest.mark.parametrize("path", ["/prompt", "/queue", "/history", "/object_info", "/upload"])
@pytest.mark.parametrize("body", ODD, ids=lambda body: repr(body[:12]))
def test_an_odd_answer_is_one_sentence(path, body, tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")

    async def use(client):
        if path == "/object_info":
            assert await client.node_info("Node") == {}  # there is no such node, as far as one can tell
        elif path == "/upload":
            await client.upload(tmp_path / "a.png")
        else:
            await client.queue(PROMPT)

    try:
        Fake(answers={path: body}, stays=True).run(use, timeout=0.1)
    except ComfyError as error:
        assert len(error.message) < 300 and "\n" not in error.message
    else:
        assert path == "/object_info"


ODD_ENTRIES = [[], 7, {}, {"status": 3}, {"status": {"messages": [3]}}, {"status": {"messages": []}, "outputs": [1]},
               {"status": {"messages": [["execution_error", {}]]}}]


@pytest.mark.parametrize("entry", ODD_ENTRIES, ids=repr)
def test_an_odd_history_is_one_sentence(entry):
    with pytest.raises(ComfyError):
        Fake(entry=entry).run(lambda client: client.queue(PROMPT), timeout=0.1)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "7", '{"type": 3}', '{"data": [1]}', '{"data": {"node": 3}}'])
def test_odd_events_are_passed_over(text):
    class Odd(Fake):
        async def ws(self, request):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str(text)
            await socket.send_bytes(b"\0")
            await socket.receive()
            return socket

    steps = []
    outputs = Odd().run(lambda client: client.queue(PROMPT, lambda *step: steps.append(step), print, print))
    assert outputs == DONE["outputs"] and steps == []


def test_what_a_node_says_is_handed_on():
    told = []
    text = b"\0\0\0\3" + b"\0\0\0\1" + b"7" + b"Cut off: 8 of 16 frames."
    Fake([text]).run(lambda client: client.queue(PROMPT, on_note=lambda *note: told.append(note)))
    assert told == [("7", "Cut off: 8 of 16 frames.")]


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
        Fake(entry=None, stays=True).run(lambda client: client.queue(PROMPT))


def test_a_server_that_was_restarted_says_so():
    with pytest.raises(ComfyError, match="restarted"):
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

"""ComfyUI's executor in the tests' own process; for `tests/comfy/inside_*.py`, which have ComfyUI on the path."""

import asyncio


class _Server:
    """Nobody who listens."""

    client_id = last_node_id = last_prompt_id = None
    sockets_metadata = {}

    def send_sync(self, event, data, sid=None):
        pass


def execute(graph: dict) -> str:
    """Run an API-format graph in a fresh session, in which nothing is cached; what the executor says of it."""
    import execution

    valid = asyncio.run(execution.validate_prompt("id", graph, None))
    assert valid[0], valid
    executor = execution.PromptExecutor(_Server(), cache_args={"lru": 0, "ram": 0, "ram_inactive": 0})
    executor.execute(graph, "id", {}, valid[2])
    return str(executor.status_messages)

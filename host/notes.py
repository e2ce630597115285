"""What a node has to say of its result: each warning of the pack is shown under the node that is at work.

A warning begins with `WARNS`, by which the page tells it from what a node says of what it holds.
"""

import logging
import sys

PACK = __name__.removesuffix(".host.notes")  # above all loggers of the pack, whatever name ComfyUI loads it by
WARNS = "⚠ "


class _UnderNode(logging.Handler):
    """Sends warnings to the page; they reach the log as well."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self._node, self._told = None, {}  # what was said, with the sign before it

    def emit(self, record: logging.LogRecord) -> None:
        self.show(record.getMessage(), sign=WARNS)

    def show(self, *notes: str, sign: str = "") -> None:
        from comfy_execution.utils import get_executing_context

        context, host = get_executing_context(), sys.modules.get("server")
        if context is None or host is None or getattr(host.PromptServer, "instance", None) is None:
            return
        node = context.prompt_id, context.node_id
        if node != self._node:
            self._node, self._told = node, {}
        new = {note: sign for note in notes if note not in self._told}
        if new:
            self._told |= new
            text = "\n".join(sign + note for note, sign in self._told.items())
            host.PromptServer.instance.send_progress_text(text, context.node_id)


def show(*notes: str) -> None:
    """Below the node that is at work, without a place in the log: what is no warning."""
    for handler in logging.getLogger(PACK).handlers:
        if isinstance(handler, _UnderNode):
            handler.show(*notes)


def show_under_nodes() -> None:
    """Inside ComfyUI: from now on; any number of calls."""
    logger = logging.getLogger(PACK)
    if not any(isinstance(handler, _UnderNode) for handler in logger.handlers):
        logger.addHandler(_UnderNode())

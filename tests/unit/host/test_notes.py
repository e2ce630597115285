import importlib
import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest
from crafters.host import notes


@pytest.fixture
def page(monkeypatch):
    """A ComfyUI at work: `page.node` is at work, `page.shown` is what stands under which node."""
    page = SimpleNamespace(node=("prompt", "7"), shown={})
    server, utils = ModuleType("server"), ModuleType("comfy_execution.utils")
    instance = SimpleNamespace(send_progress_text=lambda text, node: page.shown.update({node: text}))
    server.PromptServer = SimpleNamespace(instance=instance)
    utils.get_executing_context = lambda: page.node and SimpleNamespace(prompt_id=page.node[0], node_id=page.node[1])
    for name, module in {"server": server, "comfy_execution": ModuleType("x"), "comfy_execution.utils": utils}.items():
        monkeypatch.setitem(sys.modules, name, module)
    logger = logging.getLogger(notes.PACK)
    monkeypatch.setattr(logger, "handlers", [])
    notes.show_under_nodes()
    notes.show_under_nodes()
    return page


def test_warnings_stand_under_the_node_that_is_at_work_once_each(page):
    logger = logging.getLogger(importlib.import_module("crafters.preprocessors.pose.extract").__name__)
    for told in ("No person in frame %d.", "No person in frame %d.", "Frame %d is dark."):
        logger.warning(told, 3)
    logger.info("nothing to see")
    page.node = "prompt", "8:2"
    logger.warning("Too short.")
    logging.getLogger("of.others").warning("None of ours.")
    assert page.shown == {"7": "⚠ No person in frame 3.\n⚠ Frame 3 is dark.", "8:2": "⚠ Too short."}


def test_warnings_of_others_do_not_stand_there(page):
    logging.getLogger("another_pack.nodes").warning("of another pack")
    logging.getLogger().warning("of the host")
    assert notes.PACK == "crafters" and page.shown == {}


def test_what_is_no_warning_stands_there_too(page, caplog):
    logging.getLogger(notes.PACK + ".x").warning("said")
    notes.show("mask: kept", "said", "depth: made")
    assert page.shown == {"7": "⚠ said\nmask: kept\ndepth: made"} and caplog.messages == ["said"]


def test_the_same_node_begins_anew_in_the_next_run(page):
    logger = logging.getLogger(notes.PACK + ".nodes.pose")
    logger.warning("one")
    page.node = "next", "7"
    logger.warning("two")
    assert page.shown == {"7": "⚠ two"}


def test_a_warning_outside_any_node_only_goes_to_the_log(page, caplog):
    page.node = None
    logging.getLogger(notes.PACK + ".x").warning("said")
    assert page.shown == {} and caplog.messages == ["said"]

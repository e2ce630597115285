"""What holds for every node: cancel, used-up memory, previews; run by `test_anicrafter_patch.py`."""

import asyncio
import time

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import comfy.model_management as host  # noqa: E402
import folder_paths  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from comfy_api.latest import io  # noqa: E402
from crafters.host.progress import Progress  # noqa: E402
from crafters.models.avatar.rig import rig_from_body  # noqa: E402
from crafters.models.body.anny import anny_body  # noqa: E402
from crafters.nodes import CraftersExtension  # noqa: E402
from crafters.nodes.guard import guarded  # noqa: E402
from crafters.nodes.previews import stills  # noqa: E402

PACK = {node.GET_SCHEMA().node_id: node for node in asyncio.run(CraftersExtension().get_node_list())}


def node(run):
    class Node(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            return io.Schema(node_id="Guarded")

        @classmethod
        def execute(cls):
            return run()

    return guarded(Node)


def cancel_at(layer):
    def press(*_):
        host.interrupt_current_processing()

    layer.register_forward_hook(press)


def test_a_cancel_is_heard_in_the_middle_of_one_decoding():
    class Slow(torch.nn.Module):
        ran = 0

        def forward(self, x):
            Slow.ran += 1
            return x

    layers = torch.nn.Sequential(*(Slow() for _ in range(20)))
    cancel_at(layers[3])
    vae = type("VAE", (), {"decode": lambda self, latents: layers(torch.zeros(len(latents), 16, 16, 3))})()
    with pytest.raises(host.InterruptProcessingException):
        PACK["CraftersAnchorDecode"].execute({"samples": torch.zeros(3, 4, 2, 2)}, vae)
    assert Slow.ran == 4


def test_rig_avatar_hears_a_cancel_between_its_pieces():
    body = anny_body()
    points = body.template.repeat(12, 1)[:200_000]
    host.interrupt_current_processing()
    started = time.monotonic()
    with pytest.raises(host.InterruptProcessingException):
        rig_from_body(body, points, torch.eye(4).repeat(55, 1, 1), None, Progress("Rig Avatar"))
    assert time.monotonic() - started < 2


def test_used_up_memory_is_one_error_whatever_the_device_says():
    def run():
        torch.empty(1 << 55)

    with pytest.raises(torch.cuda.OutOfMemoryError, match="^Out of memory, .* choose a smaller size") as error:
        node(run).execute()
    assert host.is_oom(error.value) and "\n" not in str(error.value)


def test_another_error_stays_what_it_is():
    def run():
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        node(run).execute()


def test_a_preview_that_cannot_be_kept_loses_nothing(tmp_path, monkeypatch, caplog):
    full = tmp_path / "temp"
    full.write_text("a file where the folder should be: nothing can be written")
    monkeypatch.setattr(folder_paths, "temp_directory", str(full))
    assert stills(torch.zeros(2, 8, 8, 3)) is None
    assert "The result itself is whole" in caplog.text
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "room"))
    assert len(stills(torch.zeros(9, 8, 8, 3)).as_dict()["images"]) == 4

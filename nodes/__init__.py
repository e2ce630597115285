"""What a ComfyUI user sees: schemas and calls, no tensor maths. Imported by ComfyUI only."""

from comfy_api.latest import ComfyExtension, io

from ..runtime import files
from . import anchorcrafter, anicrafter, avatar, clips, demo, evaluate, pose, product


class CraftersExtension(ComfyExtension):
    async def on_load(self) -> None:
        files.register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        files.register()
        rooms = (clips, pose, product, anchorcrafter, avatar, anicrafter, evaluate, demo)
        return [node for room in rooms for node in room.NODES]

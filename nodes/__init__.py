"""What a ComfyUI user sees: schemas and calls, no tensor maths. Imported by ComfyUI only."""

from comfy_api.latest import ComfyExtension, io

from ..host import folders, notes
from . import (
    anchorcrafter,
    anicrafter,
    avatar,
    background,
    clips,
    demo,
    direct,
    evaluate,
    keep,
    lhm,
    motion_capture,
    object_depth,
    pose,
    product,
    segment,
    splat,
    wan,
)
from .guard import guarded

# In the order of the work: a clip's conditions, the two systems, and what is around them.
ROOMS = (clips, pose, segment, product, object_depth, motion_capture, direct, background, keep, anchorcrafter, avatar,
         lhm, splat, anicrafter, wan, evaluate, demo)


class CraftersExtension(ComfyExtension):
    async def on_load(self) -> None:
        folders.register()
        notes.show_under_nodes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        folders.register()
        return [guarded(node) for room in ROOMS for node in room.NODES]

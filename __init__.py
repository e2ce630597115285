"""Crafters: AnchorCrafter and AniCrafter as ComfyUI nodes."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Called by ComfyUI; the nodes are imported here so that `import crafters.models` needs no ComfyUI."""
    from .host.comfyui import check_version

    check_version()
    from .nodes import CraftersExtension

    return CraftersExtension()

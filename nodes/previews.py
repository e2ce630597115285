"""Pictures under the nodes that make clips, whatever they are connected to."""

import logging

from comfy_api.latest import ui

STILLS = 4  # enough to see that it is right, and no burden for a long clip


def stills(images) -> ui.PreviewImage | None:
    """A few frames of IMAGE, from the first to the last, as a node's `ui`; None, with a word, if they cannot be kept.

    ComfyUI writes them into its temporary folder; what the node has made must not be lost because that one is full.
    """
    count = min(STILLS, len(images))
    chosen = [round(i * (len(images) - 1) / max(count - 1, 1)) for i in range(count)]
    try:
        return ui.PreviewImage(images[chosen].cpu())
    except OSError as error:
        logging.getLogger(__name__).warning("No preview: %s. The result itself is whole.", error)
        return None

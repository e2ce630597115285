"""Progress, previews and cancel of a node; a terminal bar where there is no ComfyUI."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SHOWN_SIDE = 512  # px, of the longer side


class Progress:
    """`progress(done, total)` after every piece of work; inside ComfyUI it raises when the user cancelled."""

    def __init__(self, label: str = ""):
        self.label = label
        self._bar = None
        self._at = 0, 1

    def __call__(self, done: int, total: int, preview: tuple | None = None) -> None:
        self._at = done, total
        host = sys.modules.get("comfy.model_management")
        if host:
            host.throw_exception_if_processing_interrupted()
            if self._bar is None:
                from comfy.utils import ProgressBar

                self._bar = ProgressBar(total)
            self._bar.update_absolute(done, total, preview)
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(desc=self.label, total=total, disable=None)
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()

    def preview(self, picture: tuple | None) -> None:
        """Show what `Previewer` made under the node."""
        if picture is not None:
            self(*self._at, picture)

    def show(self, frame: torch.Tensor) -> None:
        """Show a finished frame [H, W, 3] in 0…1 under the node."""
        if "comfy.model_management" in sys.modules:
            from PIL import Image

            pixels = (frame.clamp(0, 1) * 255).byte().cpu().numpy()
            self.preview(("JPEG", Image.fromarray(pixels), SHOWN_SIDE))


@contextmanager
def cancellable() -> Iterator[None]:
    """While this lasts, a cancel in ComfyUI is also heard between the layers of any network, not only between calls."""
    host = sys.modules.get("comfy.model_management")
    if host is None:
        yield
        return

    def hear(module: torch.nn.Module, inputs: tuple) -> None:
        host.throw_exception_if_processing_interrupted()

    hook = torch.nn.modules.module.register_module_forward_pre_hook(hear)
    try:
        yield
    finally:
        hook.remove()


class Previewer:
    """Pictures of latents by the host's method (`--preview-method`, or the setting in its page); None when off."""

    def __init__(self, device: torch.device, latent_format: str = "SD15"):
        """latent_format: ComfyUI's name for it, of `comfy.latent_formats`."""
        self._previewer = None
        if "comfy.model_management" in sys.modules:
            import comfy.latent_formats
            import latent_preview

            known = getattr(comfy.latent_formats, latent_format)()
            self._previewer = latent_preview.get_previewer(device, known)
            self._is_video = known.latent_dimensions == 3

    def __call__(self, latents: torch.Tensor) -> tuple | None:
        """latents: [1, N, C, h, w] as the network has them; shows the middle frame, since frame 0 is the reference."""
        if self._previewer is None:
            return None
        frame = latents[:, latents.shape[1] // 2]
        return self._previewer.decode_latent_to_preview_image("JPEG", frame[:, :, None] if self._is_video else frame)

"""What SVD's encoders and DINOv2 say of training clips, persons and products, asked once and kept."""

from pathlib import Path

import numpy as np
import torch

from ...files.digest import digest
from ...media.clip import READING
from ...models.anchorcrafter.conditions import clip_resize, front_view
from ...models.anchorcrafter.encoders import DINOv2, load_dinov2, load_image_encoder, load_vae
from ...models.clip_vision import ClipVision
from ...models.loaded import Loaded
from ..cache import Cache
from ..datasets.anchorcrafter import Clip, read_frames, read_person, read_photo, read_views

VAE_FRAMES = 8  # encoded at once


class AnchorEncoders:
    """The frozen networks, and the cache of their answers."""

    def __init__(
        self,
        svd: Path,
        dinov2: Path,
        cache: Path,
        size: tuple[int, int],
        whole_view: bool,
        dtype: torch.dtype = torch.float32,
    ):
        """svd: folder with vae/ and image_encoder/; dinov2: folder or file; size: (width, height) of everything but the
        product's views, whose front stands whole in it if `whole_view`. dtype: of the VAE; the others are float32.
        Raises CheckpointError."""
        self.vae, clip = load_vae(svd, dtype), load_image_encoder(svd)
        self.vae.eval().requires_grad_(False)
        self.clip = ClipVision(Loaded(clip))
        self.dinov2 = DINOv2(Loaded(load_dinov2(dinov2, torch.float32)))
        self.size, self.whole_view, self.cache = size, whole_view, Cache(cache)
        kind = f"{READING} {size} {whole_view}"
        self.keys = {"clip": digest(self.vae, kind), "person": digest(self.vae, clip, kind)}
        self.keys["product"] = digest(self.vae, self.dinov2.loaded.module, kind)
        self.contents: dict[Path, str] = {}

    def to(self, device: torch.device) -> None:
        for module in (self.vae, self.clip.loaded.module, self.dinov2.loaded.module):
            module.to(device)

    @torch.no_grad()
    def moments(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] in −1…1 → mean and standard deviation of the VAE's posterior, [N, 8, H/8, W/8], unscaled."""
        vae = self.vae
        pixels = pixels.to(vae.device, vae.dtype)
        posteriors = [vae.encode(part).latent_dist for part in pixels.split(VAE_FRAMES)]
        return torch.cat([torch.cat([posterior.mean, posterior.std], 1) for posterior in posteriors]).float()

    def clip_moments(self, clip: Clip, frames: np.ndarray) -> torch.Tensor:
        """Of those frames of the film, [F, 8, h, w]."""
        kept = self.cache.get(self._key("clip", clip.film), lambda: self._encode_film(clip))
        return torch.from_numpy(kept["moments"][frames]).float()

    def _encode_film(self, clip: Clip) -> dict[str, np.ndarray]:
        starts = range(0, clip.frames, VAE_FRAMES)
        parts = (range(start, min(start + VAE_FRAMES, clip.frames)) for start in starts)
        return {"moments": np.concatenate([self._moments(read_frames(clip.film, part, self.size)) for part in parts])}

    def film(self, clip: Clip, frames: np.ndarray) -> torch.Tensor:
        """Those frames of the film itself, uint8 [F, 3, H, W]."""
        return torch.from_numpy(np.stack(read_frames(clip.film, frames, self.size))).movedim(-1, 1)

    def conditions(self, clip: Clip, frames: np.ndarray) -> torch.Tensor:
        """Pose, hand mesh and object depth of those frames: uint8 [F, 9, H, W]; kept on disk."""
        name = f"{self._key('clip', clip.pose)}-{self._key('clip', clip.hand)[:8]}{self._key('clip', clip.depth)[:8]}"
        names = [f"{frame}" for frame in frames]
        kept = self.cache.get(name, lambda: self._all_conditions(clip), names)
        return torch.from_numpy(np.stack([kept[name] for name in names]))

    def _all_conditions(self, clip: Clip) -> dict[str, np.ndarray]:
        read = self.read_conditions(clip, np.arange(clip.frames)).numpy()
        return {f"{number}": frame for number, frame in enumerate(read)}

    def read_conditions(self, clip: Clip, frames: np.ndarray) -> torch.Tensor:
        """As `conditions`, from the videos."""
        videos = [np.stack(read_frames(path, frames, self.size)) for path in (clip.pose, clip.hand, clip.depth)]
        return torch.from_numpy(np.concatenate(videos, -1)).movedim(-1, 1)

    def person(self, clip: Clip, frame: int) -> dict[str, torch.Tensor]:
        """`pixels` uint8 [3, H, W], `moments` [8, h, w], CLIP's `embedding` [C]."""

        def make() -> dict[str, np.ndarray]:
            pixels = read_person(clip.person, frame, self.size)
            image = torch.from_numpy(pixels)[None].float() / 255
            embedding = self.clip.encode_image(clip_resize(image), crop=False).image_embeds[0]
            return {"pixels": pixels.transpose(2, 0, 1), "moments": self._moments([pixels])[0], "embedding": embedding}

        return self._read(f"{self._key('person', clip.person)}-{frame}", make)

    def person_pose(self, clip: Clip) -> torch.Tensor:
        """The photo's conditions: its drawn pose, no hand, no product; uint8 [9, H, W]."""
        pose = torch.from_numpy(read_photo(clip.person_pose, self.size)).movedim(-1, 0)
        return torch.cat([pose, torch.zeros_like(pose), torch.zeros_like(pose)])

    def product(self, clip: Clip) -> dict[str, torch.Tensor]:
        """The front view in the frame, `pixels` uint8 [3, H, W] and `moments` [8, h, w]; DINOv2's `tokens` [3·T, D]."""

        def make() -> dict[str, np.ndarray]:
            views = read_views(clip.views)
            width, height = self.size
            front = (front_view(views, height, width, self.whole_view)[0] * 255).round().byte().numpy()
            tokens = self.dinov2.tokens(views)[0].half()
            return {"pixels": front.transpose(2, 0, 1), "moments": self._moments([front])[0], "tokens": tokens}

        return self._read(self._key("product", *clip.views), make)

    def views(self, clip: Clip) -> torch.Tensor:
        return read_views(clip.views)

    def _read(self, name: str, make) -> dict[str, torch.Tensor]:
        tensors = {key: torch.from_numpy(array) for key, array in self.cache.get(name, make).items()}
        return {key: tensor if tensor.dtype == torch.uint8 else tensor.float() for key, tensor in tensors.items()}

    def _moments(self, pictures: list[np.ndarray]) -> np.ndarray:
        pixels = torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 127.5 - 1
        return self.moments(pixels).half().cpu().numpy()

    def _key(self, kind: str, *files: Path) -> str:
        for file in files:
            if file not in self.contents:
                self.contents[file] = digest(file)
        return digest(self.keys[kind], *(self.contents[file] for file in files))

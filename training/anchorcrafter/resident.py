"""AnchorCrafter's training clips on the device that computes, where samples are put together without the CPU's help."""

from collections.abc import Iterable, Mapping, Sequence

import torch

Tensors = Mapping[str, torch.Tensor]


class ResidentClips:
    """All that samples show, each thing once: what encoders say of films, photos and products, and the conditions.

    A clip of 8 frames of 192×320 takes 4.9 MB, nearly all of it conditions.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.films: list[torch.Tensor] = []
        self.conditions: list[torch.Tensor] = []
        self.photos: list[Tensors] = []
        self.products: list[Tensors] = []
        self.starts: list[tuple[int, int]] = []  # of each clip: its first frame, its person's first photo
        self.frames = 0

    def add_person(self, photos: Iterable[Tensors]) -> None:
        """Whose clips are added next. photos: any of which may be shown, each `moments` [8, h, w], `embedding` [C] and,
        where the photo is frame 0, its conditions as `pose`, uint8 [9, H, W]."""
        self.first_photo = len(self.photos)
        self.photos += photos

    def add_clip(self, moments: torch.Tensor, conditions: torch.Tensor, product: Tensors) -> None:
        """moments [F, 8, h, w], conditions uint8 [F, 9, H, W]; product: `moments` [8, h, w], `tokens` [3·T, D]."""
        self.starts.append((self.frames, self.first_photo))
        self.frames += len(moments)
        self.films.append(moments)
        self.conditions.append(conditions)
        self.products.append(product)

    def settle(self) -> None:
        """Bring all that was added to the device."""
        self.films, self.conditions = (self._joined(parts) for parts in (self.films, self.conditions))
        self.photos, self.products = (
            {name: self._joined([one[name][None] for one in kept]) for name in kept[0] if name != "pixels"}
            for kept in (self.photos, self.products)
        )
        self.starts = torch.tensor(self.starts, device=self.device)

    def _joined(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """As torch.cat, but never in memory twice."""
        first = parts[0]
        whole = torch.empty(sum(map(len, parts)), *first.shape[1:], dtype=first.dtype, device=self.device)
        for place, part in zip(whole.split([len(part) for part in parts]), parts, strict=True):
            place.copy_(part)
        return whole

    def show(self, clip: torch.Tensor, photo: torch.Tensor, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        """What `AnchorTask.sample` says of clips [B], photos [B] of their persons and frames [B, n], batched."""
        first_frame, first_photo = self.starts[clip].unbind(1)
        numbers = first_frame[:, None] + frames
        film, conditions = self.films[numbers], self.conditions[numbers]
        who = {name: tensor[first_photo + photo] for name, tensor in self.photos.items()}
        person, product = who["moments"], self.products["moments"][clip]
        if "pose" in who:
            film = torch.cat([person[:, None], film], 1)
            conditions = torch.cat([who["pose"][:, None], conditions], 1)
        return {
            "film_moments": film,
            "conditions": conditions,
            "photos_moments": torch.stack([person, product], 1),
            "embedding": who["embedding"],
            "tokens": self.products["tokens"][clip],
        }

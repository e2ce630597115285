"""SAM 2, 2.1, 3 and EdgeTAM by transformers, whose own pre-processing needs torchvision: not used here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...models.checkpoint import CheckpointError
from ...models.loaded import Loaded
from ...models.normalise import IMAGENET
from ...models.pretrained import from_folder, read_config
from .prompts import Prompt
from .tracker import Tracker

# model_type of config.json: transformers' module, model, mean and deviation of a pixel.
HALF = (0.5,) * 3, (0.5,) * 3
KINDS = {
    "sam2_video": ("sam2_video", "Sam2Video", *IMAGENET),
    "edgetam_video": ("edgetam_video", "EdgeTamVideo", *IMAGENET),
    "sam3_tracker_video": ("sam3_tracker_video", "Sam3TrackerVideo", *HALF),
    "sam3_video": ("sam3_tracker_video", "Sam3TrackerVideo", *HALF),  # the tracker inside the whole of SAM 3
}
ACTIVATIONS = 3 << 30  # bytes that the large model's image encoder works in
BOX_CORNERS = [2, 3]  # labels of points that are a box's; 1 is a point on the object, 0 one beside it


def load_sam(folder: Path, dtype: torch.dtype | None = None) -> torch.nn.Module:
    """The video model of a folder as it is on the hub, such as facebook/sam2.1-hiera-small. Raises CheckpointError."""
    kind = read_config(folder).get("model_type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(f"{folder.name} is a {kind} model; segmentation needs one of {', '.join(KINDS)}.")
    import transformers

    return from_folder(getattr(transformers, f"{KINDS[kind][1]}Model"), folder, dtype)


class SAM(Tracker):
    """Follows objects through a clip with the model's memory of past frames.

    One call holds the network's input of one frame, and of its memory what can still be looked at: main and GPU memory
    do not grow with the clip. Objects are tracked apart (as published) on one encoding of each frame.
    """

    spacing = 32
    outlines = True

    def __init__(self, loaded: Loaded):
        """loaded: what `load_sam` answers."""
        self.loaded = loaded
        self._module, self._name, self._mean, self._std = KINDS[loaded.module.config.model_type]

    def track(
        self,
        frames: Sequence[np.ndarray],
        prompts: Sequence[Prompt],
        on_step: Callable[[int, int], None] | None = None,
    ) -> dict[int, np.ndarray]:
        model, device = self.loaded.module, self.loaded.load(ACTIVATIONS)
        clip = _Pixels(frames, self._side(), self._mean, self._std)
        sessions = {number: self._session(clip, device) for number in sorted({prompt.object for prompt in prompts})}
        first = {number: min(prompt.frame for prompt in prompts if prompt.object == number) for number in sessions}
        for prompt in prompts:
            self._prompt(sessions[prompt.object], prompt, clip)
            model(inference_session=sessions[prompt.object], frame_idx=prompt.frame)
        masks = {number: np.zeros((len(frames), clip.height, clip.width), bool) for number in sessions}
        done = 0
        for reverse, order in ((False, range(len(frames))), (True, range(len(frames) - 1, -1, -1))):
            for t in order:
                for number in [number for number in sessions if (t < first[number]) == reverse]:
                    result = model(inference_session=sessions[number], frame_idx=t, reverse=reverse)
                    masks[number][t] = _enlarge(result.pred_masks, (clip.height, clip.width))
                    _forget(sessions[number], t, model.config.max_object_pointers_in_encoder)
                    done += 1
                    if on_step is not None:
                        on_step(done, len(sessions) * len(frames))
        return masks

    def _side(self) -> int:
        size = self.loaded.module.config.image_size
        return size if isinstance(size, int) else size[0]

    def _session(self, clip: "_Pixels", device: torch.device):
        """A session of one object, 1, on the frames of the clip."""
        import importlib

        module = importlib.import_module(f"transformers.models.{self._module}.modeling_{self._module}")
        session = getattr(module, f"{self._name}InferenceSession")(
            video_height=clip.height, video_width=clip.width, inference_device=device, dtype=self.loaded.dtype
        )
        session.processed_frames = clip
        session.obj_id_to_idx(1)
        return session

    def _prompt(self, session, prompt: Prompt, clip: "_Pixels") -> None:
        side = clip.side
        if prompt.mask is not None:
            mask = torch.from_numpy(prompt.mask).float()[None, None]
            session.add_mask_inputs(0, prompt.frame, F.interpolate(mask, (side, side), mode="bilinear", antialias=True))
        else:
            corners = [] if prompt.box is None else [prompt.box[:2], prompt.box[2:]]
            points = torch.tensor([*corners, *prompt.inside, *prompt.outside], dtype=self.loaded.dtype)
            scale = torch.tensor([side / clip.width, side / clip.height], dtype=points.dtype)
            labels = BOX_CORNERS[: len(corners)] + [1] * len(prompt.inside) + [0] * len(prompt.outside)
            inputs = {"point_coords": (points * scale)[None, None], "point_labels": torch.tensor([[labels]]).int()}
            session.add_point_inputs(0, prompt.frame, inputs)
        session.obj_with_new_inputs = [1]


class _Pixels(Mapping):
    """The network's inputs [3, S, S] by frame number, made when asked for: the session's `processed_frames`."""

    def __init__(self, frames: Sequence[np.ndarray], side: int, mean: Sequence[float], std: Sequence[float]):
        self.frames, self.side = frames, side
        self.height, self.width = frames[0].shape[:2]
        self._mean, self._std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    def __getitem__(self, frame: int) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(self.frames[frame])).permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, (self.side, self.side), mode="bilinear", antialias=True)[0] / 255
        return (pixels - self._mean) / self._std

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.frames)))


def _enlarge(logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """[1, 1, h, w] logits as a mask bool [H, W]: enlarged first, then cut at 0."""
    return (F.interpolate(logits.float(), size, mode="bilinear")[0, 0] > 0).cpu().numpy()


def _forget(session, frame: int, reach: int) -> None:
    """Drop what the model no longer looks at: tracked frames further away than `reach`."""
    tracked = session.output_dict_per_obj[0]["non_cond_frame_outputs"]
    for old in [t for t in tracked if abs(t - frame) > reach]:
        del tracked[old]

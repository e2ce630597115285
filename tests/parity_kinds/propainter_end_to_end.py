"""The published script's whole run: every stage, then the frames as they leave the pack."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from crafters.models.loaded import Loaded
from crafters.models.propainter.system import ProPainter
from crafters.preprocessors.background.hole import paste, shrink, working_size
from crafters.preprocessors.background.propainter import Inpainting, Settings, schedule
from helpers.propainter_files import FILES, write_files


def check(case):
    check_schedule(json.loads((case.folder / "schedule.json").read_text()))
    with TemporaryDirectory() as folder:
        write_files(case.shapes, folder, case.config["salt"], case.config["gains"])
        files = (Path(folder) / file for file in FILES)
        painter = Loaded(ProPainter.from_files(*files, dtype=case.dtype).to(case.device))
        for name, published in case.config["settings"].items():
            check_run(case, painter, name, published)


def check_schedule(runs):
    for run in runs:
        settings = Settings(run["neighbor_length"], run["ref_stride"], run["subvideo_length"])
        assert len(range(0, run["frames"], settings.neighbours // 2)) == run["number_of_calls"]
        for call in run["calls"]:
            assert schedule(call["centre"], run["frames"], settings) == (call["neighbours"], call["references"])


def check_run(case, painter, name, published):
    repeat = published.get("source_pixel_repeat", 1)
    images = (case.inputs["frames"].float() / 255).repeat_interleave(repeat, 1).repeat_interleave(repeat, 2)
    hole = (case.inputs["masks"] > 127).repeat_interleave(repeat, 1).repeat_interleave(repeat, 2)
    size = working_size(*hole.shape[1:], published["resize_ratio"])
    frames, masks = shrink(images, hole, size, published["mask_dilation"])
    settings = Settings(
        published["neighbor_length"], published["ref_stride"], published["subvideo_length"], published["raft_iter"]
    )

    clip = Inpainting(painter, frames, masks, settings)
    pairs, every = range(len(frames) - 1), range(len(frames))
    for stage, stream in (("raft", clip.flows), ("completed", clip.completed)):
        for way, flow in zip(("forward", "backward"), stream.take(pairs), strict=True):
            case.expect(f"{name}.{stage}_flow_{way}_every8", flow[..., ::8, ::8])
    updated, remaining = clip.updated.take(every)
    case.expect(f"{name}.updated_frames_every8", updated[..., ::8, ::8])
    case.expect(f"{name}.updated_masks_every4", remaining[:, 0, ::4, ::4])
    case.expect(f"{name}.dilated_masks_every4", torch.from_numpy(masks)[:, ::4, ::4])
    case.expect(f"{name}.first_generator_call_every8", clip.paint(*schedule(0, len(frames), settings))[..., ::8, ::8])

    painted, inside = torch.from_numpy(clip.run()), torch.from_numpy(masks)
    check_levels(case, f"{name}.composite", painted, inside)
    indices = case.config["written_frame_indices"]
    written = torch.stack([paste(images[t], painted[t].numpy(), masks[t]) for t in indices])
    wholly = torch.stack([paste(torch.zeros_like(images[t]), painted[t].numpy() * 0 + 255, masks[t]) for t in indices])
    check_levels(case, f"{name}.written_frames_subset", (written * 255).round(), (wholly == 1).all(-1))


def check_levels(case, name, actual, inside):
    """Levels of 0…255 inside a mask."""
    allowed, expected = case.config["tolerance"][name], case.expected[name]
    least = allowed.get("min_identical_fraction_inside_dilated_mask", allowed.get("min_identical_fraction"))
    case.compare(name, actual[inside], expected[inside], allowed["max_abs"])
    case.compare(name, actual[inside], expected[inside], 0, outside=1 - least)

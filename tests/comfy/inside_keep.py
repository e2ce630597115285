"""Keep Conditions in ComfyUI's executor: whose mask is whose, what is stale; run by `test_anicrafter_patch.py`."""

import logging
import os

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import folder_paths  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from crafters.host import folders  # noqa: E402
from crafters.nodes.keep import CraftersKeepConditions  # noqa: E402
from crafters.prepared.conditions import CONDITIONS  # noqa: E402
from crafters.prepared.folder import Prepared  # noqa: E402
from helpers.executor import execute  # noqa: E402

import nodes  # noqa: E402

RUNS = []


class Base:
    FUNCTION, CATEGORY, INPUTS = "run", "test", {}

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": cls.INPUTS}

    @classmethod
    def IS_CHANGED(cls, **_):  # noqa: N802
        return float("nan")


class Read(Base):
    """Stands for Load Video: four frames, as bright as the first byte of the file says."""

    RETURN_TYPES, INPUTS = ("IMAGE",), {"file": ("STRING", {})}

    def run(self, file):
        level = open(folder_paths.get_annotated_filepath(file), "rb").read()[0] / 255
        return (torch.full((4, 16, 16, 3), level),)


class Draw(Base):
    """Stands for a clip that no file holds."""

    RETURN_TYPES, INPUTS = ("IMAGE",), {"seed": ("INT", {})}

    def run(self, seed):
        return (torch.full((4, 16, 16, 3), seed / 255),)


class Cut(Base):
    RETURN_TYPES, INPUTS = ("IMAGE",), {"images": ("IMAGE",), "first": ("INT", {})}

    def run(self, images, first):
        return (images[first:],)


class Network(Base):
    RETURN_TYPES, INPUTS = ("NETWORK",), {"name": ("STRING", {})}

    def run(self, name):
        return (name,)


class Segment(Base):
    RETURN_TYPES = ("MASK",)
    INPUTS = {"images": ("IMAGE",), "network": ("NETWORK",), "level": ("FLOAT", {})}

    def run(self, images, network, level):
        RUNS.append("Segment")
        mask = torch.zeros(images.shape[:3])
        mask[:, :8] = 1
        return (mask,)


class Depth(Base):
    RETURN_TYPES, INPUTS = ("IMAGE",), {"images": ("IMAGE",), "mask": ("MASK",), "folder": ("STRING", {})}

    def run(self, images, mask, folder):
        RUNS.append("Depth")
        return (images * mask[..., None],)


class Sink(Base):
    RETURN_TYPES, OUTPUT_NODE, INPUTS = (), True, {"mask": ("MASK",), "report": ("STRING", {"forceInput": True})}
    got = None

    def run(self, mask, report):
        Sink.got = mask, report
        return {}


def run(file="a.mp4", first=0, level=0.5, clip="person_product"):
    """A fresh session; the mask that goes on, the report, and what was made. Raises AssertionError with the fault.

    file: a name, or the seed of a clip that is drawn.
    """
    drawn = {"class_type": "Draw", "inputs": {"seed": file}}
    keep = {"class_type": "CraftersKeepConditions"}
    graph = {
        "video": drawn if isinstance(file, int) else {"class_type": "Read", "inputs": {"file": file}},
        "frames": {"class_type": "Cut", "inputs": {"images": ["video", 0], "first": first}},
        "network": {"class_type": "Network", "inputs": {"name": "net.safetensors"}},
        "segment": {
            "class_type": "Segment",
            "inputs": {"images": ["frames", 0], "network": ["network", 0], "level": level},
        },
        "kept": {**keep, "inputs": {"folder": "kept", "clip": clip, "product_mask": ["segment", 0]}},
        "depth": {
            "class_type": "Depth",
            "inputs": {"images": ["frames", 0], "mask": ["kept", 1], "folder": "walk"},
        },
        "then": {**keep, "inputs": {"folder": "kept", "clip": clip, "object_depth": ["depth", 0]}},
        "sink": {"class_type": "Sink", "inputs": {"mask": ["kept", 1], "report": ["then", 7]}},
    }
    RUNS.clear()
    Sink.got = None
    said = execute(graph)
    assert Sink.got, said
    return *Sink.got, sorted(RUNS)


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """The folder, in a ComfyUI with two clips, a motion folder and a network."""
    for name in ("input", "output", "models/crafters", "input/walk"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "input" / "a.mp4").write_bytes(b"\x80 one clip")
    (tmp_path / "input" / "b.mp4").write_bytes(b"\xc0 another")
    (tmp_path / "input" / "walk" / "0.json").write_text("{}")
    (tmp_path / "models" / "crafters" / "net.safetensors").write_text("weights")
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.delitem(folder_paths.folder_names_and_paths, folders.OWN, raising=False)
    folders.register()
    for node in (Read, Draw, Cut, Network, Segment, Depth, Sink, CraftersKeepConditions):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.__name__, node)
    return Prepared(tmp_path / "output" / "kept")


MASK = CONDITIONS["product_mask"]
ALL, QUESTION = ["Depth", "Segment"], "is your own, made for another clip or cut"


def correct(prepared, clip="person_product", height=3):
    """A mask by hand, in the place of the one that was made."""
    mask = torch.zeros(4, 16, 16)
    mask[:, :height] = 1
    prepared.path(MASK.of(clip)).parent.mkdir(parents=True, exist_ok=True)
    MASK.write(prepared.path(MASK.of(clip)), mask, 15.0)
    return mask


def test_a_mask_by_hand_goes_with_its_clip_only(kept, caplog):
    assert run()[1:] == ("object_depth: made", ALL) and run()[1:] == ("object_depth: kept", [])
    mask = correct(kept)
    with caplog.at_level(logging.WARNING):
        used, _, made = run()
    assert torch.equal(used, mask) and made == ["Depth"]
    assert any("Used as you left it" in told and "product_mask" in told for told in caplog.messages)
    with pytest.raises(AssertionError, match=QUESTION):
        run("b.mp4")
    assert RUNS == [] and torch.equal(MASK.read(kept.path(MASK.of("person_product"))), mask)
    assert run("b.mp4", clip="anna_mug")[2] == ALL
    assert torch.equal(run()[0], mask)
    kept.path(MASK.of("person_product")).unlink()
    used, _, made = run("b.mp4")
    assert made == ALL and not torch.equal(used, mask)


def test_clips_that_no_file_holds_are_told_apart(kept):
    run(1)
    mask = correct(kept)
    assert torch.equal(run(1)[0], mask)
    for other in (2, "a.mp4"):
        with pytest.raises(AssertionError, match=QUESTION):
            run(other)


def test_the_clip_is_told_by_its_content(kept):
    run()
    mask = correct(kept)
    os.rename(folder_paths.get_annotated_filepath("a.mp4"), folder_paths.get_annotated_filepath("c.mp4"))
    assert torch.equal(run("c.mp4")[0], mask)


def test_another_cut_is_another_clip(kept):
    run()
    correct(kept)
    with pytest.raises(AssertionError, match=QUESTION):
        run(first=1)


def test_settings_of_what_makes_the_mask_do_not_matter(kept):
    run()
    mask = correct(kept)
    assert torch.equal(run(level=0.9)[0], mask)


@pytest.mark.parametrize("before", [True, False], ids=["among kept files", "in a fresh folder"])
def test_a_file_that_is_put_there_belongs_to_the_clip_that_is_there(kept, before):
    if before:
        run()
        kept.path(MASK.of("person_product")).unlink()
    mask = correct(kept)
    if before:
        with pytest.raises(AssertionError, match=QUESTION):
            run("b.mp4")
    assert torch.equal(run()[0], mask)
    with pytest.raises(AssertionError, match=QUESTION):
        run("b.mp4")


def test_without_files_of_the_users_the_next_clip_takes_the_place():
    run()
    assert run("b.mp4")[2] == ALL


@pytest.mark.parametrize(
    ("file", "made"), [("input/walk/1.json", ["Depth"]), ("models/crafters/net.safetensors", ALL)]
)
def test_the_content_of_all_that_went_in_counts(kept, tmp_path, file, made):
    run()
    (tmp_path / file).write_text("changed")
    assert run()[2] == made and run()[2] == []

"""`crafters prepare`: stages in order, what is made again and what is not, sets that the trainers read, bad input."""

import os
import shutil
from dataclasses import replace
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
import torch
from crafters.cli import main
from crafters.media.clip import read_clip, write_video
from crafters.models.body.anny import anny_body
from crafters.models.body.load import ANNY
from crafters.prepared.conditions import CONDITIONS, clip_names
from crafters.prepared.folder import Prepared
from crafters.prepared.prepare import prepare
from crafters.prepared.stages import Options
from crafters.prepared.tools import Tool, Tools
from crafters.preprocessors.pose.keypoints import Pose
from crafters.scenes.scene import make_scene
from crafters.training.datasets import anchorcrafter as anchor_data
from crafters.training.datasets import anicrafter as anicrafter_data
from PIL import Image

pytestmark = pytest.mark.slow
NAME, SIZE, FRAMES, FPS = "anna_mug", (96, 160), 4, 15.0
BODY = Tool(ANNY, cache(anny_body))


@pytest.fixture(scope="module")
def scene():
    return make_scene(1, "test", SIZE, FRAMES, FPS)


@pytest.fixture(scope="module")
def clip(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / f"{NAME}.mp4"
    write_video(path, scene.frames, FPS)
    return path


class Poses:
    """A detector that knows the answers: the poses of the frames, in order, again and again."""

    def __init__(self, poses):
        self.poses, self.calls = poses, 0

    def __call__(self, image):
        self.calls += 1
        return self.poses[(self.calls - 1) % len(self.poses)]


def options(poses, **settings):
    detector = Poses(poses)
    return Options(tools=Tools(dwpose=Tool("poses", lambda: detector), body=BODY), **settings)


def run(folder, clip, chosen, name=NAME):
    return dict(prepare(clip, name, Prepared(folder), chosen))


def made(states):
    return {what for what, state in states.items() if state == "made"}


@pytest.fixture(scope="module")
def whole(scene, clip, tmp_path_factory):
    """A clip prepared for both systems, with everything; its folder, its file and the options."""
    home = tmp_path_factory.mktemp("whole")
    from crafters.models.avatar.files import save_avatar
    from crafters.scenes.avatar import scene_avatar

    save_avatar(scene_avatar(scene.person, 500, 0), home / "avatar.safetensors")
    Image.fromarray(scene.person_photo).save(home / "photo.png")
    chosen = options(
        [*scene.poses, scene.person_pose], avatar=home / "avatar.safetensors", person=home / "photo.png", short_side=64
    )
    states = run(home / "out", clip, chosen)
    assert set(states.values()) == {"made"}, states
    return home / "out", clip, chosen


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of it, to change."""
    shutil.copytree(whole[0], tmp_path / "out")
    return tmp_path / "out"


def alike(clip, mask):
    """Overlap (IoU) of where a kept clip [F,H,W,3] is lit with a mask: videos for every player bleed at edges."""
    lit = clip.amax(-1) > 0.15
    return float((lit & mask).sum() / (lit | mask).sum())


def test_everything_is_there_and_belongs_together(whole, scene):
    folder, _, _ = whole
    prepared = Prepared(folder)
    read = {what: condition.read(prepared.path(condition.of(NAME))) for what, condition in CONDITIONS.items()}
    assert all(len(read[what]) == FRAMES for what in ("film", "hand", "pose", "background", "mesh", "placed_depth"))
    assert read["film"].shape == (FRAMES, SIZE[1], SIZE[0], 3)
    assert read["motion"].size == SIZE and len(read["motion"]) == FRAMES
    product = read["product_mask"] > 0
    depth = read["object_depth"]
    assert alike(depth, product) > 0.95
    assert ((read["hand"].amax(-1) > 0.15) & product).sum() < 0.01 * product.sum()
    person = torch.from_numpy(scene.person_mask)
    seen = read["person_mask"] > 0
    assert (seen & person).sum() / person.sum() > 0.7
    untouched = ~torch.nn.functional.max_pool2d(seen[:, None].float(), 41, 1, 20)[:, 0].bool()
    assert (read["background"] - read["film"])[untouched].abs().max() < 0.1
    placed = read["placed_pose"].shape[1:3]
    assert placed == read["photo"].shape[1:3] == read["photo_pose"].shape[1:3] == read["placed_hand"].shape[1:3]
    assert not [path for path in folder.rglob("*") if path.suffix == ".part" and path.is_file()]


def test_the_trainers_find_no_fault(whole):
    folder, _, _ = whole
    clips, faults = anchor_data.find_clips(folder / "anchorcrafter", FRAMES, reference_frame=True)
    assert [clip.film.stem for clip in clips] == [NAME] and not faults
    clips, faults = anicrafter_data.find_clips(folder / "anicrafter", 5)
    assert [clip.folder.name for clip in clips] == [NAME] and not faults
    (window,) = anicrafter_data.windows(clips, 5)
    assert window.scene().blend.shape == window.film().shape == (5, SIZE[1], SIZE[0], 3)


def test_nothing_is_made_twice(folder, whole):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    _, clip, chosen = whole
    detector = chosen.tools.dwpose.load()
    calls = detector.calls
    assert set(run(folder, clip, chosen).values()) == {"kept"}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    assert detector.calls == calls


def test_another_clip_under_the_name_is_made_anew(folder, whole, tmp_path):
    _, _, chosen = whole
    other = tmp_path / "other.mp4"
    write_video(other, make_scene(2, "test", SIZE, FRAMES, FPS).frames, FPS)
    states = run(folder, other, replace(chosen, systems=("anchorcrafter",), person=None))
    assert {"film", "anchor_film", "object_depth", "hand", "person", "view_front"} <= made(states)
    film = read_clip(folder / CONDITIONS["film"].of(NAME))[0].float()
    assert (film - read_clip(other)[0].float()).abs().mean() < 3


def test_a_setting_touches_only_what_it_is_for(folder, whole):
    _, clip, chosen = whole
    states = run(folder, clip, replace(chosen, field_of_view=50.0))
    assert made(states) == {"hand", "motion", "mesh", "mesh_mask", "blend", "placed_hand", "photo", "photo_pose",
                            "placed_pose", "placed_depth"}


def test_own_mask_is_used_and_what_is_made_of_it_made_again(folder, whole):
    _, clip, chosen = whole
    mask = CONDITIONS["product_mask"]
    path = folder / mask.of(NAME)
    own = torch.zeros(FRAMES, SIZE[1], SIZE[0])
    own[:, 60:90, 20:50] = 1
    mask.write(path, own, FPS)
    states = run(folder, clip, replace(chosen, systems=("anchorcrafter",), person=None))
    assert states["product_mask"] == "own" and states["keypoints"] == "kept"
    assert {"object_depth", "hand", "view_front"} <= made(states) and "pose" not in made(states)
    assert torch.equal(mask.read(path), own)
    assert alike(CONDITIONS["object_depth"].read(folder / CONDITIONS["object_depth"].of(NAME)), own > 0) > 0.95


def test_a_second_clip_shares_person_and_product(folder, whole):
    _, clip, chosen = whole
    shared = {name: (folder / CONDITIONS[name].of(NAME)).read_bytes() for name in ("person", "view_front")}
    anchor = replace(chosen, systems=("anchorcrafter",), person=None, first=1)
    states = run(folder, clip, anchor, f"{NAME}_2")
    assert states["film"] == "made" and states["person"] == states["view_front"] == "kept"
    assert {name: (folder / CONDITIONS[name].of(NAME)).read_bytes() for name in shared} == shared
    clips, faults = anchor_data.find_clips(folder / "anchorcrafter", 3)
    assert [clip.film.stem for clip in clips] == [NAME, f"{NAME}_2"] and not faults
    assert clip_names(Prepared(folder)) == [NAME, f"{NAME}_2"]


def test_stopped_in_the_middle_it_goes_on(scene, clip, tmp_path):
    """Cancelled in each stage: what was made stays, the rest follows."""
    anchor, done = options(scene.poses, systems=("anchorcrafter",)), {}
    while True:
        stages = prepare(clip, NAME, Prepared(tmp_path), anchor)
        try:
            for what, state in stages:
                done.setdefault(what, []).append(state)
                if state == "made":
                    raise KeyboardInterrupt
            break
        except KeyboardInterrupt:
            stages.close()
    assert all(states[0] == "made" and set(states[1:]) <= {"kept"} for states in done.values())


def test_clicks_are_scaled_to_the_film(scene, tmp_path):
    clip = tmp_path / "clip.mp4"
    write_video(clip, scene.frames.repeat(2, 1).repeat(2, 2), FPS)
    frame = 2
    y, x = (2 * np.argwhere(scene.product_mask[frame]).mean(0)).round()
    top, left = 2 * np.argwhere(scene.product_mask[frame]).min(0)
    bottom, right = 2 * np.argwhere(scene.product_mask[frame]).max(0) + 2
    chosen = options(
        scene.poses, systems=("anchorcrafter",), long_side=max(SIZE), every=2, first=0, frame=frame,
        point=(float(x), float(y)), box=(float(left), float(top), float(right), float(bottom)),
    )
    states = run(tmp_path / "out", clip, chosen)
    assert states["product_mask"] == "made", states
    found = CONDITIONS["product_mask"].read(tmp_path / "out" / CONDITIONS["product_mask"].of(NAME))[1] > 0
    truth = torch.from_numpy(scene.product_mask[frame])
    assert (found & truth).sum() / (found | truth).sum() > 0.6


def test_product_photos_are_its_views(scene, clip, tmp_path):
    paths = []
    for name, view in zip(("left", "front", "right"), scene.product_views, strict=True):
        Image.fromarray(view).save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    chosen = options(scene.poses, systems=("anchorcrafter",), product=(paths[1], paths[0], paths[2]))
    states = run(tmp_path / "out", clip, chosen)
    assert set(states.values()) == {"made"}
    front = np.asarray(Image.open(tmp_path / "out" / CONDITIONS["view_front"].of(NAME))).astype(float)
    assert front.shape == (518, 518, 3) and front.mean() > 5
    Image.fromarray(scene.product_views[2]).save(paths[1])
    assert made(run(tmp_path / "out", clip, chosen)) == {"view_left", "view_front", "view_right"}


# Bad and odd input.


def test_nobody(clip, tmp_path):
    states = run(tmp_path, clip, options([Pose.empty()]))
    assert made(states) == {"film", "anchor_film", "source"}
    assert {what: state for what, state in states.items() if state != "made"} == {
        "keypoints": "No person was found in any of the frames 0 to 3: use a picture that shows head and torso clearly."
    }


def test_no_pose_network(whole, tmp_path):
    _, clip, chosen = whole
    states = run(tmp_path, clip, Options(tools=Tools(body=BODY)))
    assert "crafters download dwpose" in states["keypoints"] and "keypoints.json" in states["keypoints"]
    # The user's own keypoints do as well.
    shutil.copytree(whole[0] / "clips", tmp_path / "own" / "clips", ignore=shutil.ignore_patterns("*.mp4", "*.png"))
    states = run(tmp_path / "own", clip, Options(systems=("anchorcrafter",)))
    assert states.pop("keypoints") == "own" and set(states.values()) == {"made"}


def test_no_hands_is_no_obstacle_for_the_other_system(scene, clip, tmp_path):
    handless = [
        Pose(pose.body, pose.face, pose.left_hand * [1, 1, 0], pose.right_hand * [1, 1, 0]) for pose in scene.poses
    ]
    states = run(tmp_path, clip, options(handless))
    assert "shows no hands in any frame" in states["product_mask"]
    assert {"background", "motion", "mesh", "reference", "pose"} <= made(states)
    assert not {"object_depth", "hand", "person", "view_front"} & states.keys()


def test_the_person_comes_late(scene, clip, tmp_path):
    poses = [Pose.empty(), *scene.poses[1:]]
    states = run(tmp_path, clip, options(poses, systems=("anicrafter",)))
    assert set(states.values()) == {"made"}, states
    mask = CONDITIONS["mesh_mask"].read(tmp_path / CONDITIONS["mesh_mask"].of(NAME))
    assert mask.flatten(1).any(1).tolist() == [False, True, True, True]


def test_one_frame(scene, tmp_path):
    write_video(tmp_path / "clip.mp4", scene.frames[:1], FPS)
    states = run(tmp_path / "out", tmp_path / "clip.mp4", options(scene.poses[:1]))
    assert set(states.values()) == {"made"}, states
    assert len(read_clip(tmp_path / "out" / CONDITIONS["hand"].of(NAME))[0]) == 1


def test_rotated_phone_clip(scene, tmp_path):
    """Stored lying, to be shown upright: what is made is upright, and no file needs the note any more."""
    clip = tmp_path / "clip.mp4"
    write_video(clip, np.rot90(scene.frames, -1, (1, 2)), FPS)
    data = bytearray(clip.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    cos, sin = 0, -1  # a quarter turn against the clock
    data[matrix : matrix + 20] = (np.array([cos, sin, 0, -sin, cos]) * 65536).astype(">i4").tobytes()
    clip.write_bytes(bytes(data))
    run(tmp_path / "out", clip, options(scene.poses, systems=("anchorcrafter",)))
    film = anchor_data.read_frames(tmp_path / "out" / CONDITIONS["anchor_film"].of(NAME), [0])[0]
    assert film.shape == scene.frames[0].shape
    assert np.abs(film.astype(float) - scene.frames[0]).mean() < 5  # twice through a video for every player


def test_varying_frame_rate(scene, tmp_path):
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for frame, time in zip(scene.frames, (0, 33, 400, 1000), strict=True):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    states = run(tmp_path / "out", clip, options(scene.poses, systems=("anchorcrafter",)))
    assert set(states.values()) == {"made"}, states
    clips, faults = anchor_data.find_clips(tmp_path / "out" / "anchorcrafter", FRAMES, True)
    assert len(clips) == 1 and not faults


def test_from_the_command_line(scene, tmp_path, capsys, monkeypatch):
    """With the demo's small pose networks, twice."""
    from crafters.proof.demo import WEIGHTS

    monkeypatch.setenv("CRAFTERS_MODELS", str(WEIGHTS))
    clips = tmp_path / "clips"
    clips.mkdir()
    write_video(clips / "anna_mug.mp4", make_scene(1, "test", (192, 320), FRAMES, FPS).frames, FPS)
    call = ["prepare", str(clips / "anna_mug.mp4"), "--out", str(tmp_path / "out"), "--system", "anchorcrafter"]
    assert main(call) == 0
    first = capsys.readouterr().out.splitlines()
    assert main(call) == 0
    second = capsys.readouterr().out.splitlines()
    assert [line.replace(": made", ": kept") for line in first] == second and first != second
    assert os.listdir(tmp_path / "out" / "clips") == ["anna_mug"]

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from crafters.models.body.layout import PELVIS_AT_REST
from crafters.models.body.motion import BodyMotion, MotionError
from crafters.models.body.motion_files import read_motion, save_motion
from crafters.models.body.rotation import axis_angle_to_matrix
from helpers.amass_file import amass
from helpers.real_data import FOLDER

FIELDS = ("pose", "trans", "betas", "focal", "principal")
ROWS = {"pose": (55, 3), "trans": (3,), "betas": (10,), "focal": (2,), "principal": (2,)}


def some_motion(frames=(3, 4, 5, 6), size=(1360, 768)):
    generator = torch.Generator().manual_seed(0)
    rows = {name: torch.randn(len(frames), *shape, generator=generator).double() for name, shape in ROWS.items()}
    rows["focal"] = rows["focal"].abs() + 1000
    return BodyMotion(**rows, size=size, frames=tuple(frames), fps=20.0)


def equal(a, b):
    return all(getattr(a, name).equal(getattr(b, name)) for name in FIELDS) and (a.size, a.frames, a.fps) == (
        b.size, b.frames, b.fps
    )


def pelvis_pixels(motion):
    pelvis = motion.trans + torch.tensor(PELVIS_AT_REST, dtype=torch.float64)
    return pelvis[:, :2] / pelvis[:, 2:] * motion.focal + motion.principal


# --- JSON folders


def test_json_round_trip_is_exact(tmp_path):
    motion = some_motion()
    save_motion(motion, tmp_path / "walk")  # numbered from 1, as published
    assert sorted(file.name for file in (tmp_path / "walk").iterdir()) == [f"0000{i}.json" for i in (4, 5, 6, 7)]
    assert equal(read_motion(tmp_path / "walk", fps=20), motion)


def test_a_real_folder_is_rewritten_number_for_number(tmp_path):
    folder = FOLDER / "anicrafter/scene/smplx_params"
    if not folder.is_dir():
        pytest.skip("no real data: CRAFTERS_DATA has no anicrafter/scene/smplx_params")
    motion = read_motion(folder, fps=20)
    assert motion.frames == tuple(range(81)) and motion.size == (1360, 768) and not motion.missing
    assert motion.focal.flatten().tolist() == pytest.approx([1177.7946] * 162, abs=1e-4)
    assert motion.principal[7].tolist() == [680, 384]
    assert motion.betas.std(dim=0, correction=0).mean() == pytest.approx(3.5e-4, abs=0.05e-4)
    assert motion.trans[[0, -1], 2].tolist() == pytest.approx([2.03, 1.55], abs=0.005)
    assert motion.pose.abs().max() == pytest.approx(4.61, abs=0.005)
    save_motion(motion, tmp_path / "again")
    for name in ("00001.json", "00081.json"):
        assert json.loads((tmp_path / "again" / name).read_text()) == json.loads((folder / name).read_text())


def test_frames_go_by_the_number_in_the_name_and_gaps_are_told(tmp_path, caplog):
    motion = some_motion(frames=(8, 9, 12))
    save_motion(motion, tmp_path / "a")
    for number in (9, 10, 13):  # unpadded names sort as 10, 13, 9
        (tmp_path / "a" / f"{number:05d}.json").rename(tmp_path / "a" / f"frame_{number}.json")
    with caplog.at_level(logging.WARNING):
        read = read_motion(tmp_path / "a", fps=20)
    assert equal(read, motion)
    assert read.missing == [10, 11]
    assert "no pose for 2 of its frames 9 to 13, the first being 11" in caplog.text


def test_a_folder_with_a_frame_0_counts_from_0(tmp_path, caplog):
    save_motion(some_motion(frames=(0, 1, 2, 5)), tmp_path / "a")
    for number in (1, 2, 3, 6):
        (tmp_path / "a" / f"{number:05d}.json").rename(tmp_path / "a" / f"{number - 1:05d}.json")
    assert read_motion(tmp_path / "a").frames == (0, 1, 2, 5)
    assert "frames 0 to 5, the first being 3" in caplog.text


def change_all(folder, change):
    for file in sorted(folder.glob("*.json")):
        frame = json.loads(file.read_text())
        change(frame)
        file.write_text(json.dumps(frame))


def test_a_frame_of_zeros_is_one_without_the_person(tmp_path):
    motion = some_motion(frames=(0, 1, 2, 3, 4))
    save_motion(motion, tmp_path / "a")

    def empty(frame):
        def nothing(value):
            return [nothing(part) for part in value] if isinstance(value, list) else 0.0

        frame.update({name: nothing(value) for name, value in frame.items()})

    everything = {file: file.read_text() for file in (tmp_path / "a").iterdir()}
    change_all(tmp_path / "a", empty)
    with pytest.raises(MotionError, match="all frames are zero"):
        read_motion(tmp_path / "a")
    for name in ("00002.json", "00004.json", "00005.json"):
        (tmp_path / "a" / name).write_text(everything[tmp_path / "a" / name])
    read = read_motion(tmp_path / "a")
    assert read.frames == (1, 3, 4) and read.pose.equal(motion.pose[[1, 3, 4]])


@pytest.mark.parametrize(("size", "ratio"), [((1360, 768), 0.2), ((853, 479), 0.15)])
def test_a_padded_camera_is_brought_back_to_the_film(tmp_path, size, ratio):
    motion = replace(some_motion(size=size), principal=torch.tensor(size).double().expand(4, 2) / 2)
    save_motion(motion, tmp_path / "a")
    padded = [round(side * (1 + ratio)) for side in size]
    left, top = ((wide - side) // 2 for wide, side in zip(padded, size, strict=True))

    def pad(frame):
        x, y = frame["princpt"]
        frame.update(img_size_wh=padded, princpt=[x + left, y + top], pad_ratio=ratio)

    change_all(tmp_path / "a", pad)
    assert equal(read_motion(tmp_path / "a", fps=20), motion)
    change_all(tmp_path / "a", change(pad_ratio="much"))
    with pytest.raises(MotionError, match="`pad_ratio` is 'much'"):
        read_motion(tmp_path / "a")


def test_filling_turns_evenly_and_keeps_what_was_there():
    motion = some_motion(frames=(9, 10, 13))
    turned = torch.zeros(3, 55, 3, dtype=torch.float64)
    turned[:, 4, 0] = torch.tensor([4.0, 0.3, 0.9])
    filled = replace(motion, pose=turned).filled()
    assert filled.frames == (9, 10, 11, 12, 13) and not filled.missing
    assert filled.pose[:, 4, 0].tolist() == pytest.approx([4.0, 0.3, 0.5, 0.7, 0.9])
    assert filled.trans[[0, 1, 4]].equal(motion.trans)
    torch.testing.assert_close(filled.trans[2], motion.trans[1] * 2 / 3 + motion.trans[2] / 3)


def test_who_is_not_seen_for_more_than_a_second_has_left(caplog):
    motion = some_motion(frames=(2, 23, 45))  # 20 and 21 frames between, at 20 a second
    assert motion.filled().frames == (*range(2, 24), 45)
    assert "filled in between their neighbours: 20." in caplog.text
    assert "The person is away for 21 frames of the motion" in caplog.text


def change(**values):
    def spoil(frame):
        frame.update(values)

    return spoil


def drop(name):
    return lambda frame: frame.pop(name)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (drop("lhand_pose"), r"00004\.json has no `lhand_pose`"),
        (change(body_pose=[[0, 0, 0]] * 20), r"00004\.json: `body_pose` has the shape \(20, 3\), not \(21, 3\)"),
        (change(trans=[0, float("nan"), 0]), r"00004\.json: `trans` holds values that are no numbers"),
        (change(trans="far away"), r"00004\.json: `trans` is not a list of numbers"),
        (change(rhand_pose=[[0, 0, 0], [0]]), r"00004\.json: `rhand_pose` is not a list of numbers"),
        (change(img_size_wh=[640, 480]), r"00004\.json is for pictures of 640×480, 00003\.json for 1360×768"),
        (change(focal=[0, 0]), r"focal length.*must be above 0"),
    ],
)
def test_a_wrong_json_is_named(tmp_path, spoil, message):
    save_motion(some_motion(frames=(2, 3, 4)), tmp_path / "a")
    file = tmp_path / "a" / "00004.json"
    frame = json.loads(file.read_text())
    spoil(frame)
    file.write_text(json.dumps(frame))
    with pytest.raises(MotionError, match=message):
        read_motion(tmp_path / "a")


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("00009.json", "{", r"00009\.json is not a JSON file"),
        ("00009.json", "[1]", r"00009\.json holds no frame"),
        ("notes.json", "{}", r"notes\.json has no frame number"),
        ("4.json", "{}", r"00004\.json and 4\.json are both frame 4"),
    ],
)
def test_a_strange_file_is_named(tmp_path, name, text, message):
    save_motion(some_motion(), tmp_path / "a")
    (tmp_path / "a" / name).write_text(text)
    with pytest.raises(MotionError, match=message):
        read_motion(tmp_path / "a")


def test_places_without_a_motion_are_refused(tmp_path):
    with pytest.raises(MotionError, match="holds no JSON files"):
        read_motion(tmp_path)
    with pytest.raises(MotionError, match=r"neither a folder .* nor an AMASS"):
        read_motion(tmp_path / "walk.bvh")
    save_motion(some_motion(), tmp_path / "a")
    with pytest.raises(MotionError, match="already holds files"):
        save_motion(some_motion(), tmp_path / "a")


# --- AMASS


def test_amass_walks_towards_the_default_camera(tmp_path):
    motion = read_motion(amass(tmp_path), size=(720, 1280))
    assert motion.fps == 120 and motion.frames == (0, 1, 2, 3, 4) and motion.size == (720, 1280)
    upright = torch.diag(torch.tensor([1.0, -1, -1])).double()
    torch.testing.assert_close(axis_angle_to_matrix(motion.pose[0, 0]), upright)
    assert pelvis_pixels(motion)[0].tolist() == pytest.approx([360, 640])
    steps = motion.trans.diff(dim=0)
    assert steps.flatten().tolist() == pytest.approx([0, 0, -0.1] * 4)
    height = 1.75 / (motion.trans[0, 2] + PELVIS_AT_REST[2]) * motion.focal[0, 1]
    assert height == pytest.approx(0.8 * 1280)
    assert motion.focal[0, 0] == pytest.approx(640 / np.tan(np.pi / 6))


def test_amass_hands_jaw_and_shape(tmp_path):
    smplh = read_motion(amass(tmp_path))
    assert (smplh.pose[:, 40:] == 0.25).all() and not smplh.pose[:, 22:25].any()
    assert not smplh.betas.any()  # another model's shapes
    neutral = {"gender": "neutral", "mocap_framerate": None, "mocap_frame_rate": 60}
    smplx = read_motion(amass(tmp_path, values=165, **neutral))
    assert (smplx.pose[:, 40:] == 0.25).all() and smplx.fps == 60
    assert smplx.betas[0].tolist() == list(range(10))


def test_the_shape_of_a_male_or_female_model_is_not_that_of_the_neutral_one(tmp_path, caplog):
    for gender in ("male", np.array(b"female")):
        assert not read_motion(amass(tmp_path, values=165, gender=gender)).betas.any()
    assert "walk.npz: the performer's shape is left out" in caplog.text and "female SMPL-X" in caplog.text
    caplog.clear()
    for gender in ("neutral", None):
        assert read_motion(amass(tmp_path, values=165, gender=gender)).betas[0].tolist() == list(range(10))
    assert not caplog.text


def test_amass_round_trip(tmp_path):
    motion = some_motion(frames=(3, 4, 7))
    save_motion(motion, tmp_path / "m.npz")
    read = read_motion(tmp_path / "m.npz")
    assert (read.size, read.frames, read.fps) == (motion.size, motion.frames, motion.fps)
    torch.testing.assert_close(axis_angle_to_matrix(read.pose), axis_angle_to_matrix(motion.pose))
    for name in ("trans", "focal", "principal"):
        torch.testing.assert_close(getattr(read, name), getattr(motion, name))
    torch.testing.assert_close(read.betas, motion.betas.mean(0).expand(3, -1))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"trans": None}, "has no `trans`"),
        ({"mocap_framerate": None}, "has no `mocap_framerate`"),
        ({"poses": np.zeros((5, 72))}, r"`poses` \(5, 72\)"),
        ({"trans": np.zeros((4, 3))}, r"`trans` \(4, 3\)"),
        ({"trans": np.full((5, 3), np.nan)}, "trans holds values that are no numbers"),
        ({"poses": np.zeros((0, 156)), "trans": np.zeros((0, 3))}, "at least one frame"),
        ({"poses": np.array([{}], dtype=object)}, "not a whole .npz file"),
    ],
)
def test_a_wrong_amass_file_is_named(tmp_path, change, message):
    with pytest.raises(MotionError, match=rf"walk\.npz.*({message})"):
        read_motion(amass(tmp_path, **change))


# --- edits


def test_resizing_scales_every_pixel():
    motion = some_motion()
    half = motion.resized(680, 384)
    torch.testing.assert_close(pelvis_pixels(half), pelvis_pixels(motion) / 2)
    assert half.size == (680, 384)


def test_moving_and_turning():
    motion = some_motion()
    moved = motion.moved(x=1, y=-0.5, z=2)
    assert moved.pose.equal(motion.pose)
    torch.testing.assert_close(moved.trans - motion.trans, torch.tensor([1, -0.5, 2]).double().expand(4, -1))
    turned = motion.moved(degrees=90)
    torch.testing.assert_close(turned.trans[0], motion.trans[0])
    step, new = motion.trans[1] - motion.trans[0], turned.trans[1] - turned.trans[0]
    torch.testing.assert_close(new, torch.stack([-step[2], step[1], step[0]]))
    # What faced the camera (−z) now faces right (+x).
    facing = axis_angle_to_matrix(torch.tensor([torch.pi, 0, 0], dtype=torch.float64))
    front = replace(motion, pose=torch.tensor([torch.pi, 0, 0]).double().expand(4, 55, 3))
    ahead = axis_angle_to_matrix(front.moved(degrees=90).pose[0, 0]) @ torch.tensor([0.0, 0, 1]).double()
    torch.testing.assert_close(facing @ torch.tensor([0.0, 0, 1]).double(), torch.tensor([0.0, 0, -1]).double())
    torch.testing.assert_close(ahead, torch.tensor([1.0, 0, 0]).double(), rtol=0, atol=1e-6)


def test_a_turn_moves_the_whole_body_rigidly():
    """Every point of the body, not only the pelvis, goes round the same vertical axis."""
    motion = some_motion()
    turned = motion.moved(degrees=35)
    point, pelvis = torch.tensor([0.3, 0.1, 0.05]).double(), torch.tensor(PELVIS_AT_REST).double()

    def place(m):
        return (axis_angle_to_matrix(m.pose[:, 0]) @ (point - pelvis)) + pelvis + m.trans

    axis = motion.trans[0] + pelvis
    turn = axis_angle_to_matrix(torch.tensor([0, -35 * torch.pi / 180, 0]).double())
    torch.testing.assert_close(place(turned), (place(motion) - axis) @ turn.T + axis, rtol=0, atol=1e-6)


def test_scaling_keeps_the_pelvis_in_the_picture():
    motion = some_motion()
    near = motion.scaled(2)
    torch.testing.assert_close(pelvis_pixels(near), pelvis_pixels(motion))
    torch.testing.assert_close(near.trans[:, 2] + PELVIS_AT_REST[2], (motion.trans[:, 2] + PELVIS_AT_REST[2]) / 2)


def test_retiming_keeps_the_duration():
    motion = replace(some_motion(), trans=torch.arange(4.0).double()[:, None].expand(4, 3))
    double = motion.retimed(40)
    assert double.fps == 40 and double.frames == tuple(range(6, 14))
    assert double.trans[:, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
    half = motion.retimed(10)
    assert half.trans[:, 0].tolist() == [1, 3] and half.frames == (2, 3)
    assert equal(motion.retimed(20), motion)


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60, 100, 120])
@pytest.mark.parametrize("film", [24, 25, 30000 / 1001, 60])
def test_at_every_rate_the_person_is_where_they_are_at_that_time(rate, film, caplog):
    """Somebody who comes after half a second and walks at 1 m/s for two."""
    frames = tuple(range(rate // 2, rate * 5 // 2))
    motion = some_motion(frames)
    seconds = torch.tensor(frames, dtype=torch.float64) / rate
    retimed = replace(motion, trans=seconds[:, None].expand(-1, 3), fps=float(rate)).for_film(film)
    assert retimed.fps == film and abs(len(retimed) / film - 2) < 1.01 / film
    late = retimed.trans[:, 0] - torch.tensor(retimed.frames, dtype=torch.float64) / film
    assert late.abs().max() <= 0.5 / film + 1 / rate  # at the ends; between them it is exact
    assert late[1:-3].abs().max() < 1e-9
    assert ("retimed" in caplog.text) == (rate != film)


def test_retiming_keeps_gaps():
    motion = some_motion(frames=(0, 1, 2, 3, 8, 9))
    assert motion.retimed(10).frames == (0, 1, 4)
    assert motion.retimed(40).frames == (*range(7), *range(15, 20))
    times = torch.tensor(motion.frames).double()[:, None].expand(-1, 3)
    assert replace(motion, trans=times).retimed(50).trans[6:14, 0].tolist() == [2.4, 2.8, 3, 8, 8, 8.4, 8.8, 9]


def test_looping():
    motion = replace(some_motion((0, 1, 2, 3)), trans=torch.arange(4.0).double()[:, None].expand(4, 3))
    assert motion.looped(9).trans[:, 0].tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert motion.looped(6, back_and_forth=False).trans[:, 0].tolist() == [0, 1, 2, 3, 0, 1]
    assert motion.looped(2).frames == (0, 1)
    assert some_motion(frames=(5,)).looped(8).frames == (5, 6, 7)


def test_looping_goes_by_the_film():
    """Who comes at frame 2 and is away at 4 still does so; the film's length is what is asked for."""
    motion = some_motion(frames=(2, 3, 5))
    assert motion.looped(4).frames == (2, 3)
    assert motion.looped(10).frames == (2, 3, 5, 7, 8, 9)
    assert motion.looped(10).pose.equal(motion.pose[[0, 1, 2, 1, 0, 1]])


def test_a_film_cut_at_its_beginning():
    motion = some_motion(frames=(2, 3, 5))
    assert motion.since(3).frames == (0, 2) and motion.since(3).pose.equal(motion.pose[1:])
    assert equal(motion.since(0), motion)
    with pytest.raises(MotionError, match="ends at frame 6: none is left after 6"):
        motion.since(6)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.resized(0, 5),
        lambda m: m.scaled(0),
        lambda m: m.retimed(0),
        lambda m: m.looped(3),
        lambda m: replace(m, frames=(-1, 0, 1, 2)),
        lambda m: replace(m, frames=(3, 3, 4, 5)),
        lambda m: replace(m, trans=m.trans[:2]),
    ],
)
def test_impossible_edits_are_refused(edit):
    with pytest.raises(MotionError, match=r"^[A-Z].*\.$"):
        edit(some_motion())

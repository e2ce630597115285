"""Gestures with times, and the product's way through them."""

import pytest
import torch
from crafters.models.staging.gestures import GESTURES, Part, read_script, script_course


def test_a_script_is_read_with_times_and_without():
    assert read_script("raise 0-2, turn 2-4, offer 4-6", 6) == [
        Part("raise", 0, 2), Part("turn", 2, 4), Part("offer", 4, 6)
    ]
    assert read_script(" Turn 2.5 to 4 s , raise 0–2.5", 4) == [Part("raise", 0, 2.5), Part("turn", 2.5, 4)]
    assert read_script("hold, shake", 3) == [Part("hold", 0, 1.5), Part("shake", 1.5, 3)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("raise 0-2, turn 1-3", r"raise \(0 to 2 s\) and turn \(1 to 3 s\) overlap"),
        ("dance", 'no gesture "dance": choose among raise'),
        ("raise, turn 2-4", "all gestures .* times"),
        ("raise 0-9", "ends at 9 s, but the video at 6 s"),
        ("raise 3-2", "from 3 to 2 s: it needs at least"),
        ("raise; turn", '"raise; turn" is no gesture'),
        (" , ", "is no gesture"),
    ],
)
def test_a_wrong_script_is_told(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_script(text, 6)


@pytest.mark.parametrize("gesture", GESTURES)
def test_a_gesture_begins_and_ends_at_rest(gesture):
    time = torch.arange(0, 5, 0.01, dtype=torch.float64)
    course, pointing = script_course([Part(gesture, 1, 4)], time)
    way = torch.cat([course.offset, course.yaw[:, None], course.roll[:, None]], 1)
    rest = (time <= 1) | (time >= 4)
    assert (way[rest] == 0).all() and way.abs().max() > 0.005
    assert way.diff(dim=0).abs().max() < 0.05, "without a jump"
    assert pointing.max() == (1 if gesture == "point" else 0) and (pointing[rest] == 0).all()


def test_gestures_move_the_product_where_they_say():
    time = torch.arange(0, 3, 0.01, dtype=torch.float64)
    moved = {name: script_course([Part(name, 0, 3)], time)[0] for name in GESTURES}
    assert moved["raise"].offset[:, 1].min() < -0.08 and moved["lower"].offset[:, 1].max() > 0.08
    assert moved["offer"].offset[:, 2].min() < -0.03 and moved["turn"].yaw.abs().max() > 0.9
    assert moved["aside"].offset[:, 0].abs().max() > 0.08 and moved["shake"].roll.abs().max() > 0.1

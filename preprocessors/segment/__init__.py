"""Masks of people and things over a clip: prompts, SAM 2 or 3 with memory, and a tracker that needs no weights.

`video.py` is where a clip's masks begin. It asks a Tracker (`tracker.py`): `sam.py`, or `flow.py`, whose objects are
`object_track.py`'s. What hands hold is found by `held_object.py`, a person without weights by `person_track.py`.
"""

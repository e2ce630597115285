"""Masks of people and things over a clip: prompts, SAM 2 or 3 with memory, and a tracker that needs no weights."""

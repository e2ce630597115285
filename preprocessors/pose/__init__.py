"""Whole-body keypoints: found, followed, placed, drawn."""

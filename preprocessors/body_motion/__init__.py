"""A person's motion from a clip: SMPL-X poses that follow 2-D keypoints."""

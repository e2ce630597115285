"""Bodies: SMPL-X, Anny, their rotations and their motion."""

"""The layout of a body, which is SMPL-X's: joints in their order, y up, facing +z, left = +x."""

from ...files.bounded import RefusedError

JOINTS, BETAS = 55, 10
# Pelvis and 21 body joints, jaw, left eye, right eye, 15 joints of the left hand, 15 of the right.
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
           20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
           21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53)
PELVIS, SPINES, NECK, HEAD, JAW, EYES = 0, (3, 6, 9), 12, 15, 22, (23, 24)
SIDES = ("left", "right")
COLLAR, SHOULDER, ELBOW, WRIST, HIP, KNEE, ANKLE = (
    {"left": joint, "right": joint + 1} for joint in (13, 16, 18, 20, 1, 4, 7)
)
FIRST_FINGER = {"left": 25, "right": 40}  # three joints from each knuckle on: index, middle, little, ring, thumb
FINGERS = (4, 0, 1, 3, 2)  # thumb, index, middle, ring, little, as keypoints have them, among those
# The pelvis of the mean body at rest, m. A motion has no body, so edits about the pelvis take this one.
PELVIS_AT_REST = (0.003, -0.351, 0.012)


class BodyModelError(RefusedError):
    """A body model that is not there or cannot be used; the message says which, why, and what to do."""

"""The poses that an avatar's gaussians may stand in. Without torch: the command line names them too."""

from itertools import product

AS_STORED = "as stored"
# By pose: how far the legs may be spread and the arms lowered from the T-pose, degrees each.
ANGLES = {
    "neutral": [(20, 0)],  # LHM's
    "T": [(0, 0)],
    "A": list(product(range(0, 25, 5), range(25, 75, 5))),
}
POSES = (AS_STORED, *ANGLES)

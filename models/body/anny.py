"""Anny, a permissively licensed body (Apache-2.0, assets CC0), in the layout of SMPL-X.

Whatever takes SMPLX_NEUTRAL.npz (rig, motion, animation, body-mesh video) takes this body too: the 55 joints in the
same order, in a T-pose with palms down, y up, facing +z, left = +x, the mean pelvis where SMPL-X has it. Its vertices
are Anny's: points of one body do not correspond to those of the other.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .body import BodyModel, Skeleton, keypoint_regressor
from .hand_faces import closed
from .layout import BETAS, FINGERS, FIRST_FINGER, JAW, JOINTS, PARENTS, PELVIS_AT_REST, SIDES, WRIST, BodyModelError
from .rotation import axis_angle_to_matrix, frame, matrix_to_axis_angle, slerp
from .skinning import blend, joint_transforms, move

if TYPE_CHECKING:
    from anny import Anny

# Anny's bone whose head is the joint; the fingers follow below. Other bones move with their nearest ancestor here.
_BONES = {
    "root": 0, "upperleg01.L": 1, "upperleg01.R": 2, "spine04": 3, "lowerleg01.L": 4, "lowerleg01.R": 5, "spine02": 6,
    "foot.L": 7, "foot.R": 8, "spine01": 9, "toe3-1.L": 10, "toe3-1.R": 11, "neck01": 12, "clavicle.L": 13,
    "clavicle.R": 14, "head": 15, "upperarm01.L": 16, "upperarm01.R": 17, "lowerarm01.L": 18, "lowerarm01.R": 19,
    "wrist.L": 20, "wrist.R": 21, "eye.L": 23, "eye.R": 24,
}
_BONES |= {
    f"finger{finger}-{i + 1}.{side[0].upper()}": FIRST_FINGER[side] + 3 * place + i
    for side in SIDES for finger, place in enumerate(FINGERS, 1) for i in range(3)
}
_JAW_FROM_HEAD = (0.0, -0.005, -0.012)  # m; Anny has no jaw bone, so that this joint moves nothing
_SPLAY = {2: 5.0, 3: 0.0, 4: -4.0, 5: -9.0}  # degrees from the hand's direction to the thumb's side
_LABELS = {
    "head": "head", "left_hand": "hand.L", "right_hand": "hand.R", "left_foot": "foot.L", "right_foot": "foot.R",
    "left_eye": ("eye_front.L", "eye_back.L"), "right_eye": ("eye_front.R", "eye_back.R"),
    "left_socket": "eye_cavity.L", "right_socket": "eye_cavity.R", "mouth": ("mouth_cavity", "tongue"),
}
_COCO = ("nose", *(f"{side}_{point}"
                   for point in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                   for side in ("left", "right")))
_SAMPLES, _NEAR = 192, 800
_WRIST = 0.022  # m of the forearm that belong to a hand, as MANO's has them


@lru_cache(maxsize=1)
@torch.inference_mode(False)  # it is kept, and must serve fits
@torch.no_grad()
def anny_body() -> BodyModel:
    """Anny as a SMPL-X body: `betas` ~ N(0, 1) give adults from 20 to 65, as varied as Anny's population statistics.

    Its `parts`: the `head` (its skin), `left_hand`, `right_hand`, `left_foot`, `right_foot`, `left_eye`, `right_eye`
    (the balls), `left_socket`, `right_socket`, `mouth` (inside). Always the same object, not to be changed.
    Raises BodyModelError when the package is not installed. Takes a few seconds, a second call no time.
    """
    source, population = _population()
    names = list(source.bone_labels)
    owner = _owners(names, source.bone_parents)
    dense = torch.zeros(len(source.template_vertices), len(names), dtype=torch.float64)
    dense.scatter_add_(1, source.vertex_bone_indices.long(), source.vertex_bone_weights.double())
    dense /= dense.sum(1, keepdim=True)

    vertices, heads = (_to_smplx(population[name].double()) for name in ("rest_vertices", "rest_bone_heads"))
    vertices, heads = _t_pose(vertices, heads, dense, names, source.bone_parents)
    joints = heads[:, [names.index(bone) for bone in sorted(_BONES, key=_BONES.get)]]
    jaw = joints[:, 15:16] + torch.tensor(_JAW_FROM_HEAD)
    joints = torch.cat([joints[:, :JAW], jaw, joints[:, JAW:]], dim=1)
    shift = torch.tensor((0, *PELVIS_AT_REST[1:])) - joints[:, :1]
    template, shape_dirs, rest, rest_dirs = _principal(vertices + shift, joints + shift)

    skinning = torch.zeros(len(template), JOINTS, dtype=torch.float64).index_add_(1, torch.tensor(owner), dense)
    regressor = _regressor(template, shape_dirs, rest, rest_dirs).float()
    template, shape_dirs, skinning = template.float(), shape_dirs.float(), skinning.float()
    faces, parts = source.faces.long(), _parts(source)
    skeleton = Skeleton.regress(regressor, template, shape_dirs, PARENTS)
    hands = {
        side: closed(faces[parts[f"{side}_hand"] | _wrist(template[faces] - skeleton.joints[WRIST[side]], side)])
        for side in SIDES
    }
    last = {side: [FIRST_FINGER[side] + 3 * finger + 2 for finger in FINGERS] for side in SIDES}
    tips = {side: [_tip(template, skinning, skeleton, bone) for bone in last[side]] for side in SIDES}
    return BodyModel(
        template, shape_dirs, torch.zeros(9 * (JOINTS - 1), 3 * len(template)), regressor, skinning, faces, skeleton,
        keypoint_regressor(F.pad(_keypoints(source), (0, JOINTS)), tips), hands, parts,
    )


def _population() -> tuple["Anny", dict[str, torch.Tensor]]:
    """Anny, and the rest shapes and bones of a sample of adults, always the same."""
    try:
        from anny import Anny
        from anny.shape_distribution import SimpleShapeDistribution
    except ImportError as error:
        raise BodyModelError("The Anny body needs a package that is not installed: pip install anny.") from error

    source = Anny(topology="anny", phenotypes="all", skinning_method="lbs")  # not warp, which compiles and talks
    years = torch.distributions.Uniform(*torch.tensor([20.0, 65.0], dtype=source.dtype))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, phenotypes = SimpleShapeDistribution(source, years).sample(_SAMPLES)
    return source, source(phenotype_kwargs=phenotypes)


def _to_smplx(points: torch.Tensor) -> torch.Tensor:
    """Anny has z up and faces −y."""
    return torch.stack([points[..., 0], points[..., 2], -points[..., 1]], dim=-1)


def _owners(names: list[str], parents: list[int]) -> list[int]:
    """The joint that moves each bone."""
    owner: list[int] = []
    for bone, name in enumerate(names):
        if name.startswith("toe"):
            owner.append(_BONES[f"toe3-1.{name[-1]}"])
        else:
            owner.append(_BONES.get(name, owner[parents[bone]] if parents[bone] >= 0 else 0))
    return owner


def _t_pose(
    vertices: torch.Tensor, heads: torch.Tensor, weights: torch.Tensor, names: list[str], parents: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """`vertices` [N,V,3] and bone `heads` [N,B,3] brought into the T-pose by Anny's own `weights` [V,B]."""
    turn = _turns(heads, names)
    turns = [torch.eye(3).to(heads).expand(len(heads), 3, 3)]
    for bone, parent in enumerate(parents[1:], 1):
        turns.append(turn.get(names[bone], turns[parent]))
    turns = torch.stack(turns, 1)
    local = torch.cat([turns[:, :1], turns[:, parents[1:]].mT @ turns[:, 1:]], 1)
    affine = joint_transforms(local, heads, parents)
    posed = torch.stack([move(blend(weights, of), person) for of, person in zip(affine, vertices, strict=True)])
    return posed, move(affine, heads)


def _turns(heads: torch.Tensor, names: list[str]) -> dict[str, torch.Tensor]:
    """World rotations [N,3,3] of the bones that do not simply follow their parent into the T-pose."""
    at = {name: heads[:, i] for i, name in enumerate(names)}
    x, y, z = torch.eye(3).to(heads)
    turn = {}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        upper = at[f"lowerarm01.{side}"] - at[f"upperarm01.{side}"]
        fore = at[f"wrist.{side}"] - at[f"lowerarm01.{side}"]
        hinge = torch.linalg.cross(upper, fore)  # the elbow is bent at rest, which shows its axis
        out = frame(sign * x, -sign * y)
        turn[f"upperarm01.{side}"] = out @ frame(upper, hinge).mT
        turn[f"lowerarm01.{side}"] = out @ frame(fore, hinge).mT
        across = at[f"finger2-1.{side}"] - at[f"finger5-1.{side}"]
        hand = at[f"finger3-1.{side}"] - at[f"wrist.{side}"]

        def palm(direction: torch.Tensor, across: torch.Tensor = across, sign: float = sign) -> torch.Tensor:
            return sign * torch.linalg.cross(direction, across)

        turn[f"wrist.{side}"] = frame(sign * x, -y) @ frame(hand, palm(hand)).mT
        turn[f"lowerarm02.{side}"] = _halfway(turn[f"lowerarm01.{side}"], turn[f"wrist.{side}"])
        for finger, degrees in _SPLAY.items():
            angle = torch.tensor(degrees, dtype=heads.dtype).deg2rad()
            straight = frame(sign * angle.cos() * x + angle.sin() * z, -y)
            bones = [at[f"finger{finger}-{i}.{side}"] for i in (1, 2, 3)]
            first, second = (straight @ frame(b - a, palm(b - a)).mT for a, b in zip(bones, bones[1:], strict=False))
            turn[f"finger{finger}-1.{side}"], turn[f"finger{finger}-2.{side}"] = first, second
            turn[f"finger{finger}-3.{side}"] = second @ first.mT @ second  # bent at rest as much as the one before

        for bone, end in (("upperleg01", "lowerleg01"), ("lowerleg01", "foot")):
            leg = at[f"{end}.{side}"] - at[f"{bone}.{side}"]
            turn[f"{bone}.{side}"] = frame(-y, z) @ frame(leg, z.expand_as(leg)).mT
        foot = (at[f"toe3-1.{side}"] - at[f"foot.{side}"]) * (x + z)
        turn[f"foot.{side}"] = frame(z, y) @ frame(foot, y.expand_as(foot)).mT
    return turn


def _halfway(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = matrix_to_axis_angle(a), matrix_to_axis_angle(b)
    return axis_angle_to_matrix(slerp(a, b, torch.full_like(a[..., :1], 0.5)))


def _principal(vertices: torch.Tensor, joints: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Mean and principal directions of unit variance: vertices [V,3], [V,3,10], joints [55,3], [55,3,10]."""
    mean, mean_joints = vertices.mean(0), joints.mean(0)
    difference = (vertices - mean).flatten(1)
    value, vector = torch.linalg.eigh(difference @ difference.T)
    vector = vector[:, -BETAS:].flip(1)
    larger = (difference.view(vertices.shape) * (mean - mean_joints[0])).sum((1, 2))
    vector = vector * torch.where(larger @ vector < 0, -1.0, 1.0) / (len(vertices) - 1) ** 0.5
    return (
        mean,
        torch.einsum("nvc,nb->vcb", vertices - mean, vector),
        mean_joints,
        torch.einsum("njc,nb->jcb", joints - mean_joints, vector),
    )


def _regressor(
    template: torch.Tensor, shape_dirs: torch.Tensor, joints: torch.Tensor, joint_dirs: torch.Tensor
) -> torch.Tensor:
    """[55,V]: each joint as the most even affine mean of the vertices near it, in all shapes."""
    rows = torch.cat([template, shape_dirs.flatten(1), torch.ones_like(template[:, :1])], dim=1)  # [V,34]
    wanted = torch.cat([joints, joint_dirs.flatten(1), torch.ones_like(joints[:, :1])], dim=1)
    regressor = torch.zeros(len(joints), len(template), dtype=torch.float64)
    for joint, near in enumerate(torch.cdist(joints, template).topk(_NEAR, largest=False).indices):
        regressor[joint, near] = torch.linalg.lstsq(rows[near].T, wanted[joint, :, None], driver="gelsd").solution[:, 0]
    return regressor


def _parts(source: "Anny") -> dict[str, torch.Tensor]:
    from anny.face_segmentation import get_face_segmentation_mask

    return {
        part: get_face_segmentation_mask(source, [labels] if isinstance(labels, str) else labels)
        for part, labels in _LABELS.items()
    }


def _keypoints(source: "Anny") -> torch.Tensor:
    from anny import KeypointsRegressor

    feet = [f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel")]
    return KeypointsRegressor.coco(source, labels=[*_COCO, *feet]).regression_weights.float()


def _tip(template: torch.Tensor, skinning: torch.Tensor, skeleton: Skeleton, bone: int) -> int:
    """The vertex of a finger's last bone that is farthest along it."""
    along = skeleton.joints[bone] - skeleton.joints[bone - 1]
    return int(torch.where(skinning.argmax(1) == bone, template @ along, -torch.inf).argmax())


def _wrist(from_joint: torch.Tensor, side: str) -> torch.Tensor:
    """[F] bool: the faces, corners [F,3,3] m from the wrist's joint, around it up to `_WRIST` along the forearm."""
    out = 1.0 if side == "left" else -1.0
    return (from_joint[..., 0] * out > -_WRIST).all(1) & (from_joint.norm(dim=-1).amin(1) < 0.1)

"""Synthetic people: the Anny body in a made-up look, posed by SMPL-X parameters."""

from dataclasses import dataclass

import numpy as np
import torch

from ..models.body.anny import anny_body
from ..models.body.body import BodyModel, Skeleton
from ..models.body.layout import JOINTS, SIDES
from ..models.body.wholebody import wholebody_regressor
from ..models.staging.limbs import Figure
from .clothes import dress
from .face import eyes, glasses, paint_face
from .hair import hair
from .look import SPLITS, Colour, Look, draw_look
from .surface import Surface, join

MOUTH_COLOUR, SPECTACLE_COLOUR = (0.35, 0.13, 0.13), (0.12, 0.12, 0.14)


@dataclass(frozen=True)
class Person:
    """Somebody in the T-pose, as SMPL-X has it: y up, facing +z, left = +x, m.

    `surface`: skin, clothes and hair as one mesh. `betas` [10] of the Anny body, `skeleton` and the `joints` [55,3] at
    rest. `hands`: both hands' skin, closed at the wrist. `marks`: what the keypoints are means of, without faces.
    """

    seed: int
    split: str
    look: Look
    betas: torch.Tensor
    skeleton: Skeleton
    joints: torch.Tensor
    surface: Surface
    hands: Surface
    marks: Surface

    @property
    def figure(self) -> Figure:
        """What poses it."""
        return Figure(self.skeleton, self.joints)

    @property
    def template(self) -> torch.Tensor:
        """[V,3] m at rest."""
        return self.surface.points

    @property
    def faces(self) -> torch.Tensor:
        """[F,3], counter-clockwise from outside."""
        return self.surface.faces

    @property
    def colours(self) -> torch.Tensor:
        """[V,3] 0..1."""
        return self.surface.colours

    @property
    def skinning(self) -> torch.Tensor:
        """[V,55] weights of the joints."""
        return self.surface.skinning

    def vertices(self, pose: torch.Tensor, trans: torch.Tensor) -> torch.Tensor:
        """[F,V,3] m for `pose` [F,55,3] axis-angle and `trans` [F,3] m, float32, in the frame that these are in."""
        return self.surface.posed(self._transforms(pose), trans)

    def keypoints(self, pose: torch.Tensor, trans: torch.Tensor) -> torch.Tensor:
        """[F,133,3] m: COCO-WholeBody's body 17, feet 6, face 68, left hand 21, right hand 21."""
        weights, _ = wholebody_regressor(anny_body())
        return weights @ self.marks.posed(self._transforms(pose), trans)

    def hand_mesh(self, pose: torch.Tensor, trans: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Vertices [F,v,3] m and faces [f,3] of both bare hands, closed at the wrist."""
        return self.hands.posed(self._transforms(pose), trans), self.hands.faces

    def _transforms(self, pose: torch.Tensor) -> torch.Tensor:
        return self.skeleton.transforms(pose.float(), self.joints)


def make_person(seed: int, split: str) -> Person:
    """The person of a `seed`, always the same; `train` and `test` never share one.

    Raises ValueError for another split, BodyModelError without the anny package.
    """
    if split not in SPLITS:
        raise ValueError(f"There is no split {split!r}: choose train or test.")
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    body = anny_body()
    betas = torch.from_numpy(rng.standard_normal(10).clip(-2, 2)).float()
    look = draw_look(rng, split)
    points = body.template + body.shape_dirs @ betas
    joints = body.skeleton.rest(betas)
    surface = _dressed(body, points, look)
    hands = _skin(body, points, torch.cat([body.hands["left"], body.hands["right"]]), look.skin)
    _, used = wholebody_regressor(body)
    places, skinning = torch.cat([points, joints])[used], torch.cat([body.skinning, torch.eye(JOINTS)])[used]
    marks = Surface(places, places, skinning, torch.zeros_like(places), torch.empty(0, 3, dtype=torch.long))
    return Person(seed, split, look, betas, body.skeleton, joints, surface, hands, marks)


def _skin(body: BodyModel, points: torch.Tensor, faces: torch.Tensor, colour: Colour) -> Surface:
    colours = torch.tensor(colour).expand_as(points)
    return Surface(points, body.template, body.skinning, colours, faces).compact()


def _dressed(body: BodyModel, points: torch.Tensor, look: Look) -> Surface:
    parts, faces = body.parts, body.faces
    replaced = torch.stack([part for name, part in parts.items() if name.endswith(("mouth", "eye", "socket"))]).any(0)
    skin = paint_face(_skin(body, points, faces[~replaced], look.skin), look)
    mouth = _skin(body, points, faces[parts["mouth"]], MOUTH_COLOUR)
    head = _skin(body, points, faces[parts["head"]], look.skin)
    centres = torch.stack([points[faces[parts[f"{side}_eye"]].unique()].mean(0) for side in SIDES])
    spectacles = glasses(centres, SPECTACLE_COLOUR) if look.glasses else []
    return join([*dress(skin, look), mouth, *eyes(centres, look), *hair(head, look), *spectacles])

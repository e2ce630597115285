"""The 133 points of COCO-WholeBody, and hands as meshes, on any body."""

import pytest
import torch
from crafters.models.body.anny import anny_body
from crafters.models.body.body import BodyModel
from crafters.models.body.hand_faces import hand_faces
from crafters.models.body.layout import SIDES, WRIST, BodyModelError
from crafters.models.body.wholebody import wholebody_points, wholebody_regressor
from crafters.scenes.surface import border_edges


@pytest.fixture(scope="module")
def other():
    """Anny half as large again, somewhere else and without the names of its parts, as SMPL-X comes."""
    from dataclasses import replace

    body = anny_body()
    shift = torch.tensor([0.0, 0.2, 0.1])
    skeleton = replace(body.skeleton, joints=1.5 * body.skeleton.joints + shift)
    return replace(body, template=1.5 * body.template + shift, skeleton=skeleton, parts={})


def rest(body: BodyModel) -> torch.Tensor:
    return wholebody_points(body, body.template[None], body.skeleton.joints[None])[0]


def test_the_face_of_another_body_lies_by_its_eyes(other):
    wanted, points = rest(anny_body()), rest(other)
    assert points.shape == (133, 3)
    points = (points - torch.tensor([0.0, 0.2, 0.1])) / 1.5
    torch.testing.assert_close(points[:23], wanted[:23], atol=1e-5, rtol=0)
    torch.testing.assert_close(points[91:], wanted[91:], atol=1e-5, rtol=0)
    assert (points[23:91] - wanted[23:91]).norm(dim=1).max() < 0.012  # m


def test_a_body_without_known_points_is_told(other):
    from dataclasses import replace

    with pytest.raises(BodyModelError, match="points of a body with .* vertices are not known"):
        wholebody_regressor(replace(other, keypoints=None))


@pytest.mark.parametrize("side", SIDES)
def test_hands_are_cut_out_by_their_joints_and_closed(side):
    body = anny_body()
    faces = hand_faces(body.faces, body.skinning, side)
    assert len(border_edges(faces)) == 0
    own, known = set(faces.unique().tolist()), set(body.hands[side].unique().tolist())
    assert len(own & known) / len(own | known) > 0.85
    assert (body.template[list(own)] - body.skeleton.joints[WRIST[side]]).norm(dim=1).max() < 0.25

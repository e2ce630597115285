import torch
from crafters.models.body.skinning import blend, joint_transforms, move

REST = torch.tensor([[0.0, 1, 0], [1, 1, 0], [2, 1, 0]])  # shoulder, elbow, wrist
PARENTS = (-1, 0, 1)
ABOUT_Z = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter, x to y


def test_a_joint_turns_what_follows_it_about_its_own_place():
    still = torch.eye(3)
    elbow, both = torch.stack([still, ABOUT_Z, still]), torch.stack([ABOUT_Z, ABOUT_Z, still])
    transforms = joint_transforms(torch.stack([elbow, both]), REST, PARENTS)
    posed = torch.tensor([[[0.0, 1, 0], [1, 1, 0], [1, 2, 0]], [[0, 1, 0], [0, 2, 0], [-1, 2, 0]]])
    torch.testing.assert_close(move(transforms, REST), posed)
    torch.testing.assert_close(transforms[1, 2, :3, :3], ABOUT_Z @ ABOUT_Z)


def test_a_shape_of_its_own_in_every_frame():
    turn = ABOUT_Z.expand(2, 3, 3, 3)
    rest = torch.stack([REST, 2 * REST])
    both = joint_transforms(turn, rest, PARENTS)
    torch.testing.assert_close(both[1], joint_transforms(turn[1:], 2 * REST, PARENTS)[0])


def test_a_point_between_joints_moves_with_both():
    transforms = joint_transforms(torch.stack([torch.eye(3), ABOUT_Z, torch.eye(3)])[None], REST, PARENTS)
    point, skinning = torch.tensor([[1.5, 1.0, 0.0]]), torch.tensor([[0.5, 0.5, 0.0]])
    torch.testing.assert_close(move(blend(skinning, transforms), point), torch.tensor([[[1.25, 1.25, 0.0]]]))

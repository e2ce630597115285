"""A body, an avatar on it and what moves it; none of them may be changed."""

import pytest
from crafters.models.avatar.rig import rig_from_body
from crafters.models.body.anny import anny_body
from helpers.made_up import performers_avatar


@pytest.fixture(scope="session")
def body():
    return anny_body()


@pytest.fixture(scope="session")
def avatar():
    return performers_avatar(2000)


@pytest.fixture(scope="session")
def rig(body, avatar):
    return rig_from_body(body, avatar.points, avatar.neutral_transforms)

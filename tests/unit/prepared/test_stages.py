"""The stages as they are declared: what each names is there, and is made before it."""

import inspect
from dataclasses import fields

import pytest
from crafters.prepared import common
from crafters.prepared.conditions import CONDITIONS
from crafters.prepared.prepare import STAGES
from crafters.prepared.stages import SYSTEMS, Options
from crafters.prepared.tools import Tools


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_stage_names_what_there_is(system):
    made = set()
    for stage in [*common.STAGES, *STAGES[system]]:
        assert set(stage.of) <= made and set(stage.makes) <= CONDITIONS.keys(), stage
        assert set(stage.tools) <= {field.name for field in fields(Tools)}, stage
        assert set(stage.settings) <= {field.name for field in fields(Options)}, stage
        assert list(inspect.signature(stage.make).parameters) == ["clip", *stage.tools], stage
        made |= set(stage.makes)


def test_every_condition_has_one_stage():
    stages = [*common.STAGES, *STAGES["anchorcrafter"], *STAGES["anicrafter"]]
    assert sorted(what for stage in stages for what in stage.makes) == sorted(CONDITIONS)

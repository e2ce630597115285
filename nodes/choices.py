"""Widgets of files: they list what can fit, and take any file that is there."""

import inspect
from collections.abc import Callable, Collection
from pathlib import Path

from ..files.heads import mentions, model_type
from ..host import folders


def model(*kinds: str) -> Callable[[str], Path]:
    """Finds a model by its name in the folders of these kinds."""
    return lambda name: folders.path(name, *kinds)


def holding(names: list[str], kinds: tuple[str, ...], *marks: str) -> list[str]:
    """Those of `names` whose tensors, by a look at the file's head, may be of these marks."""
    return [name for name in names if folders.exists(name, *kinds) and mentions(folders.path(name, *kinds), marks)]


def of_type(names: list[str], kinds: tuple[str, ...], types: Collection[str]) -> list[str]:
    """Those folders of `names` whose configuration says one of these types, or none."""
    return [name for name in names if model_type(folders.path(name, *kinds)) in {None, *types}]


def files(**finders: Callable[[str], Path]) -> classmethod:
    """A node's `validate_inputs`, for the inputs that name files: before anything runs, one that is missing is told in
    the finder's sentence, and one that is there is taken, listed or not.

    finders: by input, what gives the path of a name or raises FileNotFoundError.
    """

    def validate_inputs(cls, **chosen):
        offered = {choice.id: choice.options for choice in cls.define_schema().inputs if choice.id in chosen}
        for name, value in chosen.items():
            if value is not None and value not in offered[name]:  # None: it comes from another node
                try:
                    finders[name](value)
                except FileNotFoundError as error:
                    return str(error)
        return True

    # ComfyUI leaves the inputs that the signature names to this function, and checks the others itself.
    named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in finders]
    cls = inspect.Parameter("cls", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    validate_inputs.__signature__ = inspect.Signature([cls, *named])
    return classmethod(validate_inputs)

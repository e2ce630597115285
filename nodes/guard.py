"""What holds for every node: numbers are finite, a cancel is heard soon, and used-up memory is one sentence."""

import functools
import math
import sys
from collections.abc import Iterable, Iterator, Mapping

from comfy.model_management import InterruptProcessingException
from comfy_api.latest import io

from ..host import notes
from ..host.progress import cancellable
from ..models.chunks import OUT_OF_MEMORY, OutOfMemoryError, out_of_memory


class _Bound(float):
    """The least or the greatest value of an input. ComfyUI asks `value < least` and `value > greatest`, and so lets NaN
    through, which is neither; these answer that NaN lies beyond them."""

    def __gt__(self, value: float) -> bool:
        return not value >= float(self)

    def __lt__(self, value: float) -> bool:
        return not value <= float(self)


def _numbers(inputs: Iterable[io.Input]) -> Iterator[io.Float.Input]:
    """The inputs that are numbers, those of a combo's choices too."""
    for given in inputs:
        if isinstance(given, io.Float.Input):
            yield given
        for option in given.options if isinstance(given, io.DynamicCombo.Input) else ():
            yield from _numbers(option.inputs)


def _values(inputs: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Every input's name and value, those of a combo's choice too."""
    for name, value in inputs.items():
        yield name, value
        if isinstance(value, dict):
            yield from _values(value)


def guarded(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The same node, guarded.

    It takes finite numbers only: widgets' are checked with the graph, before anything runs, linked ones at its turn.
    A cancel is heard between the layers of its networks, and told under the node. Out of memory is one kind of error,
    whatever the device says, so that the host makes room.
    """
    define, execute = node.define_schema.__func__, node.execute.__func__

    @functools.wraps(define)
    def define_schema(cls):
        schema = define(cls)
        for number in _numbers(schema.inputs):
            number.min = _Bound(-sys.float_info.max if number.min is None else number.min)
            number.max = _Bound(sys.float_info.max if number.max is None else number.max)
        return schema

    @functools.wraps(execute)
    def guarded_execute(cls, *args, **inputs):
        for name, value in _values(inputs):
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}: it must be a finite number.")
        try:
            with cancellable():
                return execute(cls, *args, **inputs)
        except InterruptProcessingException:
            notes.show("Cancelled here: what the nodes before have made is kept, and Run goes on from there.")
            raise
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise OutOfMemoryError(OUT_OF_MEMORY) from error

    node.define_schema, node.execute = classmethod(define_schema), classmethod(guarded_execute)
    return node

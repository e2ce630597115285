"""Numbers that are none, NaN and infinity, are refused by every node, before anything of its graph runs."""

import functools
import math
import sys

from comfy_api.latest import io


class _Bound(float):
    """The least or the greatest value of an input. ComfyUI asks `value < least` and `value > greatest`, and so lets NaN
    through, which is neither; these answer that NaN lies beyond them."""

    def __gt__(self, value: float) -> bool:
        return not value >= float(self)

    def __lt__(self, value: float) -> bool:
        return not value <= float(self)


def finite(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The same node, which takes finite numbers only: widgets' are checked with the graph, linked ones at its turn."""
    define, execute = node.define_schema.__func__, node.execute.__func__

    @functools.wraps(define)
    def define_schema(cls):
        schema = define(cls)
        for number in (number for number in schema.inputs if isinstance(number, io.Float.Input)):
            number.min = _Bound(-sys.float_info.max if number.min is None else number.min)
            number.max = _Bound(sys.float_info.max if number.max is None else number.max)
        return schema

    @functools.wraps(execute)
    def checked(cls, *args, **inputs):
        for name, value in inputs.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}: it must be a finite number.")
        return execute(cls, *args, **inputs)

    node.define_schema, node.execute = classmethod(define_schema), classmethod(checked)
    return node

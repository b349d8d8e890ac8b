"""What a graph is compiled from, as text: two cells with the same text compile to the same graph.

MindSpore's own compile cache compares neither shapes nor attributes; a graph of another loss weight would be
taken as it is.
"""

import enum
import functools
import hashlib
import types
from collections.abc import Iterable

import mindspore as ms
import numpy as np

# MindSpore's bookkeeping of a cell: numbers, hooks and phases that differ from process to process.
_BOOKKEEPING = set(vars(ms.nn.Cell())) - {"training", "requires_grad"} | {
    "_cell_init_args",
    # These a cell has after its first compilation only.
    "__compile_cell_hook__",
    "__parse_method__",
    "_func_graph_flags",
    "current_phase",
    "sequence_modified",
}
_PLAIN = (type(None), bool, int, float, str, bytes, enum.Enum, np.generic, type(ms.float32))


class Unknown(Exception):
    """Something is part of the cell that this module cannot put into words: do not cache its graph."""


def fingerprint(cell: ms.nn.Cell, inputs: Iterable[object]) -> str:
    """Text of a cell and its call's inputs: shapes and types of tensors and parameters, values of all else.

    Raises:
        Unknown: an attribute of a kind that is not known here.
    """
    given = [("input", i.shape, str(i.dtype)) if isinstance(i, ms.Tensor) else _text(i, {}) for i in inputs]
    return repr((given, _text(cell, {})))


def _text(value, seen):
    """A value as nested tuples of text; `seen` holds {id: number} of the objects above and before it."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, ms.Parameter):
        return "parameter", value.name, value.shape, str(value.dtype), value.requires_grad
    if isinstance(value, ms.Tensor):  # a constant of the graph
        return "tensor", _text(value.asnumpy(), seen)
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [_text(item, seen) for item in value]
    if isinstance(value, dict):
        return "dict", [(repr(key), _text(item, seen)) for key, item in value.items()]
    if isinstance(value, (set, frozenset)):
        return "set", sorted(repr(_text(item, seen)) for item in value)
    if id(value) in seen:
        return "again", seen[id(value)]
    seen[id(value)] = len(seen)
    return _object(value, seen)


def _object(value, seen):
    if isinstance(value, type):
        return _name(value)
    if isinstance(value, functools.partial):
        return "partial", _text(value.func, seen), _text(value.args, seen), _text(value.keywords, seen)
    if isinstance(value, types.MethodType):
        return _name(value.__func__), _text(value.__self__, seen)
    if isinstance(value, types.FunctionType):  # its source is in the cache's key
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return _name(value), _text(cells, seen), _text(value.__defaults__, seen)
    if isinstance(value, types.BuiltinFunctionType):
        return _name(value)
    if not hasattr(value, "__dict__"):
        raise Unknown(f"{type(value).__module__}.{type(value).__qualname__}")
    return _name(type(value)), _attributes(value, seen)


def _attributes(value, seen):
    if isinstance(value, ms.nn.Cell):
        held = {name: item for name, item in vars(value).items() if name not in _BOOKKEEPING}
        return [_text(part, seen) for part in (held, value._cells, value._params)]
    if type(value).__module__.startswith("mindspore."):
        # An operator: its arguments are plain, the rest is what it remembers of earlier compilations.
        plain = (*_PLAIN, list, tuple)
        kept = {k: v for k, v in vars(value).items() if isinstance(v, plain) and k != "weights_id"}
        return _text(kept, seen)
    return _text(vars(value), seen)


def _name(value):
    return f"{value.__module__}.{value.__qualname__}"

"""Pickles that anybody may have made: nothing in them is run or imported, only plain values and tensors are rebuilt.

What a pickle may name is a fixed table of our own functions and stand-ins (`Inert`). Every size is checked against the
bytes that are there before anything of that size is made.
"""

import io
import math
import mmap
import pickle
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

MOST = 16 << 20  # bytes of the pickle itself; the largest weights' are below 4 MiB
UNFOLDED, DEPTH = 1 << 20, 64  # of a tuple: what hashing one costs
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's format before 1.6


class ForeignCodeError(ValueError):
    """A pickle that names something outside the table: reading it as its maker meant would run code."""


class Inert:
    """Stands for a foreign object: keeps what it was made of (`args`, `state`), and does nothing with it."""

    def __init__(self, *args: Any) -> None:
        self.args, self.state = args, None

    def __setitem__(self, key: Any, value: Any) -> None:
        """Entries of foreign dicts are not kept."""

    def append(self, value: Any) -> None:
        """Nor are those of lists."""

    def extend(self, values: Any) -> None:
        """Nor are those of lists."""


class _Dict(dict):
    """An OrderedDict, whose further attributes are left out."""


Table = Mapping[tuple[str, str], Any]
Find = Callable[[str, str], Any]


class _Unpickler(pickle._Unpickler):
    """Python's own, without the instructions that build objects by other roads than the table.

    `find(module, name)` answers an entry of a table, or None.
    """

    dispatch = dict(pickle._Unpickler.dispatch)
    for _code in (
        pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEWOBJ_EX, pickle.BYTEARRAY8,
        pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
    ):
        del dispatch[_code[0]]

    def __init__(self, file, find: Find, persistent: Callable[[Any], Any] | None = None):
        super().__init__(file, encoding="latin1")
        self._find, self._persistent = find, persistent
        self._weights: dict[int, tuple[int, int, tuple]] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = self._find(module, name)
        if found is None:
            raise ForeignCodeError(f"it holds {module}.{name}")
        return found

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise ValueError("it refers to data outside")
        return self._persistent(pid)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self._call(self.stack.pop(), args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self._call(self.stack.pop(), args)

    def _call(self, made: Any, args: Any) -> None:
        if not (callable(made) and isinstance(args, tuple)):
            raise ValueError("it calls what is no function")
        self.append(made(*args))
        self._weigh()

    def load_build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, Inert):
            made.state = state
        elif not isinstance(made, _Dict):
            raise ValueError(f"it changes a {type(made).__name__}")

    def load_setitem(self) -> None:
        value = self.stack.pop()
        self._fill([self.stack.pop(), value])

    def load_setitems(self) -> None:
        self._fill(self.pop_mark())

    def _fill(self, items: list) -> None:
        if not isinstance(self.stack[-1], dict | Inert):
            raise ValueError("it gives entries to what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][key] = value

    def load_additems(self) -> None:
        items = self.pop_mark()
        if not isinstance(self.stack[-1], set):
            raise ValueError("it adds to what is no set")
        self.stack[-1].update(items)

    def _weigh(self) -> None:
        """Refuse a tuple that unfolds to more than its file can mean: looking one up would never end."""
        made = self.stack[-1]
        if not isinstance(made, tuple | frozenset):
            return
        parts = [self._weights.get(id(item), (1, 0))[:2] for item in made]
        weight, depth = 1 + sum(weight for weight, _ in parts), 1 + max((depth for _, depth in parts), default=0)
        if weight > UNFOLDED or depth > DEPTH:
            raise ValueError("its tuples unfold without end")
        self._weights[id(made)] = weight, depth, made  # kept, so that the id stays its own

    dispatch[pickle.NEWOBJ[0]], dispatch[pickle.REDUCE[0]] = load_newobj, load_reduce
    dispatch[pickle.BUILD[0]], dispatch[pickle.ADDITEMS[0]] = load_build, load_additems
    dispatch[pickle.SETITEM[0]], dispatch[pickle.SETITEMS[0]] = load_setitem, load_setitems


def _weighed(load: Callable) -> Callable:
    def load_and_weigh(self: _Unpickler) -> None:
        load(self)
        self._weigh()

    return load_and_weigh


for _code in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.FROZENSET):
    _Unpickler.dispatch[_code[0]] = _weighed(_Unpickler.dispatch[_code[0]])


def read_plain(data: bytes, find: Find, persistent: Callable[[Any], Any] | None = None) -> tuple[Any, int]:
    """What the pickle at the beginning of `data` holds, and how many bytes it takes.

    Raises ForeignCodeError for what `find` does not know, and whatever damaged bytes lead to.
    """
    file = io.BytesIO(data[: MOST + 1])
    value = _Unpickler(file, find, persistent).load()
    if file.tell() > MOST:
        raise ValueError(f"its pickle has more than {MOST} bytes")
    return value, file.tell()


# --- What torch writes ---


def read_torch(path: Path, mapped: bool = True, stand_ins: Table | None = None) -> Any:
    """What `torch.save` wrote, in either of its formats; tensors on the CPU, memory-mapped where the format allows.

    stand_ins: by module and name, what stands for a class that the file names; nothing of it is used.
    """
    table = {**_TORCH, **(stand_ins or {})}

    def find(module: str, name: str) -> Any:
        return table.get((module, name))

    with path.open("rb") as file:
        if file.read(2) == b"PK":
            return _read_archive(path, find, mapped)[0]
        return _read_legacy(path, find)


def read_torchscript(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of a TorchScript file by their dotted names, and the text of its program, which is not run."""

    def find(module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return Inert
        return (lambda value, *_: value) if module == "torch.jit._pickle" else _TORCH.get((module, name))

    root, program = _read_archive(path, find, mapped=True)
    return dict(_tensors(root, "", set())), program


def _tensors(part: Any, prefix: str, above: set[int]) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(part, torch.Tensor):
        yield prefix.removesuffix("."), part
    elif isinstance(part, Inert) and isinstance(part.state, dict):
        if id(part) in above or len(above) > DEPTH:
            raise ValueError("its modules lie in themselves")
        for name, value in part.state.items():
            yield from _tensors(value, f"{prefix}{name}.", above | {id(part)})


class _Storages:
    """The bytes of tensors in `data`; `locate(key)` answers where they begin and how many there are."""

    def __init__(self, data: mmap.mmap, locate: Callable[[str], tuple[int, int]], mapped: bool):
        self._data, self._locate, self._mapped = data, locate, mapped
        self._known: dict[str, torch.UntypedStorage] = {}
        self._unread = len(data)
        # Of all tensors together. Some share their bytes, and some repeat a few, but not without end.
        self.room = 16 * len(data) + (1 << 20)

    def __call__(self, pid: Any) -> "_Storage":
        """The storage that a persistent id names."""
        kind, key, count = _read_pid(pid)
        size = count * kind.itemsize
        if key not in self._known:
            start, held = self._locate(key)
            self._unread -= size
            if size > held or self._unread < 0:
                raise ValueError(f"a tensor says it has {size} bytes, {held} are there")
            self._known[key] = self._bytes(start, size)
        return _Storage(self, self._known[key], kind)

    def _bytes(self, start: int, size: int) -> torch.UntypedStorage:
        if not size:
            return torch.UntypedStorage(0)
        found = torch.frombuffer(self._data, dtype=torch.uint8, count=size, offset=start)
        aligned = found.data_ptr() % 8 == 0
        return (found if self._mapped and aligned else found.clone()).untyped_storage()


class _Storage:
    """`content` None: the bytes are not known yet."""

    def __init__(self, owner: _Storages | None, content: torch.UntypedStorage | None, dtype: torch.dtype):
        self.owner, self.content, self.dtype = owner, content, dtype


def _read_pid(pid: Any) -> tuple[torch.dtype, str, int]:
    """Type, key and length of the storage that a persistent id names."""
    if isinstance(pid, tuple) and len(pid) in (5, 6) and pid[5:] in ((), (None,)):
        _, kind, key, _, count = pid[:5]
        if isinstance(kind, torch.dtype) and isinstance(key, str) and type(count) is int and 0 <= count < 1 << 60:
            return kind, key, count
    raise ValueError("a tensor's storage is of no known kind")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any, dtype: torch.dtype | None = None):
    """`torch._utils._rebuild_tensor_v2`, for tensors that lie within their storage."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, _Storage) or not all(type(n) is int and 0 <= n < 1 << 60 for n in numbers):
        raise ValueError("a tensor is made of no numbers")
    if storage.content is None:
        return torch.empty(0)
    dtype = dtype or storage.dtype
    held, count = storage.content.nbytes() // dtype.itemsize, math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    storage.owner.room -= count * dtype.itemsize
    if count and (last >= held or storage.owner.room < 0):
        raise ValueError(f"a tensor of {count} numbers does not lie within its storage of {held}")
    return torch.empty(0, dtype=dtype).set_(storage.content, offset if count else 0, tuple(size), tuple(stride))


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any):
    """`torch._utils._rebuild_tensor_v3`, which names the type that its storage lacks."""
    if not isinstance(dtype, torch.dtype):
        raise ValueError("a tensor is of no known type")
    return _tensor(storage, offset, size, stride, dtype=dtype)


_KINDS = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool,
}
_NAMED_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_TORCH = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *_: tensor,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda make, _, args, __: make(*args),
    ("torch.nn.parameter", "Parameter"): "Parameter",
    ("torch", "Tensor"): "Tensor",
    ("torch", "device"): lambda *words: words,
    ("torch", "Size"): tuple,
    ("torch.storage", "UntypedStorage"): torch.uint8,
    ("collections", "OrderedDict"): _Dict,
    ("collections", "Counter"): _Dict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),
    **{("torch", f"{name}Storage"): dtype for name, dtype in _KINDS.items()},
    **{("torch", name): dtype for name, dtype in _NAMED_DTYPES.items()},
}


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _read_archive(path: Path, find: Find, mapped: bool) -> tuple[Any, str]:
    """Of torch's zip: what its `data.pkl` holds, and the text of the program of a TorchScript file."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(pickles) != 1:
            raise ValueError("it is a zip, but not torch's")
        root = pickles[0].removesuffix("data.pkl")
        texts = [name for name in members if name.startswith(f"{root}code/") and name.endswith(".py")]
        if sum(members[name].file_size for name in (*pickles, *texts)) > MOST:
            raise ValueError(f"besides its tensors it has more than {MOST} bytes")
        order = archive.read(f"{root}byteorder").decode() if f"{root}byteorder" in members else sys.byteorder
        if order != sys.byteorder:
            raise ValueError(f"its numbers are {order}-endian")
        data = archive.read(pickles[0])
        program = "\n".join(archive.read(name).decode() for name in texts)
    mapping = _map(path)

    def locate(key: str) -> tuple[int, int]:
        info = members[f"{root}data/{key}"]
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError("its tensors are compressed")
        name, extra = struct.unpack("<HH", mapping[info.header_offset + 26 : info.header_offset + 30])
        start = info.header_offset + 30 + name + extra
        return start, max(0, min(info.file_size, len(mapping) - start))

    return read_plain(data, find, _Storages(mapping, locate, mapped))[0], program


def _read_legacy(path: Path, find: Find) -> Any:
    """Of torch before 1.6: pickles in a row, then the bytes of each storage in the order of its key."""
    mapping = _map(path)
    place, values = 0, []
    for _ in range(3):
        value, used = read_plain(mapping[place : place + 4096], find)
        place, values = place + used, [*values, value]
    if values[:2] != [_MAGIC, _PROTOCOL]:
        raise ValueError("it is a pickle, but not torch's")
    begin = place
    # Once to know the storages' types, which follow in the keys' order, and once to make tensors of them.
    kinds: dict[str, torch.dtype] = {}
    _, used = read_plain(mapping[place : place + MOST + 1], find, lambda pid: _noted(pid, kinds))
    keys, more = read_plain(mapping[place + used : place + used + MOST + 1], find)
    place += used + more
    places = {}
    for key in keys:
        (count,) = struct.unpack("<q", mapping[place : place + 8])
        size = count * kinds[key].itemsize
        if count < 0 or place + 8 + size > len(mapping):
            raise ValueError("it is cut off")
        places[key] = place + 8, size
        place += 8 + size
    return read_plain(mapping[begin : begin + MOST + 1], find, _Storages(mapping, lambda key: places[key], False))[0]


def _noted(pid: Any, kinds: dict[str, torch.dtype]) -> _Storage:
    kind, key, _ = _read_pid(pid)
    kinds[key] = kind
    return _Storage(None, None, kind)

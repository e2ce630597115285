"""Names for content: the same for the same, another for anything else."""

import hashlib
import io

import torch
from crafters.files.digest import checksum, content, digest, digest_value


def test_what_a_name_depends_on(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    net, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1, dtype=torch.bfloat16)
    parts = [tmp_path / "a", tmp_path / "b", "one", "two", net, other, net.weight, net.weight.T, net.weight.bfloat16()]
    names = {digest(part) for part in parts} | {digest("one", "two"), digest("two", "one"), digest("onetwo")}
    assert len(names) == len(parts) - 2 + 3  # a file is what it says
    assert digest(tmp_path / "a", net) == digest("one", net) and all(len(name) == 32 for name in names)


def test_of_files_and_folders(tmp_path):
    (tmp_path / "f" / "g").mkdir(parents=True)
    (tmp_path / "f" / "a").write_bytes(b"one")
    (tmp_path / "f" / "g" / "b").write_bytes(b"two")
    assert content(tmp_path / "f" / "a") == hashlib.sha256(b"one").hexdigest()[:32]
    before = content(tmp_path / "f")
    (tmp_path / "f" / "g" / "b").rename(tmp_path / "f" / "g" / "c")
    named = content(tmp_path / "f")
    (tmp_path / "f" / "g" / "c").write_bytes(b"three")
    assert len({before, named, content(tmp_path / "f")}) == 3


def test_names_that_are_on_disks_stay():
    assert digest_value({"b": 1, "a": [2]}) == "41ff4104bc489a1b119b42f479459c99"
    assert digest_value("words 0") == "4cabe7df9c17515d8cc5eb5d19cffe94"


def test_as_git_names_a_file():
    """`git hash-object` of "hello" and a newline."""
    assert checksum(io.BytesIO(b"hello\n"), "sha1", b"blob 6\0") == "ce013625030ba8dba906f756967f9e9ca394464a"

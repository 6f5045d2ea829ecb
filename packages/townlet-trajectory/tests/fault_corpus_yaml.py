"""YAML made to harm. See `fault_corpus`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fault_corpus import CANARY, Attack

from townlet_trajectory.storage.paths import read_named
from townlet_trajectory.storage.yaml import MAX_YAML_BYTES, parse_yaml

_TEXTS = {
    "laughs on nine levels": "a0: &a0 [x, x]\n"
    + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 10)),
    "an anchor": "a: &x 1\n",
    "an alias of itself": "&x [*x]\n",
    "a merge": "a: {b: 1}\n<<: *a\n",
    "a call": f"!!python/object/apply:os.mkdir ['{CANARY}']\n",
    "a call inside": f"a: [1, !!python/object/apply:os.mkdir ['{CANARY}']]\n",
    "a new object": f"!!python/object/new:os.mkdir ['{CANARY}']\n",
    "a module": "!!python/module:os\n",
    "a name": "a: !!python/name:os.mkdir\n",
    "a tag of its own": "!mine {a: 1}\n",
    "a tag by a directive": f"%TAG ! tag:yaml.org,2002:python/object/apply:\n---\n!os.mkdir ['{CANARY}']\n",
    "binary": "a: !!binary aGVsbG8=\n",
    "a set": "!!set {a, b}\n",
    "a tagged number": "a: !!int '3'\n",
    "a key twice": "a: 1\nb: 2\na: 3\n",
    "a key twice in a flow": "{a: 1, a: 1}\n",
    "a number for a key": "1: a\n",
    "a list for a key": "? [a]\n: 1\n",
    "no key": "? \n: 1\n",
    "true for a key": "true: 1\n",
    "not a number": "a: .nan\n",
    "infinite": "a: .inf\n",
    "infinite below": "a: [-.INF]\n",
    "a number that is too large": "a: 1.0e+999\n",
    "a number of many digits": "a: " + "9" * 5000 + "\n",
    "a hexadecimal number of many digits": "a: 0x" + "f" * 5000 + "\n",
    "a number with an exponent of many digits": "a: 1e" + "9" * 5000 + "\n",
    "two documents": "a: 1\n---\na: 2\n",
    "not closed": "a: [1, 2\n",
    "not indented": "a:\n- b\n c: 1\n",
    "a tabulator": "a:\n\t- b\n",
    "control characters": "a: \x01\n",
    "a surrogate": 'a: "\\ud800',
    "sequences in one line": "- " * 100_000 + "x\n",
    "keys in one line": "? " * 100_000 + "x\n",
    "lists too deep": "[" * 65 + "]" * 65 + "\n",
    "lists much too deep": "[" * 200_000 + "]" * 200_000 + "\n",
    "lists that do not end": "[" * 200_000,
    "mappings too deep": "{a: " * 65 + "1" + "}" * 65 + "\n",
    "mappings much too deep": "{a: " * 100_000 + "1" + "}" * 100_000,
    "indented too deep": "".join(" " * n + "a:\n" for n in range(66)) + " " * 70 + "a: 1\n",
}
_BYTES = {
    "not UTF-8": b"a: \xff\n",
    "UTF-16": "a: 1\n".encode("utf-16"),
    "NUL": b"a: \0\n",
    "too long": b"# " + b"x" * MAX_YAML_BYTES,
}
_MEMORY = {
    "text that YAML 1.1 took for a number to the base of 60": b"a: " + b"1:" * 3000 + b"1\n",
    "as many items as there is room": b"- a\n" * (MAX_YAML_BYTES // 4),
    "as many small lists as there is room": b"[" + b"[]," * (MAX_YAML_BYTES // 3 - 1) + b"]",
    "as many small mappings as there is room": b"[" + b"{a: 1}," * (MAX_YAML_BYTES // 7 - 1) + b"]",
    "one long text": b"a: " + b"x" * (MAX_YAML_BYTES - 4) + b"\n",
    "one long quoted text": b'a: "' + b"\\x41" * (MAX_YAML_BYTES // 4 - 2) + b'"',
    "one long comment": b"a: 1 #" + b"#" * (MAX_YAML_BYTES - 8),
}


def _attacks() -> Iterator[Attack]:
    for name, data in {**{name: text.encode() for name, text in _TEXTS.items()}, **_BYTES}.items():
        yield _attack(name, data)
    for name, data in _MEMORY.items():
        yield _attack(name, data, may_be_read=True)


def _attack(name: str, data: bytes, *, may_be_read: bool = False) -> Attack:
    def write(folder: Path) -> None:
        (folder / "f.yaml").write_bytes(data)

    def read(folder: Path) -> object:
        return parse_yaml(read_named(folder / "f.yaml", max_bytes=2 * MAX_YAML_BYTES), folder / "f.yaml")

    return Attack(name=f"yaml: {name}", write=write, read=read, may_be_read=may_be_read)


YAML_ATTACKS: tuple[Attack, ...] = tuple(_attacks())

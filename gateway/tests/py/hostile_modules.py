"""Modules that no gateway should serve: `unruly` told to misbehave when it starts, and code written by hand."""

from hostile import GATEWAY
from hostile_graphs import varint
from hostile_manifests import Bundle, digest

UNRULY = GATEWAY.parent / "modules/dist/unruly.wasm"


def sections(wasm):
    """The id of each section, its bytes with head and those without."""
    at = 8
    while at < len(wasm):
        begun, kind, size, shift = at, wasm[at], 0, 0
        at += 1
        while True:
            byte = wasm[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        yield kind, wasm[begun : at + size], wasm[at : at + size]
        at += size


def contract():
    """The section of a real module that says which contract it has."""
    return next(whole for kind, whole, data in sections(UNRULY.read_bytes())
                if kind == 0 and b"component-type" in data[:80] and b"imports and exports" in data[:400])


def vector(items):
    return varint(len(items)) + b"".join(items)


def section(kind, data):
    return bytes([kind]) + varint(len(data)) + data


def name(text):
    return varint(len(text)) + text.encode()


def code(instructions, local=b"\0"):
    whole = local + instructions + b"\x0b"
    return varint(len(whole)) + whole


I32 = b"\x7f"
NOTHING = b"\x41\0"  # i32.const 0


def core(functions=(), memory=(2, None), tables=(), imports=(), data=()):
    """A core module with the contract's exports, which do nothing, and more functions of type (i32) → ()."""
    function_type = lambda count, results: b"\x60" + vector([I32] * count) + vector([I32] * results)
    types = section(1, vector([function_type(4, 1), function_type(2, 1), function_type(3, 1), function_type(1, 0)]))
    imported = section(2, vector([name(of) + name(what) + b"\0\3" for of, what in imports])) if imports else b""
    kinds = section(3, vector([b"\0", b"\1", b"\2", *[b"\3"] * len(functions)]))
    tables = section(4, vector([b"\x70\0" + varint(size) for size in tables])) if tables else b""
    low, high = memory
    memories = section(5, vector([(b"\0" + varint(low)) if high is None else (b"\1" + varint(low) + varint(high))]))
    first = len(imports)
    exported = [name("memory") + b"\2\0"] + [name(what) + b"\0" + varint(first + at) for at, what in enumerate(("cabi_realloc", "init", "process"))]
    bodies = section(10, vector([code(NOTHING)] * 3 + list(functions)))
    contents = section(11, vector([b"\0\x41" + varint(at) + b"\x0b" + varint(len(what)) + what for at, what in data])) if data else b""
    return (b"\0asm\1\0\0\0" + types + imported + kinds + tables + memories + section(7, vector(exported)) + bodies + contents + contract())


def straight(count):
    """local 0 = local 0 * constant + local 0, again and again, in one function."""
    step = b"\x20\0\x20\0\x41" + varint(63) + b"\x6c\x6a\x21\0"
    return code(step * count)


def branches(count):
    """One table of branches with so many targets, in one function."""
    return code(b"\x02\x40\x20\0\x0e" + varint(count) + b"\0" * count + b"\0\x0b")


def locals_(count):
    return code(b"", varint(1) + varint(count) + I32)


def nested(depth):
    return code(b"\x02\x40" * depth + b"\x0b" * depth)


def told(act, when="init", more=""):
    config = f'{{"when":"{when}","do":"{act}"}}'.encode()
    return lambda label: Bundle.of_module(label, UNRULY.read_bytes(), config, more)


def at_golden(act):
    """Misbehaves at its golden example."""
    golden = b'{"examples":[{"input":{"act":"","x":1.0},"output":{"y":1.0}}]}'
    more = f'[limits]\ndeadline_ms = 3600000\n[golden]\nfile = "golden.json"\nsha256 = "{digest(golden)}"\n'

    def bundle(label):
        made = told(act, "process", more)(label)
        made.files["golden.json"] = golden
        return made

    return bundle


def of(wasm):
    return lambda label: Bundle.of_module(label, wasm())


MODULES = {
    "text": of(lambda: b"not a module"),
    "half": of(lambda: UNRULY.read_bytes()[: UNRULY.stat().st_size // 2]),
    "section": of(lambda: b"\0asm\1\0\0\0\1" + varint(1 << 31)),
    "no-contract": of(lambda: b"\0asm\1\0\0\0"),
    "init-loop": told("loop"),
    "init-trap": told("trap"),
    "init-recurse": told("recurse"),
    "init-allocate": told("allocate"),
    "init-huge-result": told("huge-result"),
    "init-shape": told("wrong-shape"),
    "golden-loop": at_golden("loop"),
    "golden-hoard": at_golden("allocate"),
    "golden-lie": at_golden("lie"),
    "imports": of(lambda: core(imports=[("wasi_snapshot_preview1", "fd_write")])),
    "memory": of(lambda: core(memory=(65536, None))),
    "table": of(lambda: core(tables=[(1 << 32) - 1])),
    "locals": of(lambda: core([locals_(50_000)] * 200)),
    "nested-blocks": of(lambda: core([nested(2_000_000)])),
    "one-function": of(lambda: core([straight(400_000)])),
    "branch-table": of(lambda: core([branches(4_000_000)])),
    # As large as a component of CPython, and larger.
    "many-functions": of(lambda: core([straight(20)] * 200_000)),
    "many-tiny-functions": of(lambda: core([code(b"")] * 900_000)),
}

"""Write a module for modelgate in Python: one function over named columns, in a sandbox.

    from modelgate_module import f64, i64, module, text

    @module(inputs={"age": f64, "city": text | None}, outputs={"age_bucket": i64})
    def row(r):
        return 0 if r["age"] < 18 else 1 if r["age"] < 65 else 2

`modelgate module build mine.py -o mine.wasm` makes the file that a bundle names; `testing.run` runs it in a test.
"""

from . import log, model
from .columns import Nullable, Rows
from .datatypes import (
    Column,
    Type,
    blob,
    bool_,
    f16,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    text,
    u8,
    u16,
    u32,
    u64,
)  # fmt: skip
from .errors import Invalid, ModelError, Problem
from .stage import Module, module

__all__ = [
    "Column",
    "Invalid",
    "ModelError",
    "Module",
    "Nullable",
    "Problem",
    "Rows",
    "Type",
    "blob",
    "bool_",
    "f16",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "log",
    "model",
    "module",
    "text",
    "u8",
    "u16",
    "u32",
    "u64",
]  # fmt: skip

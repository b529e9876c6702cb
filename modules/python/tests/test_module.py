"""A module natively: types, errors, the model."""

from __future__ import annotations

import math

import pytest

from modelgate_module import (
    Invalid, Nullable, Rows, blob, bool_, f16, f32, f64, i8, i16, i32, i64, log, model, module, text, u8, u16, u32, u64,
)  # fmt: skip
from modelgate_module.testing import Model, run


@module(inputs={"age": f64, "city": text | None}, outputs={"age_bucket": i64})
def process(columns, config):
    limits = config.get("limits", [18, 65])
    return {"age_bucket": [sum(age >= limit for limit in limits) for age in columns["age"]]}


def test_a_function_over_columns():
    rows = [{"age": 3, "city": None}, {"age": 65.0, "city": "Cali"}]
    assert run(process, rows) == [{"age_bucket": 0}, {"age_bucket": 2}]
    assert run(process, rows, config={"limits": [1]}) == [{"age_bucket": 1}, {"age_bucket": 1}]
    assert process({"age": [20.0]}, {}) == {"age_bucket": [1]}, "the function itself may be called, too"
    assert run(process, []) == []


def test_a_function_over_a_row_and_its_three_forms_of_answers():
    signature = {"inputs": {"x": f64}, "outputs": {"y": f64, "large": bool_}}

    @module(**signature)
    def row(r):
        return r["x"] * 2, r["x"] > 1

    @module(**signature, per="row")
    def as_dict(r, config):
        return {"large": r["x"] > config["limit"], "y": r["x"] * 2}

    @module(inputs={"x": f64}, outputs={"y": f64}, per="row")
    def as_value(r):
        return r["x"] * 2

    rows = [{"x": 1.0}, {"x": 1.5}]
    assert run(row, rows) == [{"y": 2.0, "large": False}, {"y": 3.0, "large": True}]
    assert run(as_dict, rows, config={"limit": 0}) == [{"y": 2.0, "large": True}, {"y": 3.0, "large": True}]
    assert run(as_value, rows) == [{"y": 2.0}, {"y": 3.0}]


VALUES = {
    "bool": (bool_, [True, False, True]),
    "u8": (u8, [0, 255, 7]),
    "u16": (u16, [0, 65535, 7]),
    "u32": (u32, [0, 2**32 - 1, 7]),
    "u64": (u64, [0, 2**64 - 1, 7]),
    "i8": (i8, [-128, 127, 7]),
    "i16": (i16, [-(2**15), 2**15 - 1, 7]),
    "i32": (i32, [-(2**31), 2**31 - 1, 7]),
    "i64": (i64, [-(2**63), 2**63 - 1, 7]),
    "f16": (f16, [0.5, -65504.0, 7.0]),
    "f32": (f32, [0.5, math.inf, 7.0]),
    "f64": (f64, [0.1, -math.inf, 7.0]),
    "text": (text, ["", "añb", "x" * 99]),
    "blob": (blob, [b"", b"\xff\x00", b"x" * 99]),
}


@pytest.mark.parametrize("shape", [(), (2,), (-1,), (2, 3), (-1, 2)])
@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("name", VALUES)
def test_every_type_in_every_form_goes_in_and_comes_out(name, optional, shape):
    of, values = VALUES[name]
    of = of[shape] if shape else of
    size = math.prod(5 if dim < 0 else dim for dim in shape)

    def value(row):
        found = [values[(row + i) % 3] for i in range(size)]
        if optional and row == 1:
            found[0] = None
        if not shape:
            return found[0]
        for dim in reversed([5 if dim < 0 else dim for dim in shape[1:]]):
            found = [found[i : i + dim] for i in range(0, len(found), dim)]
        return found

    of = of | None if optional else of
    side = {"a": f64, "x": of, "b": i8}

    @module(inputs=side, outputs=side)
    def same(columns):
        return columns

    @module(inputs=side, outputs=side)
    def copied(columns):
        if not shape:
            return {name: list(values) for name, values in columns.items()}
        x = columns["x"]
        return {**columns, "x": Rows(list(x.flat), x.shape)}

    @module(inputs=side, outputs=side)
    def row(r):
        return r if r["a"] > 0 else tuple(r.values())

    rows = [{"a": 1.5 - row, "x": value(row), "b": -3} for row in range(3)]
    flat = rows
    if len(shape) == 2:
        flat = [{**row, "x": [inner for outer in row["x"] for inner in outer]} for row in rows]
    assert run(same, rows) == flat
    assert run(copied, rows) == flat
    # One row goes another way.
    for each, wanted in zip(rows, flat, strict=True):
        assert run(same, [each]) == [wanted]
        if len(shape) < 2:
            assert run(row, [each]) == [wanted]
    if len(shape) < 2:
        assert run(row, rows) == flat


def test_columns_borrow_from_the_batch_and_an_array_goes_back_without_conversion():
    seen = {}

    @module(inputs={"x": f32, "y": f64 | None, "m": f32[2]}, outputs={"x": f32})
    def keep(columns):
        seen.update(columns)
        return columns["x"]

    run(keep, [{"x": 1.0, "y": None, "m": [1, 2]}, {"x": 2.0, "y": 3.0, "m": [3, 4]}])
    assert isinstance(seen["x"], memoryview) and seen["x"].format == "f"
    y = seen["y"]
    assert isinstance(y, Nullable) and list(y) == [None, 3.0] and y[-1] == 3.0 and list(y[:1]) == [None]
    assert isinstance(y.values, memoryview) and bytes(y.present) == b"\0\1"
    m = seen["m"]
    assert isinstance(m, Rows) and m.shape == (2, 2) and list(m[1]) == [3, 4] and list(m[-2]) == [1, 2]
    assert list(m[1:].flat) == [3, 4] and len(m[2:]) == 0
    with pytest.raises(IndexError):
        m[2]


def test_problems_name_column_and_row_and_come_together():
    @module(inputs={"age": f64}, outputs={"y": f64})
    def row(r):
        if r["age"] > 130:
            raise Invalid(f"expected at most 130 years, got {r['age']:g}", column="age")
        return r["age"]

    with pytest.raises(Invalid) as caught:
        run(row, [{"age": 200}, {"age": 3}, {"age": 131}])
    assert [(p.column, p.row, p.message) for p in caught.value.problems] == [
        ("age", 0, "expected at most 130 years, got 200"),
        ("age", 2, "expected at most 130 years, got 131"),
    ]
    with pytest.raises(Invalid) as caught:
        run(row, [{"age": 200}] * 1000)
    assert len(caught.value.problems) == 100


def test_an_error_of_the_function_names_the_row():
    @module(inputs={"x": text}, outputs={"y": f64})
    def row(r):
        return float(r["x"])

    with pytest.raises(ValueError, match="could not convert") as caught:
        run(row, [{"x": "1"}, {"x": "one"}])
    assert caught.value.__notes__ == ["in row 1 of 2"]


@pytest.mark.parametrize(
    ("outputs", "answer", "words"),
    [
        ({"y": i64}, {"y": [1, 1.5]}, "column 'y', row 1: expected i64, got 1.5"),
        ({"y": i8}, {"y": [1, 128]}, "column 'y', row 1: expected i8, got 128"),
        ({"y": f64}, {"y": [None, 1]}, "column 'y', row 0: expected f64, got None"),
        ({"y": bool_}, {"y": [True, 2]}, "column 'y', row 1: expected bool, got 2"),
        ({"y": f16}, {"y": [1, 1e9]}, "column 'y', row 1: expected f16, got 1000000000.0"),
        ({"y": text}, {"y": ["a", b"b"]}, "column 'y', row 1: expected text, got b'b'"),
        ({"y": text}, {"y": ["a", "\ud800"]}, r"column 'y', row 1: expected text, got '\\ud800'"),
        ({"y": blob}, {"y": ["a", b"b"]}, "column 'y', row 0: expected blob, got 'a'"),
        ({"y": text | None}, {"y": [None, 3]}, r"column 'y', row 1: expected text \| None, got 3"),
        ({"y": f64}, {"y": [1]}, "column 'y': expected 2 values, one for each row, got 1"),
        ({"y": f64}, {"y": 3.0}, "column 'y': expected a sequence of 2 values, got 3.0"),
        ({"y": text}, {"y": "ab"}, "column 'y': expected a sequence of 2 values, got 'ab'"),
        ({"y": f64}, {"z": [1, 2]}, "column 'y' is missing: got 'z'"),
        ({"y": f64}, {"y": [1, 2], "z": [1, 2]}, "the signature has no column 'z'"),
        ({"y": f64, "z": f64}, [1, 2], r"expected a dict of columns, got \[1, 2\]"),
        ({"y": f64[2]}, {"y": [[1, 2], [3]]}, "column 'y', row 1: expected 2 values as before, got 1"),
        ({"y": f64[3]}, {"y": [[1, 2], [3, 4]]}, "column 'y': expected 3 values a row, got 2 values"),
        ({"y": f64[2]}, {"y": [1, 2]}, r"column 'y': expected f64\[2\], so 2 values a row"),
    ],
)
def test_an_answer_of_another_type_names_column_and_row(outputs, answer, words):
    @module(inputs={"x": f64}, outputs=outputs)
    def process(columns):
        return answer

    with pytest.raises(ValueError, match=words):
        run(process, [{"x": 1}, {"x": 2}])


@pytest.mark.parametrize("of", [bool_, u8, i8, i64, f16, text, blob, f64 | None, i8[2]])
@pytest.mark.parametrize("value", [2, 300, 1.5, None, "a", b"a", 1e9, [], [1, 300], {}, 2**70])
def test_one_row_is_judged_as_many_are(of, value):
    @module(inputs={"x": f64}, outputs={"y": of})
    def row(r):
        return {"y": value}

    def told(rows):
        try:
            return run(row, rows)[0]
        except ValueError as error:
            return str(error)

    assert told([{"x": 1}]) == told([{"x": 1}, {"x": 1}])


def test_bytes_that_are_no_text_are_the_callers():
    @module(inputs={"a": f64, "b": text}, outputs={"y": f64})
    def row(r):
        return r["a"]

    stage = row.start()
    for rows, words in ((1, [0, 1 << 32, 0xFF]), (2, [0, 0, 1 << 32, 2, 0xFF41])):
        with pytest.raises(Invalid) as caught:
            stage.process(rows, words)
        (problem,) = caught.value.problems
        assert (problem.column, problem.row) == ("b", rows - 1)


def test_a_row_answers_with_its_columns():
    @module(inputs={"x": f64}, outputs={"y": f64, "z": f64})
    def row(r):
        return {"y": 1.0} if r["x"] else [1.0, 2.0]

    with pytest.raises(ValueError, match="row 0: expected the columns 'y', 'z', got 'y'"):
        run(row, [{"x": 1}])
    with pytest.raises(ValueError, match="row 0: expected a dict or a tuple of 'y', 'z', got"):
        run(row, [{"x": 0}])


def test_the_configuration_is_parsed_once_and_may_decide_the_columns():
    parsed = []

    def settings(config):
        parsed.append(config)
        return config["names"]

    @module(config=settings, inputs=lambda names: dict.fromkeys(names, f64), outputs={"sum": f64})
    def row(r, names):
        return sum(r[name] for name in names)

    assert run(row, [{"a": 1, "b": 2}], config={"names": ["a", "b"]}) == [{"sum": 3}]
    assert len(parsed) == 1
    with pytest.raises(Invalid, match="the configuration: KeyError: 'names'"):
        row.start(b"{}")
    with pytest.raises(Invalid, match="the configuration is not JSON"):
        row.start(b"{")


def test_the_model_is_called_with_names():
    double = Model({"X": f32[-1]}, {"Y": f32[-1], "n": i64}, lambda c: {"Y": [[2 * x for x in row] for row in c["X"]], "n": [len(row) for row in c["X"]]})

    @module(inputs={"a": f64, "b": f64}, outputs={"y": f64, "n": i64})
    def process(columns):
        assert [column.name for column in model.inputs()] == ["X"]
        assert [str(column.type) for column in model.outputs()] == ["f32[-1]", "i64"]
        found = model.compute({"X": list(zip(columns["a"], columns["b"], strict=True))})
        return {"y": [sum(row) for row in found["Y"]], "n": found["n"]}

    assert run(process, [{"a": 1, "b": 2}, {"a": 3, "b": 4}], model=double) == [{"y": 6, "n": 2}, {"y": 14, "n": 2}]
    with pytest.raises(RuntimeError, match="there is no model here"):
        run(process, [{"a": 1, "b": 2}])


def test_a_wrong_input_of_the_model_is_named():
    some = Model({"X": f32}, {"Y": f32}, lambda c: {"Y": c["X"]})

    @module(inputs={"a": f64}, outputs={"y": f32})
    def process(columns):
        return model.compute({"X": ["no" for _ in columns["a"]]})["Y"]

    with pytest.raises(ValueError, match="the model's input: column 'X', row 0: expected f32, got 'no'"):
        run(process, [{"a": 1}], model=some)


def test_declarations_are_checked_where_they_are_written():
    with pytest.raises(TypeError, match="column 'x': expected a type like f64"):
        module(inputs={"x": float}, outputs={})(lambda columns: {})
    with pytest.raises(TypeError, match="inputs: expected a dict"):
        module(inputs=["x"], outputs={})(lambda columns: {})
    with pytest.raises(TypeError, match="may be `f64 | None`"):
        f64 | 3
    with pytest.raises(TypeError, match="has a shape already"):
        f64[3][4]
    with pytest.raises(TypeError, match="expected sizes"):
        f64[0.5]
    with pytest.raises(TypeError, match="or .*columns, config"):
        module(inputs={}, outputs={})(lambda: {})
    with pytest.raises(ValueError, match="'row' or 'batch'"):
        module(inputs={}, outputs={}, per="rows")
    assert str(text.among("a", "b") | None) == "text | None" and text.among("a").categories == ("a",)
    with pytest.raises(TypeError, match="only a text"):
        f64.among("a")


def test_a_log_line_goes_to_standard_error_in_a_test(capsys):
    log.warn("far away")
    assert capsys.readouterr().err == "warn: far away\n"

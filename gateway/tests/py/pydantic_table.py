"""Writes tests/data/pydantic.json: what pydantic's default (lax) mode makes of values in JSON.

    python pydantic_table.py > ../data/pydantic.json     (pydantic 2.14)
"""
import json, math, sys
from pydantic import TypeAdapter, ValidationError
import pydantic

TEXTS = ["1", " 1 ", "1.0", "1.5", "-3", "+3", "1e3", "1E3", "1_000", "0x10", "", " ", "abc", "1,5", "NaN", "nan",
         "inf", "-inf", "Infinity", "-Infinity", "+inf", "infinity", "1.", ".5", "-.5", "1.00", "001", "-0", "١",
         "true", "True", "TRUE", "t", "T", "yes", "Yes", "y", "Y", "on", "ON", "off", "f", "F", "false", "FALSE", "no",
         "n", "N", "0", "00", "2", "tRue", " true ", "true ", "oN", "1e400", "9223372036854775807",
         "9223372036854775808", "99999999999999999999", "1.0e0", "1_0.0", "_1", "1_", "1__0", "--1", "\n1", "1\t",
         "1.000000", "0.0", "1.0 ", "5.5e-1", "1e-1", "- 1", "1 0", "0b1", "1f", "1d", "0.0000001"]
NUMBERS = [0, 1, -1, 2, 1.0, 0.0, 1.5, -0.0, 1e3, 1e300, 2**53, 2**63 - 1, 2**63, 1e19]
OTHERS = [True, False, None, [], [1], {}, {"a": 1}]
TOKENS = [math.nan, math.inf, -math.inf]

def verdict(adapter, value):
    try:
        got = adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        return {"error": error.errors()[0]["type"]}
    if isinstance(got, float) and not math.isfinite(got):
        return {"value": str(got)}
    return {"value": got}

adapters = {"float": TypeAdapter(float), "int": TypeAdapter(int), "bool": TypeAdapter(bool), "str": TypeAdapter(str)}
rows = []
for value in TEXTS + NUMBERS + OTHERS + TOKENS:
    rows.append({"json": json.dumps(value), **{name: verdict(adapter, value) for name, adapter in adapters.items()}})
json.dump({"pydantic": pydantic.VERSION, "rows": rows}, sys.stdout, indent=None, ensure_ascii=True)

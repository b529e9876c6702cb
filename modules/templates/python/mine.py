"""Puts an age into one of three groups."""

from modelgate_module import Invalid, f64, i64, module, text


@module(inputs={"age": f64, "city": text | None}, outputs={"age_bucket": i64})
def row(r):
    if not 0 <= r["age"] <= 130:
        raise Invalid(f"expected an age from 0 to 130, got {r['age']:g}", column="age")
    return 0 if r["age"] < 18 else 1 if r["age"] < 65 else 2

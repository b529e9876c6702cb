"""Functions of a `FunctionTransformer` that the tabular module has an operation for."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

Kind = Literal["number", "bool", "text"]
Cast = Literal["i64", "f32"]

# Signs, halves, values next to a whole number and ones that single precision cannot hold. What
# treats all of them as a cast does is that cast, as far as a caller can tell.
NUMBERS = np.array(
    [
        *(0, 1, -1, 0.1, -0.1, 0.5, -0.5, 0.9999999, -0.9999999, 1.5, -1.5, 2.5, -2.5, 1e-9),
        *(254.7, 255.2, 40000.6, -40000.6, 123456.789, -98765.4321, 100000000.3),
        *(16777217, -16777217.25),
    ]
)
PROBES: dict[Kind, list[Any]] = {
    "number": list(NUMBERS),
    "bool": [place % 2 == 0 for place in range(len(NUMBERS))],
    "text": [" Some TEXT ", "", "ñandú", "1.50"] + ["x"] * (len(NUMBERS) - 4),
}


class Unrecognised(Exception):
    """A function that is none of these; the text says why."""


def truncate(data: Any) -> Any:
    """Cuts the fraction off every float, toward zero, as `int(x)` does; leaves the rest alone.

    Missing values stay missing. For `FunctionTransformer(truncate)`.
    """
    if isinstance(data, pd.DataFrame):
        return data.apply(truncate)
    if isinstance(data, pd.Series):
        return np.trunc(data) if pd.api.types.is_float_dtype(data.dtype) else data
    array = np.asarray(data)
    return np.trunc(array) if array.dtype.kind == "f" else array


def recognise(
    function: Callable[[Any], Any] | None, names: Sequence[str], kinds: Sequence[Kind]
) -> list[Cast | None]:
    """The effect of `function` on each column: a cast, or nothing (None).

    The function is called on probe values, as a frame and else as an array, since it may be
    written for either. Raises `Unrecognised`, saying why, if it does something else.
    """
    if function is None:
        return [None] * len(names)
    probe = pd.DataFrame({place: PROBES[kind] for place, kind in enumerate(kinds)})
    probe.columns = pd.Index(names)
    reasons: list[str] = []
    for given in (probe.copy(), probe.to_numpy()):
        try:
            result = pd.DataFrame(function(given))
            if result.shape != probe.shape:
                raise Unrecognised("it changes the number of rows or columns")
            _alone(function, given, result)
            return [
                _cast_of(list(result.iloc[:, place]), name, kind)
                for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
            ]
        except Unrecognised as error:
            reasons.insert(0, str(error))
        except Exception as error:  # whatever a function not written for probes may raise
            reasons.append(f"it failed on probe values ({error})")
    raise Unrecognised(reasons[0])


def _alone(function: Callable[[Any], Any], given: Any, result: pd.DataFrame) -> None:
    """Raises `Unrecognised` for a function that treats a row otherwise beside others."""
    for place in range(len(result)):
        own = pd.DataFrame(function(given[place : place + 1])).astype(object).to_numpy()
        if not pd.Series(own.ravel()).equals(pd.Series(result.iloc[place].astype(object).to_numpy())):
            raise Unrecognised("it looks at other rows than its own")


def _cast_of(values: list[Any], name: str, kind: Kind) -> Cast | None:
    if kind != "number":
        if values != PROBES[kind]:
            raise Unrecognised(f"it changes column '{name}'")
        return None
    try:
        numbers = np.array(np.array(values, dtype=object) * 1.0, dtype=np.float64)
    except (TypeError, ValueError):
        raise Unrecognised(f"it makes the numbers of column '{name}' something else") from None
    if np.array_equal(numbers, NUMBERS):
        return None
    if np.array_equal(numbers, np.trunc(NUMBERS)):
        return "i64"
    if np.array_equal(numbers, NUMBERS.astype(np.float32).astype(np.float64)):
        return "f32"
    raise Unrecognised(
        f"what it does to column '{name}' is neither a truncation nor a rounding to float32"
    )

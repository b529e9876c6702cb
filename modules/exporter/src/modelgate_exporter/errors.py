"""The one error a caller can act on."""

from collections.abc import Iterable, Sequence

SUPPORTED = (
    "OneHotEncoder, OrdinalEncoder, StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, "
    "SimpleImputer, truncation, 'passthrough' and 'drop'"
)


class CannotExport(ValueError):
    """The pipeline cannot be served exactly as scikit-learn answers; the text says which part."""


def refuse(
    path: Sequence[str],
    transformer: object,
    columns: Iterable[str],
    why: str = "modelgate's tabular module has no such operation",
    advice: str = f"it knows {SUPPORTED}; do this step before the request, "
    "or write it as a module of your own (modules/BUNDLE.md)",
) -> CannotExport:
    """An error that names the step, what it is and the columns it works on."""
    return CannotExport(
        f"cannot export {step_name(path)} ({type(transformer).__name__})"
        f"{on_columns(columns)}: {why}; {advice}"
    )


def step_name(path: Sequence[str]) -> str:
    """`step 'prep' → 'text'`."""
    return "step " + " → ".join(f"'{name}'" for name in path) if path else "the pipeline"


def on_columns(columns: Iterable[str]) -> str:
    """` on column 'a'`, ` on columns 'a', 'b'`, cut short where there are many."""
    names = list(dict.fromkeys(columns))
    if not names:
        return ""
    shown = ", ".join(f"'{name}'" for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f" on column{'s' if len(names) > 1 else ''} {shown}{more}"

"""Makes two tiny bundles for the gateway's tests, on SYNTHETIC data.

`iris_like`: three classes by name, missing measurements, a small forest.
`house_like`: a regressor; an unknown district is an error; a small neural network.

    python small.py BUNDLES_FOLDER
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelgate_exporter import export

SEED = 20240607
warnings.simplefilter("ignore", ConvergenceWarning)  # a short training will do here


def iris_like(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    classes = np.array(["setosa", "versicolor", "virginica"])
    kind = rng.integers(0, 3, 600)
    centre = np.array([[5.0, 3.4, 1.5, 0.25], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0]])
    values = (centre[kind] + rng.normal(0, [0.45, 0.33, 0.35, 0.2], (600, 4))).round(1).clip(0.1)
    values[rng.random(values.shape) < 0.06] = np.nan
    values[0] = [6.1, 2.9, 4.7, 1.4]
    columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    frame = pd.DataFrame(values, columns=columns)
    pipeline = make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        RandomForestClassifier(n_estimators=10, max_depth=4, random_state=SEED),
    ).fit(frame[:450], classes[kind[:450]])
    print(f"iris_like: accuracy {pipeline.score(frame[450:], classes[kind[450:]]):.3f}")
    export(
        pipeline,
        pd.concat([frame[:1], frame[450:]]),
        folder / "iris_like",
        description="Three flowers by name, with missing measurements; synthetic data",
        examples=20,
        overwrite=True,
    )


def house_like(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    rows = 800
    frame = pd.DataFrame(
        {
            "area_m2": rng.gamma(6, 16, rows).round(1) + 18,
            "rooms": rng.integers(1, 8, rows),
            "age_years": rng.integers(0, 120, rows).astype(float),
            "has_garden": rng.random(rows) < 0.4,
            "district": rng.choice(["Centro", "Norte", "Sur", "Río"], rows),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "age_years"] = np.nan
    worth = frame["district"].map({"Centro": 4.1, "Norte": 2.6, "Sur": 1.9, "Río": 3.2})
    price = (
        worth * frame["area_m2"]
        + 9 * frame["rooms"]
        + 25 * frame["has_garden"]
        - 0.5 * frame["age_years"].fillna(60)
        + rng.normal(0, 15, rows)
    )  # in thousands
    pipeline = Pipeline(
        [
            (
                "prepare",
                ColumnTransformer(
                    [
                        (
                            "numbers",
                            make_pipeline(StandardScaler(), SimpleImputer(add_indicator=True)),
                            ["area_m2", "rooms", "age_years"],
                        ),
                        ("district", OneHotEncoder(handle_unknown="error"), ["district"]),
                    ],
                    remainder="passthrough",
                ),
            ),
            (
                "network",
                MLPRegressor(
                    hidden_layer_sizes=(24, 12),
                    solver="lbfgs",
                    alpha=0.01,
                    max_iter=300,
                    random_state=SEED,
                ),
            ),
        ]
    ).fit(frame[:600], price[:600])
    print(f"house_like: R² {pipeline.score(frame[600:], price[600:]):.3f}")
    export(
        pipeline,
        frame[600:],
        folder / "house_like",
        description="Prices of houses in thousands; synthetic data",
        examples=20,
        overwrite=True,
    )


if __name__ == "__main__":
    iris_like(Path(sys.argv[1]))
    house_like(Path(sys.argv[1]))

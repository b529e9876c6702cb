"""Makes the demo bundle: the workshop's covertype service, on SYNTHETIC data.

The rows are drawn from a made-up forest with the schema and the ranges of the UCI Covertype data
set. They are not that data set, and what the model says is true of no real hillside.

    python covertype.py DEMO_FOLDER ROWS_FILE
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    StandardScaler,
)

from modelgate_exporter import export, truncate

SEED = 20240607
AREAS = ["Rawah", "Neota", "Commanche", "Cache"]
SOILS = [
    f"C{code}"
    for code in (
        *(2702, 2703, 2704, 2705, 2706, 2717, 3501, 3502, 4201, 4703),
        *(4704, 4744, 4758, 5101, 5151, 6101, 6102, 6731, 7101, 7102),
        *(7103, 7201, 7202, 7700, 7701, 7702, 7709, 7710, 7745, 7746),
        *(7755, 7756, 7757, 7790, 8703, 8707, 8708, 8771, 8772, 8776),
    )
]
MIN_MAX = [
    "Horizontal_Distance_To_Hydrology",
    "Vertical_Distance_To_Hydrology",
    "Horizontal_Distance_To_Roadways",
    "Horizontal_Distance_To_Fire_Points",
    "Hillshade_9am",
    "Hillshade_Noon",
    "Hillshade_3pm",
]
STANDARD = ["Elevation", "Aspect", "Slope"]
NUMERIC = [
    "Elevation",
    "Aspect",
    "Slope",
    "Horizontal_Distance_To_Hydrology",
    "Vertical_Distance_To_Hydrology",
    "Horizontal_Distance_To_Roadways",
    "Hillshade_9am",
    "Hillshade_Noon",
    "Hillshade_3pm",
    "Horizontal_Distance_To_Fire_Points",
]
CATEGORICAL = ["Wilderness_Area", "Soil_Type"]

# The request of the workshop, which /docs shows and the README sends.
REQUEST = {
    "Elevation": 2723,
    "Aspect": 127,
    "Slope": 16,
    "Horizontal_Distance_To_Hydrology": 190,
    "Vertical_Distance_To_Hydrology": 69,
    "Horizontal_Distance_To_Roadways": 1560,
    "Hillshade_9am": 245,
    "Hillshade_Noon": 228,
    "Hillshade_3pm": 108,
    "Horizontal_Distance_To_Fire_Points": 845,
    "Wilderness_Area": "Rawah",
    "Soil_Type": "C7746",
}


def hillside(rng: np.random.Generator, rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Synthetic plots of land and their cover type (1 to 7)."""
    area = rng.choice(4, rows, p=[0.42, 0.08, 0.40, 0.10])
    centre = np.array([2960.0, 3190.0, 2980.0, 2330.0])[area]
    spread = np.array([190.0, 160.0, 270.0, 200.0])[area]
    elevation = np.clip(rng.normal(centre, spread), 1859, 3858)
    aspect = rng.uniform(0, 360, rows)
    slope = np.clip(rng.gamma(3.4, 4.2, rows), 0, 66)
    water = np.clip(rng.gamma(1.6, 165, rows), 0, 1397)
    above_water = np.clip(water * np.tan(np.radians(slope)) * rng.normal(0.6, 0.5, rows), -173, 601)
    road = np.clip(rng.gamma(2.0, 1150, rows) * (0.35 + (elevation - 1859) / 1500), 0, 7117)
    fire = np.clip(rng.gamma(2.0, 980, rows), 0, 7173)
    # Soils lie in bands of height, as the codes' first digit (the climatic zone) says.
    band = (elevation - 2050) / 1500 * 39 + np.array([0.0, 2.0, 1.0, -2.0])[area]
    soil = np.clip(np.rint(band + rng.normal(0, 3.0, rows)), 0, 39).astype(int)

    def shade(azimuth: float, height: float) -> np.ndarray:
        zenith, steep = np.radians(90 - height), np.radians(slope)
        light = np.cos(zenith) * np.cos(steep) + np.sin(zenith) * np.sin(steep) * np.cos(
            np.radians(azimuth - aspect)
        )
        return np.clip(255 * light, 0, 254)

    frame = pd.DataFrame(
        {
            "Elevation": elevation,
            "Aspect": aspect,
            "Slope": slope,
            "Horizontal_Distance_To_Hydrology": water,
            "Vertical_Distance_To_Hydrology": above_water,
            "Horizontal_Distance_To_Roadways": road,
            "Hillshade_9am": shade(110, 52),
            "Hillshade_Noon": shade(180, 64),
            "Hillshade_3pm": shade(245, 45),
            "Horizontal_Distance_To_Fire_Points": fire,
        }
    )
    frame["Wilderness_Area"] = np.array(AREAS)[area]
    frame["Soil_Type"] = np.array(SOILS)[soil]

    # How well each cover type grows there; chance does the rest.
    cool = np.cos(np.radians(aspect)) * slope / 14  # slopes to the north
    likes = np.array([3130.0, 2900.0, 2400.0, 2230.0, 2770.0, 2450.0, 3390.0])
    wide = np.array([165.0, 190.0, 170.0, 110.0, 110.0, 160.0, 120.0])
    growth = 6.0 - ((elevation[:, None] - likes) / wide) ** 2
    growth[:, 0] += 1.1 + 1.2 * cool + 0.8 * (area == 1) - 0.0009 * fire
    growth[:, 1] += 0.8 * (area == 0) - 0.4 * cool
    growth[:, 2] += 0.9 * (area == 3) - 1.1 * cool + 0.05 * slope
    growth[:, 3] += 2.0 * (area == 3) + 1.0 - 0.016 * water - 0.02 * np.abs(above_water)
    growth[:, 4] += 1.2 + 0.6 * (area == 2) + 1.4 * (soil % 4 == 2) - 0.0006 * road
    growth[:, 5] += 1.3 * cool + 0.7 * (soil % 3 == 0)
    growth[:, 6] += 1.0 * (area == 2) + 1.3 * (soil >= 36) - 0.03 * slope
    growth[:, :2] += 0.9 * (soil % 5 == 4)[:, None] * np.array([-1.0, 1.0])
    label = np.argmax(growth + rng.gumbel(0, 0.36, growth.shape), axis=1) + 1
    return frame, label


def measured(rng: np.random.Generator, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows as clients send them: most numbers whole, some with a fraction to be cut off."""
    whole = np.rint(frame[NUMERIC])
    exact = rng.random(whole.shape) < 0.25
    return frame.assign(**whole.where(~exact, frame[NUMERIC].round(2)))


def main(demo: Path, rows_file: Path) -> None:
    rng = np.random.default_rng(SEED)
    frame, label = hillside(rng, 17_000)
    frame = measured(rng, frame)
    train, held_out = slice(0, 15_000), slice(15_000, 17_000)

    pipeline = Pipeline(
        [
            # The workshop's service truncates its floats to integers before anything else.
            ("truncate", FunctionTransformer(truncate)),
            (
                "prepare",
                ColumnTransformer(
                    [
                        ("one_hot", OneHotEncoder(handle_unknown="ignore"), CATEGORICAL),
                        ("min_max", MinMaxScaler(), MIN_MAX),
                        ("standard", StandardScaler(), STANDARD),
                    ]
                ),
            ),
            (
                "forest",
                RandomForestClassifier(
                    n_estimators=80, max_depth=12, min_samples_leaf=8, random_state=SEED
                ),
            ),
        ]
    )
    pipeline.fit(frame[train], label[train])
    accuracy = pipeline.score(frame[held_out], label[held_out])
    most = np.bincount(label[held_out]).max() / 2_000
    print(f"accuracy on 2,000 held-out rows {accuracy:.3f} (always the commonest: {most:.3f})")

    sample = pd.concat(
        [pd.DataFrame([REQUEST]).astype(dict.fromkeys(NUMERIC, float)), frame[held_out]]
    )
    export(
        pipeline,
        sample,
        demo,
        name="modelo_covertype_vf",
        version="1",
        description="Forest cover type (1 to 7) of a plot of land; trained on synthetic data",
        examples=24,
        overwrite=True,
    )
    write_rows(pipeline, rng, rows_file)
    forest = pipeline[-1]
    leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
    size = (demo / "model.onnx").stat().st_size
    print(f"{demo}: {len(forest.estimators_)} trees, {leaves} leaves, model.onnx {size:,} bytes")


def write_rows(pipeline: Pipeline, rng: np.random.Generator, file: Path) -> None:
    """1,000 new rows with scikit-learn's answers, for the gateway's tests."""
    frame, _ = hillside(rng, 1_000)
    frame = measured(rng, frame).reset_index(drop=True)
    for column, unknown in (("Soil_Type", "C0000"), ("Wilderness_Area", "Atlantis")):
        frame.loc[rng.random(1_000) < 0.03, column] = unknown
    labels = pipeline.predict(frame)
    probabilities = pipeline.predict_proba(frame)

    def cell(value: object) -> object:
        return int(value) if isinstance(value, float) and value.is_integer() else value

    rows = [[cell(value) for value in row] for row in frame.astype(object).to_numpy().tolist()]
    parts = {
        "about": "synthetic rows with scikit-learn's answers, probabilities rounded to 9 places; "
        "made by modules/exporter/demo/covertype.py",
        "columns": list(frame.columns),
        "rows": rows,
        "predictions": [int(value) for value in labels],
        "probabilities": [[round(float(p), 9) for p in row] for row in probabilities],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(parts, separators=(",", ":")).replace("],[", "],\n[") + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

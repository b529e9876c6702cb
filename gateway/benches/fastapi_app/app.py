"""The demo served the way its users would at best: FastAPI, the preprocessing in numpy, ONNX Runtime in memory.

Run by `run.py`: `uvicorn app:app --workers 2`, in this folder.
"""

import json
import math
from pathlib import Path

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel

DEMO = Path(__file__).resolve().parents[2] / "demo"
CONFIG = json.loads((DEMO / "preprocess.json").read_text())
NUMBERS = [column["name"] for column in CONFIG["inputs"] if column["datatype"] == "f64"]


def step(block, name):
    return next(step for step in CONFIG["blocks"][block]["steps"] if step["op"] == name)


AREAS, SOILS = ({name: place for place, name in enumerate(names)} for names in step(0, "one_hot")["categories"])
SCALED = CONFIG["blocks"][1]["columns"]
SCALE, MIN = np.array(step(1, "min_max")["scale"]), np.array(step(1, "min_max")["min"])
STANDARD = CONFIG["blocks"][2]["columns"]
MEAN, DEVIATION = np.array(step(2, "standard")["mean"]), np.array(step(2, "standard")["scale"])

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(DEMO / "model.onnx", options, providers=["CPUExecutionProvider"])
INPUT = session.get_inputs()[0].name
LABEL = session.get_outputs()[0].name


class Features(BaseModel):
    Elevation: float
    Aspect: float
    Slope: float
    Horizontal_Distance_To_Hydrology: float
    Vertical_Distance_To_Hydrology: float
    Horizontal_Distance_To_Roadways: float
    Hillshade_9am: float
    Hillshade_Noon: float
    Hillshade_3pm: float
    Horizontal_Distance_To_Fire_Points: float
    Wilderness_Area: str
    Soil_Type: str
    model: str = "modelo_covertype_vf"


app = FastAPI()


@app.post("/predict")
async def predict(features: Features):
    row = np.zeros((1, 54), np.float32)
    area, soil = AREAS.get(features.Wilderness_Area), SOILS.get(features.Soil_Type)
    if area is not None:
        row[0, area] = 1
    if soil is not None:
        row[0, 4 + soil] = 1
    row[0, 44:51] = np.array([math.trunc(getattr(features, name)) for name in SCALED]) * SCALE + MIN
    row[0, 51:] = (np.array([math.trunc(getattr(features, name)) for name in STANDARD]) - MEAN) / DEVIATION
    return {"prediction": int(session.run([LABEL], {INPUT: row})[0][0])}

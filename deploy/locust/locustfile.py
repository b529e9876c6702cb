"""Ten thousand users in steps of five hundred, as in the workshop, with a client that leaves the processor to the gateway.

    locust -f deploy/locust/locustfile.py --host http://127.0.0.1:8080 --headless
    locust -f deploy/locust/locustfile.py --host http://127.0.0.1:8080          # the page on port 8089

Variables: MODELGATE_USERS (10000), MODELGATE_STEP (500), MODELGATE_STEP_SECONDS (5), MODELGATE_HOLD_SECONDS (60, once all are
there), MODELGATE_VARIANTS (a comma-separated list of row, list, batch, v2 and mlflow; row and list by default),
MODELGATE_MAX_FAILURES (share, 0), MODELGATE_MAX_P99_MS (none). Past a threshold the exit code is 1. The steps decide, not
`--users`, `--spawn-rate` and `--run-time`; set MODELGATE_STEPS=off to have those decide.
"""

import os

from locust import LoadTestShape, between, events
from locust.contrib.fasthttp import FastHttpUser

ROW = {
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
MODEL = os.environ.get("MODELGATE_MODEL", "modelo_covertype_vf")
USERS = int(os.environ.get("MODELGATE_USERS", "10000"))
STEP = int(os.environ.get("MODELGATE_STEP", "500"))
STEP_SECONDS = float(os.environ.get("MODELGATE_STEP_SECONDS", "5"))
HOLD_SECONDS = float(os.environ.get("MODELGATE_HOLD_SECONDS", "60"))
VARIANTS = os.environ.get("MODELGATE_VARIANTS", "row,list").replace(" ", "").split(",")
MAX_FAILURES = float(os.environ.get("MODELGATE_MAX_FAILURES", "0"))
MAX_P99_MS = float(os.environ.get("MODELGATE_MAX_P99_MS", "inf"))


def tensor(name, value):
    """A row's field as the Open Inference Protocol sends it."""
    datatype = "BYTES" if isinstance(value, str) else "INT64"
    return {"name": name, "shape": [1, 1], "datatype": datatype, "data": [value]}


BATCH = [ROW] * 32
V2 = {"inputs": [tensor(name, value) for name, value in ROW.items()]}
MLFLOW = {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}}


class Caller(FastHttpUser):
    wait_time = between(1, 2.5)

    def post(self, path, body, expected):
        """An answer without the expected member is a failure, whatever its status."""
        with self.rest("POST", path, json=body) as answer:
            if answer.js is None or expected not in answer.js:
                answer.failure(f"{answer.status_code} {answer.error or ''}: no {expected} in the answer: {(answer.text or '')[:200]}")

    def row(self):
        self.post("/predict", {**ROW, "model": MODEL}, "prediction")

    def list(self):
        with self.rest("GET", "/listar_modelos") as answer:
            if not (answer.js or {}).get("modelos_disponibles"):
                answer.failure("no models in the answer")

    def batch(self):
        self.post("/predict", BATCH, "predictions")

    def v2(self):
        self.post(f"/v2/models/{MODEL}/infer", V2, "outputs")

    def mlflow(self):
        self.post("/invocations", MLFLOW, "predictions")


# Those asked for, and an error for a name that is none.
Caller.tasks = [{"row": Caller.row, "list": Caller.list, "batch": Caller.batch, "v2": Caller.v2, "mlflow": Caller.mlflow}[name] for name in VARIANTS]


if os.environ.get("MODELGATE_STEPS") != "off":

    class Steps(LoadTestShape):
        """So many more users every few seconds, until all are there, and then for a while."""

        def tick(self):
            users = STEP * (int(self.get_run_time() / STEP_SECONDS) + 1)
            if self.get_run_time() > USERS / STEP * STEP_SECONDS + HOLD_SECONDS:
                return None
            return min(users, USERS), STEP


@events.quitting.add_listener
def judge(environment, **_):
    """The table, and the exit code."""
    total = environment.stats.total
    if total.num_requests == 0:
        print("no request was made")
        environment.process_exit_code = 1
        return
    print("\n| request | count | failed | median ms | p99 ms | max ms | per second |\n|---|---|---|---|---|---|---|")
    for entry in [*environment.stats.entries.values(), total]:
        print(
            f"| {entry.name} | {entry.num_requests} | {entry.num_failures} | {entry.median_response_time:.0f} "
            f"| {entry.get_response_time_percentile(0.99):.0f} | {entry.max_response_time:.0f} | {entry.total_rps:.0f} |"
        )
    p99 = total.get_response_time_percentile(0.99)
    failed = total.fail_ratio > MAX_FAILURES or p99 > MAX_P99_MS
    print(f"\n{'FAILED' if failed else 'passed'}: {total.fail_ratio:.3%} failures (at most {MAX_FAILURES:.3%}), p99 {p99:.0f} ms (at most {MAX_P99_MS:.0f})")
    environment.process_exit_code = 1 if failed else 0

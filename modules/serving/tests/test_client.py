"""The client: frames of every library, types, missing values, retries, deadlines."""

import asyncio
import datetime
import decimal
import http.server
import json
import socket
import threading
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from conftest import customers
from modelgate_serving import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ServerError,
    Unavailable,
    serve,
)


def test_the_same_kind_comes_back(served, fitted):
    frame = customers(50, seed=9)
    expected = fitted.predict(frame).tolist()
    proba = fitted.predict_proba(frame)
    with Client(served.url) as client:
        ours = client.predict(frame)
        assert isinstance(ours, pd.DataFrame) and ours["prediction"].tolist() == expected
        other = client.predict(pl.from_dicts(records(frame)))
        assert isinstance(other, pl.DataFrame) and other["prediction"].to_list() == expected
        dicts = client.predict(records(frame))
        assert [row["prediction"] for row in dicts] == expected
        assert dicts[0]["probabilities"].keys() == {"leaves", "stays"}
        np.testing.assert_allclose([list(row["probabilities"].values()) for row in dicts], proba, atol=1e-6)
        assert client.predict(records(frame)[0])["prediction"] == expected[0]
        array = client.predict(frame.to_numpy(dtype=object))
        assert isinstance(array, np.ndarray) and array.tolist() == expected
        np.testing.assert_allclose(client.predict_proba(frame.to_numpy(dtype=object)), proba, atol=1e-6)
        assert set(client.outputs(frame)) == {"prediction", "probabilities"}
        assert [column.name for column in client.signature().inputs] == ["age", "income", "plan"]
    # So does its own handle.
    assert served.predict(records(frame)[0])["probabilities"].keys() == {"leaves", "stays"}
    assert served.predict(pl.from_dicts(records(frame))).columns[1:] == ["probabilities_leaves", "probabilities_stays"]


def records(frame: pd.DataFrame) -> list:
    return json.loads(frame.to_json(orient="records"))


def test_types_that_frames_have(served, fitted):
    frame = customers(40, seed=5)
    expected = fitted.predict(frame).tolist()
    ages, plans = frame["age"], frame["plan"]
    incomes = frame["income"]
    for age in ["int8", "uint16", "int64", "float64", "Int32", "Float64", "object"]:
        for plan in ["object", "string", "category", "str"]:
            for income in ["float64", "Float64", "object"]:
                given = pd.DataFrame(
                    {"income": incomes.astype(income), "plan": plans.astype(plan), "age": ages.astype(age)}
                )
                assert served.predict(given)["prediction"].tolist() == expected, (age, plan, income)
    missing = [None if np.isnan(value) else value for value in incomes]
    for empty in (None, np.nan, pd.NA):
        given = frame.assign(income=pd.Series([empty if value is None else value for value in missing], dtype=object))
        assert served.predict(given)["prediction"].tolist() == expected, empty
    decimals = frame.assign(income=[None if value is None else decimal.Decimal(str(value)) for value in missing])
    assert served.predict(decimals)["prediction"].tolist() == expected
    for age in (pl.Int16, pl.UInt64, pl.Float64):
        for plan in (pl.String, pl.Categorical, pl.Enum(["basic", "family", "premium"])):
            given = pl.DataFrame(
                [
                    pl.Series("age", ages.tolist(), dtype=pl.Int64).cast(age),
                    pl.Series("income", missing),
                    pl.Series("plan", plans.tolist()).cast(plan),
                ]
            )
            assert served.predict(given)["prediction"].to_list() == expected, (age, plan)
    # What JSON has a sign for, and binary has none.
    with pytest.raises(InvalidInput, match="'age' has no value in row 2, and the model takes no missing ones"):
        served.predict(frame.astype({"age": "Int64"}).assign(age=ages.astype("Int64").where(ages.index != 2)))
    with pytest.raises(InvalidInput, match=r"'plan' takes text \(BYTES\), and the frame has int64"):
        served.predict(frame.assign(plan=1))
    with pytest.raises(InvalidInput, match=r"row 0 has 1\.5"):
        served.predict(frame.assign(age=1.5))
    with pytest.raises(InvalidInput, match="time zone"):
        served.predict(frame.assign(age=pd.Timestamp("2026-01-01", tz="UTC")))


def test_missing_texts_numbers_and_booleans():
    rng = np.random.default_rng(2)
    rows = 300
    frame = pd.DataFrame(
        {
            "city": pd.Series(rng.choice(["Río", "Łódź", None], rows), dtype=object),
            "kids": pd.Series(rng.integers(0, 4, rows)).astype("Int64").mask(pd.Series(rng.random(rows) < 0.2)),
            "member": rng.random(rows) < 0.5,
        }
    )
    target = frame["member"] * 2.0 + (frame["city"] == "Río") + frame["kids"].fillna(9).astype(float)
    model = make_pipeline(
        ColumnTransformer(
            [
                ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
                ("kids", SimpleImputer(), ["kids"]),
                ("member", "passthrough", ["member"]),
            ]
        ),
        DecisionTreeRegressor(max_depth=6, random_state=0),
    )
    frame["kids"] = frame["kids"].astype(float)
    model.fit(frame, target)
    with serve(model, frame) as handle:
        expected = model.predict(frame)
        signature = {column.name: column for column in handle.signature.inputs}
        assert signature["city"].optional and signature["member"].datatype == "BOOL"
        for given in (
            frame,
            frame.assign(city=frame["city"].astype("string"), member=frame["member"].astype("boolean")),
            frame.assign(kids=frame["kids"].astype("Int64"), city=frame["city"].astype("category")),
            frame.assign(member=frame["member"].astype(int)),
        ):
            np.testing.assert_allclose(handle.predict(given)["prediction"], expected, rtol=1e-5)
        given = pl.DataFrame(
            {
                "city": frame["city"].tolist(),
                "kids": [None if np.isnan(value) else int(value) for value in frame["kids"]],
                "member": frame["member"].tolist(),
            }
        )
        np.testing.assert_allclose(handle.predict(given)["prediction"], expected, rtol=1e-5)
        one = records(frame[frame["city"].isna() & frame["kids"].isna()])[0]
        whole = handle.predict(one)
        # A dict may leave out what is missing, but for what looks like a mistake.
        assert handle.predict({"member": one["member"]}) == whole
        with pytest.raises(InvalidInput, match="is 'citty' meant to be 'city'"):
            handle.predict({"member": True, "citty": "Río"})
        with pytest.raises(InvalidInput, match="true or false"):
            handle.predict({"member": "sometimes"})


def test_dates():
    days = pd.date_range("2024-01-01", periods=200, freq="31h")
    frame = pd.DataFrame({"day": days})

    def weekday(given):
        return given.assign(day=given["day"].dt.day_of_week)

    model = make_pipeline(FunctionTransformer(weekday), DecisionTreeRegressor(random_state=0)).fit(
        frame, days.day_of_week * 10.0
    )
    with serve(model, frame) as handle:
        expected = model.predict(frame)
        dates = [day.to_pydatetime() for day in days]
        for given in (
            frame,
            frame.astype("datetime64[s]"),
            frame.astype(object),
            pd.DataFrame({"day": dates}),
        ):
            np.testing.assert_allclose(handle.predict(given)["prediction"], expected)
        np.testing.assert_allclose(handle.predict(pl.DataFrame({"day": dates}))["prediction"], expected)
        assert handle.predict({"day": datetime.date(2024, 1, 3)})["prediction"] == pytest.approx(20.0)


def test_arrays(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 5))
    model = LinearRegression().fit(values, values @ np.arange(10).reshape(5, 2))
    with serve(model, values) as handle:
        np.testing.assert_allclose(handle.predict(values), model.predict(values), atol=1e-4)
        np.testing.assert_allclose(handle.predict(values.astype("float32")), model.predict(values), atol=1e-4)
        with pytest.raises(InvalidInput, match="the model takes 5 columns"):
            handle.predict(values[:, :4])
        with pytest.raises(InvalidInput, match=r"reshape\(1, -1\)"):
            handle.predict(values[0])


def test_asyncio(served, fitted):
    frame = customers(200, seed=4)

    async def ask():
        async with AsyncClient(served.url, model="churn") as client:
            answers = await asyncio.gather(*(client.predict(frame) for _ in range(20)))
            with pytest.raises(InvalidInput):
                await client.predict(frame.drop(columns="age"))
            return answers, await client.predict_proba(frame)

    answers, proba = asyncio.run(ask())
    assert all((answer["prediction"] == fitted.predict(frame)).all() for answer in answers)
    np.testing.assert_allclose(proba, fitted.predict_proba(frame), atol=1e-6)


def test_threads_share_a_client(served, fitted):
    frame = customers(200, seed=6)
    expected, answers = fitted.predict(frame), []
    with Client(served.url) as client:
        asking = [threading.Thread(target=lambda: answers.append(client.predict(frame))) for _ in range(8)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
    assert len(answers) == 8 and all((answer["prediction"] == expected).all() for answer in answers)


def test_models_that_are_not_there(served):
    with Client(served.url, model="nobody") as client, pytest.raises(ModelNotFound, match="nobody"):
        client.predict(customers(1))
    with Client(served.url, model="nobody") as client:
        assert not client.ready()
    with Client(served.url, model="churn") as client:
        assert client.ready()


def test_an_address_that_is_wrong():
    with pytest.raises(ValueError, match="must be like http"):
        Client("ftp://models")
    with Client("127.0.0.1:9", timeout=0.5) as client, pytest.raises(Unavailable, match="is the server running"):
        client.predict(customers(1))


class Busy(http.server.BaseHTTPRequestHandler):
    """Answers what the test says, one after another."""

    answers: list

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, body = self.answers.pop(0)
        if status == 0:
            time.sleep(float(body))
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


INDEX = b'[{"name":"churn","version":"1","state":"READY"},{"name":"fraud","version":"1","state":"READY"}]'


@pytest.fixture
def busy():
    def start(answers):
        handler = type("Handler", (Busy,), {"answers": answers})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    servers: list = []
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_busy_server_is_asked_again(busy):
    url = busy([(503, {"Retry-After": "0"}, b"{}"), (502, {}, b""), (200, {}, INDEX)])
    with Client(url) as client, pytest.raises(ModelNotFound, match="churn, fraud: name one"):
        client.predict(customers(1))


def test_a_refusal_is_not_repeated(busy):
    answers = [(500, {"X-Request-Id": "r7"}, b'{"error":"broken"}'), (200, {}, INDEX)]
    with Client(busy(answers)) as client, pytest.raises(ServerError, match=r"500: broken \(request id r7\)"):
        client.predict(customers(1))
    assert len(answers) == 1


def test_a_call_ends_by_its_deadline(busy):
    begun = time.monotonic()
    with Client(busy([(0, {}, "5")])) as client, pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
        client.predict(customers(1), timeout=0.3)
    url = busy([(503, {"Retry-After": "30"}, b'{"error":"loading"}')])
    with Client(url) as client, pytest.raises(Unavailable, match="loading"):
        client.predict(customers(1), timeout=2)
    assert time.monotonic() - begun < 4.5


def test_a_server_that_comes_up_late_is_waited_for(busy):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    handler = type("Handler", (Busy,), {"answers": [(200, {}, INDEX)]})
    server = None

    def late():
        nonlocal server
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        server.serve_forever()

    timer = threading.Timer(0.3, late)
    timer.start()
    try:
        with Client(f"127.0.0.1:{port}") as client, pytest.raises(ModelNotFound):
            client.predict(customers(1))
    finally:
        timer.join(0)
        if server is not None:
            server.shutdown()
            server.server_close()


def test_a_sample_of_polars(fitted):
    frame = customers(300, seed=8)
    with serve(fitted, pl.from_dicts(records(frame))) as handle:
        assert [column.optional for column in handle.signature.inputs] == [False, True, False]
        assert (handle.predict(frame)["prediction"] == fitted.predict(frame)).all()

#!/usr/bin/env python3
"""Uses a gateway that serves the demo through the clients that others wrote for other servers.

    pip install -r clients.txt
    python clients.py http://127.0.0.1:8080 [triton_http triton_grpc grpc_limits open_inference kserve mlflow ...]

Ends with status 1 and a traceback if one of them is not answered as by its own server.
"""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

MODEL = "modelo_covertype_vf"
DATA = json.loads((Path(__file__).parent.parent / "data/covertype_1000.json").read_text())
ROWS = 200


def columns(rows=ROWS):
    """Name, datatype and values of each input, as numpy arrays of one column."""
    for place, name in enumerate(DATA["columns"]):
        values = [row[place] for row in DATA["rows"][:rows]]
        if isinstance(values[0], str):
            yield name, "BYTES", np.array([[value.encode()] for value in values], dtype=np.object_)
        else:
            yield name, "FP64", np.array(values, dtype=np.float64).reshape(-1, 1)


LABELS = np.array(DATA["predictions"][:ROWS])


def tensors(module, rows=ROWS):
    inputs = []
    for name, datatype, values in columns(rows):
        tensor = module.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    return inputs


def triton_http(url):
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

    with triton.InferenceServerClient(urlsplit(url).netloc) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL, "1")
        assert not client.is_model_ready("nobody")
        assert client.get_server_metadata()["name"] == "modelgate"
        metadata = client.get_model_metadata(MODEL)
        assert [column["name"] for column in metadata["inputs"]] == DATA["columns"]
        assert client.get_model_config(MODEL)["max_batch_size"] > 0
        # As it comes: everything in binary, both ways.
        result = client.infer(MODEL, tensors(triton), request_id="7", model_version="1", timeout=2_000_000, priority=1)
        assert (result.as_numpy("prediction") == LABELS).all()
        assert result.as_numpy("probabilities").shape == (ROWS, 7)
        assert result.get_response()["id"] == "7"
        assert "binary_data_size" in result.get_output("prediction")["parameters"]
        # JSON, one output, compressed.
        inputs = []
        for name, datatype, values in columns(3):
            tensor = triton.InferInput(name, list(values.shape), datatype)
            tensor.set_data_from_numpy(values, binary_data=False)
            inputs.append(tensor)
        outputs = [triton.InferRequestedOutput("prediction", binary_data=False)]
        for coding in [None, "gzip", "deflate"]:
            result = client.infer(MODEL, inputs, outputs=outputs, request_compression_algorithm=coding,
                                  response_compression_algorithm=coding)
            assert result.get_output("prediction")["data"] == list(LABELS[:3]), coding
        for model, change, words in [
            ("nobody", lambda tensor: tensor, "nobody"),
            (MODEL, lambda tensor: tensor._shape.append(2) or tensor, "unexpected shape for input 'Elevation'"),
        ]:
            inputs = tensors(triton, 2)
            change(inputs[0])
            try:
                client.infer(model, inputs)
                raise AssertionError("no error")
            except InferenceServerException as error:
                assert words in error.message(), error
        statistics = client.get_inference_statistics(MODEL)["model_stats"][0]
        assert statistics["inference_count"] >= ROWS and statistics["inference_stats"]["success"]["ns"] > 0
        assert client.get_model_repository_index()[0]["state"] == "READY"


def triton_grpc(url):
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    with triton.InferenceServerClient(urlsplit(url).netloc) as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL, "1")
        assert not client.is_model_ready("nobody")
        assert client.get_server_metadata().name == "modelgate"
        metadata = client.get_model_metadata(MODEL, as_json=True)
        assert [column["name"] for column in metadata["inputs"]] == DATA["columns"]
        config = client.get_model_config(MODEL).config
        assert config.max_batch_size > 0 and config.input[0].data_type == 12 and config.backend == "modelgate"
        result = client.infer(MODEL, tensors(triton), request_id="7", timeout=2_000_000, priority=1, client_timeout=20)
        assert (result.as_numpy("prediction") == LABELS).all()
        assert result.as_numpy("probabilities").shape == (ROWS, 7)
        assert result.get_response().id == "7"
        outputs = [triton.InferRequestedOutput("prediction")]
        result = client.infer(MODEL, tensors(triton, 1), outputs=outputs)
        assert len(result.get_response().outputs) == 1
        for algorithm in ["gzip", "deflate"]:
            result = client.infer(MODEL, tensors(triton), compression_algorithm=algorithm)
            assert (result.as_numpy("prediction") == LABELS).all()
        triton_stream(client, triton)
        result = client.infer("", tensors(triton), headers={"x-model": MODEL})
        assert (result.as_numpy("prediction") == LABELS).all()
        try:
            client.infer(MODEL, tensors(triton), headers={"x-model": "nobody"})
            raise AssertionError("two models in one request")
        except InferenceServerException as error:
            assert "INVALID_ARGUMENT" in error.status(), error
        statistics = client.get_inference_statistics(MODEL).model_stats[0]
        assert statistics.inference_count >= ROWS and statistics.inference_stats.success.count >= 2
        assert client.get_model_repository_index().models[0].state == "READY"
        for model, status in [("nobody", "NOT_FOUND"), (MODEL, "INVALID_ARGUMENT")]:
            inputs = tensors(triton, 2)
            inputs[0]._input.shape[0] = 3
            try:
                client.infer(model, inputs)
                raise AssertionError("no error")
            except InferenceServerException as error:
                assert status in error.status(), error
        token = {"authorization": "Bearer s3cret"}
        client.unload_model(MODEL, headers=token)
        assert not client.is_model_ready(MODEL)
        client.load_model(MODEL, headers=token)
        assert client.is_model_ready(MODEL)
        try:
            client.unload_model(MODEL)
            raise AssertionError("anybody may unload models")
        except InferenceServerException as error:
            assert "PERMISSION_DENIED" in error.status(), error


def triton_stream(client, triton):
    """Requests of one stream: answered in order, errors within it, and with a status where the client asks for that."""
    import queue

    for compression in [None, "gzip", "deflate"]:
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)), compression_algorithm=compression)
        for number in range(1, 9):
            client.async_stream_infer(MODEL, tensors(triton, number), request_id=str(number))
        client.async_stream_infer("nobody", tensors(triton, 1), request_id="9")
        client.async_stream_infer(MODEL, tensors(triton, 10), request_id="10")
        for number in range(1, 9):
            result, error = answers.get(timeout=60)
            assert error is None, error
            assert result.get_response().id == str(number), "in order"
            assert (result.as_numpy("prediction") == LABELS[:number]).all()
        result, error = answers.get(timeout=60)
        assert result is None and "nobody" in error.message(), error
        result, error = answers.get(timeout=60)
        assert error is None and result.get_response().id == "10", "the stream goes on"
        client.stop_stream()
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)), headers={"triton_grpc_error": "true"})
    client.async_stream_infer("nobody", tensors(triton, 1))
    result, error = answers.get(timeout=60)
    assert result is None and "NOT_FOUND" in str(error), error
    client.stop_stream()
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)), stream_timeout=0.2)
    result, error = answers.get(timeout=60)
    assert result is None and "DEADLINE_EXCEEDED" in str(error), error
    client.stop_stream()


def grpc_limits(url):
    """Bad input over the bare protocol, and the services beside it."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(urlsplit(url).netloc, options)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
    assert next(health.Watch(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService"), timeout=10)).status == 1
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(services), services

    def request(rows=1, typed=False):
        message = service_pb2.ModelInferRequest(model_name=MODEL)
        for name, datatype, values in columns(rows):
            tensor = message.inputs.add(name=name, datatype=datatype, shape=values.shape)
            flat = values.reshape(-1)
            if typed and datatype == "BYTES":
                tensor.contents.bytes_contents.extend(flat)
            elif typed:
                tensor.contents.fp64_contents.extend(flat)
            elif datatype == "BYTES":
                message.raw_input_contents.append(b"".join(len(v).to_bytes(4, "little") + v for v in flat))
            else:
                message.raw_input_contents.append(flat.tobytes())
        return message

    answer = stub.ModelInfer(request(3, typed=True), timeout=10)
    assert list(answer.outputs[0].contents.int64_contents) == list(LABELS[:3]), answer
    assert len(answer.outputs[1].contents.fp32_contents) == 21 and not answer.raw_output_contents
    assert len(stub.ModelInfer(request(3), timeout=10).raw_output_contents) == 2

    def refused(code, change, words="", typed=False, **options):
        message = request(1, typed)
        change(message)
        try:
            stub.ModelInfer(message, timeout=options.pop("timeout", 10), **options)
        except grpc.RpcError as error:
            assert error.code() == code, (words, error)
            assert words in error.details(), (words, error.details())
            return
        raise AssertionError(f"no error: {words}")

    bad = grpc.StatusCode.INVALID_ARGUMENT
    first = lambda message: message.inputs[0]

    def shape(dims):
        def change(message):
            del first(message).shape[:]
            first(message).shape.extend(dims)
        return change

    def raw(place, value):
        def change(message):
            message.raw_input_contents[place] = value
        return change

    soil = [name for name, _, _ in columns(1)].index("Soil_Type")
    refused(bad, shape([2]), "its shape and datatype say 16 bytes, got 8")
    refused(bad, shape([-1]), "unexpected shape")
    refused(bad, shape([1 << 62, 1 << 62]), "unexpected shape")
    refused(bad, shape([1 << 40]), "unexpected shape")
    refused(bad, shape([0]), "at least one row")
    refused(bad, shape([1 << 31]), "10000 rows")
    refused(bad, lambda m: setattr(first(m), "datatype", "FP32"), "is of datatype 'FP32'")
    refused(bad, lambda m: setattr(first(m), "datatype", "?"), "expected a datatype")
    refused(bad, lambda m: setattr(first(m), "name", "colour"), "unexpected input 'colour'")
    refused(bad, lambda m: setattr(first(m), "name", m.inputs[1].name), "given twice")
    refused(bad, lambda m: m.raw_input_contents.pop(), "raw contents for each of 12")
    refused(bad, lambda m: (m.raw_input_contents.pop(), m.inputs.pop()), "missing input")
    refused(bad, raw(0, b"1234567"), "got 7")
    refused(bad, raw(soil, b"\5\0\0\0C77"), "is said to have 5 bytes")
    refused(bad, raw(soil, b"\2\0\0\0\xff\xfe"), "not valid UTF-8")
    refused(bad, lambda m: first(m).contents.fp64_contents.append(1.0), "both raw and typed")
    refused(bad, lambda m: first(m).contents.int64_contents.append(1), "not in the list for FP64", typed=True)
    refused(bad, lambda m: first(m).contents.fp64_contents.append(1), "says 1 values, got 2", typed=True)
    refused(bad, lambda m: m.outputs.add(name="colour"), "unexpected output 'colour'")
    refused(bad, lambda m: m.parameters["timeout"].CopyFrom(service_pb2.InferParameter(string_param="x")), "timeout")
    refused(grpc.StatusCode.NOT_FOUND, lambda m: setattr(m, "model_version", "9"), "'9'")
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda m: m.raw_input_contents.append(bytes(65 << 20)), timeout=60)
    # A quick answer may still win the race against the client's own clock.
    for attempt in range(50):
        try:
            refused(grpc.StatusCode.DEADLINE_EXCEEDED, lambda m: None, timeout=1e-6)
            break
        except AssertionError:
            assert attempt < 49, "no deadline was kept"
    unknown = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
    try:
        unknown(b"", timeout=10)
        raise AssertionError("no error")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    garbage = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    try:
        garbage(b"\xff" * 100, timeout=10)
        raise AssertionError("no error")
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.INTERNAL, bad), error
    assert len(stub.ModelInfer(request(3), timeout=10).raw_output_contents) == 2


def open_inference(url):
    import grpc
    from open_inference.grpc.protocol import ModelInferRequest, ServerMetadataRequest
    from open_inference.grpc.service import GRPCInferenceServiceStub

    stub = GRPCInferenceServiceStub(grpc.insecure_channel(urlsplit(url).netloc))
    assert stub.ServerMetadata(ServerMetadataRequest(), timeout=10).name == "modelgate"
    message = ModelInferRequest(model_name=MODEL)
    for name, datatype, values in columns(2):
        contents = {"bytes_contents" if datatype == "BYTES" else "fp64_contents": list(values.reshape(-1))}
        message.inputs.append(
            ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=values.shape, contents=contents)
        )
    answer = stub.ModelInfer(message, timeout=10)
    assert list(answer.outputs[0].contents.int64_contents) == list(LABELS[:2]), answer


def kserve(url):
    from kserve import InferenceRESTClient, InferInput, InferRequest
    from kserve.inference_client import RESTConfig

    async def use():
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        assert await client.is_server_live(url) and await client.is_server_ready(url)
        assert await client.is_model_ready(url, MODEL)
        for binary in [True, False]:
            inputs = []
            for name, datatype, values in columns(5):
                tensor = InferInput(name, list(values.shape), datatype)
                tensor.set_data_from_numpy(values, binary_data=binary)
                inputs.append(tensor)
            answer = await client.infer(url, InferRequest(MODEL, inputs), model_name=MODEL)
            assert list(answer.outputs[0].data) == list(LABELS[:5]), answer
        await client.close()
        first = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
        assert await first.is_server_live(url) and await first.is_model_ready(url, MODEL)
        rows = [dict(zip(DATA["columns"], row)) for row in DATA["rows"][:3]]
        # Of a model with several outputs each row is an object of them.
        predictions = (await first.infer(url, {"instances": rows}, model_name=MODEL))["predictions"]
        assert [row["prediction"] for row in predictions] == list(LABELS[:3]), predictions
        assert all(len(row["probabilities"]) == 7 for row in predictions), predictions
        await first.close()

    asyncio.run(use())


def mlflow(url):
    import pandas as pd
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    address = urlsplit(url)
    client = ScoringServerClient(address.hostname, address.port)
    client.ping()
    client.wait_server_ready(timeout=5)
    assert client.get_version()
    frame = pd.DataFrame(DATA["rows"][:ROWS], columns=DATA["columns"])
    predictions = client.invoke(frame, params={"a": 1}).get_predictions()
    assert list(predictions[0]) == list(LABELS), predictions


CLIENTS = {of.__name__: of for of in (triton_http, triton_grpc, grpc_limits, open_inference, kserve, mlflow)}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in sys.argv[2:] or CLIENTS:
        CLIENTS[name](sys.argv[1])
        print(f"{name}: answered as by its own server", flush=True)


if __name__ == "__main__":
    main()

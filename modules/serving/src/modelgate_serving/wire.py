"""Requests and answers of the Open Inference Protocol, with tensors in binary."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cells import NUMPY, Array, Tensor
from .errors import ServerError

HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Answer:
    """The outputs of some rows."""

    version: str
    outputs: dict[str, Array]
    """By name, rows first; texts as `str`."""


def request(tensors: Sequence[Tensor], seconds: float) -> tuple[dict[str, str], bytes]:
    """Headers and body. A tensor with missing rows goes as JSON, which alone has a sign for these."""
    described, blobs = [], []
    for tensor in tensors:
        entry: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.values.shape),
        }
        if tensor.missing is not None:
            values = tensor.values.ravel().tolist()
            if tensor.datatype == "BYTES":
                values = [value.decode() for value in values]
            entry["data"] = [None if absent else value for value, absent in zip(values, tensor.missing, strict=True)]
        else:
            blob = _packed(tensor)
            entry["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        described.append(entry)
    head = json.dumps(
        {
            "parameters": {"binary_data_output": True, "timeout": max(1, int(seconds * 1e6))},
            "inputs": described,
        }
    ).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return headers, b"".join([head, *blobs])


def answer(length: str | None, body: bytes) -> Answer:
    """The answer of an inference request. Raises `ServerError` for what is none."""
    try:
        head = json.loads(body[: int(length)] if length is not None else body)
        at = int(length or 0)
        outputs = {}
        for output in head["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                outputs[output["name"]] = _listed(output)
                continue
            outputs[output["name"]] = _unpacked(output, body[at : at + size])
            at += size
        return Answer(str(head.get("model_version", "")), outputs)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise ServerError(
            f"the server's answer is not of the Open Inference Protocol ({type(error).__name__}: {error}); "
            "is this the address of a gateway?"
        ) from error


def _packed(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return tensor.values.astype(NUMPY[tensor.datatype], copy=False).tobytes()
    texts = tensor.values.ravel().tolist()
    lengths = (struct.pack("<I", len(text)) for text in texts)
    return b"".join(itertools.chain.from_iterable(zip(lengths, texts, strict=True)))


def _unpacked(output: dict[str, Any], blob: bytes) -> Array:
    if output["datatype"] != "BYTES":
        return np.frombuffer(blob, NUMPY[output["datatype"]]).reshape(output["shape"]).copy()
    texts, at = [], 0
    while at < len(blob):
        (length,) = struct.unpack_from("<I", blob, at)
        texts.append(blob[at + 4 : at + 4 + length].decode(errors="replace"))
        at += 4 + length
    return _texts(texts, output["shape"])


def _listed(output: dict[str, Any]) -> Array:
    if output["datatype"] == "BYTES":
        return _texts(list(np.ravel(np.array(output["data"], dtype=object))), output["shape"])
    return np.array(output["data"], NUMPY[output["datatype"]]).reshape(output["shape"])


def _texts(texts: list[Any], shape: Sequence[int]) -> Array:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array.reshape(shape)

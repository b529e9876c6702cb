#!/usr/bin/env python3
"""Uses a gateway that serves the bundle `sentences` through OpenAI's client, unchanged.

    pip install -r openai.txt
    python openai_client.py http://127.0.0.1:8080 ../data/texts

Ends with status 1 and a traceback if the client is not answered as by its own server.
"""

import json
import sys
from pathlib import Path

import openai

REFERENCE = json.loads((Path(sys.argv[2]) / "reference.json").read_text())
KNOWN = list(zip(REFERENCE["texts"], REFERENCE["embeddings"]))[1:]


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}")


def main():
    client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)

    assert [model.id for model in client.models.list()] == ["sentences"]
    model = client.models.retrieve("sentences")
    assert (model.id, model.object, model.owned_by) == ("sentences", "model", "modelgate")
    raised(openai.NotFoundError, lambda: client.models.retrieve("nobody"))

    # The client asks for base64 by itself and decodes it.
    answer = client.embeddings.create(model="sentences", input=[text for text, _ in KNOWN])
    assert [item.index for item in answer.data] == list(range(len(KNOWN)))
    for (text, expected), item in zip(KNOWN, answer.data):
        worst = max(abs(one - other) for one, other in zip(expected, item.embedding, strict=True))
        assert worst <= 1e-4, (text, worst)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    floats = client.embeddings.create(model="sentences", input=KNOWN[3][0], encoding_format="float")
    assert max(abs(a - b) for a, b in zip(floats.data[0].embedding, answer.data[3].embedding, strict=True)) < 1e-6

    error = raised(openai.NotFoundError, lambda: client.embeddings.create(model="nobody", input="a"))
    assert (error.code, error.param, error.type) == ("model_not_found", "model", "invalid_request_error"), error
    error = raised(openai.BadRequestError, lambda: client.embeddings.create(model="sentences", input=[[1, 2]]))
    assert error.param == "input" and "token ids" in error.message, error
    error = raised(openai.BadRequestError, lambda: client.embeddings.create(model="sentences", input="a", dimensions=4))
    assert error.param == "dimensions", error


if __name__ == "__main__":
    main()

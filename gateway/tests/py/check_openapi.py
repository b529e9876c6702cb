#!/usr/bin/env python3
"""Checks an OpenAPI document with a real validator, and its own examples against its own schemas.

    pip install openapi-spec-validator
    python check_openapi.py http://127.0.0.1:8080/openapi.json    # or a file

Ends with status 1 if anything is wrong, and says what.
"""

import json
import sys
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

URL = "urn:document"


def load(place):
    if place.startswith(("http://", "https://")):
        with urllib.request.urlopen(place, timeout=30) as answer:
            return json.load(answer)
    with open(place, encoding="utf-8") as file:
        return json.load(file)


def pointer(*parts):
    return f"{URL}#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)


def validator(document, at):
    """A validator for the schema at `at`, whose references lead into the document."""
    resource = Resource.from_contents(document, default_specification=DRAFT202012)
    return Draft202012Validator({"$ref": at}, registry=Registry().with_resource(URL, resource))


def wrong_in_spec(document):
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        yield f"{'/'.join(map(str, error.absolute_path)) or '(root)'}: {error.message}"


def wrong_in_examples(document):
    """Examples that their own media type's schema refuses."""
    components = ["components", "responses"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            base = ["paths", path, method]
            contents = [(base + ["requestBody"], operation.get("requestBody", {}))]
            for status, answer in operation["responses"].items():
                at = base + ["responses", status]
                if "$ref" in answer:
                    name = answer["$ref"].rsplit("/", 1)[1]
                    at, answer = components + [name], document["components"]["responses"][name]
                contents.append((at, answer))
            for at, body in contents:
                for kind, media in body.get("content", {}).items():
                    check = validator(document, pointer(*at, "content", kind, "schema"))
                    for name, example in media.get("examples", {}).items():
                        for error in check.iter_errors(example["value"]):
                            yield f"{'/'.join(at)}: example {name}: {error.message[:300]}"


def wrong_in_rows(document):
    """Known-good rows must be taken, alone and in a list; spoilt ones must not."""
    media = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    check = validator(document, pointer("paths", "/predict", "post", "requestBody", "content", "application/json", "schema"))
    for model in document["x-modelgate-models"]:
        example = media.get("examples", {}).get(model["name"])
        if example is None:
            continue
        row = example["value"]
        good = [row, [row], [row, row]]
        bad = [[], {**row, "no such feature": 1}, {**row, "model": "no such model"}, 3, None]
        schema = document["components"]["schemas"][model["row"].rsplit("/", 1)[1]]
        bad += [{name: value for name, value in row.items() if name != missing} for missing in schema["required"]]
        bad += [{**row, name: {"a": 1}} for name in model["inputs"]]
        for body in good:
            if not check.is_valid(body):
                yield f"model {model['name']}: its schema refuses {json.dumps(body)[:300]}"
        for body in bad:
            if check.is_valid(body):
                yield f"model {model['name']}: its schema takes {json.dumps(body)[:300]}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    document = load(sys.argv[1])
    problems = list(wrong_in_spec(document))
    if not problems:
        problems = [*wrong_in_examples(document), *wrong_in_rows(document)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(1)
    models = [f"{model['name']} {model['version']}" for model in document["x-modelgate-models"]]
    print(f"valid OpenAPI {document['openapi']}: {len(document['paths'])} paths, models: {', '.join(models) or 'none'}")


if __name__ == "__main__":
    main()

//! The document's part about the protocols that other servers' clients speak: the Open Inference Protocol, MLflow's scoring
//! server, TensorFlow Serving, OpenAI's embeddings.

use modelgate_columns::{Column, Datatype};
use serde_json::{Map, Value, json};

use crate::http::openapi::{
    model::ModelDoc,
    response::{header, of_kind, response},
};

/// Whose errors an operation answers with.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Open,
    Mlflow,
    OpenAi,
}

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    shape: Shape,
    answers: Vec<(&'static str, Value)>,
    body: Option<Value>,
}

/// The path items, and the schemas that they name.
pub(super) fn paths(models: &[ModelDoc<'_>]) -> Map<String, Value> {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations(models) {
        let (path, method) = (operation.path.to_owned(), operation.method);
        let versioned =
            path.strip_prefix("/v2/models/{model}").or(path.strip_prefix("/v1/models/{model}")).map(|rest| {
                let root = path.get(..4).unwrap_or_default();
                format!("{root}models/{{model}}/versions/{{version}}{rest}")
            });
        for path in [Some(path), versioned].into_iter().flatten() {
            let described = describe(&operation, &path, models);
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[method] = described;
        }
    }
    paths
}

fn describe(operation: &Operation, path: &str, models: &[ModelDoc<'_>]) -> Value {
    let text = |name: &str, values: Vec<&str>| {
        let mut schema = json!({ "type": "string" });
        if !values.is_empty() {
            schema["examples"] = values.into();
        }
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    let mut parameters = vec![json!({ "$ref": "#/components/parameters/RequestId" })];
    if path.contains("{model}") {
        parameters.push(text("model", models.iter().map(|model| model.name).collect()));
    }
    if path.contains("{version}") {
        parameters.push(text("version", models.iter().map(|model| model.version).collect()));
    }
    if matches!(path, "/invocations" | "/v1/embeddings") {
        let about = "A model other than the default one";
        for (name, place) in [("X-Model", "header"), ("model", "query")] {
            parameters.push(json!({ "name": name, "in": place, "description": about, "schema": { "type": "string" } }));
        }
    }
    let words: Vec<_> =
        path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut answers: Map<String, Value> =
        operation.answers.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone())).collect();
    for (status, answer) in refusals(operation.shape, path.contains("{model}"), operation.body.is_some()) {
        answers.entry(status.to_owned()).or_insert(answer);
    }
    let mut described = json!({
        "operationId": format!("{}_{}", operation.method, words.join("_")),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some(body) = &operation.body {
        described["requestBody"] = json!({ "required": true, "content": body });
    }
    described
}

/// The errors that an operation may answer with.
fn refusals(shape: Shape, names_model: bool, has_body: bool) -> Vec<(&'static str, Value)> {
    let schema = match shape {
        Shape::Open => json!({ "$ref": "#/components/schemas/OpenError" }),
        Shape::Mlflow => json!({ "$ref": "#/components/schemas/MlflowError" }),
        Shape::OpenAi => json!({ "$ref": "#/components/schemas/OpenAiError" }),
    };
    let error = |text: &str| response(text, schema.clone());
    let mut refusals = vec![
        ("405", {
            let mut answer = error("Another method than those in Allow");
            answer["headers"]["Allow"] = header("Allow");
            answer
        }),
        ("500", error("A module, the model or the gateway failed; the request id names it in the log")),
    ];
    if names_model || has_body {
        refusals.push(("400", error("A path or a body that is not what is expected; the text says what is")));
        refusals.push(("404", error("No such model or version")));
        let mut unavailable = error("At capacity, or not ready");
        unavailable["headers"]["Retry-After"] = header("RetryAfter");
        refusals.push(("503", unavailable));
    }
    if has_body {
        refusals.push(("408", error("The body did not arrive in time")));
        refusals.push(("413", error("The body has too many bytes, before or after decompression")));
        refusals.push(("504", error("The deadline passed before there was an answer")));
        refusals.push(match shape {
            Shape::Open | Shape::OpenAi => ("415", error("An unknown Content-Encoding")),
            Shape::Mlflow => {
                let text = of_kind(
                    "text/plain; charset=utf-8",
                    "Neither application/json nor text/csv in UTF-8, or an unknown Content-Encoding",
                    json!({ "type": "string" }),
                );
                let mut both = error("");
                both["description"] = text["description"].clone();
                both["content"]["text/plain; charset=utf-8"] = text["content"]["text/plain; charset=utf-8"].clone();
                ("415", both)
            }
        });
    }
    refusals
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

fn operations(models: &[ModelDoc<'_>]) -> Vec<Operation> {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": text() });
    let open = |method, path, summary, answers| Operation {
        method,
        path,
        tag: if method == "post" { "inference" } else { "operation" },
        summary,
        shape: Shape::Open,
        answers,
        body: None,
    };
    let server = object(&json!({ "name": text(), "version": text(), "extensions": texts() }), &["name", "version"]);
    let metadata = object(
        &json!({
            "name": text(), "versions": texts(), "platform": text(),
            "inputs": { "type": "array", "items": { "$ref": "#/components/schemas/TensorMetadata" } },
            "outputs": { "type": "array", "items": { "$ref": "#/components/schemas/TensorMetadata" } },
            "properties": object(
                &json!({ "isolation": { "description": "Whether module instances outlive a request", "type": "string",
                    "enum": ["worker", "request"] },
                    "batching": { "description": "Whether rows of different requests run together, and why",
                    "type": "string" },
                    "classes": { "description": "The classes in the order of the probabilities: a JSON list as text",
                    "type": "string" } }),
                &["isolation", "batching"],
            ),
        }),
        &["name", "versions", "platform", "inputs", "outputs", "properties"],
    );
    let ready = || object(&json!({ "name": text(), "ready": { "type": "boolean" } }), &["name", "ready"]);
    let statistics =
        || object(&json!({ "model_stats": { "type": "array", "items": { "type": "object" } } }), &["model_stats"]);
    let predictions = |key: &str| object(&json!({ key: { "type": "array" } }), &[key]);
    // Several outputs in columns are an object of them.
    let outputs = object(&json!({ "outputs": { "type": ["array", "object"] } }), &["outputs"]);
    let tensors = response("Tensors", json!({ "$ref": "#/components/schemas/InferResponse" }));
    let mut tensors_or_binary = tensors;
    tensors_or_binary["content"]["application/octet-stream"]["schema"] =
        json!({ "type": "string", "format": "binary" });
    let mut infer = open("post", "/v2/models/{model}/infer", "Predict from tensors", vec![("200", tensors_or_binary)]);
    infer.body = Some(json!({
        "application/json": {
            "schema": { "$ref": "#/components/schemas/InferRequest" },
            "examples": examples(models, infer_example),
        },
    }));
    let either = json!({ "anyOf": [predictions("predictions"), outputs] });
    let mut predict = open(
        "post",
        "/v1/models/{model}:predict",
        "Predict from rows or columns",
        vec![("200", response("Predictions", either))],
    );
    predict.body = Some(json!({
        "application/json": {
            "schema": { "anyOf": [form("instances"), form("inputs")] },
            "examples": examples(models, |model| Some(json!({ "instances": [row(model)?] }))),
        },
    }));
    let embeddings = Operation {
        method: "post",
        path: "/v1/embeddings",
        tag: "inference",
        summary: "Embeddings of texts, as OpenAI answers",
        shape: Shape::OpenAi,
        answers: vec![("200", response("Embeddings", json!({ "$ref": "#/components/schemas/Embeddings" })))],
        body: Some(json!({
            "application/json": { "schema": { "$ref": "#/components/schemas/EmbeddingsRequest" } },
        })),
    };
    let mlflow = |method, path, summary, answers, body| Operation {
        method,
        path,
        tag: if method == "post" { "inference" } else { "operation" },
        summary,
        shape: Shape::Mlflow,
        answers,
        body,
    };
    let ping = || {
        vec![
            ("200", of_kind("application/json", "There is a model", json!({}))),
            ("404", of_kind("application/json", "There is none", json!({}))),
        ]
    };
    let scored = || {
        let forms = ["dataframe_split", "dataframe_records", "instances", "inputs"].map(form);
        let body = json!({
            "application/json": {
                "schema": { "oneOf": forms },
                "examples": examples(models, |model| Some(json!({ "dataframe_records": [row(model)?] }))),
            },
            "text/csv": { "schema": { "type": "string" } },
        });
        (vec![("200", response("Predictions", predictions("predictions")))], Some(body))
    };
    let (default, named_one) = (scored(), scored());
    let version = of_kind("text/plain; charset=utf-8", "The gateway's version", text());
    vec![
        open("get", "/v2", "The server and its extensions", vec![("200", response("The server", server))]),
        open(
            "get",
            "/v2/models/stats",
            "Statistics of all models",
            vec![("200", response("Statistics", statistics()))],
        ),
        open("get", "/v2/models/{model}", "A model's tensors", vec![("200", response("The model", metadata))]),
        open(
            "get",
            "/v2/models/{model}/ready",
            "Whether a model answers",
            vec![
                ("200", response("It does", ready())),
                (
                    "503",
                    response(
                        "It does not now",
                        json!({ "anyOf": [ready(), { "$ref": "#/components/schemas/OpenError" }] }),
                    ),
                ),
            ],
        ),
        open(
            "get",
            "/v2/models/{model}/config",
            "A model's configuration, in Triton's terms",
            vec![("200", response("The configuration", json!({ "type": "object" })))],
        ),
        open(
            "get",
            "/v2/models/{model}/stats",
            "A model's statistics",
            vec![("200", response("Statistics", statistics()))],
        ),
        infer,
        open(
            "get",
            "/v1/models/{model}/metadata",
            "A model's signature, as TensorFlow Serving tells it",
            vec![(
                "200",
                response(
                    "The signature",
                    object(
                        &json!({ "model_spec": { "type": "object" }, "metadata": { "type": "object" } }),
                        &["model_spec", "metadata"],
                    ),
                ),
            )],
        ),
        open(
            "get",
            "/v1/models",
            "List the models, resident or not",
            vec![(
                "200",
                response(
                    "Their names, in KServe's form and in OpenAI's",
                    object(
                        &json!({ "models": texts(), "object": text(),
                            "data": { "type": "array", "items": { "type": "object" } } }),
                        &["models", "object", "data"],
                    ),
                ),
            )],
        ),
        open(
            "get",
            "/v1/models/{model}",
            "Whether a model answers",
            vec![
                ("200", response("It does", ready())),
                (
                    "503",
                    response(
                        "It does not now",
                        json!({ "anyOf": [ready(), { "$ref": "#/components/schemas/OpenError" }] }),
                    ),
                ),
            ],
        ),
        predict,
        embeddings,
        mlflow("get", "/ping", "Whether there is a model", ping(), None),
        mlflow("get", "/health", "Whether there is a model", ping(), None),
        mlflow("get", "/version", "The version", vec![("200", version)], None),
        mlflow("post", "/invocations", "Predict as MLflow's scoring server does", default.0, default.1),
        mlflow("post", "/models/{model}/invocations", "The same for a named model", named_one.0, named_one.1),
    ]
}

/// An object with that key, whose rows are checked against the model that is asked for.
fn form(key: &str) -> Value {
    let kind =
        if key == "dataframe_split" { json!({ "type": "object" }) } else { json!({ "type": ["array", "object"] }) };
    object(&json!({ key: kind }), &[key])
}

fn examples(models: &[ModelDoc<'_>], example: impl Fn(&ModelDoc<'_>) -> Option<Value>) -> Map<String, Value> {
    models.iter().filter_map(|model| Some((model.name.to_owned(), json!({ "value": example(model)? })))).collect()
}

/// A row that is known to be answered.
fn row(model: &ModelDoc<'_>) -> Option<Value> {
    Some(model.example()?.input.clone().into())
}

fn infer_example(model: &ModelDoc<'_>) -> Option<Value> {
    let example = model.example()?;
    let tensor = |column: &Column| {
        let value = example.input.get(&column.name).filter(|value| !value.is_null())?;
        let mut shape = vec![1];
        shape.extend_from_slice(column.inner_shape());
        Some(
            json!({ "name": column.name, "shape": shape, "datatype": column.datatype.protocol_name(), "data": [value] }),
        )
    };
    let sendable = model.inputs().iter().all(|column| column.datatype != Datatype::F16 && column.row_size().is_some());
    sendable.then(|| json!({ "inputs": model.inputs().iter().filter_map(tensor).collect::<Vec<_>>() }))
}

/// The schemas that the path items name.
pub(super) fn schemas() -> [(String, Value); 7] {
    let datatypes = Datatype::ALL.map(Datatype::protocol_name);
    let shape = json!({ "type": "array", "items": { "type": "integer" } });
    let tensor = |required: &[&str]| {
        object(
            &json!({
                "name": { "type": "string" },
                "datatype": { "type": "string", "enum": datatypes },
                "shape": shape,
                "parameters": { "type": ["object", "null"] },
                "data": { "description": "Nested or flat, row-major", "type": ["array", "null"] },
            }),
            required,
        )
    };
    let inputs = json!({ "type": "array", "items": tensor(&["name", "datatype", "shape"]) });
    let request = object(
        &json!({
            "id": { "type": ["string", "null"] },
            "parameters": { "type": ["object", "null"] },
            "inputs": inputs,
            "outputs": { "type": ["array", "null"], "items": object(&json!({ "name": { "type": "string" } }), &["name"]) },
        }),
        &["inputs"],
    );
    let answer = object(
        &json!({
            "model_name": { "type": "string" },
            "model_version": { "type": "string" },
            "id": { "type": "string" },
            "outputs": { "type": "array", "items": tensor(&["name", "datatype", "shape"]) },
        }),
        &["model_name", "model_version", "outputs"],
    );
    let mlflow = object(
        &json!({ "error_code": { "type": "string" }, "message": { "type": "string" } }),
        &["error_code", "message"],
    );
    let metadata = tensor(&["name", "datatype", "shape"]);
    let [embeddings_request, embeddings, openai] = openai();
    [
        ("Embeddings", embeddings),
        ("EmbeddingsRequest", embeddings_request),
        ("InferRequest", request),
        ("InferResponse", answer),
        ("MlflowError", mlflow),
        ("OpenAiError", openai),
        ("TensorMetadata", metadata),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
}

/// A request for embeddings, its answer, and an error.
fn openai() -> [Value; 3] {
    let text = json!({ "type": "string", "minLength": 1 });
    let request = object(
        &json!({
            "model": { "description": "The default model where there is none", "type": "string" },
            "input": { "anyOf": [text, { "type": "array", "items": text, "minItems": 1, "maxItems": 2048 }] },
            "encoding_format": { "enum": ["float", "base64", null] },
            "dimensions": {
                "description": "Refused unless the model's own number", "type": ["integer", "null"], "minimum": 0,
            },
        }),
        &["input"],
    );
    let embedding = object(
        &json!({
            "object": { "const": "embedding" },
            "index": { "type": "integer" },
            "embedding": { "anyOf": [
                { "type": "array", "items": { "anyOf": [{ "type": "number" }, { "type": "null" }] } },
                { "description": "Single floats, little-endian, in base64", "type": "string" },
            ] },
        }),
        &["object", "index", "embedding"],
    );
    let count = json!({ "type": "integer" });
    let answer = object(
        &json!({
            "object": { "const": "list" },
            "data": { "type": "array", "items": embedding },
            "model": { "type": "string" },
            "usage": object(
                &json!({ "prompt_tokens": count, "total_tokens": count }),
                &["prompt_tokens", "total_tokens"],
            ),
        }),
        &["object", "data", "model", "usage"],
    );
    let error = object(
        &json!({
            "message": { "type": "string" },
            "type": { "type": "string" },
            "param": { "type": ["string", "null"] },
            "code": { "type": ["string", "null"] },
        }),
        &["message", "type", "param", "code"],
    );
    [request, answer, object(&json!({ "error": error }), &["error"])]
}

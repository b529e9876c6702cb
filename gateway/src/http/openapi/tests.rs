use std::{collections::BTreeSet, time::Duration};

use modelgate_columns::{Column, Datatype, Signature};
use serde_json::{Value, json};

use super::{describe, model::ModelDoc};
use crate::{
    bundle::Example,
    error::Error,
    model_info::ModelInfo,
    wasm::{instance::TrapCause, module::Isolation},
};

struct Fixture {
    name: &'static str,
    inputs: Vec<Column>,
    outputs: Vec<Column>,
    example: Example,
}

fn forest() -> Fixture {
    let golden: Value = serde_json::from_str(include_str!("../../../demo/golden.json")).expect("JSON");
    let example: Example = serde_json::from_value(golden["examples"][0].clone()).expect("an example");
    let config: Value = serde_json::from_str(include_str!("../../../demo/preprocess.json")).expect("JSON");
    let known = &config["blocks"][0]["steps"][0]["categories"];
    let inputs = config["inputs"].as_array().expect("a list").iter().map(|input| {
        let (name, kind) = (input["name"].as_str().expect("a name"), input["datatype"].as_str().expect("a type"));
        let categories = match name {
            "Wilderness_Area" => &known[0],
            "Soil_Type" => &known[1],
            _ => &json!([]),
        };
        let categories = serde_json::from_value(categories.clone()).expect("texts");
        Column { categories, ..Column::scalar(name, Datatype::from_name(kind).expect("a datatype")) }
    });
    let outputs =
        vec![Column::scalar("prediction", Datatype::I64), Column::new("probabilities", Datatype::F32, [-1, 7])];
    Fixture { name: "modelo_covertype_vf", inputs: inputs.collect(), outputs, example }
}

/// A column of each kind that the forest lacks.
fn house() -> Fixture {
    let nullable = |column| Column { nullable: true, ..column };
    Fixture {
        name: "house.v2",
        inputs: vec![
            nullable(Column::scalar("area_m2", Datatype::F32)),
            nullable(Column::scalar("rooms", Datatype::U8)),
            Column::scalar("has_garden", Datatype::Bool),
            nullable(Column::scalar("has_lift", Datatype::Bool)),
            Column { categories: vec!["Norte".into(), "Río".into()], ..nullable(Column::scalar("district", Datatype::Bytes)) },
            Column::new("place", Datatype::F64, [-1, 2]),
        ],
        outputs: vec![Column::scalar("price", Datatype::F32)],
        example: serde_json::from_value(json!({
            "input": {
                "area_m2": 92.5, "rooms": null, "has_garden": true, "has_lift": null, "district": "Río", "place": [1.5, 2]
            },
            "output": { "price": 231_000.5 },
        }))
        .expect("an example"),
    }
}

fn document(fixtures: &[Fixture]) -> Value {
    let infos: Vec<_> = fixtures
        .iter()
        .map(|fixture| ModelInfo {
            description: "For a test".into(),
            signature: Signature { inputs: fixture.inputs.clone(), outputs: fixture.outputs.clone() },
            ignored: Vec::new(),
            tensors: false,
            example: Some(fixture.example.clone()),
            max_rows: 10_000,
            deadline: Duration::from_secs(5),
            isolation: Isolation::Worker,
            batching: "on".into(),
        })
        .collect();
    let models: Vec<_> = fixtures
        .iter()
        .zip(&infos)
        .enumerate()
        .map(|(index, (fixture, info))| ModelDoc {
            name: fixture.name,
            version: "1",
            is_default: index == 0,
            is_resident: true,
            ignores_extra: false,
            reason: None,
            info: Some(info),
        })
        .collect();
    describe(&models)
}

#[test]
fn every_route_is_documented() {
    let sources = [
        include_str!("../../http.rs"),
        include_str!("../v1.rs"),
        include_str!("../v2.rs"),
        include_str!("../mlflow.rs"),
        include_str!("../openai.rs"),
    ];
    let lines = sources.iter().flat_map(|source| source.lines());
    let routes: BTreeSet<_> = lines
        .filter_map(|line| line.split_once(".route(\"")?.1.split('"').next())
        // The same as without the slash.
        .filter(|&route| route != "/v2/")
        .collect();
    let document = document(&[forest()]);
    let paths = document["paths"].as_object().expect("paths").keys();
    // The verb is a part of the name for the router.
    let paths: BTreeSet<_> = paths.map(|path| path.strip_suffix(":predict").unwrap_or(path)).collect();
    assert_eq!(paths, routes);
}

#[test]
fn every_error_of_predict_is_documented() {
    let document = document(&[forest()]);
    let answers = &document["paths"]["/predict"]["post"]["responses"];
    for error in [
        Error::MalformedJson { line: 1, column: 1, message: String::new() },
        Error::BadRequest(String::new()),
        Error::NotRows("a number"),
        Error::NoRows,
        Error::Fields(Vec::new()),
        Error::Problems(Vec::new()),
        Error::UnknownModel(String::new()),
        Error::NotFound,
        Error::MethodNotAllowed,
        Error::UnsupportedMediaType(String::new()),
        Error::UnsupportedCoding(String::new()),
        Error::BodyTooLarge(1),
        Error::TooManyRows(1),
        Error::SlowBody(1),
        Error::Overloaded,
        Error::NotReady,
        Error::Deadline(1),
        Error::Trapped(TrapCause::Other),
        Error::Internal,
    ] {
        assert!(answers[error.status().as_str()].is_object(), "{error:?}");
    }
}

#[test]
fn references_lead_somewhere() {
    fn check(document: &Value, part: &Value) {
        match part {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    let target = to.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
                    assert!(target.is_some(), "{to}");
                }
                map.values().for_each(|part| check(document, part));
            }
            Value::Array(list) => list.iter().for_each(|part| check(document, part)),
            _ => {}
        }
    }
    for fixtures in [vec![], vec![forest()], vec![forest(), house()]] {
        let document = document(&fixtures);
        check(&document, &document);
    }
}

#[test]
fn the_default_model_may_go_without_its_name_and_others_may_not() {
    let document = document(&[forest(), house()]);
    let schemas = &document["components"]["schemas"];
    let (forest, house) = (&schemas["modelo_covertype_vf.row"], &schemas["house.v2.row"]);
    assert_eq!(forest["required"].as_array().map(Vec::len), Some(12));
    assert_eq!(forest["properties"]["model"]["const"], "modelo_covertype_vf");
    assert_eq!(house["required"], json!(["has_garden", "place", "model"]), "and what is nullable may be missing");
    let examples = &document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"];
    assert_eq!(examples["house.v2"]["value"]["model"], "house.v2");
    assert_eq!(examples["modelo_covertype_vf"]["value"]["Soil_Type"], "C7746");
    assert_eq!(document["x-modelgate-models"][0]["inputs"][0], "Elevation", "in the signature's order");
}

#[test]
fn a_model_that_was_never_resident_takes_any_row_that_names_it() {
    let unseen = |name, is_default| ModelDoc {
        name,
        version: "3",
        is_default,
        is_resident: false,
        ignores_extra: false,
        reason: None,
        info: None,
    };
    let document = describe(&[unseen("first", true), unseen("second", false)]);
    let row = &document["components"]["schemas"]["second.row"];
    assert_eq!((&row["required"], &row["additionalProperties"]), (&json!(["model"]), &json!(true)));
    assert_eq!(document["components"]["schemas"]["first.row"]["required"], json!([]));
    let model = &document["x-modelgate-models"][1];
    assert_eq!((&model["name"], &model["version"]), (&json!("second"), &json!("3")));
    assert_eq!((&model["resident"], &model["known"]), (&json!(false), &json!(false)));
}

#[test]
fn the_document_stands_without_models() {
    let document = document(&[]);
    let body = &document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(body["schema"]["type"], json!(["object", "array"]), "an empty `oneOf` is no schema");
    assert_eq!(document["x-modelgate-models"], json!([]));
}

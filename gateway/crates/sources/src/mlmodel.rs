//! An `MLmodel` file: what of a version can be served as it is, a graph or the own file of a booster.

use std::collections::BTreeMap;

use modelgate_onnx::{Answers, BoosterForm};
use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::signature::features;

/// The deepest nesting that is read; `MLmodel` files nest five deep.
const DEPTH: usize = 32;

/// The most values that are kept, and bytes of a key; MLflow writes some thirty of some twenty.
const MOST: usize = 1_000;
const KEY: usize = 128;

/// The part of a version that is served as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Native {
    /// The path of the graph of the ONNX flavour.
    Onnx(String),
    /// The path of a booster's file, and its form: the columns of the signature, and the answers that `pyfunc` gives.
    Booster(String, BoosterForm),
}

/// The scalars under `flavors` and `signature` by the keys that lead to them. Those in lists are left out.
struct Scalars(BTreeMap<Vec<String>, String>);

/// A mapping or a list whose end is not read yet.
#[derive(PartialEq, Eq)]
enum OpenKey {
    List,
    /// The next scalar is a key.
    Mapping,
    /// The next value is this key's.
    Key(String),
}

impl Scalars {
    /// `None` if it is no YAML, or nested too deep. Anchors are not followed: MLflow writes none, and they can make a
    /// small file large.
    fn read(text: &str) -> Option<Self> {
        let mut found = BTreeMap::new();
        let mut open: Vec<OpenKey> = Vec::new();
        for event in Parser::new_from_str(text) {
            match event.ok()?.0 {
                Event::Scalar(text, style, ..) => match open.last_mut() {
                    Some(key @ OpenKey::Mapping) => *key = OpenKey::Key(text.into_owned()),
                    Some(OpenKey::Key(_)) => {
                        let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                        if let Some(path) = path(&open).filter(|_| !is_null) {
                            found.insert(path, text.into_owned());
                        }
                        if found.len() > MOST {
                            return None;
                        }
                        done(&mut open);
                    }
                    Some(OpenKey::List) | None => {}
                },
                Event::MappingStart(..) | Event::SequenceStart(..)
                    if open.len() >= DEPTH || open.last() == Some(&OpenKey::Mapping) =>
                {
                    return None;
                }
                Event::MappingStart(..) => open.push(OpenKey::Mapping),
                Event::SequenceStart(..) => open.push(OpenKey::List),
                Event::MappingEnd | Event::SequenceEnd => {
                    open.pop();
                    done(&mut open);
                }
                Event::Alias(_) if open.last() == Some(&OpenKey::Mapping) => return None,
                Event::Alias(_) => done(&mut open),
                _ => {}
            }
        }
        Some(Self(found))
    }

    fn get(&self, path: &[&str]) -> Option<&str> {
        let path: Vec<_> = path.iter().copied().map(str::to_owned).collect();
        self.0.get(&path).map(String::as_str)
    }

    fn has(&self, path: &[&str]) -> bool {
        self.0.keys().any(|key| key.len() > path.len() && key.iter().zip(path).all(|(key, part)| key == part))
    }
}

/// The keys that lead to a value, if it is one that is asked for: a person's own metadata may be of any size.
fn path(open: &[OpenKey]) -> Option<Vec<String>> {
    let keys = open.iter().map(|key| match key {
        OpenKey::Key(key) => Some(key.as_str()),
        OpenKey::List | OpenKey::Mapping => None,
    });
    let keys = keys.collect::<Option<Vec<_>>>()?;
    let is_asked = matches!(keys.first(), Some(&("flavors" | "signature"))) && keys.iter().all(|key| key.len() <= KEY);
    is_asked.then(|| keys.into_iter().map(str::to_owned).collect())
}

/// The value of the innermost mapping's key is read.
fn done(open: &mut [OpenKey]) {
    if let Some(key @ OpenKey::Key(_)) = open.last_mut() {
        *key = OpenKey::Mapping;
    }
}

/// The part of a version with this `MLmodel` that is served as it is; `None` where it has no such flavour.
///
/// # Errors
/// A booster's flavour that is not served as it is: its name, and why.
pub(super) fn native(text: &str) -> Result<Option<Native>, String> {
    let Some(about) = Scalars::read(text) else { return Ok(None) };
    if let Some(path) = about.get(&["flavors", "onnx", "data"]).filter(|path| !path.is_empty()) {
        return Ok(Some(Native::Onnx(path.to_owned())));
    }
    for (flavor, read) in [("xgboost", xgboost as Reader), ("lightgbm", lightgbm), ("catboost", catboost)] {
        if !about.has(&["flavors", flavor]) {
            continue;
        }
        let keys = Keys { about: &about, flavor };
        let loader = about.get(&["flavors", "python_function", "loader_module"]);
        if let Some(loader) = loader.filter(|loader| *loader != format!("mlflow.{flavor}")) {
            return Err(format!("{flavor} is read by other code, {loader}"));
        }
        let message = |problem: String| format!("{flavor} {problem}");
        let path = keys.get("data").ok_or_else(|| message("names no file".into()))?;
        let answers = read(path, &keys).map_err(message)?;
        let features = about.get(&["signature", "inputs"]).map(features).transpose().map_err(message)?;
        let form = BoosterForm { answers, features: features.unwrap_or_default() };
        return Ok(Some(Native::Booster(path.to_owned(), form)));
    }
    Ok(None)
}

/// The answers that `pyfunc` gives for a flavour with this file and these keys, or why its file is not read.
type Reader = fn(&str, &Keys<'_>) -> Result<Answers, String>;

/// The keys of a flavour.
struct Keys<'a> {
    about: &'a Scalars,
    flavor: &'a str,
}

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.about.get(&["flavors", self.flavor, key])
    }
}

fn extension(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension)
}

/// A class that is not the library's own may answer otherwise.
fn other_class(class: &str) -> String {
    format!("is of the class {class}, whose answers are not known")
}

fn xgboost(path: &str, keys: &Keys<'_>) -> Result<Answers, String> {
    // XGBoost before 2.1 writes a binary format of its own under any other name.
    if !matches!(extension(path), "json" | "ubj") {
        let version = keys.get("xgb_version").unwrap_or_default();
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        if (parts.next(), parts.next()) < (Some(2), Some(1)) {
            return Err(format!(
                "has the binary format of XGBoost {version} (model_format=\"ubj\" is served as it is)"
            ));
        }
    }
    // MLflow before 1.22 names none.
    let class = keys.get("model_class").unwrap_or("xgboost.core.Booster");
    match class {
        "xgboost.sklearn.XGBClassifier" | "xgboost.sklearn.XGBRFClassifier" => Ok(Answers::Classes),
        "xgboost.core.Booster"
        | "xgboost.sklearn.XGBModel"
        | "xgboost.sklearn.XGBRegressor"
        | "xgboost.sklearn.XGBRFRegressor"
        | "xgboost.sklearn.XGBRanker" => Ok(Answers::Numbers),
        other => Err(other_class(other)),
    }
}

fn lightgbm(path: &str, keys: &Keys<'_>) -> Result<Answers, String> {
    let class = keys.get("model_class").unwrap_or("lightgbm.basic.Booster");
    match (extension(path), class) {
        ("lgb" | "txt", "lightgbm.basic.Booster") => Ok(Answers::Numbers),
        ("lgb" | "txt", other) => Err(other_class(other)),
        (_, class) => Err(format!("has a {class} as a Python object ({path}), which no gateway reads")),
    }
}

fn catboost(_: &str, keys: &Keys<'_>) -> Result<Answers, String> {
    let format = keys.get("save_format").unwrap_or("cbm");
    if !matches!(format, "cbm" | "json") {
        return Err(format!("has the format {format} (cbm is served as it is)"));
    }
    match keys.get("model_type").unwrap_or("CatBoost") {
        "CatBoostClassifier" => Ok(Answers::Classes),
        "CatBoostRegressor" | "CatBoostRanker" => Ok(Answers::Numbers),
        "CatBoost" => Ok(Answers::Raw),
        other => Err(other_class(other)),
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::Datatype;
    use modelgate_onnx::Feature;

    use super::*;

    fn onnx_path(text: &str) -> Option<String> {
        match native(text) {
            Ok(Some(Native::Onnx(path))) => Some(path),
            _ => None,
        }
    }

    #[test]
    fn the_onnx_flavour_is_found() {
        let text = "artifact_path: model\nflavors:\n  onnx:\n    code: null\n    data: model.onnx\n    onnx_version: 1.16.0\n  \
                    python_function:\n    data: other.onnx\n    loader_module: mlflow.onnx\nmlflow_version: 2.3.0\n";
        assert_eq!(onnx_path(text).as_deref(), Some("model.onnx"));
        assert_eq!(onnx_path("flavors:\n  onnx:\n    data: 'a b.onnx'\n").as_deref(), Some("a b.onnx"));
        assert_eq!(onnx_path("flavors:\n  onnx:\n    data: a\n      b.onnx\n").as_deref(), Some("a b.onnx"));
        for none in ["", "flavors:\n  sklearn:\n    data: model.pkl\n", "onnx:\n  data: x\n", "<html>: oops", "data: x"]
        {
            assert_eq!(onnx_path(none), None, "{none}");
        }
    }

    /// As MLflow 3 writes it, with long texts on several lines.
    const XGBOOST: &str = "flavors:
  python_function:
    data: model.ubj
    loader_module: mlflow.xgboost
  xgboost:
    code: null
    data: model.ubj
    model_class: xgboost.sklearn.XGBClassifier
    model_format: ubj
    xgb_version: 3.2.0
signature:
  inputs: '[{\"type\": \"double\", \"name\": \"it''s (cm)\", \"required\": true}, {\"type\":
    \"long\", \"name\": \"n\", \"required\": true}, {\"type\": \"boolean\", \"name\": \"flag\"}]'
  params: null
";

    #[test]
    fn a_boosters_form_is_that_of_its_class_and_signature() {
        let feature = |name: &str, datatype| Feature { name: name.into(), datatype: Some(datatype) };
        let features =
            vec![feature("it's (cm)", Datatype::F64), feature("n", Datatype::I64), feature("flag", Datatype::Bool)];
        let form = |answers| BoosterForm { answers, features: features.clone() };
        let found = |text: &str| native(text).expect("a flavour").expect("a native one");
        let booster = |file: &str, answers| Native::Booster(file.into(), form(answers));
        assert_eq!(found(XGBOOST), booster("model.ubj", Answers::Classes));
        let raw = XGBOOST.replace("xgboost.sklearn.XGBClassifier", "xgboost.core.Booster");
        assert_eq!(found(&raw), booster("model.ubj", Answers::Numbers));
        assert_eq!(found(&raw.replace("    model_class: xgboost.core.Booster\n", "")), found(&raw));
        let renamed = XGBOOST.replace("model.ubj", "model.xgb");
        assert_eq!(found(&renamed), booster("model.xgb", Answers::Classes));
        let lightgbm = "flavors:\n  lightgbm:\n    data: model.lgb\n    model_class: lightgbm.basic.Booster\n";
        let plain = |file: &str, answers| Native::Booster(file.into(), BoosterForm { answers, features: vec![] });
        assert_eq!(found(lightgbm), plain("model.lgb", Answers::Numbers));
        for (class, answers) in [
            ("CatBoostClassifier", Answers::Classes),
            ("CatBoostRegressor", Answers::Numbers),
            ("CatBoost", Answers::Raw),
        ] {
            let text =
                format!("flavors:\n  catboost:\n    data: model.cb\n    model_type: {class}\n    save_format: cbm\n");
            assert_eq!(found(&text), plain("model.cb", answers));
        }
    }

    #[test]
    fn a_booster_that_is_not_served_as_it_is_says_why() {
        for (from, to, why) in [
            ("model.ubj", "model.xgb\n    xgb_version: 1.7.6", "binary format of XGBoost 1.7.6"),
            ("XGBClassifier", "Mine", "class xgboost.sklearn.Mine"),
            ("mlflow.xgboost", "mine.loader", "other code, mine.loader"),
            ("\"double\"", "\"datetime\"", "it's (cm)"),
        ] {
            let text = XGBOOST.replace("    xgb_version: 3.2.0\n", "").replace(from, to);
            let message = native(&text).expect_err(why);
            assert!(message.starts_with("xgboost ") && message.contains(why), "{message}");
        }
        let pickle = "flavors:\n  lightgbm:\n    data: model.pkl\n    model_class: lightgbm.sklearn.LGBMClassifier\n";
        assert!(native(pickle).expect_err("a pickle").contains("Python object"));
        let other = "flavors:\n  catboost:\n    data: model.cb\n    save_format: coreml\n";
        assert!(native(other).expect_err("a format").contains("coreml"));
    }

    #[test]
    fn hostile_files_are_none() {
        let deep = format!("flavors: {}", "{a: ".repeat(100_000));
        let wide = "a: &a [x]\nb: &b [*a, *a]\nflavors: *b\n";
        for text in [&deep, wide, "? {a: b}\n: c\n", "flavors: [xgboost]\n", "\t", "a: b: c: d"] {
            assert_eq!(native(text), Ok(None), "{}", &text[..text.len().min(40)]);
        }
    }
}

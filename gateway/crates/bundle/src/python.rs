//! Models that only Python can read, and the one sentence for the people who name them.

use std::path::Path;

/// Where MLflow says what is in a folder.
const MLMODEL: &str = "MLmodel";

/// The endings of files that hold Python objects.
const ENDINGS: [&str; 5] = ["pkl", "pickle", "joblib", "skops", "dill"];

/// The sentence for a file of a Python object, by its name or its first bytes: those of pickle's protocols since Python 3.0.
pub(super) fn object(path: &Path, bytes: &[u8]) -> Option<String> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    let is_object = ENDINGS.contains(&ending.as_str()) || matches!(bytes, [0x80, 2..=5, ..]);
    is_object.then(|| sentence(path, "a Python object, which runs code when it is read"))
}

/// The sentence for a folder that MLflow wrote.
pub(super) fn folder(path: &Path) -> Option<String> {
    path.join(MLMODEL).is_file().then(|| sentence(path, "a model of MLflow, and has no bundle.toml"))
}

fn sentence(path: &Path, what: &str) -> String {
    let path = path.display();
    format!("{path} is {what}: make a bundle of it with `modelgate-export {path} BUNDLE`, and serve that folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_objects_are_known_by_name_or_content() {
        for (name, bytes) in
            [("a.pkl", &b""[..]), ("a.JOBLIB", b"x"), ("a.skops", b"PK\x03\x04"), ("model", b"\x80\x04\x95")]
        {
            let message = object(Path::new(name), bytes).expect(name);
            assert!(message.contains(&format!("`modelgate-export {name} BUNDLE`")), "{message}");
        }
        for (name, bytes) in [("a.onnx", &b"\x08\x07"[..]), ("a.ubj", b"{L"), ("a", b""), ("a.txt", b"tree\n")] {
            assert_eq!(object(Path::new(name), bytes), None, "{name}");
        }
    }
}

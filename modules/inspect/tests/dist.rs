//! The built modules make components that import nothing but the contract. Run `modules/build.sh` first.

use std::{fs, path::PathBuf};

use inspect::Report;

fn wasm(module: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dist").join(module).with_extension("wasm");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run modules/build.sh first", path.display()))
}

fn imports(report: &Report) -> Vec<&str> {
    let interfaces = report.imports.iter().filter_map(|import| import.strip_prefix("modelgate:module/"));
    interfaces.filter_map(|import| import.strip_suffix("@1.0.0")).collect()
}

#[test]
fn modules_import_only_what_they_use() {
    let expected: [(&str, &[&str]); 4] = [
        ("tabular", &["types"]),
        ("predict", &["types", "model"]),
        ("terrain", &["types", "log"]),
        ("unruly", &["types", "model", "log"]),
    ];
    for (module, interfaces) in expected {
        let report = Report::of(&wasm(module)).unwrap();
        assert_eq!(imports(&report), interfaces, "{module}");
        // Behind them come the two types that the world itself names.
        assert_eq!(report.imports[interfaces.len()..], ["signature", "error"], "{module}");
        assert_eq!(report.exports, ["init", "process"], "{module}");
        assert!(report.pages <= 4, "{module} begins with {} pages", report.pages);
    }
    assert_eq!(Report::of(&wasm("tabular")).unwrap().core_instances, 1);
}

#[test]
fn a_foreign_import_is_refused() {
    let error = format!("{:#}", Report::of(&wasm("foreign")).unwrap_err());
    assert!(error.contains("env::now"), "{error}");
}

//! The OpenAPI document and the page, checked by tools that others wrote.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{BundleFolder, Gateway};

/// Runs a script of `tests/py` with the environment that `make test` sets up.
async fn python(script: &str, url: String) {
    let python = env::var_os("MODELGATE_TEST_PYTHON")
        .map_or_else(|| Path::new("../target/test-venv/bin/python").to_owned(), PathBuf::from);
    assert!(
        python.exists(),
        "{} is missing: run gateway/tests/setup.sh test, or make test, which does",
        python.display()
    );
    let mut command = Command::new(python);
    command.arg(format!("tests/py/{script}")).arg(url);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
    assert!(
        output.status.success(),
        "{script}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn gateway() -> (Gateway, [BundleFolder; 2]) {
    let iris = BundleFolder::copy_of("tests/data/bundles/iris_like");
    let house = BundleFolder::copy_of("tests/data/bundles/house_like");
    let gateway = Gateway::serving(&[], |args| {
        args.demo = Some(true);
        args.bundle = vec![];
    })
    .await;
    (gateway, [iris, house])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_is_valid() {
    let (gateway, _bundles) = gateway().await;
    python("check_openapi.py", gateway.url("/openapi.json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_predicts_in_a_browser() {
    let (gateway, _bundles) = gateway().await;
    python("docs_page.py", gateway.url("")).await;
}

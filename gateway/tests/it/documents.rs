//! The OpenAPI document and the page, checked by tools that others wrote.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::{BundleFolder, Gateway};

/// Runs a script of `tests/py` with the environment that `make test` sets up.
fn run(script: &str, url: &str) -> Output {
    let python = env::var_os("MODELGATE_TEST_PYTHON")
        .map_or_else(|| Path::new("../target/test-venv/bin/python").to_owned(), PathBuf::from);
    let missing = "is missing: run gateway/tests/setup.sh test, or make test, which does";
    assert!(python.exists(), "{} {missing}", python.display());
    Command::new(python).arg(format!("tests/py/{script}")).arg(url).output().expect("it runs")
}

async fn python(script: &'static str, url: String) {
    let (done, output) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(run(script, &url)));
    let output = output.await.expect("the script ran");
    assert!(
        output.status.success(),
        "{script}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_is_valid() {
    let iris = BundleFolder::copy_of("tests/data/bundles/iris_like");
    let house = BundleFolder::copy_of("tests/data/bundles/house_like");
    let gateway = Gateway::serving(&[iris.path(), house.path()], |args| args.demo = Some(true)).await;
    python("check_openapi.py", gateway.url("/openapi.json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_predicts_in_a_browser() {
    let gateway = Gateway::demo(|_| {}).await;
    python("docs_page.py", gateway.url("")).await;
}

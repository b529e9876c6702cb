//! Says what a built module imports, exports and needs, as the gateway will see it:
//! `cargo run -p inspect -- dist/tabular.wasm …`

use std::{env, fs, io::Write, path::Path};

use anyhow::{Context, Result};

use inspect::Report;

fn main() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for path in env::args().skip(1) {
        let wasm = fs::read(&path).with_context(|| path.clone())?;
        let report = Report::of(&wasm).with_context(|| path.clone())?;
        let name = Path::new(&path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        writeln!(out, "{name}: {report}")?;
    }
    Ok(())
}

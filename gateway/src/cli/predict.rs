//! `modelgate predict`.

use std::{
    io::{self, Read},
    path::Path,
    time::Instant,
};

use anyhow::Context;

use crate::{
    cli::{bundles::load, print::say},
    golden,
    json::{
        decode::{self, Keys},
        encode,
    },
    wasm::instance::ChainError,
};

pub(super) fn predict(path: &Path, all: bool) -> anyhow::Result<()> {
    let generation = load(path)?;
    let mut body = Vec::new();
    io::stdin().take(1 << 30).read_to_end(&mut body).context("standard input")?;
    let decoded = decode::rows(&body, generation.inputs(), Keys::Given(&generation.name), generation.policy(false))
        .map_err(|error| anyhow::anyhow!(golden::message(&error)))?;
    let deadline = Instant::now() + generation.limits.deadline;
    let answer = generation
        .run(&mut generation.new_runner(), decoded.batch, deadline)
        .map_err(|error| anyhow::anyhow!(failed(error)))?;
    let text = encode::predictions(&answer, &generation.signature.outputs, decoded.list, all)?;
    say(&String::from_utf8_lossy(&text));
    Ok(())
}

/// A chain's failure in one line, for the bundle's author.
fn failed(error: ChainError) -> String {
    match error {
        ChainError::Invalid(problems) => {
            let problems: Vec<_> = problems
                .into_iter()
                .map(|problem| {
                    let row = problem.row.map(|row| format!("row {row}: ")).unwrap_or_default();
                    let column = problem.column.map(|column| format!("'{column}': ")).unwrap_or_default();
                    format!("{row}{column}{}", problem.message)
                })
                .collect();
            problems.join("\n")
        }
        ChainError::Trap { cause, detail } => format!("a module trapped ({cause}): {detail}"),
        ChainError::Failed(message) | ChainError::Start(message) => message,
    }
}

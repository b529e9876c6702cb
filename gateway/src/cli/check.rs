//! `modelgate check`.

use std::{path::Path, process::ExitCode};

use crate::{
    cli::{
        bundles::{code_cache, means, read, vet},
        print::{complain, say},
    },
    generation::{Generation, MODEL_COLUMN},
    verified,
    wasm::module::Isolation,
};

pub(super) fn check(path: &Path) -> ExitCode {
    let checked = means(code_cache()).and_then(|(artifacts, metrics)| match vet(path, &artifacts)?.report {
        Some(report) => Ok(Checked {
            rows: report.batching_decision.to_string(),
            proof: proof(report.golden_examples),
            custom: if report.isolation == Isolation::Worker { report.custom_modules } else { Vec::new() },
            takes_model_key: report.takes_model_key,
            name: report.name,
            version: report.version,
        }),
        // Nothing was loaded elsewhere.
        None => {
            verified::load(&|| read(path), &artifacts, &metrics, None).map(|verified| Checked::new(verified.generation))
        }
    });
    let problems = match checked {
        Ok(checked) => {
            if checked.takes_model_key {
                say(&format!("note: {MODEL_COLUMN}"));
            }
            for stage in &checked.custom {
                say(&format!(
                    "note: stage '{stage}' brings its own module, and its instances are kept between requests \
                     (isolation = \"worker\"): the module can hand one client's values to the next. With isolation = \
                     \"request\" in [run] it cannot; the gateway's --isolation-floor request makes that hold for \
                     every bundle"
                ));
            }
            let Checked { name, version, proof, rows, .. } = checked;
            say(&format!("{name} version {version}: {proof}\n  batching {rows}"));
            return ExitCode::SUCCESS;
        }
        Err(error) => error.problems,
    };
    complain(&format!("{}: {} problems", path.display(), problems.len()));
    for problem in problems {
        complain(&format!("- {problem}"));
    }
    ExitCode::FAILURE
}

/// The report of `check` on a good bundle.
struct Checked {
    name: String,
    version: String,
    proof: String,
    /// Whether rows of different requests run together.
    rows: String,
    /// Stages whose own modules keep instances between requests.
    custom: Vec<String>,
    takes_model_key: bool,
}

impl Checked {
    fn new(generation: Generation) -> Self {
        Self {
            rows: generation.batching_decision.to_string(),
            proof: proof(generation.golden.examples.len()),
            takes_model_key: generation.takes_model_key(),
            custom: if generation.isolation == Isolation::Worker { generation.custom_modules } else { Vec::new() },
            name: generation.name,
            version: generation.version,
        }
    }
}

/// The evidence of golden examples: nothing where there are none, and little where there is one.
fn proof(examples: usize) -> String {
    match examples {
        0 => "it loads, but its answers are not verified: it has no golden examples".into(),
        1 => "good as far as one row shows; the only golden example is answered as expected".into(),
        examples => format!("good; {examples} golden examples answered as expected"),
    }
}

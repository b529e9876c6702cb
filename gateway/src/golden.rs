//! Golden examples: rows with known answers, run before a bundle goes live.

use std::time::Instant;

use serde_json::Value;

use crate::{
    bundle::Example,
    generation::{Generation, Runner},
    json::{
        decode::{self, DecodeError, Keys},
        encode,
    },
    tensor::Batch,
    wasm::instance::ChainError,
};

/// Examples that are run alone besides.
const ALONE: usize = 16;

/// Differences reported for one bundle.
const MAX_REPORTED: usize = 20;

/// Runs every example, all in batches and the first ones alone too; where a row's answer may depend on those beside it, all
/// of them alone. Gives what differs, one sentence each.
pub fn check(generation: &Generation, runner: &mut Runner) -> Vec<String> {
    let examples = &generation.golden.examples;
    let mut problems = Vec::new();
    let alone = if generation.batching_decision.rows_may_meet() {
        examples.len()
    } else {
        let batch = (generation.limits.rows as usize).min(1_000);
        for (start, group) in (0..).step_by(batch).zip(examples.chunks(batch)) {
            compare(generation, runner, group, start, &mut problems);
        }
        ALONE
    };
    for (index, example) in examples.iter().enumerate().take(alone) {
        compare(generation, runner, std::slice::from_ref(example), index, &mut problems);
    }
    problems.dedup();
    problems.truncate(MAX_REPORTED);
    problems
}

/// Answers the first examples once more, so that whatever is slow the first time is over before a request comes.
pub fn warm(generation: &Generation, runner: &mut Runner) {
    for example in generation.golden.examples.iter().take(4) {
        // They were answered a moment ago.
        _ = run(generation, runner, std::slice::from_ref(example));
    }
}

fn compare(generation: &Generation, runner: &mut Runner, group: &[Example], start: usize, problems: &mut Vec<String>) {
    let answers = match run(generation, runner, group) {
        Ok(answers) => answers,
        Err(problem) => return problems.push(format!("golden examples from {start}: {problem}")),
    };
    let outputs = &generation.signature.outputs;
    let views = match answers.views(outputs) {
        Ok(views) => views,
        Err(error) => return problems.push(format!("golden examples from {start}: {error}")),
    };
    for (row, example) in group.iter().enumerate() {
        for (name, expected) in &example.output {
            let index = start + row;
            let Some(column) = outputs.iter().position(|column| column.name == *name) else {
                let names: Vec<_> = outputs.iter().map(|column| column.name.as_str()).collect();
                problems.push(format!("golden example {index}: no output '{name}'; there is {}", names.join(", ")));
                continue;
            };
            let actual = encode::to_value(&outputs[column], &views[column], row);
            if !close(expected, &actual, generation.golden.tolerance) {
                problems.push(format!("golden example {index}: '{name}': expected {expected}, got {actual}"));
            }
        }
    }
}

fn run(generation: &Generation, runner: &mut Runner, group: &[Example]) -> Result<Batch, String> {
    modelgate_throttle::give_way();
    let rows: Vec<_> = group.iter().map(|example| &example.input).collect();
    let body = serde_json::to_vec(&rows).map_err(|error| error.to_string())?;
    let decoded = decode::rows(&body, generation.inputs(), Keys::Given(&generation.name), generation.policy(false));
    let batch = decoded.map_err(|error| message(&error))?.batch;
    let (rows, start) = (batch.rows, Instant::now());
    let answer = generation.run(runner, batch, start + generation.limits.deadline);
    generation.usage.record_latency(1, rows, start.elapsed());
    answer.map_err(|error| match error {
        ChainError::Invalid(problems) => {
            let problems: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
            problems.join("; ")
        }
        ChainError::Trap { cause, detail } => format!("trapped: {cause}: {detail}"),
        ChainError::Failed(message) | ChainError::Start(message) => message,
    })
}

/// A decoding error in one line, for people at a terminal.
pub fn message(error: &DecodeError) -> String {
    match error {
        DecodeError::Malformed { line, column, message } => format!("not JSON: {message} at {line}:{column}"),
        DecodeError::NotRows(what) => format!("expected an object of features or a list of them, got {what}"),
        DecodeError::Empty => "expected at least one row".into(),
        DecodeError::TooManyRows { limit } => format!("at most {limit} rows are taken"),
        DecodeError::Excess(excess) => crate::error::Error::from(*excess).to_string(),
        DecodeError::Table(problem) => problem.clone(),
        DecodeError::SeveralModels { asked, named } => format!("the rows are for '{asked}', and name '{named}'"),
        DecodeError::Fields(errors) => {
            let errors: Vec<_> = errors
                .iter()
                .map(|error| match error.row {
                    Some(row) => format!("row {row}, field '{}': {}", error.field, error.message),
                    None => format!("field '{}': {}", error.field, error.message),
                })
                .collect();
            errors.join("; ")
        }
    }
}

/// Equal, or numbers that differ by at most `tolerance × max(1, |expected|)` where one of them is a float.
fn close(expected: &Value, actual: &Value, tolerance: f64) -> bool {
    match (expected, actual) {
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| close(expected, actual, tolerance))
        }
        (Value::Number(expected), Value::Number(actual)) if expected.is_f64() || actual.is_f64() => {
            match (expected.as_f64(), actual.as_f64()) {
                (Some(expected), Some(actual)) => (expected - actual).abs() <= tolerance * expected.abs().max(1.0),
                _ => false,
            }
        }
        _ => expected == actual,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn closeness_is_relative_above_one_and_exact_for_integers() {
        for (expected, actual, same) in [
            (json!(2), json!(2), true),
            (json!(2), json!(3), false),
            (json!(0.5), json!(0.500_009), true),
            (json!(0.5), json!(0.500_02), false),
            (json!(1000.0), json!(1000.009), true),
            (json!([0.1, 0.9]), json!([0.1, 0.9]), true),
            (json!([0.1, 0.9]), json!([0.1]), false),
            (json!("a"), json!("b"), false),
            (json!(1.0), json!(null), false),
        ] {
            assert_eq!(close(&expected, &actual, 1e-5), same, "{expected} {actual}");
        }
    }
}

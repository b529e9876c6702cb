//! DIFFERENTIAL.md.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::run::Outcome;

/// The results of the cases of one operator.
#[derive(Default)]
pub(super) struct Totals {
    equal: usize,
    faults: usize,
    exempt: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
}

impl Totals {
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Equal => self.equal += 1,
            Outcome::Exempt(reason) => *self.exempt.entry(reason.clone()).or_default() += 1,
            Outcome::Refused(reason) => *self.refused.entry(short(reason)).or_default() += 1,
            Outcome::Unanswered => {}
            _ => self.faults += 1,
        }
    }

    fn cases(&self) -> usize {
        self.equal + self.faults + sum(&self.exempt) + sum(&self.refused)
    }
}

fn sum(counts: &BTreeMap<String, usize>) -> usize {
    counts.values().sum()
}

/// A refusal in a cell of the table: without what tells one graph from another.
fn short(reason: &str) -> String {
    const LONGEST: usize = 110;
    let reason = reason.rsplit(": ").next().unwrap_or(reason).replace(['\n', '|'], " ");
    reason.chars().take(LONGEST).collect()
}

pub(super) fn write(totals: &BTreeMap<&str, Totals>) -> String {
    let mut rows = String::new();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (operator, totals) in totals {
        let refused: Vec<String> = totals.refused.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        for (reason, count) in &totals.exempt {
            *reasons.entry(reason).or_default() += count;
        }
        writeln!(
            rows,
            "| {operator} | {} | {} | {} | {} | {} | {} |",
            totals.cases(),
            totals.equal,
            sum(&totals.exempt),
            totals.faults,
            sum(&totals.refused),
            refused.join("; ")
        )
        .unwrap();
    }
    let all = |count: fn(&Totals) -> usize| totals.values().map(count).sum::<usize>();
    let reasons: String = reasons.iter().fold(String::new(), |mut text, (reason, count)| {
        writeln!(text, "- {reason} ({count} cases)").unwrap();
        text
    });
    format!(
        "# Differential test

{} cases of {} operators against ONNX Runtime: {} equal, {} equal but for values that are listed below, {} different, {}
refused. A case is one graph with one set of inputs. *Equal* means the same type and shape, and values within 1e-5 of the
sum of their terms' magnitudes (1e-3 for halves, 1e-10 for doubles); NaN equals NaN, and infinities their own sign.

Made by `make conformance`. `cargo test -p modelgate-onnx` runs a sample of the cases.

## Values that do not count

{reasons}
## Operators

| operator | cases | equal | equal but for listed values | different | refused | why |
|---|---|---|---|---|---|---|
{rows}",
        all(Totals::cases),
        totals.len(),
        all(|totals| totals.equal),
        all(|totals| sum(&totals.exempt)),
        all(|totals| totals.faults),
        all(|totals| sum(&totals.refused)),
    )
}

//! Compares models with what their libraries wrote: `compare_boosters FOLDER…` prints a table.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write;

use modelgate_boosters::Booster;

const HEAD: &str = "# Boosters beside their libraries

Made by `make boosters`: each model is trained by its library, saved, and asked for raw scores and outputs, by the library \
that reads the file back and by this crate, on the same rows. Differences are in units of the last place (ulp), the \
largest of all rows; 0 is the same bits.

";

fn main() {
    let mut table = HEAD.to_owned();
    table.push_str("| model | rows | raw scores, ulp | outputs, ulp | other classes |\n|---|---|---|---|---|\n");
    let folders: Vec<_> = std::env::args_os().skip(1).collect();
    for case in folders.iter().flat_map(|folder| support::Case::all(folder.as_ref())) {
        let row = match Booster::read(&case.bytes()) {
            Ok(booster) => {
                let outcome = case.compare(&booster);
                let shown = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
                let labels = shown(outcome.labels.map(|labels| labels as u64));
                format!("{} | {} | {} | {labels}", outcome.rows, outcome.raw, shown(outcome.outputs))
            }
            Err(error) => format!(" | refused: {error} | |"),
        };
        _ = writeln!(table, "| {} | {row} |", case.model);
    }
    _ = std::io::Write::write_all(&mut std::io::stdout(), table.as_bytes());
}

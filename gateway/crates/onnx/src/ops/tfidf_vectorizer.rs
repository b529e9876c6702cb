//! `TfIdfVectorizer`: counts known sequences of words (or of whole numbers) in each row.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, Operator, Spec, built, matrix};
use super::values::{is_numeric, room, strings, tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "TfIdfVectorizer",
    attributes: &[
        "max_gram_length",
        "max_skip_count",
        "min_gram_length",
        "mode",
        "ngram_counts",
        "ngram_indexes",
        "pool_int64s",
        "pool_strings",
        "weights",
    ],
    build: |_, node| built(node, Arc::new(parse(node)?)),
};

/// Sequences and gaps longer than these make a small text slow.
const LONGEST: usize = 64;
/// Columns of the result, each of them in each row.
const MOST_COLUMNS: usize = 1 << 22;

fn parse(node: &NodeProto) -> TractResult<TfIdf> {
    let node = Attributes(node);
    let size = |name: &str| -> TractResult<usize> {
        let value = node.int(name).with_context(|| format!("attribute '{name}' is not given"))?;
        let value = usize::try_from(value).ok().filter(|&value| value <= LONGEST);
        value.with_context(|| format!("attribute '{name}' is not between 0 and {LONGEST}"))
    };
    let lengths = size("min_gram_length")?..=size("max_gram_length")?;
    ensure!(*lengths.start() >= 1 && !lengths.is_empty(), "the lengths of sequences are no range");
    let skips = size("max_skip_count")?;
    let mode = match node.text("mode")?.context("attribute 'mode' is not given")? {
        "TF" => Mode::Count,
        "IDF" => Mode::Weight,
        "TFIDF" => Mode::Both,
        other => bail!("attribute 'mode': unknown '{other}'"),
    };
    let columns = node.ints("ngram_indexes").iter().map(|&column| {
        let column = u32::try_from(column).ok().filter(|&column| (column as usize) < MOST_COLUMNS);
        column.with_context(|| format!("attribute 'ngram_indexes' has a value not between 0 and {MOST_COLUMNS}"))
    });
    let columns: Vec<u32> = columns.collect::<TractResult<_>>()?;
    let width = columns.iter().max().map_or(0, |&last| last as usize + 1);
    let given = node.floats("weights");
    let mut weights = vec![1.0; width];
    ensure!(
        given.is_empty() || given.len() == columns.len(),
        "{} weights for {} sequences",
        given.len(),
        columns.len()
    );
    for (&column, &weight) in columns.iter().zip(given) {
        weights[column as usize] = weight;
    }
    let starts = node.ints("ngram_counts");
    let (names, ints) = (node.strings("pool_strings")?, node.ints("pool_int64s"));
    let mut known = Sequences::default();
    let tokens = if names.is_empty() {
        Tokens::Ints(known.add(ints, starts, &columns)?)
    } else {
        ensure!(ints.is_empty(), "expected one of 'pool_int64s' and 'pool_strings'");
        Tokens::Strings(known.add(&names, starts, &columns)?)
    };
    Ok(TfIdf { tokens, known, lengths, skips, mode, weights, width })
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Count,
    Weight,
    Both,
}

/// Numbers of the tokens that some sequence has.
#[derive(Debug)]
enum Tokens {
    Strings(HashMap<String, u32>),
    Ints(HashMap<i64, u32>),
}

/// The known sequences as a tree of tokens; place 0 is before the first.
#[derive(Debug, Default)]
struct Sequences {
    next: HashMap<(u32, u32), u32>,
    /// The column of the sequence that ends at a place.
    columns: Vec<Option<u32>>,
}

impl Sequences {
    /// Adds the pool of the file: the sequences of length 1, then those of length 2, …, each length from its start.
    fn add<T: Clone + Eq + Hash>(
        &mut self,
        pool: &[T],
        starts: &[i64],
        columns: &[u32],
    ) -> TractResult<HashMap<T, u32>> {
        let starts = starts.iter().map(|&start| usize::try_from(start));
        let mut starts: Vec<usize> =
            starts.collect::<Result<_, _>>().context("attribute 'ngram_counts' is negative")?;
        starts.push(pool.len());
        let mut tokens: HashMap<T, u32> = HashMap::new();
        let mut columns = columns.iter();
        self.columns.push(None);
        for (length, range) in (1..).zip(starts.windows(2)) {
            let part = pool.get(range[0]..range[1]).context("attribute 'ngram_counts' is not within the pool")?;
            ensure!(part.len().is_multiple_of(length), "the pool ends within a sequence of {length}");
            for sequence in part.chunks_exact(length) {
                let &column = columns.next().context("attribute 'ngram_indexes' is too short")?;
                let mut at = 0;
                for token in sequence {
                    let fresh = tokens.len() as u32;
                    let token = *tokens.entry(token.clone()).or_insert(fresh);
                    let end = self.columns.len() as u32;
                    at = *self.next.entry((at, token)).or_insert(end);
                    if at == end {
                        self.columns.push(None);
                    }
                }
                self.columns[at as usize] = Some(column);
            }
        }
        ensure!(columns.next().is_none(), "attribute 'ngram_indexes' is longer than the pool");
        Ok(tokens)
    }
}

#[derive(Debug)]
struct TfIdf {
    tokens: Tokens,
    known: Sequences,
    lengths: std::ops::RangeInclusive<usize>,
    /// Tokens left out between two of a sequence, at most.
    skips: usize,
    mode: Mode,
    /// By column.
    weights: Vec<f32>,
    width: usize,
}

impl TfIdf {
    /// Counts the sequences of a row.
    fn count(&self, row: &[Option<u32>], counts: &mut [f32]) {
        for skip in 0..=self.skips {
            for start in 0..row.len() {
                let mut at = 0;
                for (length, token) in (1..=*self.lengths.end()).zip(row[start..].iter().step_by(skip + 1)) {
                    let next = token.and_then(|token| self.known.next.get(&(at, token)));
                    let Some(&next) = next else { break };
                    at = next;
                    // A single token has no gaps: it counts once.
                    if self.lengths.contains(&length)
                        && (length > 1 || skip == 0)
                        && let Some(count) =
                            self.known.columns[at as usize].and_then(|column| counts.get_mut(column as usize))
                    {
                        *count += 1.0;
                    }
                }
            }
        }
        for (count, &weight) in counts.iter_mut().zip(&self.weights) {
            *count = match self.mode {
                Mode::Count => *count,
                Mode::Weight if *count > 0.0 => weight,
                Mode::Weight => 0.0,
                Mode::Both => *count * weight,
            };
        }
    }
}

impl Kernel for TfIdf {
    fn name(&self) -> &'static str {
        "TfIdfVectorizer"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        match self.tokens {
            Tokens::Strings(_) => {
                ensure!(input.datum == String::datum_type(), "expected texts, got {:?}", input.datum);
            }
            Tokens::Ints(_) => ensure!(is_numeric(input.datum), "expected numbers, got {:?}", input.datum),
        }
        let width = self.width.to_dim();
        match &*input.shape {
            [_] => Ok(tvec!(Spec::new::<f32>([width]))),
            [rows, _] => Ok(tvec!(Spec::new::<f32>([rows.clone(), width]))),
            shape => bail!("expected a matrix, got the shape {shape:?}"),
        }
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let known = |pad: &str| matches!(&self.tokens, Tokens::Strings(known) if known.contains_key(pad));
        inputs.by_list(|pad| !known(pad))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let tokens: Vec<Option<u32>> = match &self.tokens {
            Tokens::Strings(known) => strings(input)?.iter().map(|text| known.get(text).copied()).collect(),
            Tokens::Ints(known) => values::<i64>(input)?.iter().map(|value| known.get(value).copied()).collect(),
        };
        let (rows, length) = matrix(input)?;
        let mut out = vec![0.0f32; room(rows, self.width)?];
        if self.width > 0 && length > 0 {
            for (row, counts) in tokens.chunks_exact(length).zip(out.chunks_exact_mut(self.width)) {
                self.count(row, counts);
            }
        }
        match input.rank() {
            1 => Ok(tvec!(tensor(&[self.width], out)?)),
            _ => Ok(tvec!(tensor(&[rows, self.width], out)?)),
        }
    }

    fn bytes(&self) -> usize {
        // An estimate: keys and values, and as much again for the tables.
        let names = match &self.tokens {
            Tokens::Strings(known) => known.keys().map(|name| name.len() + 64).sum(),
            Tokens::Ints(known) => known.len() * 32,
        };
        names + self.known.next.len() * 32 + self.known.columns.len() * 8
    }
}

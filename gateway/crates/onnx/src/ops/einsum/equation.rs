//! The equation of an `Einsum`.

use std::collections::BTreeMap;

use tract_onnx::tract_hir::internal::*;

/// A letter, or the dimensions that have none.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Term {
    Letter(char),
    Ellipsis,
}

/// As it is written; without output, it is implied.
#[derive(Clone, Debug)]
pub(super) struct Equation {
    inputs: Vec<Vec<Term>>,
    output: Vec<Term>,
}

/// Each dimension by its letter.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    pub(super) inputs: Vec<Vec<char>>,
    pub(super) output: Vec<char>,
}

fn terms(text: &str) -> TractResult<Vec<Term>> {
    let mut terms = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            ensure!(!terms.contains(&Term::Ellipsis), "two ellipses in '{text}'");
            terms.push(Term::Ellipsis);
            rest = after;
            continue;
        }
        ensure!(next.is_ascii_alphabetic(), "'{next}' in '{text}'");
        terms.push(Term::Letter(next));
        rest = &rest[1..];
    }
    Ok(terms)
}

impl Equation {
    pub(super) fn parse(text: &str) -> TractResult<Self> {
        let text: String = text.chars().filter(|char| !char.is_whitespace()).collect();
        let (inputs, output) = match text.split_once("->") {
            Some((inputs, output)) => (inputs, Some(output)),
            None => (text.as_str(), None),
        };
        let inputs = inputs.split(',').map(terms).collect::<TractResult<Vec<_>>>()?;
        let output = match output {
            Some(output) => terms(output)?,
            None => {
                // What occurs once, in the order of the alphabet.
                let mut counts: BTreeMap<char, usize> = BTreeMap::new();
                for term in inputs.iter().flatten() {
                    if let Term::Letter(letter) = term {
                        *counts.entry(*letter).or_default() += 1;
                    }
                }
                let ellipsis = inputs.iter().flatten().any(|term| *term == Term::Ellipsis);
                let once = counts.into_iter().filter(|&(_, count)| count == 1);
                let letters = once.map(|(letter, _)| Term::Letter(letter));
                ellipsis.then_some(Term::Ellipsis).into_iter().chain(letters).collect()
            }
        };
        Ok(Self { inputs, output })
    }

    /// With letters for the dimensions of ellipses, aligned at their ends.
    pub(super) fn letters(&self, ranks: &[usize]) -> TractResult<Letters> {
        let expected = self.inputs.len();
        ensure!(ranks.len() == expected, "{} inputs for an equation of {expected}", ranks.len());
        let used: Vec<char> = self.inputs.iter().flatten().filter_map(|term| term.letter()).collect();
        let free: Vec<char> = ('A'..='Z').chain('a'..='z').filter(|letter| !used.contains(letter)).collect();
        let mut most = 0;
        let mut inputs = Vec::new();
        for (terms, &rank) in self.inputs.iter().zip(ranks) {
            let written = terms.iter().filter(|term| term.letter().is_some()).count();
            let has_ellipsis = terms.contains(&Term::Ellipsis);
            let fits = if has_ellipsis { written <= rank } else { written == rank };
            ensure!(fits, "{rank} dimensions for {written} letters");
            let hidden = rank - written;
            ensure!(hidden <= free.len(), "{hidden} dimensions in an ellipsis");
            most = most.max(hidden);
            inputs.push(spread(terms, &free[..hidden]));
        }
        Ok(Letters { inputs, output: spread(&self.output, &free[..most]) })
    }
}

/// The letters of terms; those of the ellipsis are given, the last dimension first.
fn spread(terms: &[Term], hidden: &[char]) -> Vec<char> {
    let letters = terms.iter().flat_map(|term| match term {
        Term::Letter(letter) => vec![*letter],
        Term::Ellipsis => hidden.iter().rev().copied().collect(),
    });
    letters.collect()
}

impl Term {
    fn letter(self) -> Option<char> {
        match self {
            Self::Letter(letter) => Some(letter),
            Self::Ellipsis => None,
        }
    }
}

impl Letters {
    /// As an equation without ellipses.
    pub(super) fn text(&self) -> String {
        let inputs: Vec<String> = self.inputs.iter().map(|letters| letters.iter().collect()).collect();
        format!("{}->{}", inputs.join(","), self.output.iter().collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::Equation;

    #[test]
    fn ellipses_are_aligned_at_their_ends() {
        for (equation, ranks, expected) in [
            ("ij, jk", &[2, 2][..], "ij,jk->ik"),
            ("ba", &[2], "ba->ab"),
            ("...i,ij->...j", &[3, 2], "BAi,ij->BAj"),
            ("...ij,...jk->...ik", &[2, 3], "ij,Ajk->Aik"),
            ("...Ai->...", &[3], "BAi->B"),
            ("ii", &[2], "ii->"),
        ] {
            assert_eq!(Equation::parse(equation).unwrap().letters(ranks).unwrap().text(), expected);
        }
        assert!(Equation::parse("i..j").is_err());
        assert!(Equation::parse("ij->i").unwrap().letters(&[3]).is_err());
    }
}

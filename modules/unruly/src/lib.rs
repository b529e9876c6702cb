//! Misbehaves on request: the guest with which the gateway's tests prove its limits.
//!
//! Takes `act: bytes` and `x: f64`, gives `y: f64`. The configuration says when to misbehave and how:
//! `{"when": "init" | "process", "do": …}` with one of the names of [`Act`]. With `{"do": "by-row"}`, or with no
//! configuration, it does what `act` of a request's first remarkable row says and otherwise echoes `x`, so that one live
//! bundle serves good and bad requests.

mod act;

use modelgate_module::{Batch, Column, Datatype, Error, Module, Packer, Signature};

use crate::act::Act;

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    when: When,
    #[serde(rename = "do")]
    act: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum When {
    Init,
    #[default]
    Process,
}

struct Unruly {
    /// None: as the rows say.
    always: Option<Act>,
    /// The memory that `hoard` keeps.
    hoard: Vec<Vec<u64>>,
    /// Requests so far, for `remember`.
    requests: u32,
}

impl Module for Unruly {
    type Config = Config;

    fn init(config: Config) -> Result<(Self, Signature), Error> {
        let always = match config.act.as_deref() {
            None | Some("by-row") => None,
            Some(name) => Some(Act::named(name).ok_or_else(|| Error::internal(format!("no such act: {name:?}")))?),
        };
        let inputs = vec![Column::scalar("act", Datatype::Bytes), Column::scalar("x", Datatype::F64)];
        let mut outputs = vec![Column::scalar("y", Datatype::F64)];
        if let (When::Init, Some(act)) = (config.when, always) {
            match act {
                Act::WrongShape => outputs[0].shape = vec![3, -7],
                Act::TooFewBytes => outputs[0].name.clear(),
                Act::HugeResult => outputs = vec![Column { name: "y".repeat(1 << 30), ..outputs[0].clone() }],
                act => act.run(&mut Vec::new())?,
            }
        }
        let always = always.filter(|_| config.when == When::Process);
        Ok((Self { always, hoard: Vec::new(), requests: 0 }, Signature { inputs, outputs }))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let x = inputs.values::<f64>("x")?;
        let acts = inputs.text("act")?;
        let by_row = || acts.iter().flatten().find_map(Act::named);
        match self.always.or_else(by_row) {
            Some(Act::WrongShape) => outputs.replace(vec![0; x.len() * 2 + 1]),
            Some(Act::TooFewBytes) => outputs.replace(vec![0; x.len().saturating_sub(1)]),
            Some(Act::HugeResult) => outputs.replace(vec![1; 1 << 27]),
            Some(Act::Remember) => {
                let y: Vec<f64> = x.iter().map(|x| x + f64::from(self.requests)).collect();
                outputs.write("y", &y)?;
            }
            Some(Act::Mean) => {
                let mean = x.iter().sum::<f64>() / x.len() as f64;
                outputs.write("y", &vec![mean; x.len()])?;
            }
            Some(Act::Lie) => outputs.replace(act::lie()),
            Some(act) => {
                act.run(&mut self.hoard)?;
                outputs.write("y", x)?;
            }
            None => outputs.write("y", x)?,
        }
        self.requests += 1;
        Ok(())
    }
}

modelgate_module::export!(Unruly);

#[cfg(test)]
mod tests {
    use modelgate_module::testing::{Host, rows};

    use super::*;

    #[test]
    fn echoes_unless_a_row_says_otherwise() {
        let mut unruly = Host::new().start::<Unruly>(r#"{"do": "by-row"}"#).unwrap();
        assert_eq!(unruly.run(rows![["", 1.5], ["nothing", 2.0]]).unwrap(), rows![[1.5], [2.0]]);
        let refused = unruly.run(rows![["", 1.5], ["error", 2.0]]).unwrap_err();
        assert_eq!(refused, Error::internal("asked to fail"));
        assert_eq!(unruly.run(rows![["", 0.5]]).unwrap(), rows![[0.5]]);
    }

    #[test]
    fn gives_words_that_do_not_fit() {
        let mut unruly = Host::new().start::<Unruly>("").unwrap();
        assert!(unruly.run(rows![["wrong-shape", 1.5]]).is_err());
        assert!(unruly.run(rows![["too-few-bytes", 1.5]]).is_err());
    }

    #[test]
    fn lets_requests_and_rows_meet() {
        let mut unruly = Host::new().start::<Unruly>(r#"{"do": "remember"}"#).unwrap();
        assert_eq!(unruly.run(rows![["", 1.5]]).unwrap(), rows![[1.5]]);
        assert_eq!(unruly.run(rows![["", 1.5]]).unwrap(), rows![[2.5]]);
        let mut unruly = Host::new().start::<Unruly>(r#"{"do": "mean"}"#).unwrap();
        assert_eq!(unruly.run(rows![["", 1.0], ["", 3.0]]).unwrap(), rows![[2.0], [2.0]]);
    }

    #[test]
    fn misbehaves_when_it_starts() {
        assert!(Host::new().start::<Unruly>(r#"{"when": "init", "do": "error"}"#).is_err());
        assert!(Host::new().start::<Unruly>(r#"{"when": "init", "do": "wrong-shape"}"#).is_err());
        assert!(Host::new().start::<Unruly>(r#"{"do": "dance"}"#).is_err());
        assert!(Host::new().start::<Unruly>(r#"{"when": "process", "do": "error"}"#).is_ok());
    }
}

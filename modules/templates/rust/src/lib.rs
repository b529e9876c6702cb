//! Puts an age into one of three groups.

use modelgate_module::{Batch, Column, Datatype, Error, Module, NoConfig, Packer, Signature};

struct Mine;

impl Module for Mine {
    type Config = NoConfig;

    fn init(_: NoConfig) -> Result<(Self, Signature), Error> {
        let signature = Signature {
            inputs: vec![Column::scalar("age", Datatype::F64)],
            outputs: vec![Column::scalar("age_bucket", Datatype::I64)],
        };
        Ok((Self, signature))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let ages = inputs.values::<f64>("age")?;
        for (row, (bucket, age)) in outputs.fill::<i64>("age_bucket")?.iter_mut().zip(ages).enumerate() {
            *bucket = match age {
                0.0..18.0 => 0,
                18.0..65.0 => 1,
                65.0..=130.0 => 2,
                _ => return Err(Error::invalid("age", row, format!("expected an age from 0 to 130, got {age}"))),
            };
        }
        Ok(())
    }
}

modelgate_module::export!(Mine);

#[cfg(test)]
mod tests {
    use super::*;
    use modelgate_module::testing::{Host, rows};

    #[test]
    fn ages_fall_into_groups() {
        let mut mine = Host::new().start::<Mine>("{}").expect("it starts");
        assert_eq!(mine.run(rows![[3.0], [40.0], [65.0]]).expect("answers"), rows![[0], [1], [2]]);
        mine.run(rows![[200.0]]).expect_err("nobody is as old");
    }
}

//! Every kind of column goes through a module and comes out as it was; misuse says what is wrong.

use modelgate_module::testing::{Host, Row, Running, Value, rows};
use modelgate_module::{Batch, Column, Datatype, Error, Module, NoConfig, Packer, Signature};

/// Reads each column with its typed view and writes it again.
struct Echo;

fn columns() -> Vec<Column> {
    let nullable = |name, datatype| Column { nullable: true, ..Column::scalar(name, datatype) };
    vec![
        Column::scalar("f64", Datatype::F64),
        nullable("f32?", Datatype::F32),
        Column::scalar("i64", Datatype::I64),
        nullable("u8?", Datatype::U8),
        Column::scalar("bool", Datatype::Bool),
        Column::scalar("text", Datatype::Bytes),
        nullable("text?", Datatype::Bytes),
        Column::scalar("bytes", Datatype::Bytes),
        Column::new("matrix", Datatype::I16, [-1, 3]),
        Column::new("tokens", Datatype::U32, [-1, -1]),
    ]
}

impl Module for Echo {
    type Config = NoConfig;

    fn init(_: NoConfig) -> Result<(Self, Signature), Error> {
        Ok((Self, Signature { inputs: columns(), outputs: columns() }))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        outputs.write("f64", inputs.values::<f64>("f64")?)?;
        outputs.optional("f32?", inputs.optional::<f32>("f32?")?.iter())?;
        outputs.fill::<i64>("i64")?.copy_from_slice(inputs.values("i64")?);
        outputs.optional("u8?", inputs.optional::<u8>("u8?")?.iter())?;
        for (place, value) in outputs.bools("bool")?.iter_mut().zip(inputs.bools("bool")?.iter()) {
            *place = u8::from(value == Some(true));
        }
        outputs.text("text", inputs.text("text")?.iter().map(Option::unwrap_or_default))?;
        outputs.optional_text("text?", inputs.text("text?")?.iter())?;
        outputs.bytes("bytes", inputs.bytes("bytes")?.iter())?;
        outputs.write("matrix", inputs.values::<i16>("matrix")?)?;
        outputs.copy("tokens", &inputs.view("tokens")?)
    }
}

fn rows() -> Vec<Row> {
    let none = || Value::Missing;
    rows![
        [1.5, 2.5f32, -3, 7u8, true, "ñandú", none(), vec![0xffu8, 0], [1, -2, 3], [1u32, 2]],
        [f64::MIN, none(), i64::MAX, none(), false, "", "", "b", [4, 5, 6], [3u32, u32::MAX]]
    ]
}

#[test]
fn columns_come_out_as_they_went_in() {
    let mut echo = Host::new().start::<Echo>("").unwrap();
    assert_eq!(echo.run(rows()).unwrap(), rows());
    assert_eq!(echo.run(rows()[1..].to_vec()).unwrap(), rows()[1..]);
}

#[test]
fn text_that_is_not_utf8_is_the_callers_fault() {
    let mut echo = Host::new().start::<Echo>("").unwrap();
    // Two halves of one character: together they would be UTF-8.
    let mut split = rows();
    split[0][5] = vec![0xc3u8].into();
    split[1][5] = vec![0xb1u8].into();
    let error = echo.run(split).unwrap_err();
    assert_eq!(error, Error::invalid("text", 0, "expected text in UTF-8, got other bytes"));
}

#[test]
fn packed_words_that_do_not_fit_are_refused() {
    let mut echo = Host::new().start::<Echo>("").unwrap();
    assert!(matches!(echo.run_words(2, &[1, 2, 3]), Err(Error::Internal(_))));
}

#[test]
fn a_configuration_that_nobody_asked_for_is_refused() {
    let error = Host::new().start::<Echo>(r#"{"x": 1}"#).unwrap_err().to_string();
    assert!(error.contains("configuration: unknown field `x`"), "{error}");
}

type Act = fn(&Batch<'_>, &mut Packer<'_>) -> Result<(), Error>;

/// Does what the test says with a column `x: f64` to be made a column `y: f64`.
struct Careless;

thread_local! {
    static ACT: std::cell::Cell<Option<Act>> = const { std::cell::Cell::new(None) };
}

impl Module for Careless {
    type Config = NoConfig;

    fn init(_: NoConfig) -> Result<(Self, Signature), Error> {
        let column = |name| vec![Column::scalar(name, Datatype::F64)];
        Ok((Self, Signature { inputs: column("x"), outputs: column("y") }))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        ACT.get().map_or(Ok(()), |act| act(inputs, outputs))
    }
}

#[test]
fn misuse_says_what_is_wrong() {
    let wrong: [(Act, &str); 7] = [
        (|inputs, _| inputs.values::<f64>("z").map(drop), "no column 'z' in the signature"),
        (|inputs, _| inputs.values::<f32>("x").map(drop), "column 'x' is f64 and was read as f32"),
        (|inputs, _| inputs.text("x").map(drop), "column 'x' is f64 and was read as bytes"),
        (|_, _| Ok(()), "output 'y' was not written"),
        (|_, outputs| outputs.write("y", &[1.0, 2.0]), "output 'y': expected 1 values, got 2"),
        (|_, outputs| outputs.write("y", &[1.0f32]), "output 'y: f32' was written where 'y: f64[-1]' was next"),
        (
            |_, outputs| outputs.write("y", &[1.0]).and_then(|()| outputs.write("y", &[1.0])),
            "output 'y: f64' was written after the last one",
        ),
    ];
    let mut careless: Running<Careless> = Host::new().start("").unwrap();
    for (act, expected) in wrong {
        ACT.set(Some(act));
        assert_eq!(careless.run(rows![[1.0]]).unwrap_err(), Error::internal(expected));
    }
}

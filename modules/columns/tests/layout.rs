//! The reader gives back the writer's values, and refuses a batch that is not of the signature.

use modelgate_columns::{Column, Datatype, Reader, Signature, Values, Writer, validate};

fn columns() -> Vec<Column> {
    let mut soil = Column::scalar("soil", Datatype::Bytes);
    soil.nullable = true;
    vec![
        Column::scalar("flag", Datatype::Bool),
        soil,
        Column::new("x", Datatype::F32, [-1, 3]),
        Column::new("tokens", Datatype::I64, [-1, -1]),
    ]
}

fn batch() -> Vec<u64> {
    let mut writer = Writer::default();
    writer.fixed(&[1u8, 0]);
    writer.validity(&[1, 0]);
    writer.strings(["C7746", ""].iter().map(|text| text.as_bytes())).expect("fits");
    writer.fixed_with::<f32>(6).copy_from_slice(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    writer.dims(&[2]);
    writer.fixed(&[7i64, 8, 9, 10]);
    writer.finish()
}

#[test]
fn reads_what_was_written() {
    let (columns, words) = (columns(), batch());
    let mut reader = Reader::new(2, &words);
    let flag = reader.next(&columns[0]).expect("flag");
    assert!(matches!(flag.values, Values::Bool([1, 0])));
    let soil = reader.next(&columns[1]).expect("soil");
    assert!(soil.is_valid(0) && !soil.is_valid(1));
    let Values::Bytes(strings) = soil.values else { panic!("not bytes") };
    assert_eq!(strings.iter().collect::<Vec<_>>(), [b"C7746".as_slice(), b""]);
    assert_eq!(strings.get(2), None);
    let x = reader.next(&columns[2]).expect("x");
    assert!(matches!(x.values, Values::F32([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])));
    let tokens = reader.next(&columns[3]).expect("tokens");
    assert_eq!(tokens.shape(&columns[3]), [2, 2]);
    assert!(matches!(tokens.values, Values::I64([7, 8, 9, 10])));
    reader.finish().expect("nothing follows");
}

#[test]
fn refuses_every_truncation_and_any_surplus() {
    let (columns, mut words) = (columns(), batch());
    for length in 0..words.len() {
        assert!(validate(&columns, 2, &words[..length]).is_err(), "took {length} of {} words", words.len());
    }
    validate(&columns, 2, &words).expect("the whole batch");
    words.push(0);
    assert!(validate(&columns, 2, &words).is_err());
}

#[test]
fn refuses_hostile_offsets_and_dimensions() {
    let bytes = [Column::scalar("s", Datatype::Bytes)];
    for offsets in [[1u32, 2], [0, u32::MAX], [5, 0]] {
        let mut writer = Writer::default();
        writer.fixed(&offsets);
        writer.fixed(b"ab");
        assert!(validate(&bytes, 1, &writer.finish()).is_err(), "took {offsets:?}");
    }
    let matrix = [Column::new("m", Datatype::F64, [-1, -1, -1])];
    for dims in [[u64::MAX, 2], [1 << 40, 1 << 40], [1 << 62, 1]] {
        assert!(validate(&matrix, 3, &dims).is_err(), "took {dims:?}");
    }
    // No value in very many lists takes no words, and would be written as very many brackets.
    assert!(validate(&matrix, 3, &[1 << 40, 0]).is_err());
    for dims in [[7, 0], [0, 1 << 40], [0, 0]] {
        validate(&matrix, 3, &dims).expect("no values in few lists");
    }
}

#[test]
fn signatures_are_checked() {
    let good = Signature { inputs: columns(), outputs: vec![Column::scalar("y", Datatype::I64)] };
    good.check().expect("a good one");
    let mut twice = good.clone();
    twice.inputs[2].name = "flag".into();
    assert_eq!(twice.check().expect_err("twice").column, "flag");
    let mut unshaped = good;
    unshaped.outputs[0].shape = vec![4];
    assert!(unshaped.check().is_err());
}

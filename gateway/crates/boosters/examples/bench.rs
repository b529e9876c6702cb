//! Times a model: `bench MODEL ROWS WIDTH` (rows of doubles, little-endian) prints the microseconds of processor time that a
//! call of raw scores takes for 1, 64 and 1,024 rows, each the least of many.

use std::hint::black_box;

use modelgate_boosters::{Booster, Library, Numbers, Rows};

/// The processor time of this thread, as Linux counts it.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds: u64 = text.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    nanoseconds as f64 / 1e9
}

fn main() {
    let [model, rows, width] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("MODEL ROWS WIDTH");
    let booster = Booster::read(&std::fs::read(model).expect("a file")).expect("a model");
    let bytes = std::fs::read(rows).expect("rows");
    let doubles: Vec<f64> = bytes.as_chunks().0.iter().copied().map(f64::from_le_bytes).collect();
    let singles: Vec<f32> = doubles.iter().map(|&value| value as f32).collect();
    let width: usize = width.parse().expect("a width");
    let mut times = Vec::new();
    for count in [1, 64, 1024] {
        // Enough calls that the clock, which may tick 250 times a second, is exact enough.
        let calls = 32_768 / count;
        let (mut least, mut spent, mut start) = (f64::INFINITY, 0.0, 0);
        while spent < 1.0 {
            let before = processor_seconds();
            for _ in 0..calls {
                start = if start + count * width > doubles.len() { 0 } else { start };
                let range = start..start + count * width;
                let numbers = match booster.library() {
                    Library::LightGbm => Numbers::Double(&doubles[range]),
                    _ => Numbers::Single(&singles[range]),
                };
                black_box(booster.raw(&Rows { count, numbers, texts: &[] }).expect("rows that fit"));
                start += count * width;
            }
            let took = processor_seconds() - before;
            (least, spent) = (f64::min(least, took / f64::from(calls as u32)), spent + took);
        }
        times.push(format!("{:.2}", least * 1e6));
    }
    _ = std::io::Write::write_all(&mut std::io::stdout(), (times.join(" ") + "\n").as_bytes());
}

//! Times a model: `bench MODEL ROWS WIDTH` (rows of doubles, little-endian) prints the microseconds that a call of raw
//! scores takes for 1, 64 and 1,024 rows, each the least of many.

use std::hint::black_box;
use std::time::{Duration, Instant};

use modelgate_boosters::{Booster, Library, Numbers, Rows};

fn main() {
    let [model, rows, width] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("MODEL ROWS WIDTH");
    let booster = Booster::read(&std::fs::read(model).expect("a file")).expect("a model");
    let bytes = std::fs::read(rows).expect("rows");
    let doubles: Vec<f64> = bytes.as_chunks().0.iter().copied().map(f64::from_le_bytes).collect();
    let singles: Vec<f32> = doubles.iter().map(|&value| value as f32).collect();
    let width: usize = width.parse().expect("a width");
    let mut told = Vec::new();
    for count in [1, 64, 1024] {
        let mut least = Duration::MAX;
        let (mut spent, mut start) = (Duration::ZERO, 0);
        while spent < Duration::from_secs(1) {
            start = if start + count * width > doubles.len() { 0 } else { start };
            let range = start..start + count * width;
            let numbers = match booster.library() {
                Library::LightGbm => Numbers::Double(&doubles[range]),
                _ => Numbers::Single(&singles[range]),
            };
            let before = Instant::now();
            black_box(booster.raw(&Rows { count, numbers, texts: &[] }).expect("rows that fit"));
            let took = before.elapsed();
            (least, spent) = (least.min(took), spent + took);
            start += count * width;
        }
        told.push(format!("{:.2}", least.as_secs_f64() * 1e6));
    }
    _ = std::io::Write::write_all(&mut std::io::stdout(), (told.join(" ") + "\n").as_bytes());
}

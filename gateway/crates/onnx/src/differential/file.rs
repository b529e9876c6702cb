//! The file of cases that `generate.py` writes.

use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::pb::TensorProto;
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_hir::internal::*;

const MAGIC: &[u8] = b"MGDIFF1\n";
const TEXT: i32 = 8;

/// A graph and the sets of inputs that it is run with.
pub(super) struct Graph {
    pub(super) operator: String,
    pub(super) note: String,
    pub(super) model: Vec<u8>,
    /// Whether the first dimension of every input and output is the rows.
    pub(super) rows: bool,
    pub(super) sets: Vec<Set>,
}

pub(super) struct Set {
    pub(super) inputs: Vec<Tensor>,
    /// `None` if ONNX Runtime refuses the inputs.
    pub(super) answer: Option<Vec<Expected>>,
    /// Why some values of the answer do not count.
    pub(super) exempt: String,
}

/// An output of ONNX Runtime.
pub(super) struct Expected {
    pub(super) tensor: Tensor,
    pub(super) scale: Scale,
}

/// The magnitudes that bound the sums behind the values of an output.
pub(super) enum Scale {
    /// The values themselves.
    Values,
    One(f64),
    /// NaN where any value will do.
    Each(Vec<f64>),
}

fn datum(data_type: i32) -> DatumType {
    match data_type {
        2 => DatumType::U8,
        3 => DatumType::I8,
        4 => DatumType::U16,
        5 => DatumType::I16,
        6 => DatumType::I32,
        7 => DatumType::I64,
        9 => DatumType::Bool,
        10 => DatumType::F16,
        11 => DatumType::F64,
        12 => DatumType::U32,
        13 => DatumType::U64,
        _ => DatumType::F32,
    }
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn short(&mut self) -> usize {
        u16::from_le_bytes(self.take(2).try_into().unwrap()).into()
    }

    fn size(&mut self) -> usize {
        u32::from_le_bytes(self.take(4).try_into().unwrap()) as usize
    }

    fn double(&mut self) -> f64 {
        f64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn list(&mut self) -> &'a [u8] {
        let size = self.size();
        self.take(size)
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.list().to_vec()).unwrap()
    }

    fn tensor(&mut self) -> Tensor {
        let data_type = i32::from(self.byte());
        let rank = self.byte();
        let dims: Vec<i64> = (0..rank).map(|_| self.size() as i64).collect();
        let count = dims.iter().product::<i64>() as usize;
        if data_type == TEXT {
            let texts: Vec<String> = (0..count).map(|_| self.text()).collect();
            let shape: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
            return tract_ndarray::ArrayD::from_shape_vec(shape, texts).unwrap().into();
        }
        if count == 0 {
            // Without bytes, the loader cannot tell one type from another.
            let shape: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
            return Tensor::zero_dt(datum(data_type), &shape).unwrap();
        }
        let each = match data_type {
            2 | 3 | 9 => 1,
            4 | 5 | 10 | 16 => 2,
            1 | 6 | 12 => 4,
            _ => 8,
        };
        let raw_data = self.take(count * each).to_vec();
        load_tensor(&FopenDataResolver, &TensorProto { data_type, dims, raw_data, ..TensorProto::default() }, None)
            .unwrap()
    }

    fn expected(&mut self) -> Expected {
        let tensor = self.tensor();
        let scale = match self.byte() {
            0 => Scale::Values,
            1 => Scale::One(self.double()),
            _ => Scale::Each((0..tensor.len()).map(|_| self.double()).collect()),
        };
        Expected { tensor, scale }
    }

    fn set(&mut self) -> Set {
        let inputs = (0..self.byte()).map(|_| self.tensor()).collect();
        if self.byte() == 0 {
            self.text();
            return Set { inputs, answer: None, exempt: String::new() };
        }
        let answer = Some((0..self.byte()).map(|_| self.expected()).collect());
        Set { inputs, answer, exempt: self.text() }
    }

    fn graph(&mut self) -> Graph {
        let (operator, note) = (self.text(), self.text());
        let rows = self.byte() != 0;
        let model = self.list().to_vec();
        let sets = (0..self.short()).map(|_| self.set()).collect();
        Graph { operator, note, model, rows, sets }
    }
}

/// All graphs of a file.
pub(super) fn read(file: &[u8]) -> Vec<Graph> {
    let mut bytes = Bytes(file.strip_prefix(MAGIC).expect("a file of cases"));
    let mut graphs = Vec::new();
    while !bytes.0.is_empty() {
        graphs.push(Bytes(bytes.list()).graph());
    }
    graphs
}

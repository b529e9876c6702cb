//! Between packed columns and tensors.

use modelgate_columns::{Column, Datatype, LayoutError, Reader, Values, View, Writer};
use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::tract_hir::internal::{Datum, DatumType, TDim, TValue, TVec, Tensor, ToDim, TractResult, f16};

use super::error::{ComputeError, ModelError};

/// The layout of tensors in packed columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Their first dimension is the rows.
    Rows,
    /// There is one row, and each tensor is its value in one column.
    Whole,
}

impl Layout {
    /// A shape with its rows, as a tensor has it.
    fn shape(self, shape: &[usize]) -> &[usize] {
        match self {
            Self::Rows => shape,
            Self::Whole => shape.get(1..).unwrap_or_default(),
        }
    }
}

/// The column of an input or output of this type, with these sizes after the rows (-1 where they vary).
pub(super) fn column(side: &'static str, name: &str, datum: DatumType, inner: &[i64]) -> Result<Column, ModelError> {
    let datatype = datatype(datum).ok_or_else(|| {
        let problem = format!("values of type {datum:?} are not supported");
        ModelError::Column { side, name: name.to_owned(), problem }
    })?;
    let mut shape = vec![-1];
    shape.extend(inner);
    Ok(Column::new(name, datatype, shape))
}

/// The datatype of packed columns for values of this type; `None` if there is none.
pub(super) fn datatype(datum: DatumType) -> Option<Datatype> {
    Some(match datum {
        DatumType::Bool => Datatype::Bool,
        DatumType::U8 => Datatype::U8,
        DatumType::U16 => Datatype::U16,
        DatumType::U32 => Datatype::U32,
        DatumType::U64 => Datatype::U64,
        DatumType::I8 => Datatype::I8,
        DatumType::I16 => Datatype::I16,
        DatumType::I32 => Datatype::I32,
        // tract computes with dimensions where labels or shapes are counted.
        DatumType::I64 | DatumType::TDim => Datatype::I64,
        DatumType::F16 => Datatype::F16,
        DatumType::F32 => Datatype::F32,
        DatumType::F64 => Datatype::F64,
        DatumType::String => Datatype::Bytes,
        _ => return None,
    })
}

/// Checks that an output of this type and shape is what its column says, for so many rows or for whole tensors. Gives what
/// is wrong.
pub(super) fn check_fact(column: &Column, rows: Option<usize>, datum: DatumType, dims: &[TDim]) -> Result<(), String> {
    let inner = match rows {
        None => Some(dims),
        Some(rows) => dims.split_first().filter(|(first, _)| **first == rows.to_dim()).map(|(_, inner)| inner),
    };
    let fits = inner.is_some_and(|inner| {
        let sizes = column.inner_shape();
        let fits = |(&size, dim): (&i64, &TDim)| size < 0 || *dim == size.to_dim();
        sizes.len() == inner.len() && sizes.iter().zip(inner).all(fits) && datatype(datum) == Some(column.datatype)
    });
    if fits { Ok(()) } else { Err(format!("output {column} becomes {datum:?} of the shape {dims:?}")) }
}

/// The tensors of a batch.
pub(super) fn unpack(
    columns: &[Column],
    layout: Layout,
    rows: u32,
    words: &[u64],
) -> Result<TVec<TValue>, ComputeError> {
    let mut reader = Reader::new(rows, words);
    let mut tensors = TVec::with_capacity(columns.len());
    for column in columns {
        let view = reader.next(column)?;
        tensors.push(tensor(column, layout, &view)?.into());
    }
    reader.finish()?;
    Ok(tensors)
}

fn tensor(column: &Column, layout: Layout, view: &View<'_>) -> Result<Tensor, ComputeError> {
    let shape = view.shape(column);
    let shape = layout.shape(&shape);
    let tensor = match view.values {
        Values::Bool(values) => array(shape, values.iter().map(|&value| value != 0).collect()),
        Values::U8(values) => Tensor::from_shape(shape, values),
        Values::U16(values) => Tensor::from_shape(shape, values),
        Values::U32(values) => Tensor::from_shape(shape, values),
        Values::U64(values) => Tensor::from_shape(shape, values),
        Values::I8(values) => Tensor::from_shape(shape, values),
        Values::I16(values) => Tensor::from_shape(shape, values),
        Values::I32(values) => Tensor::from_shape(shape, values),
        Values::I64(values) => Tensor::from_shape(shape, values),
        Values::F16(values) => array(shape, values.iter().map(|&bits| f16::from_bits(bits)).collect()),
        Values::F32(values) => Tensor::from_shape(shape, values),
        Values::F64(values) => Tensor::from_shape(shape, values),
        Values::Bytes(values) => {
            let strings = values.iter().enumerate().map(|(index, bytes)| {
                let text = str::from_utf8(bytes).map_err(|_| {
                    let row = index / view.row_size.max(1);
                    LayoutError { column: column.name.clone(), message: format!("row {row} is not UTF-8") }
                })?;
                Ok(text.to_owned())
            });
            array(shape, strings.collect::<Result<Vec<String>, LayoutError>>()?)
        }
    };
    tensor.map_err(|error| ComputeError::Model(format!("{error:#}")))
}

fn array<T: Datum>(shape: &[usize], values: Vec<T>) -> TractResult<Tensor> {
    Ok(ArrayD::from_shape_vec(shape, values)?.into())
}

/// Packs what a model gave.
pub(super) fn pack(
    columns: &[Column],
    layout: Layout,
    rows: u32,
    tensors: &[TValue],
) -> Result<Vec<u64>, ComputeError> {
    let words = tensors.iter().map(|tensor| tensor.len().saturating_mul(tensor.datum_type().size_of()) / 8 + 2).sum();
    let mut writer = Writer::with_capacity(words);
    for (column, tensor) in columns.iter().zip(tensors) {
        let inner = inner_shape(column, layout, rows, tensor.shape())?;
        pack_one(&mut writer, column, inner, tensor)
            .map_err(|error| ComputeError::Model(format!("output '{}': {error:#}", column.name)))?;
    }
    Ok(writer.finish())
}

/// A batch without rows.
pub(super) fn pack_none(columns: &[Column]) -> Result<Vec<u64>, ComputeError> {
    let mut writer = Writer::default();
    for column in columns {
        let varying = column.inner_shape().iter().filter(|&&dim| dim < 0).count();
        writer.dims(&vec![0; varying]);
        if column.datatype == Datatype::Bytes {
            writer.strings(std::iter::empty())?;
        }
    }
    Ok(writer.finish())
}

/// The sizes after the rows in the shape of an output, which must be as its column says.
fn inner_shape<'a>(
    column: &Column,
    layout: Layout,
    rows: u32,
    shape: &'a [usize],
) -> Result<&'a [usize], ComputeError> {
    let inner = match layout {
        Layout::Rows => shape.split_first().filter(|(first, _)| **first == rows as usize).map(|(_, inner)| inner),
        Layout::Whole => Some(shape),
    };
    let sizes = column.inner_shape();
    let fits = |(&size, &dim): (&i64, &usize)| size < 0 || usize::try_from(size) == Ok(dim);
    let inner = inner.filter(|inner| inner.len() == sizes.len() && sizes.iter().zip(*inner).all(fits));
    inner.ok_or_else(|| ComputeError::Model(format!("for {rows} rows, output {column} has the shape {shape:?}")))
}

fn pack_one(writer: &mut Writer, column: &Column, inner: &[usize], tensor: &Tensor) -> TractResult<()> {
    let varying = column.inner_shape().iter().zip(inner).filter(|&(&dim, _)| dim < 0);
    let dims: TVec<u64> = varying.map(|(_, &size)| size as u64).collect();
    writer.dims(&dims);
    let plain = tensor.try_as_plain_ram()?;
    match column.datatype {
        Datatype::Bool => {
            let values = plain.as_slice::<bool>()?;
            let bytes = writer.fixed_with::<u8>(values.len());
            bytes.iter_mut().zip(values).for_each(|(byte, &value)| *byte = u8::from(value));
        }
        Datatype::U8 => writer.fixed(plain.as_slice::<u8>()?),
        Datatype::U16 => writer.fixed(plain.as_slice::<u16>()?),
        Datatype::U32 => writer.fixed(plain.as_slice::<u32>()?),
        Datatype::U64 => writer.fixed(plain.as_slice::<u64>()?),
        Datatype::I8 => writer.fixed(plain.as_slice::<i8>()?),
        Datatype::I16 => writer.fixed(plain.as_slice::<i16>()?),
        Datatype::I32 => writer.fixed(plain.as_slice::<i32>()?),
        Datatype::I64 if tensor.datum_type() == TDim::datum_type() => {
            writer.fixed(tensor.cast_to::<i64>()?.try_as_plain_ram()?.as_slice::<i64>()?);
        }
        Datatype::I64 => writer.fixed(plain.as_slice::<i64>()?),
        Datatype::F16 => {
            let values = plain.as_slice::<f16>()?;
            let bits = writer.fixed_with::<u16>(values.len());
            bits.iter_mut().zip(values).for_each(|(bits, value)| *bits = value.to_bits());
        }
        Datatype::F32 => writer.fixed(plain.as_slice::<f32>()?),
        Datatype::F64 => writer.fixed(plain.as_slice::<f64>()?),
        Datatype::Bytes => writer.strings(plain.as_slice::<String>()?.iter().map(String::as_bytes))?,
    }
    Ok(())
}

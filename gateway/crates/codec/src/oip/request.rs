//! An inference request: JSON, and behind it the tensors that are sent in binary.

use std::{borrow::Cow, fmt, marker::PhantomData};

use modelgate_columns::Datatype;
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    chunked_bytes::ChunkedBytes,
    echo,
    json::decode::OrNull,
    oip::{
        Error, datatype,
        input::{Cells, Data, Input},
        json::Values,
        shown,
    },
};

/// Tensors of one request, inputs or outputs; more than any model has.
const MAX_TENSORS: usize = 10_000;

/// Dimensions of a shape; more than any tensor has.
const MAX_DIMS: usize = 64;

/// A client's request for predictions.
#[derive(Debug)]
pub struct InferRequest<'a> {
    /// Comes back with the answer.
    pub id: Option<Cow<'a, str>>,
    /// Of the request as a whole.
    pub parameters: Parameters,
    /// In the client's order.
    pub inputs: Vec<Input<'a>>,
    /// In the client's order; all of the model's where it names none.
    pub outputs: Vec<Requested<'a>>,
}

/// Parameters that mean something here; others are left alone.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// Whether outputs come in binary that do not say so themselves.
    pub binary_data_output: Option<bool>,
    /// Microseconds that the answer may take.
    pub timeout: Option<u64>,
    /// 1 is the first to be served; 0 is the default.
    pub priority: Option<u64>,
}

/// An output that a client names.
#[derive(Debug, Deserialize)]
pub struct Requested<'a> {
    /// The name of the output.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The form of its values.
    #[serde(default, deserialize_with = "or_default")]
    pub parameters: OutputParameters,
}

/// Parameters of an output that mean something here.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OutputParameters {
    /// Whether it comes in binary.
    pub binary_data: Option<bool>,
    /// Triton's classification extension, which is not offered.
    classification: Option<IgnoredAny>,
    /// Triton's shared memory extension, which is not offered.
    shared_memory_region: Option<IgnoredAny>,
}

/// Parameters of an input that mean something here.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct InputParameters {
    binary_data_size: Option<usize>,
    shared_memory_region: Option<IgnoredAny>,
}

/// A null is the same as a field that is left out: clients that write every field of their types write those that are
/// not set so.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads a request. `json` is its JSON part, `binary` what follows. With `tokens`, the JSON part is
/// [`rewritten`](crate::json::decode::tokens::rewritten).
///
/// # Errors
/// [`Error::Malformed`] for what is not JSON, [`Error::Invalid`] for what is not a request.
pub fn read<'a>(json: &'a [u8], binary: &ChunkedBytes, tokens: bool) -> Result<InferRequest<'a>, Error> {
    let mut parsed = parse(json, Known { inputs: &[], tokens })?;
    // Most clients tell the datatype before the data. For the others it is known now.
    if parsed.inputs.iter().any(|input| matches!(input.values, Source::Later)) {
        let known: Vec<_> = parsed.inputs.into_iter().map(|input| (input.datatype, input.shape)).collect();
        parsed = parse(json, Known { inputs: &known, tokens })?;
    }
    let mut at = 0usize;
    let mut inputs = Vec::with_capacity(parsed.inputs.len());
    for JsonInput { name, datatype, shape, values } in parsed.inputs {
        let data = match values {
            Source::Cells(cells) => Data::Cells(cells),
            Source::Later => return Err(Error::Internal),
            Source::Binary(size) => {
                let end = at.checked_add(size).filter(|&end| end <= binary.len()).ok_or_else(|| {
                    Error::Invalid(format!(
                        "input '{}' is said to have {size} bytes of binary data, but {} are left of {} behind the JSON",
                        shown(&name),
                        binary.len() - at,
                        binary.len()
                    ))
                })?;
                let data = Data::Raw(binary.slice(at..end));
                at = end;
                data
            }
        };
        inputs.push(Input { name, datatype, shape, data });
    }
    if at < binary.len() {
        return Err(Error::Invalid(format!(
            "{} bytes of binary data belong to no input: the inputs say {at}, {} came",
            binary.len() - at,
            binary.len()
        )));
    }
    Ok(InferRequest { id: parsed.id, parameters: parsed.parameters, inputs, outputs: parsed.outputs })
}

/// The facts known before the JSON part is read.
#[derive(Clone, Copy)]
struct Known<'k> {
    /// The datatypes and shapes of the inputs, where an earlier reading found them.
    inputs: &'k [(Datatype, Vec<i64>)],
    tokens: bool,
}

/// The JSON part.
fn parse<'a>(json: &'a [u8], known: Known<'_>) -> Result<JsonRequest<'a>, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let parsed = deserializer.deserialize_map(RequestVisitor { known });
    parsed.and_then(|parsed| deserializer.end().map(|()| parsed)).map_err(|error| explain(&error))
}

/// Syntax is one thing, what it says another.
fn explain(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let message = echo::message(text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]));
    if error.is_data() {
        Error::Invalid(format!("{message} (at line {} column {})", error.line(), error.column()))
    } else {
        Error::Malformed { line: error.line(), column: error.column(), message: message.into_owned() }
    }
}

/// The JSON part.
struct JsonRequest<'a> {
    id: Option<Cow<'a, str>>,
    parameters: Parameters,
    inputs: Vec<JsonInput<'a>>,
    outputs: Vec<Requested<'a>>,
}

/// An input as the JSON part has it.
struct JsonInput<'a> {
    name: Cow<'a, str>,
    datatype: Datatype,
    shape: Vec<i64>,
    values: Source,
}

enum Source {
    Cells(Cells),
    /// So many bytes behind the JSON.
    Binary(usize),
    /// They stood before their datatype, and were passed over.
    Later,
}

/// A list that is refused as soon as it is longer than `N`.
struct AtMost<const N: usize, T>(Vec<T>);

impl<'de, const N: usize, T: Deserialize<'de>> Deserialize<'de> for AtMost<N, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<const N: usize, T>(PhantomData<T>);
        impl<'de, const N: usize, T: Deserialize<'de>> Visitor<'de> for List<N, T> {
            type Value = AtMost<N, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(next) = seq.next_element()? {
                    if list.len() == N {
                        return Err(de::Error::invalid_length(N + 1, &self));
                    }
                    list.push(next);
                }
                Ok(AtMost(list))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum RequestKey {
    Id,
    Parameters,
    Inputs,
    Outputs,
    #[serde(other)]
    Other,
}

struct RequestVisitor<'k> {
    known: Known<'k>,
}

impl<'de> Visitor<'de> for RequestVisitor<'_> {
    type Value = JsonRequest<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an inference request: an object with \"inputs\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut parameters, mut inputs, mut outputs) = (None, None, None, None);
        while let Some(key) = map.next_key::<RequestKey>()? {
            match key {
                RequestKey::Id => once(&mut id, "id", map.next_value::<Option<Text<'de>>>()?)?,
                RequestKey::Parameters => {
                    once(&mut parameters, "parameters", map.next_value::<Option<Parameters>>()?.unwrap_or_default())?;
                }
                RequestKey::Inputs => once(&mut inputs, "inputs", map.next_value_seed(Inputs { known: self.known })?)?,
                RequestKey::Outputs => {
                    once(
                        &mut outputs,
                        "outputs",
                        map.next_value::<Option<AtMost<MAX_TENSORS, Requested<'de>>>>()?
                            .map_or_else(Vec::new, |list| list.0),
                    )?;
                }
                RequestKey::Other => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        let outputs: Vec<Requested<'de>> = outputs.unwrap_or_default();
        for output in &outputs {
            let Requested { name, parameters: wanted } = output;
            if wanted.classification.is_some() || wanted.shared_memory_region.is_some() {
                let name = shown(name);
                return Err(de::Error::custom(format_args!(
                    "output '{name}': classification and shared memory are not supported"
                )));
            }
        }
        Ok(JsonRequest {
            id: id.flatten().map(|Text(id)| id),
            parameters: parameters.unwrap_or_default(),
            inputs: inputs.ok_or_else(|| de::Error::missing_field("inputs"))?,
            outputs,
        })
    }
}

fn once<T, E: de::Error>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), E> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

/// The list of inputs.
struct Inputs<'k> {
    known: Known<'k>,
}

impl<'de> DeserializeSeed<'de> for Inputs<'_> {
    type Value = Vec<JsonInput<'de>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Inputs<'_> {
    type Value = Vec<JsonInput<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tensors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        let Known { inputs, tokens } = self.known;
        while let Some(input) = seq.next_element_seed(InputSeed { known: inputs.get(list.len()), tokens })? {
            if list.len() == MAX_TENSORS {
                return Err(de::Error::custom(format_args!("at most {MAX_TENSORS} tensors are taken")));
            }
            list.push(input);
        }
        Ok(list)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum InputKey {
    Name,
    Datatype,
    Shape,
    Parameters,
    Data,
    #[serde(other)]
    Other,
}

/// One input.
struct InputSeed<'k> {
    known: Option<&'k (Datatype, Vec<i64>)>,
    tokens: bool,
}

impl<'de> DeserializeSeed<'de> for InputSeed<'_> {
    type Value = JsonInput<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonInput<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for InputSeed<'_> {
    type Value = JsonInput<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor: an object with name, datatype, shape and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonInput<'de>, A::Error> {
        let (mut name, mut kind, mut shape, mut parameters) = (None, None, None, None);
        let mut values = None;
        while let Some(key) = map.next_key::<InputKey>()? {
            match key {
                InputKey::Name => once(&mut name, "name", map.next_value::<Text<'de>>()?.0)?,
                InputKey::Datatype => {
                    let Text(text) = map.next_value()?;
                    let known = datatype(&text).ok_or_else(|| {
                        de::Error::custom(format_args!(
                            "expected a datatype such as FP32 or BYTES, got '{}'",
                            shown(&text)
                        ))
                    })?;
                    once(&mut kind, "datatype", known)?;
                }
                InputKey::Shape => once(&mut shape, "shape", map.next_value::<AtMost<MAX_DIMS, i64>>()?.0)?,
                InputKey::Parameters => {
                    let given = map.next_value::<Option<InputParameters>>()?.unwrap_or_default();
                    once(&mut parameters, "parameters", given)?;
                }
                InputKey::Data => {
                    let tokens = self.tokens;
                    let parsed = match (kind, self.known) {
                        (Some(datatype), _) => Some(Values { datatype, shape: shape.as_deref(), tokens }),
                        (None, Some((datatype, shape))) => {
                            Some(Values { datatype: *datatype, shape: Some(shape), tokens })
                        }
                        (None, None) => None,
                    };
                    let source = if let Some(seed) = parsed {
                        let cells = map.next_value_seed(OrNull(seed));
                        cells.map_err(|error| about(name.as_ref(), &error))?.map(Source::Cells)
                    } else {
                        map.next_value::<Option<IgnoredAny>>()?.map(|_| Source::Later)
                    };
                    once(&mut values, "data", source)?;
                }
                InputKey::Other => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        let name: Cow<'de, str> = name.ok_or_else(|| de::Error::missing_field("name"))?;
        let datatype = kind.ok_or_else(|| about(Some(&name), &"the datatype is missing"))?;
        let shape: Vec<i64> = shape.ok_or_else(|| about(Some(&name), &"the shape is missing"))?;
        let InputParameters { binary_data_size, shared_memory_region } = parameters.unwrap_or_default();
        let values = match (values.flatten(), binary_data_size) {
            _ if shared_memory_region.is_some() => return Err(about(Some(&name), &"shared memory is not supported")),
            (Some(_), Some(_)) => return Err(about(Some(&name), &"has both \"data\" and \"binary_data_size\"")),
            (Some(values), None) => values,
            (None, Some(size)) => Source::Binary(size),
            (None, None) => return Err(about(Some(&name), &"has neither \"data\" nor \"binary_data_size\"")),
        };
        Ok(JsonInput { name, datatype, shape, values })
    }
}

/// The problem with an input, by its name where that is known.
fn about<E: de::Error>(name: Option<&Cow<'_, str>>, problem: &dyn fmt::Display) -> E {
    match name {
        Some(name) => E::custom(format_args!("input '{}': {problem}", shown(name))),
        None => E::custom(problem),
    }
}

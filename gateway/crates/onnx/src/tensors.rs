//! The tensors of a file, looked at before anything is allocated for them: data in files of its own is put in its place,
//! and shapes have to be those of the data.

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, TensorProto};

use super::error::ModelError;

/// Elements that one shape in a file may ask for: a gigabyte of floats.
pub(super) const ELEMENTS: u64 = 1 << 28;

/// Checks all tensors of a graph and its subgraphs; `files` has the data that is not in the model's own file, by name.
pub(super) fn settle(graph: &mut GraphProto, files: &BTreeMap<String, Vec<u8>>) -> Result<(), ModelError> {
    for tensor in &mut graph.initializer {
        settle_one(tensor, files)?;
    }
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            settle_one(tensor, files)?;
        }
        for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            settle(graph, files)?;
        }
    }
    Ok(())
}

/// Adds the names of the files that tensors of a graph and its subgraphs have their data in.
pub(super) fn locations(graph: &GraphProto, names: &mut BTreeSet<String>) {
    let attributes = graph.node.iter().flat_map(|node| &node.attribute);
    for tensor in graph.initializer.iter().chain(attributes.clone().flat_map(|at| at.t.iter().chain(&at.tensors))) {
        if tensor.data_location == Some(DataLocation::External as i32) {
            names.extend(entry(tensor, "location").map(|name| inside(name).to_owned()));
        }
    }
    for graph in attributes.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
        locations(graph, names);
    }
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

/// As bundles write it.
fn inside(location: &str) -> &str {
    location.strip_prefix("./").unwrap_or(location)
}

fn settle_one(tensor: &mut TensorProto, files: &BTreeMap<String, Vec<u8>>) -> Result<(), ModelError> {
    let mut sizes = tensor.dims.iter().map(|&dim| u64::try_from(dim).ok());
    let count = sizes.try_fold(1u64, |count, size| count.checked_mul(size?));
    let Some(count) = count else {
        return Err(ModelError::Corrupt(format!("tensor '{}' has the shape {:?}", tensor.name, tensor.dims)));
    };
    if count > ELEMENTS {
        let (found, limit) = (usize::try_from(count).unwrap_or(usize::MAX), ELEMENTS as usize);
        return Err(ModelError::TooLarge { what: "elements in one tensor", found, limit });
    }
    if tensor.data_location == Some(DataLocation::External as i32) {
        tensor.raw_data = external(tensor, files)?.to_vec();
        tensor.data_location = None;
        tensor.external_data.clear();
    }
    let Some(size) = bytes_each(tensor.data_type).filter(|_| !tensor.raw_data.is_empty()) else { return Ok(()) };
    let (found, expected) = (tensor.raw_data.len() as u64, count * size);
    if found != expected {
        let message = format!("tensor '{}' has {found} bytes, its shape asks for {expected}", tensor.name);
        return Err(ModelError::Corrupt(message));
    }
    Ok(())
}

/// The bytes of a tensor in a file of its own.
fn external<'a>(tensor: &TensorProto, files: &'a BTreeMap<String, Vec<u8>>) -> Result<&'a [u8], ModelError> {
    let fault = |problem: &str| ModelError::Data(format!("tensor '{}': {problem}", tensor.name));
    let number = |key: &str| {
        let value = entry(tensor, key).map(str::parse::<usize>);
        value.transpose().map_err(|_| fault(&format!("the {key} of its data is no number")))
    };
    let location = entry(tensor, "location").ok_or_else(|| fault("its data is in a file that is not named"))?;
    // Only what the bundle lists is there, so that no path leads out of it.
    let file = files.get(inside(location));
    let file = file.ok_or_else(|| fault(&format!("its data is in '{location}', which the bundle does not list")))?;
    let start = number("offset")?.unwrap_or(0);
    let rest = file.get(start..);
    let data = match number("length")? {
        Some(length) => rest.and_then(|rest| rest.get(..length)),
        None => rest,
    };
    data.ok_or_else(|| fault(&format!("its data lies beyond the end of '{location}'")))
}

/// Bytes of one value, for the types that are kept as raw bytes.
fn bytes_each(data_type: i32) -> Option<u64> {
    match data_type {
        2 | 3 | 9 => Some(1),
        4 | 5 | 10 | 16 => Some(2),
        1 | 6 | 12 => Some(4),
        7 | 11 | 13 | 14 => Some(8),
        15 => Some(16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::StringStringEntryProto;

    use super::*;

    fn graph(entries: &[(&str, &str)]) -> GraphProto {
        let external_data = entries
            .iter()
            .map(|&(key, value)| StringStringEntryProto { key: key.to_owned(), value: value.to_owned() })
            .collect();
        let data_location = Some(DataLocation::External as i32);
        let tensor = TensorProto {
            name: "w".into(),
            dims: vec![2],
            data_type: 1,
            data_location,
            external_data,
            ..Default::default()
        };
        GraphProto { initializer: vec![tensor], ..Default::default() }
    }

    #[test]
    fn external_data_comes_from_the_bundle_alone() {
        let files = BTreeMap::from([("weights.bin".to_owned(), (0..16).collect::<Vec<u8>>())]);
        let mut good = graph(&[("location", "./weights.bin"), ("offset", "4"), ("length", "8")]);
        let mut names = BTreeSet::new();
        locations(&good, &mut names);
        assert!(names.iter().eq(["weights.bin"]));
        settle(&mut good, &files).unwrap();
        assert_eq!(good.initializer[0].raw_data, (4..12).collect::<Vec<u8>>());
        for entries in [
            &[("location", "../weights.bin")][..],
            &[("location", "/etc/passwd")],
            &[("location", "weights.bin"), ("offset", "9"), ("length", "8")],
            &[("location", "weights.bin"), ("offset", "-1")],
            &[],
        ] {
            assert!(matches!(settle(&mut graph(entries), &files), Err(ModelError::Data(_))), "{entries:?}");
        }
        let whole = settle(&mut graph(&[("location", "weights.bin")]), &files);
        assert!(matches!(whole, Err(ModelError::Corrupt(_))), "not as many bytes as the shape asks for");
    }

    #[test]
    fn shapes_are_those_of_the_data() {
        let tensor = |dims: &[i64]| {
            let tensor = TensorProto { dims: dims.to_vec(), data_type: 1, raw_data: vec![0; 8], ..Default::default() };
            GraphProto { initializer: vec![tensor], ..Default::default() }
        };
        let settle = |dims: &[i64]| settle(&mut tensor(dims), &BTreeMap::new());
        assert!(settle(&[2]).is_ok() && settle(&[1, 2]).is_ok());
        assert!(matches!(settle(&[3]), Err(ModelError::Corrupt(_))));
        assert!(matches!(settle(&[-2]), Err(ModelError::Corrupt(_))));
        assert!(matches!(settle(&[1 << 40]), Err(ModelError::TooLarge { .. })));
        assert!(matches!(settle(&[1 << 40, 1 << 40]), Err(ModelError::Corrupt(_))));
    }
}

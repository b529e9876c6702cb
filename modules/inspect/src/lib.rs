//! The imports, exports and needs of a built module.

use std::fmt;

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wit_component::ComponentEncoder;

/// A built module, as the gateway will see it.
#[derive(Debug)]
pub struct Report {
    /// Of the core module, in bytes.
    pub size: usize,
    /// Of the component made from it, in bytes.
    pub component_size: usize,
    /// Pages of 64 KiB that a fresh instance has.
    pub pages: u64,
    /// The component's imports.
    pub imports: Vec<String>,
    /// The component's exports.
    pub exports: Vec<String>,
    /// Core instances that each instance of the component is made of.
    pub core_instances: u32,
}

impl Report {
    /// Makes a component of the core module, as the gateway does, and looks at it.
    pub fn of(wasm: &[u8]) -> Result<Self> {
        let component = componentize(wasm)?;
        let mut report = Self {
            size: wasm.len(),
            component_size: component.len(),
            pages: pages(wasm)?,
            imports: Vec::new(),
            exports: Vec::new(),
            core_instances: 0,
        };
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(&component) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        report.imports.push(import?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        report.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::InstanceSection(instances) if depth == 0 => {
                    for instance in instances {
                        if let wasmparser::Instance::Instantiate { .. } = instance? {
                            report.core_instances += 1;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(report)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, component_size, pages, imports, exports, core_instances } = self;
        write!(
            f,
            "{size} bytes, {component_size} as a component; {pages} pages; {core_instances} core instances; imports {}; \
             exports {}",
            imports.join(", "),
            exports.join(", ")
        )
    }
}

/// The component that the gateway makes of a core module on load.
pub fn componentize(wasm: &[u8]) -> Result<Vec<u8>> {
    let component = ComponentEncoder::default().validate(true).module(wasm)?.encode()?;
    Validator::new_with_features(WasmFeatures::default()).validate_all(&component).context("the component")?;
    Ok(component)
}

/// Pages of the module's memory at the start.
fn pages(wasm: &[u8]) -> Result<u64> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::MemorySection(memories) = payload? {
            return Ok(memories.into_iter().next().context("no memory")??.initial);
        }
    }
    bail!("no memory")
}

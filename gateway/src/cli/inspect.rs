//! `modelgate inspect`.

use std::path::Path;

use serde_json::json;

use crate::cli::{bundles::load_verified, print::say};

pub(super) fn inspect(path: &Path) -> anyhow::Result<()> {
    let generation = load_verified(path)?;
    let side = |columns: &[modelgate_columns::Column]| -> Vec<_> {
        columns
            .iter()
            .map(|column| {
                json!({
                    "name": column.name,
                    "datatype": column.datatype.name(),
                    "shape": column.shape,
                    "nullable": column.nullable,
                    "categories": column.categories,
                })
            })
            .collect()
    };
    let stages: Vec<_> = generation
        .stages()
        .into_iter()
        .map(|(name, signature)| {
            json!({ "name": name, "inputs": side(&signature.inputs), "outputs": side(&signature.outputs) })
        })
        .collect();
    let report = json!({
        "name": generation.name,
        "version": generation.version,
        "description": generation.description,
        "digest": generation.digest,
        "isolation": generation.isolation,
        "limits": {
            "memory": generation.limits.memory,
            "deadline_ms": u64::try_from(generation.limits.deadline.as_millis()).unwrap_or(u64::MAX),
            "rows": generation.limits.rows,
            "host_call_bytes": generation.limits.host_call_bytes,
        },
        "model": generation.model.as_ref().map(|model| json!({
            "tensors": model.is_tensors(),
            "inputs": side(&model.signature().inputs),
            "outputs": side(&model.signature().outputs),
            "resident_bytes": model.resident_bytes(),
            "rows": model.rows().reason().map_or_else(
                || json!({ "dependence": "independent" }),
                |reason| json!({ "dependence": "dependent", "reason": reason }),
            ),
        })),
        "batching": {
            "enabled": generation.batching_decision.is_on(),
            "max_rows": generation.batching.max_rows,
            "cause": generation.batching_decision.cause.label(),
            "detail": generation.batching_decision.detail,
        },
        "stages": stages,
        "golden_examples": generation.golden.examples.len(),
    });
    say(&serde_json::to_string_pretty(&report)?);
    Ok(())
}

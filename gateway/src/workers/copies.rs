//! Copies of requests for a release on trial.

use std::{sync::Arc, time::Instant};

use super::{
    admission::{RequestOptions, admit},
    queue::Queue,
};
use crate::{
    generation::Generation,
    shadow::{self, Target},
    tensor::Batch,
};

/// Copies are made only while less work than this waits.
const MAX_COPIES: usize = 16;

/// Runs a copy of a request by a generation on trial and counts how its answer compares. Nobody waits for it, and it is left
/// out where other work waits.
pub(super) fn run(
    queue: &Queue,
    generation: &Arc<Generation>,
    target: &Arc<Target<Generation>>,
    batch: Batch,
    answer: Batch,
) {
    if generation.signature.inputs != target.generation.signature.inputs {
        // A request written for the one may be none for the other.
        target.incompatible.inc();
        return;
    }
    if queue.len() >= MAX_COPIES {
        target.skipped.inc();
        return;
    }
    let options = RequestOptions::from(Instant::now() + target.generation.limits.deadline);
    let Ok(copied) = admit(queue, &target.generation, batch, options) else {
        target.skipped.inc();
        return;
    };
    let (generation, target) = (Arc::clone(generation), Arc::clone(target));
    tokio::spawn(async move {
        let (columns, tolerance) = (&generation.signature.outputs, generation.golden.tolerance);
        let is_same = |copied: &Batch| {
            *columns == target.generation.signature.outputs && shadow::same(columns, tolerance, &answer, copied)
        };
        match copied.await {
            Ok(Ok(copied)) if is_same(&copied) => target.same.inc(),
            Ok(Ok(_)) => target.different.inc(),
            Ok(Err(_)) | Err(_) => target.failed.inc(),
        }
    });
}

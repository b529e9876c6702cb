//! Panics of the engine, made errors.
//!
//! The engine asserts what a graph or a value may contradict. Every call of it that depends on either runs in here, so
//! that one plan's panic ends that plan alone.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::tract_hir::internal::{TractResult, format_err};

/// Runs the work; a panic in it becomes an error with the panic's message. Nothing that the work has changed may be used
/// after that.
pub(super) fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(format_err!("it panicked: {}", message(&*panic))))
}

/// The message of a panic, on one line.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("it does not say why");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_on_one_line() {
        let message = |work: fn()| {
            let result = guarded(|| {
                work();
                Ok(())
            });
            result.unwrap_err().to_string()
        };
        assert_eq!(message(|| panic!("one\n  and two")), "it panicked: one and two");
        assert_eq!(message(|| assert_eq!(1 + 1, 3, "left {}", 1)).lines().count(), 1);
        assert_eq!(message(|| std::panic::panic_any(3)), "it panicked: it does not say why");
    }
}

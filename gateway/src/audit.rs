//! The audit log: one line for each call that changes what is served, and for each such decision of the gateway itself.
//!
//! The lines have the target `audit`, are never sampled, and pass whatever filter `--log` names, unless that filter
//! names `audit` itself.

use crate::admin::{Peer, Who};

/// The tracing target of these lines.
pub const TARGET: &str = "audit";

/// The caller, and the id by which other logs name the call.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// By what right; `None` for a caller that was refused.
    pub who: Option<Who>,
    /// The other end of its connection.
    pub peer: Option<Peer>,
    /// The request's id.
    pub request_id: &'a str,
}

/// A version before and after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// The version that answered before, if any did.
    pub from: Option<&'a str>,
    /// The version that answers now, if any does; of a version that was refused, that version.
    pub to: Option<&'a str>,
}

/// A call by hand, with what came of it: `done`, or why not.
pub fn called(by: By<'_>, action: &str, model: Option<&str>, change: Change<'_>, result: &str) {
    tracing::info!(
        target: TARGET,
        who = by.who.map_or("nobody", Who::name),
        peer = by.peer.map(|peer| peer.to_string()),
        action,
        model,
        from = change.from,
        to = change.to,
        request_id = by.request_id,
        result,
    );
}

/// A decision of the gateway's own, with its reason.
pub fn decided(action: &str, model: &str, change: Change<'_>, result: &str) {
    tracing::info!(target: TARGET, who = "modelgate", action, model, from = change.from, to = change.to, result);
}

/// The filter that `--log` names, with these lines in it.
pub fn filtered(filter: &str) -> String {
    if filter.contains(TARGET) { filter.to_owned() } else { format!("{filter},{TARGET}=info") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_filter_drops_audit_lines_by_accident() {
        assert_eq!(filtered("warn"), "warn,audit=info");
        assert_eq!(filtered("info,audit=off"), "info,audit=off");
    }
}

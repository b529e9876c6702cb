//! Calls that change what is served, whichever protocol they come by: allowed or refused, done, and told in the audit log.

use crate::{
    admin::Caller,
    app::App,
    audit::{self, By, Change},
    error::Error,
    lifecycle::Command,
};

/// Does what a caller wants of a model, if it may.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::UnknownModel`], or [`Error::Refused`] with the reason.
pub(crate) async fn change(
    app: &App,
    caller: &Caller<'_>,
    request_id: &str,
    model: &str,
    command: Command,
) -> Result<(), Error> {
    let answering = || app.catalog.get(model).map(|generation| generation.version.clone());
    let (action, from) = (command.name(), answering());
    let mut by = By { who: None, peer: caller.peer, request_id };
    let done = match app.admin.allow(caller) {
        Ok(who) => {
            by.who = Some(who);
            match &app.control {
                Some(control) => control.command(model, command).await,
                None => Err(Error::Refused("what is served here never changes".into())),
            }
        }
        Err(reason) => Err(Error::Forbidden(reason)),
    };
    let to = answering();
    let result = done.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
    let change = Change { from: from.as_deref(), to: to.as_deref() };
    audit::called(by, action, Some(shortened(model)), change, &result);
    done
}

/// Allows or refuses a call that only asks, and tells of it in the audit log.
///
/// # Errors
/// [`Error::Forbidden`].
pub(crate) fn look(app: &App, caller: &Caller<'_>, request_id: &str, action: &str) -> Result<(), Error> {
    let allowed = app.admin.allow(caller);
    let by = By { who: allowed.ok(), peer: caller.peer, request_id };
    audit::called(by, action, None, Change::default(), allowed.err().unwrap_or("done"));
    allowed.map(drop).map_err(Error::Forbidden)
}

/// A caller's text, bounded; models have shorter names.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(128).map_or(text, |(end, _)| &text[..end])
}

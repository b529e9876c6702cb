//! When a load rests and when it ends early, by what goes on in the gateway meanwhile.

use std::fmt;

/// Events in the gateway while a child loads.
pub struct Throttle<'a> {
    /// Whether the load gives way to what is served.
    pub is_background: bool,
    /// Whether a person asked for it, so that it is tried whatever is known of the bundle.
    pub is_by_hand: bool,
    /// Rises with each request.
    pub served: &'a dyn Fn() -> u64,
    /// Whether a request waits for the load by now.
    pub is_urgent: &'a dyn Fn() -> bool,
    /// Whether no caller waits for it any more.
    pub is_cancelled: &'a dyn Fn() -> bool,
}

impl fmt::Debug for Throttle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("is_background", &self.is_background).finish_non_exhaustive()
    }
}

impl Throttle<'_> {
    /// A load that gives way to nothing and that nobody cancels.
    pub const PLAIN: Throttle<'static> = Throttle {
        is_background: false,
        is_by_hand: false,
        served: &|| 0,
        is_urgent: &|| false,
        is_cancelled: &|| false,
    };
}

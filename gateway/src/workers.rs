//! Where inference runs.
//!
//! Each worker thread owns its instances of every live generation's stages and its own model state, and takes work from
//! bounded queues, one for each model, so that health checks never wait behind inference, and no model behind another's
//! flood of requests or behind one that runs for long: see [`fair_queue`] and [`substitutes`].
//!
//! Handing a request to another thread and back costs more than a small model's answer. So requests to a generation that
//! has been quick so far are executed where they were read, by that thread's own instances, for 10 ms at most:
//! what takes longer is stopped there and executed again by a worker. Modules have no effects but their answer. What a thread
//! has read by the time that it turns to such a request is executed with it: see [`inline`].
//!
//! Both places execute requests alike: see [`execute`].

mod admission;
mod caller;
mod config;
mod copies;
mod execute;
mod failure;
mod fair_queue;
mod in_flight;
mod in_parts;
mod inline;
mod instances;
mod job;
mod lanes;
mod queue;
mod retry;
mod spawn;
mod substitutes;
mod threads;

pub use self::{
    admission::RequestOptions,
    config::{Priority, Weights, WorkersConfig},
    execute::Workers,
    inline::{begin, release},
    instances::sweep,
    spawn::STACK,
    substitutes::most as most_substitutes,
};

/// The model of work that is of none.
pub const NO_MODEL: &str = "";

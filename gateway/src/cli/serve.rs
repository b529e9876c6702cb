//! `modelgate serve`.

use std::{net::SocketAddr, time::Instant};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::{
    audit,
    cli::{bundles::OWN_BINARY, print::say},
    config::{ServeArgs, ServeConfig},
    server::{self, Server},
    telemetry::{
        format::{self, LogFormat},
        panics,
    },
};

pub(super) fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let config = ServeArgs { binary: Some(OWN_BINARY.into()), ..args }.resolve()?;
    let filter = EnvFilter::try_new(audit::filtered(&config.log))
        .with_context(|| format!("log: not a filter: {:?}", config.log))?;
    format::init(config.log_format.unwrap_or_else(LogFormat::of_standard_error), filter);
    panics::log();
    for note in &config.renamed {
        tracing::warn!("{note}");
    }
    raise_open_files();
    // Accepts connections and waits for signals; requests are read and answered on threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop cannot be started")?;
    runtime.block_on(async {
        let server = Server::start(&config).await?;
        greet(&config, server.address()?, &server, started);
        server.run(server::stop_signal()).await.context("the I/O threads cannot be started")
    })
}

/// Tells a person at a terminal where things are.
fn greet(config: &ServeConfig, address: SocketAddr, server: &Server, started: Instant) {
    let host = if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address };
    say(&format!(
        "modelgate {} listens on http://{address} after {} ms: {} workers, {} I/O threads",
        env!("CARGO_PKG_VERSION"),
        started.elapsed().as_millis(),
        config.workers.count,
        config.io_threads
    ));
    for generation in server.app().catalog.all() {
        say(&format!("  model    {} version {}", generation.name, generation.version));
    }
    if let Some(path) = server.admin_socket() {
        say(&format!("  admin    {}", path.display()));
    }
    say(&format!("  docs     http://{host}/docs\n  metrics  http://{host}/metrics"));
    if let Some(generation) = server.app().catalog.default_model()
        && let Some(example) = generation.golden.examples.first()
    {
        let mut row = example.input.clone();
        row.insert("model".into(), generation.name.clone().into());
        // A quote inside single quotes ends them; JSON can say it otherwise.
        let row = json!(row).to_string().replace('\'', "\\u0027");
        say(&format!("Try it:\ncurl -s http://{host}/predict -H 'Content-Type: application/json' -d '{row}'"));
    }
}

/// Ten thousand connections need as many open files; the soft limit is often 1024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(limit = ?limit.current, "the limit of open files could not be raised");
    }
}

//! The command line.

mod module;
mod remote;
mod wrap;

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use modelgate_onnx::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::{
    artifact_cache::ArtifactCache,
    audit,
    bundle::{Bundle, BundleError},
    config::{Arguments, Secret, ServeArgs, ServeConfig, admin_token, bundle_cache_folder, cache_folder},
    generation::{Generation, MODEL_COLUMN},
    golden,
    json::{
        decode::{self, Keys},
        encode,
    },
    loading::{Loader, LoadingConfig, Vetted},
    metrics::Metrics,
    server::{self, Server},
    telemetry::{
        format::{self, LogFormat},
        panics,
    },
    trust::Trust,
    verified,
    wasm::{
        cache::CodeCache,
        engine::{PoolSize, WasmEngine},
        instance::ChainError,
        module::{Compiler, Isolation},
    },
};

/// This program, whatever has become of its file since it was started.
const OWN_BINARY: &str = "/proc/self/exe";

/// A serverless-style WASM inference gateway.
///
/// Serves HTTP predict requests. Preprocessing and the model's invocation run as sandboxed WebAssembly modules; the model
/// is preloaded.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A sentence for each argument that has its name of 0.1.
    #[arg(skip)]
    renamed: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve bundles over HTTP
    Serve(Box<ServeArgs>),
    /// Predict rows from standard input (one JSON object, or a list of them) and print the answer
    Predict {
        /// The bundle's folder or a plain ONNX file, or `demo` for the embedded one
        bundle: PathBuf,
        /// Print every output of the model, not only the prediction
        #[arg(long)]
        all: bool,
    },
    /// Make a bundle of a plain ONNX file: the graph, the files that hold its larger tensors, and a manifest with digests
    #[command(disable_version_flag = true)]
    Wrap {
        /// The ONNX file
        model: PathBuf,
        /// The bundle's folder; it is made
        out: PathBuf,
        /// The name that requests use [default: the file's name without its extension]
        #[arg(long)]
        name: Option<String>,
        /// The bundle's version [default: 1]
        #[arg(long)]
        version: Option<String>,
        /// Serve it as rows of a table, or as tensors as the file has them [default: as rows, if the graph can take them]
        #[arg(long, value_enum)]
        mode: Option<WrapMode>,
        #[command(flatten)]
        texts: wrap::TextArgs,
    },
    /// Write a module in Python, JavaScript or Rust: start one, test it, make WebAssembly of it
    #[command(subcommand)]
    Module(module::ModuleCommand),
    /// Tell everything that is wrong with a bundle, and run its golden examples
    Check {
        /// The bundle's folder or a plain ONNX file, or `demo` for the embedded one
        bundle: PathBuf,
    },
    /// Print what a bundle takes and gives, stage by stage, as JSON
    Inspect {
        /// The bundle's folder or a plain ONNX file, or `demo` for the embedded one
        bundle: PathBuf,
    },
    /// Compile the modules that come with the gateway into a folder, for `serve --precompiled-modules`: a first start on such a
    /// processor then compiles nothing
    Precompile {
        /// The folder; it is made
        folder: PathBuf,
    },
    /// Upload a bundle to a bucket: files that are there already are not sent again, and nobody sees it before it is whole
    ///
    /// Credentials and endpoint come from the usual variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_ENDPOINT_URL`, …).
    Push {
        /// The bundle's folder
        bundle: PathBuf,
        /// `s3://bucket/prefix`, with `?endpoint=URL&region=R` if need be
        to: String,
    },
    /// Make a running gateway go back to the release that answered before; with a release on trial, withdraw that
    Rollback(AdminArgs),
    /// End a trial in a running gateway: the release answers all from now on
    Promote(AdminArgs),
    /// Make a model resident in a running gateway, and try again what failed
    Load(AdminArgs),
    /// Unload a model in a running gateway until it is loaded again
    Unload(AdminArgs),
    /// Print the state of a running gateway as JSON: models, versions, since when and why, rollouts, memory, sources
    State(WayArgs),
    /// Ask a running gateway whether it is ready; for images without curl
    Healthcheck {
        /// The gateway's address
        #[arg(default_value = "127.0.0.1:8080", env = "MODELGATE_LISTEN")]
        address: String,
        /// Ask whether it is alive instead
        #[arg(long)]
        live: bool,
    },
}

/// A call that changes what a running gateway serves of a model.
#[derive(Args, Debug)]
struct AdminArgs {
    /// The model
    model: String,
    #[command(flatten)]
    way: WayArgs,
}

/// The way to a running gateway for calls of operators: at --address if it is given, else on its Unix socket, else with a
/// token where it listens.
#[derive(Args, Debug)]
struct WayArgs {
    /// The gateway's Unix socket for such calls [default: `admin-HOST-PORT.sock` in the folder of --bundle-cache, with this
    /// machine's name and the port of --listen]
    #[arg(long, env = "MODELGATE_ADMIN_SOCKET", value_name = "PATH")]
    socket: Option<String>,
    /// The folder of the gateway's cache for bundles, where that socket is by default [default: `bundles` in the user's
    /// cache folder]
    #[arg(long, env = "MODELGATE_BUNDLE_CACHE", value_name = "DIR")]
    bundle_cache: Option<PathBuf>,
    /// The gateway's address for such calls alone, as HOST:PORT or http://HOST:PORT
    #[arg(long, env = "MODELGATE_ADMIN_LISTEN", value_name = "ADDR")]
    address: Option<String>,
    /// Where the gateway listens, for one that has no address for such calls alone
    #[arg(long, default_value = "127.0.0.1:8080", env = "MODELGATE_LISTEN", value_name = "ADDR")]
    listen: String,
    /// Its admin token
    #[arg(long, env = "MODELGATE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// File with that token
    #[arg(long, env = "MODELGATE_ADMIN_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl AdminArgs {
    fn call(self, call: &str) -> anyhow::Result<()> {
        say(&remote::call(&self.model, call, &self.way.gateway()?)?);
        Ok(())
    }
}

impl WayArgs {
    fn gateway(self) -> anyhow::Result<remote::Gateway> {
        let token = admin_token(self.token.as_ref(), self.token_file.as_deref())?;
        let cache = self.bundle_cache.or_else(bundle_cache_folder);
        let (address, socket) = (self.address.as_deref(), self.socket.as_deref());
        let way = remote::Way::find(address, socket, cache.as_deref(), &self.listen, token.is_some())?;
        Ok(remote::Gateway { way, token })
    }
}

/// `--mode` of `wrap`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WrapMode {
    /// The first dimension of every input and output is the rows.
    Tables,
    /// Each input and output has the shape that the file declares.
    Tensors,
}

impl From<WrapMode> for Mode {
    fn from(mode: WrapMode) -> Self {
        match mode {
            WrapMode::Tables => Self::Tables,
            WrapMode::Tensors => Self::Tensors,
        }
    }
}

impl Cli {
    /// Reads the arguments of this process, and ends it where they are wrong.
    pub fn of_process() -> Self {
        let Arguments { words, notes } = Arguments::of_process();
        Self { renamed: notes, ..Self::parse_from(words) }
    }

    /// Runs the command.
    pub fn run(self) -> ExitCode {
        if !matches!(self.command, Command::Serve(_)) {
            self.renamed.iter().for_each(|note| complain(&format!("warning: {note}")));
        }
        let done = match self.command {
            Command::Serve(args) => serve(ServeArgs { renamed: self.renamed, ..*args }),
            Command::Predict { bundle, all } => predict(&bundle, all),
            Command::Wrap { model, out, name, version, mode, texts } => {
                let mode = mode.map_or(Mode::Auto, Mode::from);
                wrap::wrap(&model, &out, name.as_deref(), version.as_deref(), mode, &texts)
                    .map(|lines| lines.iter().for_each(|line| say(line)))
            }
            Command::Module(command) => module::run(command),
            Command::Check { bundle } => return check(&bundle),
            Command::Inspect { bundle } => inspect(&bundle),
            Command::Precompile { folder } => precompile(&folder),
            Command::Push { bundle, to } => remote::push(&bundle, &to, &mut |line| say(&line)),
            Command::Rollback(args) => args.call("rollback"),
            Command::Promote(args) => args.call("promote"),
            Command::Load(args) => args.call("load"),
            Command::Unload(args) => args.call("unload"),
            Command::State(args) => state(args),
            Command::Healthcheck { address, live } => healthcheck(&address, live),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("error: {error:#}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// A line on standard output; a reader that went away is no failure.
fn say(text: &str) {
    _ = writeln!(io::stdout(), "{text}");
}

/// A line on standard error.
fn complain(text: &str) {
    _ = writeln!(io::stderr(), "{text}");
}

fn serve(args: ServeArgs) -> anyhow::Result<()> {
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

/// A bundle from a folder, or the embedded one.
fn read(path: &Path) -> Result<Bundle, BundleError> {
    if path == Path::new("demo") && !path.exists() { Bundle::demo() } else { Bundle::read(path) }
}

/// Loads one bundle as `serve` would, without its golden examples.
fn load(path: &Path) -> Result<Generation, BundleError> {
    load_with(code_cache(), read(path)?)
}

/// The machine code that this user's gateways keep.
fn code_cache() -> CodeCache {
    let folder = cache_folder();
    folder.and_then(|folder| CodeCache::at(&folder, Trust::Verified).ok()).unwrap_or_else(CodeCache::off)
}

fn load_with(cache: CodeCache, bundle: Bundle) -> Result<Generation, BundleError> {
    let (artifacts, metrics) = means(cache)?;
    Generation::load(bundle, &artifacts, &metrics)
}

/// Loads one bundle as `serve` would, with all that is tried before it serves.
fn load_verified(path: &Path) -> Result<Generation, BundleError> {
    let (artifacts, metrics) = means(code_cache())?;
    let vetted = vet(path, &artifacts)?;
    let artifacts = artifacts.and_code(Arc::clone(&vetted.code));
    Ok(verified::load(&|| read(path), &artifacts, &metrics, vetted.found())?.generation)
}

/// Lets one bundle be loaded by a child, as `serve` would.
fn vet(path: &Path, artifacts: &ArtifactCache) -> Result<Vetted, BundleError> {
    if path == Path::new("demo") && !path.exists() {
        return Ok(Vetted::default());
    }
    let loader = Loader::new(
        LoadingConfig::of_commands(OWN_BINARY.into()),
        artifacts.compiler.cache().folder(),
        Trust::Verified,
    );
    Ok(loader.vet_static(path, artifacts, 1, true)?)
}

/// An empty cache and metrics for one command, to load bundles with.
fn means(cache: CodeCache) -> Result<(ArtifactCache, Metrics), BundleError> {
    let engine = WasmEngine::new(PoolSize::default()).map_err(|error| BundleError::from(format!("{error:#}")))?;
    let metrics = Metrics::new().map_err(|error| BundleError::from(error.to_string()))?;
    Ok((ArtifactCache::new(Compiler::new(engine, cache)), metrics))
}

fn state(args: WayArgs) -> anyhow::Result<()> {
    say(&remote::state(&args.gateway()?)?);
    Ok(())
}

/// The demo's modules are those that come with the gateway.
fn precompile(folder: &Path) -> anyhow::Result<()> {
    let cache = CodeCache::at(folder, Trust::Verified).with_context(|| folder.display().to_string())?;
    load_with(cache, Bundle::demo()?)?;
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!entries.is_empty(), "{}: nothing could be written", folder.display());
    for entry in entries {
        say(&format!("{} {} bytes", entry.path().display(), entry.metadata()?.len()));
    }
    Ok(())
}

fn predict(path: &Path, all: bool) -> anyhow::Result<()> {
    let generation = load(path)?;
    let mut body = Vec::new();
    io::stdin().take(1 << 30).read_to_end(&mut body).context("standard input")?;
    let decoded = decode::rows(&body, generation.inputs(), Keys::Given(&generation.name), generation.policy(false))
        .map_err(|error| anyhow::anyhow!(golden::message(&error)))?;
    let deadline = Instant::now() + generation.limits.deadline;
    let answer = generation
        .run(&mut generation.new_runner(), decoded.batch, deadline)
        .map_err(|error| anyhow::anyhow!(failed(error)))?;
    let text = encode::predictions(&answer, &generation.signature.outputs, decoded.list, all)?;
    say(&String::from_utf8_lossy(&text));
    Ok(())
}

/// A chain's failure in one line, for the bundle's author.
fn failed(error: ChainError) -> String {
    match error {
        ChainError::Invalid(problems) => {
            let problems: Vec<_> = problems
                .into_iter()
                .map(|problem| {
                    let row = problem.row.map(|row| format!("row {row}: ")).unwrap_or_default();
                    let column = problem.column.map(|column| format!("'{column}': ")).unwrap_or_default();
                    format!("{row}{column}{}", problem.message)
                })
                .collect();
            problems.join("\n")
        }
        ChainError::Trap { cause, detail } => format!("a module trapped ({cause}): {detail}"),
        ChainError::Failed(message) | ChainError::Start(message) => message,
    }
}

fn check(path: &Path) -> ExitCode {
    let checked = means(code_cache()).and_then(|(artifacts, metrics)| match vet(path, &artifacts)?.report {
        Some(report) => Ok(Checked {
            rows: report.batching_decision.to_string(),
            proof: proof(report.golden_examples),
            custom: if report.isolation == Isolation::Worker { report.custom_modules } else { Vec::new() },
            takes_model_key: report.takes_model_key,
            name: report.name,
            version: report.version,
        }),
        // Nothing was loaded elsewhere.
        None => {
            verified::load(&|| read(path), &artifacts, &metrics, None).map(|verified| Checked::new(verified.generation))
        }
    });
    let problems = match checked {
        Ok(checked) => {
            if checked.takes_model_key {
                say(&format!("note: {MODEL_COLUMN}"));
            }
            for stage in &checked.custom {
                say(&format!(
                    "note: stage '{stage}' brings its own module, and its instances are kept between requests \
                     (isolation = \"worker\"): the module can hand one client's values to the next. With isolation = \
                     \"request\" in [run] it cannot; the gateway's --isolation-floor request makes that hold for \
                     every bundle"
                ));
            }
            let Checked { name, version, proof, rows, .. } = checked;
            say(&format!("{name} version {version}: {proof}\n  batching {rows}"));
            return ExitCode::SUCCESS;
        }
        Err(error) => error.problems,
    };
    complain(&format!("{}: {} problems", path.display(), problems.len()));
    for problem in problems {
        complain(&format!("- {problem}"));
    }
    ExitCode::FAILURE
}

/// The report of `check` on a good bundle.
struct Checked {
    name: String,
    version: String,
    proof: String,
    /// Whether rows of different requests run together.
    rows: String,
    /// Stages whose own modules keep instances between requests.
    custom: Vec<String>,
    takes_model_key: bool,
}

impl Checked {
    fn new(generation: Generation) -> Self {
        Self {
            rows: generation.batching_decision.to_string(),
            proof: proof(generation.golden.examples.len()),
            takes_model_key: generation.takes_model_key(),
            custom: if generation.isolation == Isolation::Worker { generation.custom_modules } else { Vec::new() },
            name: generation.name,
            version: generation.version,
        }
    }
}

/// The evidence of golden examples: nothing where there are none, and little where there is one.
fn proof(examples: usize) -> String {
    match examples {
        0 => "it loads, but its answers are not verified: it has no golden examples".into(),
        1 => "good as far as one row shows; the only golden example is answered as expected".into(),
        examples => format!("good; {examples} golden examples answered as expected"),
    }
}

fn inspect(path: &Path) -> anyhow::Result<()> {
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

/// A request by hand: an HTTP client would be larger than the rest of this command.
fn healthcheck(address: &str, live: bool) -> anyhow::Result<()> {
    let patience = Duration::from_secs(3);
    let mut target = address
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("expected HOST:PORT, got {address:?}"))?;
    if target.ip().is_unspecified() {
        target.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let path = if live { "/v2/health/live" } else { "/v2/health/ready" };
    let mut stream = TcpStream::connect_timeout(&target, patience).with_context(|| format!("no answer at {target}"))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).with_context(|| format!("no answer from {target}"))?;
    let status = answer.lines().next().unwrap_or_default();
    anyhow::ensure!(status.split(' ').nth(1) == Some("200"), "{target}{path} answered {status:?}");
    Ok(())
}

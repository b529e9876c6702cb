//! The command line.

mod bundles;
mod check;
mod healthcheck;
mod inspect;
mod module;
mod precompile;
mod predict;
mod print;
mod remote;
mod serve;
mod wrap;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use modelgate_onnx::Mode;

use self::print::{complain, say};
use crate::config::{Arguments, Secret, ServeArgs, admin_token, bundle_cache_folder};

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
        #[command(flatten)]
        images: wrap::ImageArgs,
        #[command(flatten)]
        labels: wrap::LabelArgs,
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
            Command::Serve(args) => serve::serve(ServeArgs { renamed: self.renamed, ..*args }),
            Command::Predict { bundle, all } => predict::predict(&bundle, all),
            Command::Wrap { model, out, name, version, mode, texts, images, labels } => {
                let mode = mode.map_or(Mode::Auto, Mode::from);
                wrap::wrap(
                    &model,
                    &out,
                    name.as_deref(),
                    version.as_deref(),
                    mode,
                    &wrap::Around { texts, images, labels },
                )
                .map(|lines| lines.iter().for_each(|line| say(line)))
            }
            Command::Module(command) => module::run(command),
            Command::Check { bundle } => return check::check(&bundle),
            Command::Inspect { bundle } => inspect::inspect(&bundle),
            Command::Precompile { folder } => precompile::precompile(&folder),
            Command::Push { bundle, to } => remote::push(&bundle, &to, &mut |line| say(&line)),
            Command::Rollback(args) => args.call("rollback"),
            Command::Promote(args) => args.call("promote"),
            Command::Load(args) => args.call("load"),
            Command::Unload(args) => args.call("unload"),
            Command::State(args) => state(args),
            Command::Healthcheck { address, live } => healthcheck::healthcheck(&address, live),
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

fn state(args: WayArgs) -> anyhow::Result<()> {
    say(&remote::state(&args.gateway()?)?);
    Ok(())
}

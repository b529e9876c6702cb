//! `modelgate module`: modules in Python, JavaScript and Rust, made by the tools of their languages.
//!
//! Making a component of a Python file takes Python with what the file imports, and likewise for the others, so each
//! language's package has the command that does it, and works without this binary. What is here finds that command,
//! says what to install where it is missing, and keeps a bundle's digest true.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Subcommand, ValueEnum};
use sha2::{Digest, Sha256};

use crate::{bundle::MANIFEST, cli::print::say};

/// A command on a module.
#[derive(Debug, Subcommand)]
pub(super) enum ModuleCommand {
    /// Make a WebAssembly module of a file in Python, JavaScript or TypeScript, or of a crate in Rust
    ///
    /// Where the output's folder has a bundle.toml that names the module, its sha256 there is replaced.
    Build {
        /// The file (`FILE:NAME` where a Python file has several modules), or the crate's folder
        source: PathBuf,
        /// The module [default: the source's name with .wasm, beside a file or in a crate's folder]
        #[arg(short, long)]
        out: Option<PathBuf>,
    },
    /// Make a folder with a first module, its test and a bundle
    New {
        /// The language to write it in
        #[arg(long, value_enum)]
        lang: Language,
        /// The folder; it is made
        folder: PathBuf,
    },
    /// Run a module's own tests on this machine, without a gateway: pytest, node's test runner or cargo
    Test {
        /// The module's folder, or a file with tests
        #[arg(default_value = ".")]
        path: PathBuf,
    },
}

/// The language of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Python, interpreted in the sandbox.
    Python,
    /// JavaScript or TypeScript, interpreted in the sandbox.
    Javascript,
    /// Rust, compiled.
    Rust,
}

/// The files of a new module, with their paths in its folder.
macro_rules! template {
    ($language:literal: $($path:literal),*) => {
        &[
            ("bundle.toml", include_str!("../../../modules/templates/bundle.toml")),
            $(($path, include_str!(concat!("../../../modules/templates/", $language, "/", $path)))),*
        ]
    };
}

impl Language {
    fn template(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Python => template!("python": "mine.py", "test_mine.py", "README.md"),
            Self::Javascript => template!("javascript": "mine.js", "mine.test.js", "package.json", "README.md"),
            Self::Rust => template!("rust": "Cargo.toml", ".cargo/config.toml", "src/lib.rs", "README.md"),
        }
    }

    /// By what a path is, or by what its folder has.
    fn from_path(path: &Path) -> anyhow::Result<Self> {
        let name = path.to_string_lossy();
        let file = name.rsplit_once(':').map_or(&*name, |(file, _)| file);
        match Path::new(file).extension().and_then(|extension| extension.to_str()) {
            Some("py") => Ok(Self::Python),
            Some("js" | "mjs" | "ts" | "mts") => Ok(Self::Javascript),
            _ if path.join("Cargo.toml").exists() => Ok(Self::Rust),
            _ if path.join("package.json").exists() => Ok(Self::Javascript),
            _ if path.is_dir() => Ok(Self::Python),
            _ => bail!("{}: expected a file in Python, JavaScript or TypeScript, or a crate's folder", path.display()),
        }
    }
}

/// Runs the command.
pub(super) fn run(command: ModuleCommand) -> anyhow::Result<()> {
    match command {
        ModuleCommand::Build { source, out } => build(&source, out.as_deref()),
        ModuleCommand::New { lang, folder } => new(lang, &folder),
        ModuleCommand::Test { path } => match Language::from_path(&path)? {
            Language::Python => call(python()?.arg("test").arg(&path)),
            Language::Javascript => call(javascript(&path)?.arg("test").arg(&path)),
            Language::Rust => call(Command::new("cargo").arg("test").current_dir(&path)),
        },
    }
}

fn new(language: Language, folder: &Path) -> anyhow::Result<()> {
    for (path, text) in language.template() {
        let path = folder.join(path);
        ensure!(!path.exists(), "{}: it is there already", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        say(&path.display().to_string());
    }
    say(&format!("Go on with {}", folder.join("README.md").display()));
    Ok(())
}

fn build(source: &Path, out: Option<&Path>) -> anyhow::Result<()> {
    let language = Language::from_path(source)?;
    let out = out.map_or_else(|| default_out(source, language), Path::to_owned);
    match language {
        Language::Python => call(python()?.arg("build").arg(source).arg("--out").arg(&out))?,
        Language::Javascript => call(javascript(source)?.arg("build").arg(source).arg("--out").arg(&out))?,
        Language::Rust => build_crate(source, &out)?,
    }
    renew_digest(&out)
}

fn default_out(source: &Path, language: Language) -> PathBuf {
    if language == Language::Rust {
        let name = source.canonicalize().ok().and_then(|path| path.file_name().map(PathBuf::from));
        return source.join(name.unwrap_or_else(|| "module".into()).with_extension("wasm"));
    }
    // Of FILE.py:NAME, too: all behind the dot is replaced.
    source.with_extension("wasm")
}

/// The command of the Python package: of the environment that is active, or else the first on the path.
fn python() -> anyhow::Result<Command> {
    let active = env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/modelgate-module"));
    let command = active.filter(|path| path.exists()).or_else(|| on_path("modelgate-module"));
    let command = command.context(
        "modelgate-module is missing, which makes modules of Python: `pip install modules/python` of modelgate's sources \
         into the environment that the module is written in, and activate it",
    )?;
    Ok(Command::new(command))
}

/// The command of the npm package: beside the module or in a folder above it, or else the first on the path.
fn javascript(source: &Path) -> anyhow::Result<Command> {
    let from = source.canonicalize().with_context(|| source.display().to_string())?;
    let mut beside = from.ancestors().map(|folder| folder.join("node_modules/.bin/modelgate-module-js"));
    let command = beside.find(|path| path.exists()).or_else(|| on_path("modelgate-module-js"));
    let command = command.context(
        "modelgate-module-js is missing, which makes modules of JavaScript: `npm install --save-dev modules/javascript` of \
         modelgate's sources, in the module's folder",
    )?;
    Ok(Command::new(command))
}

fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.exists())
}

/// Runs it; what it says has been said by itself.
fn call(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| name.clone())?;
    ensure!(status.success(), "{name} failed");
    Ok(())
}

fn build_crate(folder: &Path, out: &Path) -> anyhow::Result<()> {
    let output = Command::new("cargo")
        .args(["build", "--release", "--target", "wasm32-unknown-unknown", "--message-format=json-render-diagnostics"])
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo, of Rust (https://rustup.rs)")?;
    ensure!(
        output.status.success(),
        "cargo failed; if the target is missing: rustup target add wasm32-unknown-unknown"
    );
    let built = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .rfind(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    let built =
        built.context("the crate made no .wasm: its Cargo.toml needs `crate-type = [\"cdylib\"]` under [lib]")?;
    let size = fs::copy(&built, out).with_context(|| out.display().to_string())?;
    say(&format!("{}: {size} bytes", out.display()));
    Ok(())
}

/// Puts the module's digest into a manifest beside it that names it.
fn renew_digest(out: &Path) -> anyhow::Result<()> {
    let manifest = out.with_file_name(MANIFEST);
    let (Ok(text), Some(name)) = (fs::read_to_string(&manifest), out.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let wasm = fs::read(out).with_context(|| out.display().to_string())?;
    let renewed = with_digest(&text, name, &format!("{:x}", Sha256::digest(&wasm)));
    if let Some(renewed) = renewed.filter(|renewed| *renewed != text) {
        fs::write(&manifest, renewed).with_context(|| manifest.display().to_string())?;
        say(&format!("{}: the sha256 of {name} is renewed", manifest.display()));
    }
    Ok(())
}

/// The manifest with another digest for a module, all else left as it is; none if it does not name the module.
fn with_digest(manifest: &str, module: &str, digest: &str) -> Option<String> {
    let mut lines: Vec<String> = manifest.split('\n').map(str::to_owned).collect();
    let is = |line: &str, key: &str| line.split_once('=').is_some_and(|(found, _)| found.trim() == key);
    let named = lines.iter().position(|line| is(line, "module") && line.contains(&format!("\"{module}\"")))?;
    let start = lines[..named].iter().rposition(|line| line.trim_start().starts_with('['))?;
    let end =
        lines[named..].iter().position(|line| line.trim_start().starts_with('[')).map_or(lines.len(), |at| named + at);
    let line = lines[start..end].iter_mut().find(|line| is(line, "sha256"))?;
    let (before, rest) = line.split_once('"')?;
    let (_, after) = rest.split_once('"')?;
    *line = format!("{before}\"{digest}\"{after}");
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_renewed_and_all_else_stays() {
        let manifest = "name = \"x\" # mine\n[[stage]]\nmodule = \"a.wasm\"\nsha256 = \"1\"\n\n[[stage]]\nsha256 = \"2\" # of b\n\
                        module = \"b.wasm\"\nconfig_sha256 = \"3\"\n[golden]\nsha256 = \"4\"\n";
        assert_eq!(with_digest(manifest, "b.wasm", "new"), Some(manifest.replace("\"2\"", "\"new\"")));
        assert_eq!(with_digest(manifest, "a.wasm", "new"), Some(manifest.replace("\"1\"", "\"new\"")));
        assert_eq!(with_digest(manifest, "c.wasm", "new"), None);
    }

    #[test]
    fn a_language_is_known_by_the_file() {
        for (path, language) in [
            ("mine.py", Language::Python),
            ("a/mine.py:row", Language::Python),
            ("mine.ts", Language::Javascript),
            (".", Language::Rust),
        ] {
            assert_eq!(Language::from_path(Path::new(path)).expect(path), language);
        }
        assert!(Language::from_path(Path::new("mine.c")).is_err());
    }
}

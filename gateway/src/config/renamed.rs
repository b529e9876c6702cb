//! Settings and commands that have another name than in 0.1. The old names work until 0.3, and each use is reported.

use std::ffi::{OsStr, OsString};

/// Settings, by their keys in the configuration file: the old name and the new one.
const SETTINGS: [(&str, &str); 5] = [
    ("cache", "bundle_cache"),
    ("on_demand", "lazy_load"),
    ("shipped_code", "precompiled_modules"),
    ("spread_io", "pin_io_threads"),
    ("versions", "version_policy"),
];

/// Commands: the old name and the new one.
const COMMANDS: [(&str, &str); 1] = [("compile", "precompile")];

/// The commands that have `--bundle-cache` besides `serve`, which has every setting.
const OPERATIONS: [&str; 5] = ["load", "promote", "rollback", "state", "unload"];

/// Arguments under the names that they have now.
#[derive(Debug, Default)]
pub struct Arguments {
    /// The arguments, the program's name first.
    pub words: Vec<OsString>,
    /// A sentence for each old name that was used.
    pub notes: Vec<String>,
}

impl Arguments {
    /// Renames the arguments of this process. A variable under an old name becomes a flag, unless the setting is there as a
    /// flag or a variable under its new name.
    pub fn of_process() -> Self {
        Self::new(std::env::args_os(), |name| std::env::var_os(name))
    }

    fn new(words: impl IntoIterator<Item = OsString>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut this = Self { words: words.into_iter().collect(), notes: Vec::new() };
        let Some(command) = this.words.get(1).and_then(|word| word.to_str()).map(str::to_owned) else { return this };
        if let Some((old, new)) = COMMANDS.iter().find(|(old, _)| *old == command) {
            this.words[1] = (*new).into();
            this.note(&format!("modelgate {old}"), &format!("modelgate {new}"));
        }
        let is_taken =
            |setting: &str| command == "serve" || setting == "bundle_cache" && OPERATIONS.contains(&command.as_str());
        for (old, new) in SETTINGS.iter().filter(|(_, new)| is_taken(new)) {
            let is_given = this.has(&flag(new));
            if this.rename(&flag(old), &flag(new)) {
                this.note(&flag(old), &flag(new));
            } else if let Some(value) = variable(&name(old)).filter(|_| !is_given && variable(&name(new)).is_none()) {
                let mut word = OsString::from(flag(new) + "=");
                word.push(value);
                this.words.insert(2, word);
                this.note(&name(old), &name(new));
            }
        }
        this
    }

    /// The words that may be flags, without the command.
    fn flags(&mut self) -> impl Iterator<Item = &mut OsString> {
        self.words.iter_mut().skip(2).take_while(|word| word.as_os_str() != OsStr::new("--"))
    }

    fn has(&mut self, flag: &str) -> bool {
        self.flags().any(|word| value_of(word, flag).is_some())
    }

    fn rename(&mut self, old: &str, new: &str) -> bool {
        let mut is_renamed = false;
        for word in self.flags() {
            if let Some(value) = value_of(word, old) {
                *word = format!("{new}{value}").into();
                is_renamed = true;
            }
        }
        is_renamed
    }

    fn note(&mut self, old: &str, new: &str) {
        self.notes.push(note(old, new));
    }
}

/// A sentence for each key of a configuration file that has an old name.
pub(super) fn notes_of_keys(text: &str) -> Vec<String> {
    let Ok(table) = toml::from_str::<toml::Table>(text) else { return Vec::new() };
    let used = SETTINGS.iter().filter(|(old, _)| table.contains_key(*old));
    used.map(|(old, new)| note(old, new)).collect()
}

fn note(old: &str, new: &str) -> String {
    format!("`{old}` is called `{new}` now; the old name works until 0.3")
}

fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

fn name(key: &str) -> String {
    format!("MODELGATE_{}", key.to_uppercase())
}

/// The rest of a word that is this flag: nothing, or `=` and a value.
fn value_of<'w>(word: &'w OsStr, flag: &str) -> Option<&'w str> {
    let rest = word.to_str()?.strip_prefix(flag)?;
    (rest.is_empty() || rest.starts_with('=')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(words: &[&str], variables: &[(&str, &str)]) -> (String, Vec<String>) {
        let words = ["modelgate"].iter().chain(words).map(OsString::from);
        let variable = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
        let Arguments { words, notes } = Arguments::new(words, variable);
        let words: Vec<_> = words[1..].iter().map(|word| word.to_string_lossy().into_owned()).collect();
        (words.join(" "), notes)
    }

    #[test]
    fn old_flags_and_commands_become_the_new_ones() {
        let (words, notes) = renamed(
            &[
                "serve",
                "b",
                "--spread-io=false",
                "--cache",
                "/c",
                "--shipped-code",
                "/s",
                "--versions=all",
                "--on-demand",
            ],
            &[],
        );
        assert_eq!(
            words,
            "serve b --pin-io-threads=false --bundle-cache /c --precompiled-modules /s --version-policy=all --lazy-load"
        );
        assert_eq!(notes.len(), 5, "{notes:?}");
        assert!(
            notes.iter().any(|note| note.starts_with("`--spread-io` is called `--pin-io-threads` now")),
            "{notes:?}"
        );
        assert_eq!(renamed(&["compile", "/f"], &[]).0, "precompile /f");
        assert_eq!(renamed(&["unload", "m", "--cache", "/c"], &[]).0, "unload m --bundle-cache /c");
    }

    #[test]
    fn old_variables_become_flags_where_nothing_newer_is_set() {
        let old = [("MODELGATE_ON_DEMAND", "false"), ("MODELGATE_CACHE", "/c")];
        let (words, notes) = renamed(&["serve", "b"], &old);
        assert_eq!((words.as_str(), notes.len()), ("serve --lazy-load=false --bundle-cache=/c b", 2));
        assert_eq!(renamed(&["state"], &old).0, "state --bundle-cache=/c");
        assert_eq!(renamed(&["check", "b"], &old).0, "check b");
        assert_eq!(renamed(&["serve", "--lazy-load"], &old[..1]).0, "serve --lazy-load");
        let both = [("MODELGATE_CACHE", "/old"), ("MODELGATE_BUNDLE_CACHE", "/new")];
        assert_eq!(renamed(&["serve", "b"], &both), ("serve b".to_owned(), vec![]));
    }

    #[test]
    fn other_words_stay() {
        let words = ["serve", "b", "--cache-like", "--bundle", "cache", "--", "--cache"];
        assert_eq!(renamed(&words, &[]), (words.join(" "), vec![]));
        assert_eq!(renamed(&[], &[]), (String::new(), vec![]));
    }

    #[test]
    fn old_keys_are_reported() {
        assert_eq!(notes_of_keys("cache = \"/c\"\nlisten = \"x\"").len(), 1);
        assert_eq!(notes_of_keys("bundle_cache = \"/c\""), Vec::<String>::new());
    }
}

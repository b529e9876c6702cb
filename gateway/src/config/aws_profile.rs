//! Profiles in the files that Amazon's tools share: `~/.aws/credentials` and `~/.aws/config`.
//!
//! Keys, region and endpoint are read. What a profile would have to fetch first (another role, a single sign-on, the
//! output of a program) is not.

use std::{collections::HashMap, fs, path::PathBuf};

use anyhow::{Context, ensure};

/// The values of a profile, by the names that the files give them.
pub(super) type Profile = HashMap<String, String>;

/// Ways to credentials that are not gone.
const UNREAD: [&str; 4] = ["role_arn", "sso_session", "sso_start_url", "credential_process"];

/// The profile that `AWS_PROFILE` names, or the default one, which may be missing.
///
/// # Errors
/// A profile that is named and not there, cannot be read, or would have to fetch its keys.
pub(super) fn profile(variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Profile> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let named = set("AWS_PROFILE");
    let name = named.as_deref().unwrap_or("default");
    let home = set("HOME").map(PathBuf::from);
    let path = |name: &str, file: &str| {
        set(name).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(".aws").join(file)))
    };
    // Of what stands in both, the file of keys has the last word.
    let files = [path("AWS_CONFIG_FILE", "config"), path("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
    let mut profile = None::<Profile>;
    for path in files.iter().flatten().filter(|path| path.exists()) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            // Nobody asked for it by name, so it may be somebody else's.
            Err(_) if named.is_none() => continue,
            Err(error) => return Err(error).with_context(|| format!("AWS_PROFILE: {}", path.display())),
        };
        if let Some(found) = section(&text, name) {
            profile.get_or_insert_default().extend(found);
        }
    }
    let Some(profile) = profile else {
        let paths: Vec<_> = files.iter().flatten().map(|path| path.display().to_string()).collect();
        ensure!(named.is_none(), "AWS_PROFILE: there is no profile {name:?} in {}", paths.join(" or "));
        return Ok(Profile::default());
    };
    let unread = UNREAD.iter().find(|key| profile.contains_key(**key));
    if let Some(key) = unread.filter(|_| named.is_some() && !profile.contains_key("aws_access_key_id")) {
        anyhow::bail!("AWS_PROFILE: the profile {name:?} gets its keys by {key}, which is not read; give it keys");
    }
    Ok(profile)
}

/// `key = value` under `[name]` or `[profile name]`. Indented lines belong to a value that is not read.
fn section(text: &str, name: &str) -> Option<Profile> {
    let mut found = None::<Profile>;
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default().trim();
            inside = header.strip_prefix("profile ").unwrap_or(header).trim() == name;
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            let value = value.split(" #").next().unwrap_or_default().trim();
            found.get_or_insert_default().insert(key.trim().to_lowercase(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[default]\nregion = eu-west-1\n\n[profile lab]\nregion=us-west-2 # here\ns3 =\n  addressing_style = path\n\
        endpoint_url = http://minio:9000\n[profile away]\nrole_arn = arn:aws:iam::1:role/x\n";
    const KEYS: &str = "# ours\n[default]\naws_access_key_id = A\naws_secret_access_key = B\n[lab]\nAWS_ACCESS_KEY_ID=C\n\
        aws_secret_access_key = D=+/\naws_session_token = E\n";

    #[test]
    fn a_profile_is_read_from_both_files() {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir(home.path().join(".aws")).expect("made");
        fs::write(home.path().join(".aws/config"), CONFIG).expect("written");
        let keys = home.path().join("keys");
        fs::write(&keys, KEYS).expect("written");
        let read = |name: Option<&str>, keys: &str| {
            profile(&|variable| match variable {
                "HOME" => home.path().to_str().map(str::to_owned),
                "AWS_PROFILE" => name.map(str::to_owned),
                "AWS_SHARED_CREDENTIALS_FILE" => Some(keys.to_owned()),
                _ => None,
            })
        };
        let keys = keys.to_str().expect("text");
        let lab = read(Some("lab"), keys).expect("there");
        for (key, value) in [
            ("region", "us-west-2"),
            ("endpoint_url", "http://minio:9000"),
            ("aws_access_key_id", "C"),
            ("aws_secret_access_key", "D=+/"),
            ("aws_session_token", "E"),
        ] {
            assert_eq!(lab.get(key).map(String::as_str), Some(value), "{key}");
        }
        let default = read(None, keys).expect("there");
        assert_eq!((default["region"].as_str(), default["aws_access_key_id"].as_str()), ("eu-west-1", "A"));
        // A name that is nowhere, and keys that would have to be fetched.
        for (name, words) in [("nobody", "there is no profile"), ("away", "by role_arn")] {
            let error = read(Some(name), keys).expect_err(name);
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
        assert!(profile(&|_| None).expect("no files").is_empty());
    }
}

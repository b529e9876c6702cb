//! A version of a model as a source offers it, before anything of it is loaded.

use std::{cmp::Ordering, path::PathBuf, sync::Arc};

use modelgate_onnx::BoosterForm;

/// A bundle that would be served. Two with the same [`id`](Self::id) would serve the same.
#[derive(Clone, Debug)]
pub struct Release {
    /// The model's name, as requests give it.
    pub model: String,
    /// As the source numbers it.
    pub version: String,
    /// Differs wherever what would be served differs.
    pub id: String,
    /// The source's place in the configuration.
    pub source: usize,
    /// Where its files are.
    pub content: Content,
}

/// Where a release's files are.
#[derive(Clone, Debug)]
pub enum Content {
    /// A folder named on the command line, read as it is.
    Folder(PathBuf),
    /// The bundle that comes with the gateway.
    Demo,
    /// A bundle in a source.
    Bundle {
        /// Its manifest, already read.
        manifest: Arc<[u8]>,
        /// Where the source has its files.
        at: String,
    },
    /// Nothing that can be served: a source wants this version, and it has to be converted first, or mended.
    Unservable {
        /// For people: why, and what to do.
        reason: String,
    },
    /// An ONNX file in a source, or a booster's, without a bundle around it.
    Onnx {
        /// Where the source has it.
        at: String,
        /// Of a booster's file in its place: how it is asked and what it answers.
        booster: Option<BoosterForm>,
    },
}

/// Orders versions as people do: runs of digits by their value, so that 10 comes after 9 and 1.10 after 1.9. A version
/// that goes on with `-` and a letter is a pre-release and comes before the one without, as in Semantic Versioning.
pub fn by_version(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        // Before whatever else the other one may go on with: "1.0-rc1", "1.0", "1.0-2", "1.0.1".
        let order = is_prerelease(right).cmp(&is_prerelease(left));
        if order.is_ne() {
            return order;
        }
        match (left.first(), right.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, y);
                (x, left) = digits(left);
                (y, right) = digits(right);
                let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
                if order.is_ne() {
                    return order;
                }
            }
            (Some(x), Some(y)) if x == y => (left, right) = (&left[1..], &right[1..]),
            // Equal in value but not in writing ("1" and "01"): some order, always the same.
            (None, None) => return a.cmp(b),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// Whether a version's rest says that it comes before the version itself. `-2` does not: many write builds so.
fn is_prerelease(rest: &[u8]) -> bool {
    matches!(rest, [b'-', letter, ..] if letter.is_ascii_alphabetic())
}

/// The leading digits without leading zeros, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|&&byte| byte == b'0').count();
    (&number[zeros..], rest)
}

/// The policy that says which versions of a model are wanted at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// So many of the newest.
    Latest(usize),
    /// Every one.
    All,
    /// The versions of a list.
    Listed(Vec<String>),
}

impl VersionPolicy {
    /// `latest`, `latest:3`, `all`, or versions separated by commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "latest" => Ok(Self::Latest(1)),
            "all" => Ok(Self::All),
            "" => Err("expected latest, latest:N, all, or versions separated by commas, got nothing".into()),
            text => match text.strip_prefix("latest:") {
                Some(count) => match count.parse() {
                    Ok(count) if count > 0 => Ok(Self::Latest(count)),
                    _ => Err(format!("expected latest:N with N of 1 or more, got {text:?}")),
                },
                None => Ok(Self::Listed(text.split(',').map(|version| version.trim().to_owned()).collect())),
            },
        }
    }

    /// The wanted ones of a model's releases, the newest first, and the one that would be next.
    pub fn choose(&self, mut releases: Vec<Release>) -> (Vec<Release>, Option<Release>) {
        releases.sort_by(|a, b| by_version(&b.version, &a.version));
        match self {
            Self::All => {}
            Self::Latest(count) => {
                let others = releases.split_off((*count).min(releases.len()));
                return (releases, others.into_iter().next());
            }
            Self::Listed(versions) => releases.retain(|release| versions.contains(&release.version)),
        }
        (releases, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_people_do() {
        for (older, newer) in [
            ("9", "10"),
            ("1.9", "1.10"),
            ("v2", "v10"),
            ("2", "2.1"),
            ("1-rc1", "1-rc2"),
            ("1", "a"),
            ("1.0-rc1", "1.0"),
            ("1.0-rc1", "1.0.1"),
            ("1.0-rc1", "1.0-2"),
            ("1.0", "1.0-2"),
            ("0.9", "1.0-rc1"),
        ] {
            assert_eq!(by_version(older, newer), Ordering::Less, "{older} {newer}");
            assert_eq!(by_version(newer, older), Ordering::Greater, "{older} {newer}");
        }
        assert_eq!(by_version("3", "3"), Ordering::Equal);
        assert_ne!(by_version("01", "1"), Ordering::Equal);
    }

    #[test]
    fn a_policy_chooses() {
        let release = |version: &str| Release {
            model: "m".into(),
            version: version.into(),
            id: version.into(),
            source: 0,
            content: Content::Demo,
        };
        let chosen = |policy: &str| {
            let releases = ["2", "10", "1"].map(release).to_vec();
            let chosen = VersionPolicy::parse(policy).expect("a policy").choose(releases);
            let (chosen, next) = chosen;
            let version = |release: Release| release.version;
            (chosen.into_iter().map(version).collect::<Vec<_>>().join(" "), next.map(version).unwrap_or_default())
        };
        let pair = |chosen: &str, next: &str| (chosen.to_owned(), next.to_owned());
        assert_eq!(chosen("latest"), pair("10", "2"));
        assert_eq!(chosen("latest:2"), pair("10 2", "1"));
        assert_eq!(chosen("latest:9"), pair("10 2 1", ""));
        assert_eq!(chosen("all"), pair("10 2 1", ""));
        assert_eq!(chosen("1, 2"), pair("2 1", ""));
        for bad in ["", "latest:0", "latest:x"] {
            assert!(VersionPolicy::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Hugging Face's hub of models: what its repositories are called, where their files lie
//! ([`Repository`]), and which of the files make up a model ([`Listing`]).
//!
//! Nothing here fetches anything: the page's worker and the terminal program do that in their own ways.

mod listing;

pub use listing::{Entry, Listing, SMALL_FILES};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The public hub. Another one with the same scheme can take its place.
pub const SITE: &str = "https://huggingface.co";
/// Other names of the public hub in addresses that people paste.
const HOSTS: [&str; 3] = ["huggingface.co", "www.huggingface.co", "hf.co"];
/// Endings of files that can hold weights.
const WEIGHTS: [&str; 5] = [".gguf", ".safetensors", ".bin", ".pt", ".pth"];

/// What people call a model on the hub: `owner/name`, `owner/name@revision`, `owner/name/file.gguf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository {
    /// `owner/name`.
    pub name: String,
    /// A branch, a tag or a commit; `main` where nothing is said.
    pub revision: Option<String>,
    /// The one file that holds the weights, where the repository has several to choose from.
    pub file: Option<String>,
}

impl Repository {
    /// From what a person types or pastes: a name, or an address on `site` or on the public hub.
    ///
    /// # Errors
    /// A sentence when it is neither.
    pub fn parse(text: &str, site: &str) -> Result<Self, String> {
        let text = text.trim();
        match path_on_hub(text, site)? {
            Some(path) => Self::of_path(path, text),
            None => Self::of_name(text),
        }
    }

    /// As [`Repository::parse`], where a text may also be the path of a GGUF file.
    pub fn unless_path(text: &str, site: &str) -> Option<Self> {
        let is_path = text.ends_with(".gguf") && text.matches('/').count() < 2;
        (!is_path).then(|| Self::parse(text, site).ok()).flatten()
    }

    /// Where the list of files is.
    pub fn list_url(&self, site: &str) -> String {
        let revision = encoded(self.revision.as_deref().unwrap_or("main"));
        format!(
            "{site}/api/models/{}/revision/{revision}?blobs=true",
            self.name
        )
    }

    /// Where a file of a commit is; it may answer from another place.
    pub fn file_url(&self, site: &str, commit: &str, file: &str) -> String {
        let path: Vec<_> = file.split('/').map(encoded).collect();
        format!(
            "{site}/{}/resolve/{}/{}",
            self.name,
            encoded(commit),
            path.join("/")
        )
    }

    /// Why there is no list, by the status that the hub answered.
    pub fn refusal(&self, site: &str, status: u16) -> String {
        let (name, host) = (&self.name, host(site));
        match (status, &self.revision) {
            (404, Some(revision)) => format!(
                "{host} has no repository {name} with the revision {revision} (404); check both names"
            ),
            // The public hub answers 401 for what is private and for what does not exist alike.
            (401 | 403 | 404, _) => format!(
                "{host} has no repository {name} that is open to everyone ({status}): check its name. Thimble does not log in; files of a private model can be downloaded in another tab and opened here"
            ),
            (429, _) => {
                format!("{host} has had too many requests from here (429); try again later")
            }
            _ => format!("{host} answered {status} to the question for {name}; try again later"),
        }
    }

    /// `owner/name/…` of an address: `tree` and a revision may follow, or `blob`, a revision and a file.
    fn of_path(path: &str, text: &str) -> Result<Self, String> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(kind @ ("datasets" | "spaces")) = parts.first().copied() {
            return Err(format!(
                "{text} is one of the {kind}, not a model; open a model's page and copy its address"
            ));
        }
        let [owner, name, rest @ ..] = &parts[..] else {
            return Err(no_name(text));
        };
        let (revision, file) = match rest {
            ["tree" | "commit", revision, ..] => (Some(*revision), None),
            ["blob" | "resolve" | "raw", revision, file] => (Some(*revision), Some(*file)),
            _ => (None, None),
        };
        Self::checked(
            owner,
            name,
            revision.map(decoded).filter(|r| r != "main"),
            file.map(decoded).filter(|file| is_weights(file)),
        )
        .ok_or_else(|| no_name(text))
    }

    /// `owner/name`, `@revision` and `/file` behind it where given.
    fn of_name(text: &str) -> Result<Self, String> {
        let parse = || {
            let (owner, rest) = text.split_once('/')?;
            let (name, revision, file) = match rest.split_once('@') {
                // A revision may hold a slash itself, as in refs/pr/1.
                Some((name, tail)) => match tail.rsplit_once('/') {
                    Some((revision, file)) if is_weights(file) => {
                        (name, Some(revision), Some(file))
                    }
                    _ => (name, Some(tail), None),
                },
                None => match rest.split_once('/') {
                    Some((name, file)) => (name, None, Some(file)),
                    None => (rest, None, None),
                },
            };
            if file.is_some_and(|file| !is_weights(file) || file.contains('/')) {
                return None;
            }
            Self::checked(
                owner,
                name,
                revision.map(str::to_owned),
                file.map(str::to_owned),
            )
        };
        parse().ok_or_else(|| no_name(text))
    }

    fn checked(
        owner: &str,
        name: &str,
        revision: Option<String>,
        file: Option<String>,
    ) -> Option<Self> {
        let plain = |word: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !word.is_empty() && !word.starts_with(['-', '.']) && word.chars().all(known)
        };
        let printable = |word: &String| {
            !word.is_empty() && !word.contains("..") && !word.contains(char::is_whitespace)
        };
        let fits = plain(owner) && plain(name) && revision.as_ref().is_none_or(printable);
        fits.then(|| Self {
            name: format!("{owner}/{name}"),
            revision,
            file,
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Repository {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::of_name(&text)
    }
}

impl From<Repository> for String {
    fn from(repository: Repository) -> String {
        repository.to_string()
    }
}

/// `https://huggingface.co` → `huggingface.co`.
pub fn host(site: &str) -> &str {
    site.split_once("://").map_or(site, |(_, host)| host)
}

/// The part of an address behind the hub's own; nothing if the text is no address.
fn path_on_hub<'t>(text: &'t str, site: &str) -> Result<Option<&'t str>, String> {
    let known = |text: &'t str, host: &str| {
        let rest = text.strip_prefix(host)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    };
    if let Some(path) = known(text, site) {
        return Ok(Some(path));
    }
    let scheme = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let path = HOSTS
        .into_iter()
        .find_map(|host| known(scheme.unwrap_or(text), host));
    match (path, scheme) {
        (None, Some(_)) => Err(format!(
            "{text} is no address on {}; paste the address of a model's page there, or write owner/name",
            host(site)
        )),
        (path, _) => Ok(path),
    }
}

fn no_name(text: &str) -> String {
    format!(
        "'{text}' is not the name of a repository; write owner/name, such as HuggingFaceTB/SmolLM2-135M-Instruct"
    )
}

fn is_weights(file: &str) -> bool {
    WEIGHTS.iter().any(|ending| file.ends_with(ending))
}

/// One part of a URL's path, percent-encoded.
fn encoded(part: &str) -> String {
    let mut out = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A part of a URL's path as it was before [`encoded`]; as it is where it never was.
fn decoded(part: &str) -> String {
    let mut out = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = code.and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(out).unwrap_or_else(|_| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: &str) {
        assert_eq!(Repository::parse(text, SITE).unwrap().to_string(), expected);
    }

    #[test]
    fn names_are_read() {
        for name in [
            "owner/name",
            "o-w.n_er/Name-1.5",
            "owner/name@v1.0",
            "owner/name@refs/pr/1",
            "owner/name/model-Q8_0.gguf",
            "owner/name@main/model.gguf",
            "owner/name@refs/pr/1/model.safetensors",
        ] {
            reads(name, name);
        }
        reads("  owner/name\n", "owner/name");
    }

    #[test]
    fn pasted_addresses_are_read() {
        reads("https://huggingface.co/owner/name", "owner/name");
        reads("https://huggingface.co/owner/name/", "owner/name");
        reads("hf.co/owner/name", "owner/name");
        reads("https://huggingface.co/owner/name/tree/main", "owner/name");
        reads(
            "https://huggingface.co/owner/name/discussions/3#top",
            "owner/name",
        );
        reads(
            "https://huggingface.co/owner/name/tree/refs%2Fpr%2F1",
            "owner/name@refs/pr/1",
        );
        reads(
            "https://huggingface.co/owner/name/resolve/v2/a-Q4_0.gguf?download=true",
            "owner/name@v2/a-Q4_0.gguf",
        );
        reads(
            "https://huggingface.co/owner/name/blob/main/README.md",
            "owner/name",
        );
        let mine = Repository::parse("http://127.0.0.1:8/owner/name", "http://127.0.0.1:8");
        assert_eq!(mine.unwrap().to_string(), "owner/name");
    }

    #[test]
    fn what_is_no_name_is_said() {
        for (text, part) in [
            ("gpt2", "owner/name"),
            ("", "owner/name"),
            ("owner/", "owner/name"),
            ("owner/na me", "owner/name"),
            ("../models/tiny", "owner/name"),
            ("owner/name/notes/model.gguf", "owner/name"),
            ("owner/name/README.md", "owner/name"),
            ("owner/name@", "owner/name"),
            ("https://huggingface.co/owner", "owner/name"),
            ("https://huggingface.co/datasets/owner/name", "not a model"),
            ("https://example.org/owner/name", "huggingface.co"),
        ] {
            let sentence = Repository::parse(text, SITE).unwrap_err();
            assert!(sentence.contains(part), "{text}: {sentence}");
        }
    }

    #[test]
    fn a_path_of_a_file_is_no_repository() {
        for path in [
            "tiny.gguf",
            "models/tiny.gguf",
            "../my/model.gguf",
            "smollm2-135m",
        ] {
            assert_eq!(Repository::unless_path(path, SITE), None, "{path}");
        }
        for name in ["owner/name", "owner/name/a.gguf"] {
            assert!(Repository::unless_path(name, SITE).is_some(), "{name}");
        }
    }

    #[test]
    fn addresses_follow_the_hubs_scheme() {
        let repository = Repository::parse("owner/name@refs/pr/1", SITE).unwrap();
        assert_eq!(
            repository.list_url(SITE),
            "https://huggingface.co/api/models/owner/name/revision/refs%2Fpr%2F1?blobs=true"
        );
        assert_eq!(
            repository.file_url(SITE, "0123abc", "a b#.gguf"),
            "https://huggingface.co/owner/name/resolve/0123abc/a%20b%23.gguf"
        );
    }

    #[test]
    fn a_repository_is_a_string_in_json() {
        let repository = Repository::parse("owner/name@v1/a.gguf", SITE).unwrap();
        let json = serde_json::to_string(&repository).unwrap();
        assert_eq!(json, "\"owner/name@v1/a.gguf\"");
        assert_eq!(
            serde_json::from_str::<Repository>(&json).unwrap(),
            repository
        );
        assert!(serde_json::from_str::<Repository>("\"name\"").is_err());
    }
}

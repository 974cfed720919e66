//! The files of a repository, and which of them make up its model.

use super::{Repository, host};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Files beside the weights that say what the model is.
pub const SMALL_FILES: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
    "thimble.json",
];
/// Single weight files and indices of several, the better container first.
const CONTAINERS: [Container; 2] = [
    Container {
        ending: ".safetensors",
        single: "model.safetensors",
        index: "model.safetensors.index.json",
    },
    Container {
        ending: ".bin",
        single: "pytorch_model.bin",
        index: "pytorch_model.bin.index.json",
    },
];
/// Which GGUF to take of several: small and quick first. Whole words of the file's name.
const PREFERRED: [&str; 4] = ["q4_1", "q4_0", "q8_0", "f16"];
/// How many files a sentence names.
const NAMED: usize = 12;

struct Container {
    ending: &'static str,
    single: &'static str,
    index: &'static str,
}

/// What a repository holds at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The commit, in hexadecimal.
    pub commit: String,
    /// Whether its files are only for people who have logged in and agreed to something.
    pub gated: bool,
    /// All files, also those in folders.
    pub files: Vec<Entry>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the repository.
    pub name: String,
    /// Its size, where the hub says it.
    pub bytes: Option<u64>,
    /// Hexadecimal SHA-256, which the hub knows of large files.
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    /// `false`, or how access is granted.
    #[serde(default)]
    gated: Value,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Index {
    /// Tensor → file.
    weight_map: BTreeMap<String, String>,
}

impl Listing {
    /// Reads what the hub answers at [`Repository::list_url`].
    ///
    /// # Errors
    /// A sentence when it is no such list.
    pub fn parse(json: &str) -> Result<Self, String> {
        let answer: Answer = serde_json::from_str(json)
            .map_err(|e| format!("the answer is no list of files: {e}"))?;
        let entry = |file: Sibling| {
            let (lfs_bytes, sha256) = file.lfs.map_or((None, None), |lfs| (lfs.size, lfs.sha256));
            Entry {
                name: file.rfilename,
                bytes: lfs_bytes.or(file.size),
                sha256,
            }
        };
        // Both become names on the visitor's device.
        let hex = |sha: &str| !sha.is_empty() && sha.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex(&answer.sha) {
            return Err(format!("the answer names no commit, but '{}'", answer.sha));
        }
        let inside = |file: &Sibling| {
            let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\\');
            file.rfilename.split('/').all(plain)
        };
        Ok(Self {
            commit: answer.sha,
            gated: !matches!(answer.gated, Value::Null | Value::Bool(false)),
            files: (answer.siblings.into_iter().filter(inside).map(entry)).collect(),
        })
    }

    /// Of files that are somewhere else, such as in a cache.
    pub fn of_names(commit: String, names: impl IntoIterator<Item = String>) -> Self {
        let entry = |name| Entry {
            name,
            bytes: None,
            sha256: None,
        };
        Self {
            commit,
            gated: false,
            files: names.into_iter().map(entry).collect(),
        }
    }

    /// The file that says which weight files there are; [`Listing::choose`] wants its content.
    pub fn index(&self, repository: &Repository) -> Option<&Entry> {
        let container = CONTAINERS
            .iter()
            .find(|c| !self.ending(c.ending).is_empty());
        match &repository.file {
            Some(_) => None,
            None => self.find(container?.index),
        }
    }

    /// The files that make up the model: a GGUF alone; or weights, their index, and what says how to read
    /// them, as far as it is there. `index` is the content of [`Listing::index`].
    ///
    /// # Errors
    /// A sentence when there are no weights, or several to choose from.
    pub fn choose(
        &self,
        repository: &Repository,
        index: Option<&str>,
    ) -> Result<Vec<Entry>, String> {
        let weights = self.weights(repository, index)?;
        let mut chosen = Vec::new();
        if !weights.iter().all(|w| w.name.ends_with(".gguf")) {
            chosen.extend(SMALL_FILES.iter().filter_map(|name| self.find(name)));
            // The index of a single file is of no use.
            chosen.extend(self.index(repository).filter(|_| weights.len() > 1));
        }
        chosen.extend(weights);
        Ok(chosen.into_iter().cloned().collect())
    }

    fn weights(&self, repository: &Repository, index: Option<&str>) -> Result<Vec<&Entry>, String> {
        if let Some(file) = &repository.file {
            let found = self.find(file).map(|file| vec![file]);
            return found.ok_or_else(|| {
                let name = &repository.name;
                format!("{name} has no file {file}; it has {}", self.found())
            });
        }
        let shards = match index {
            Some(index) => self.shards(repository, index),
            None => Ok(vec![]),
        };
        // An index without its files may be left over from an earlier upload.
        if let Ok(shards @ [_, ..]) = shards.as_deref() {
            return Ok(shards.to_vec());
        }
        let mut candidates = vec![];
        for container in &CONTAINERS {
            if let Some(single) = self.find(container.single) {
                return Ok(vec![single]);
            }
            if container.ending == ".safetensors" {
                candidates.extend(self.ending(container.ending));
            }
        }
        shards?;
        candidates.extend(self.ending(".gguf"));
        match &candidates[..] {
            [] => Err(format!(
                "{} has no weights that Thimble reads (.safetensors, pytorch_model.bin or .gguf, not in a folder); it has {}",
                repository.name,
                self.found()
            )),
            [only] => Ok(vec![only]),
            several => preferred(several)
                .map(|best| vec![best])
                .ok_or_else(|| choice(repository, several)),
        }
    }

    /// The weight files that an index names.
    fn shards(&self, repository: &Repository, index: &str) -> Result<Vec<&Entry>, String> {
        let name = &repository.name;
        let index: Index = serde_json::from_str(index)
            .map_err(|e| format!("the index of weights in {name} cannot be read: {e}"))?;
        let files: BTreeSet<_> = index.weight_map.values().collect();
        let missing = |file: &str| {
            format!("{name} is incomplete: its index of weights names {file}, which is not there")
        };
        let find = |file: &String| self.find(file).ok_or_else(|| missing(file));
        files.into_iter().map(find).collect()
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Files outside folders that end so. Parts of other networks (`mmproj`, `adapter_`) are no models.
    fn ending(&self, ending: &str) -> Vec<&Entry> {
        let part = |name: &str| name.starts_with("mmproj") || name.starts_with("adapter_");
        let fits = |name: &str| name.ends_with(ending) && !name.contains('/') && !part(name);
        self.files.iter().filter(|f| fits(&f.name)).collect()
    }

    fn found(&self) -> String {
        let dull = |name: &&str| *name != ".gitattributes";
        let names = self.files.iter().map(|f| f.name.as_str()).filter(dull);
        match listed(&names.collect::<Vec<_>>()) {
            none if none.is_empty() => "no files".to_owned(),
            some => some,
        }
    }
}

impl Repository {
    /// Why the files of a gated repository do not come.
    pub fn gate(&self, site: &str) -> String {
        format!(
            "{} is gated: {} gives its files to people who have logged in and agreed to its terms. Do that in another tab, download the files and open them here as your own model",
            self.name,
            host(site)
        )
    }
}

/// The first preferred format that one file has; nothing if two have it.
fn preferred<'l>(files: &[&'l Entry]) -> Option<&'l Entry> {
    let having = |format: &&str| {
        let of_format = |file: &&&'l Entry| has_word(&file.name.to_lowercase(), format);
        files.iter().filter(of_format).copied().collect::<Vec<_>>()
    };
    let best = PREFERRED
        .iter()
        .map(having)
        .find(|files| !files.is_empty())?;
    (best.len() == 1).then(|| best[0])
}

/// Whether `word` stands in `text` with no letter, digit or underscore beside it.
fn has_word(text: &str, word: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(inner) && !after.is_some_and(inner)
    })
}

fn choice(repository: &Repository, files: &[&Entry]) -> String {
    let names: Vec<_> = files.iter().map(|f| f.name.as_str()).collect();
    let example = Repository {
        file: Some(names[0].to_owned()),
        ..repository.clone()
    };
    format!(
        "{} has several models: {}. Name the one you want, such as {example}",
        repository.name,
        listed(&names)
    )
}

fn listed(names: &[&str]) -> String {
    let first = names.iter().take(NAMED).copied().collect::<Vec<_>>();
    match names.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;

//! A repository of the hub: which of its files are the model. And a record of what a model's files are, kept on this
//! device.

use super::opfs::Folder;
use super::{Failure, Files, Report, absolute, describe, download, fetch, hash, key, stored};
use crate::protocol::{Place, Remote, WebFile};
use hub::{Entry, Listing, Repository};
use serde::{Deserialize, Serialize};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

/// How a record's name ends.
const ENDING: &str = ".repository";

/// What is known of a model without the network.
#[derive(Serialize, Deserialize)]
pub struct Record {
    pub remote: Remote,
    /// The catalog's, or what was chosen of a repository, at one commit.
    pub files: Vec<WebFile>,
    /// What they were before, as long as that is kept too.
    #[serde(default)]
    before: Vec<WebFile>,
}

/// The files of a repository: from this device if all of them are there, else by the hub's list of now.
pub async fn open(
    remote: &Remote,
    repository: &Repository,
    site: &str,
    folder: Option<&Folder>,
    report: &Report<'_>,
) -> Result<Files, Failure> {
    let known = match folder {
        Some(folder) => Record::read(folder, remote).await,
        None => None,
    };
    if let (Some(folder), Some(known)) = (folder, known)
        && let Some(files) = known.stored(folder).await
    {
        known.replace(folder).await;
        return Ok(files);
    }
    let files = choose(repository, site, folder, report).await?;
    if let Some(folder) = folder {
        let mut record = Record::new(remote, &files);
        record.remote.bytes = files.iter().map(|file| file.bytes).sum();
        record.replace(folder).await;
    }
    fetch(&files, folder, report).await
}

/// Asks the hub what there is, and chooses the files that make up the model.
async fn choose(
    repository: &Repository,
    site: &str,
    folder: Option<&Folder>,
    report: &Report<'_>,
) -> Result<Vec<WebFile>, Failure> {
    let listing = list(repository, site, report).await?;
    if listing.gated {
        return Err(repository.gate(site).into());
    }
    let on_web = |entry: &Entry| WebFile {
        url: repository.file_url(site, &listing.commit, &entry.name),
        name: entry.name.clone(),
        bytes: entry.bytes,
        sha256: entry.sha256.clone(),
    };
    let index = match listing.index(repository) {
        Some(entry) => {
            let silent = report.with(&|_, _, _| ());
            let files = fetch(&[on_web(entry)], folder, &silent).await?;
            Some(text(&files[0].1).await?)
        }
        None => None,
    };
    let chosen = listing.choose(repository, index.as_deref())?;
    Ok(chosen.iter().map(on_web).collect())
}

async fn list(
    repository: &Repository,
    site: &str,
    report: &Report<'_>,
) -> Result<Listing, Failure> {
    let url = repository.list_url(site);
    let what = format!(
        "the list of files of {} on {}",
        repository.name,
        hub::host(site)
    );
    let response = download::request(&what, &url, 0, report).await?;
    if !response.ok() {
        return Err(repository.refusal(site, response.status()).into());
    }
    let failed = |e| format!("{what} could not be read ({}); try again", describe(&e));
    let text = JsFuture::from(response.text().map_err(failed)?).await;
    let text = text.map_err(failed)?.as_string().unwrap_or_default();
    Ok(Listing::parse(&text).map_err(|problem| format!("{what} cannot be read: {problem}"))?)
}

async fn text(blob: &Blob) -> Result<String, String> {
    let text = JsFuture::from(blob.text()).await.map_err(|e| {
        format!(
            "a file could not be read back from this device ({})",
            describe(&e)
        )
    })?;
    Ok(text.as_string().unwrap_or_default())
}

impl Record {
    /// The record of a model.
    pub async fn read(folder: &Folder, remote: &Remote) -> Option<Self> {
        let text = folder.read(&name(remote)).await?;
        serde_json::from_str(&text).ok()
    }

    /// The records of all repositories on the hub `site`.
    pub async fn all(folder: &Folder, site: &str) -> Vec<Self> {
        let mut records = Vec::new();
        for name in folder.names().await.iter().filter(|n| n.ends_with(ENDING)) {
            let text = folder.read(name).await.unwrap_or_default();
            records.extend(serde_json::from_str::<Self>(&text));
        }
        records.retain(
            |r: &Self| matches!(&r.remote.place, Place::Hub { site: its, .. } if its == site),
        );
        records
    }

    /// Its files, if this device has all of them.
    async fn stored(&self, folder: &Folder) -> Option<Files> {
        let mut files = Vec::new();
        for file in &self.files {
            files.push((file.name().to_owned(), stored(file, folder).await?));
        }
        Some(files)
    }

    /// What is known of a model from now on.
    pub fn new(remote: &Remote, files: &[WebFile]) -> Self {
        Self {
            remote: remote.clone(),
            files: files.to_vec(),
            before: vec![],
        }
    }

    /// Takes the place of an older record. Files of another list are deleted when this one has been opened twice: until
    /// then a browser may still keep the page that knows them. Where it keeps nothing, the next visit begins anew.
    pub async fn replace(mut self, folder: &Folder) {
        if let Some(old) = Self::read(folder, &self.remote).await {
            let is_same = old.files == self.files;
            if is_same && old.before.is_empty() {
                return;
            }
            self.before = if is_same { vec![] } else { old.files };
            let is_needed = |file| self.files.contains(file) || self.before.contains(file);
            for file in old.before.iter().filter(|file| !is_needed(file)) {
                folder.remove(&key(file)).await;
            }
        }
        let json = serde_json::to_string(&self).expect("a record is plain data");
        let _ = folder.write(&name(&self.remote), &json).await;
    }
}

fn name(remote: &Remote) -> String {
    let place = match &remote.place {
        // Two pages of one site may each have a model of this name.
        Place::Files { .. } => absolute(&remote.id),
        Place::Hub { repository, site } => format!("{site}\n{repository}"),
    };
    hash(&place) + ENDING
}

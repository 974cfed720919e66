//! A repository of the hub: which of its files are the model, and a record of that on this device.

use super::opfs::Folder;
use super::{Failure, Files, Report, WebFile, describe, download, fetch, hash, key, stored};
use crate::protocol::{Place, Remote};
use hub::{Entry, Listing, Repository};
use serde::{Deserialize, Serialize};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

/// How a record's name ends.
const ENDING: &str = ".repository";

/// What is known of a repository without the network.
#[derive(Serialize, Deserialize)]
pub struct Record {
    pub remote: Remote,
    /// What was chosen of it, at one commit.
    pub files: Vec<WebFile>,
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
        Some(folder) => Record::read(folder, repository, site).await,
        None => None,
    };
    if let (Some(folder), Some(known)) = (folder, &known)
        && let Some(files) = known.stored(folder).await
    {
        return Ok(files);
    }
    let files = choose(repository, site, folder, report).await?;
    let mut record = Record {
        remote: remote.clone(),
        files,
    };
    record.remote.bytes = record.files.iter().map(|file| file.bytes).sum();
    if let Some(folder) = folder {
        // What belongs to an older commit is of no use any more.
        for old in known.into_iter().flat_map(|known| known.files) {
            if !record.files.contains(&old) {
                folder.remove(&key(&old)).await;
            }
        }
        record.write(folder, repository, site).await;
    }
    fetch(&record.files, folder, report).await
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
    /// The record of a repository.
    pub async fn read(folder: &Folder, repository: &Repository, site: &str) -> Option<Self> {
        let text = folder.read(&name(repository, site)).await?;
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
            files.push((file.name.clone(), stored(file, folder).await?));
        }
        Some(files)
    }

    /// Where the browser keeps nothing, the next visit asks the hub again.
    async fn write(&self, folder: &Folder, repository: &Repository, site: &str) {
        let json = serde_json::to_string(self).expect("a record is plain data");
        let _ = folder.write(&name(repository, site), &json).await;
    }
}

fn name(repository: &Repository, site: &str) -> String {
    hash(&format!("{site}\n{repository}")) + ENDING
}

//! Models on this device: downloaded once, piece by piece, into the browser's private file system
//! (OPFS), and opened from there without the network. Runs in the worker.
//!
//! A file is two entries of one folder: `KEY`, its bytes, and `KEY.whole`, which is empty and there
//! only once `KEY` is complete and checked. An interrupted download leaves `KEY`; the next one asks
//! the server for the rest. Nothing of a file ever passes through wasm memory but the checksum's pieces.
//! A model has a third entry, which says what its files are: so a repository of the hub opens without the hub, and
//! the files of a version that is gone are deleted.

mod download;
mod opfs;
mod repository;

use crate::protocol::{Offer, Phase, Place, Remote, WebFile};
use js_sys::{ArrayBuffer, Uint8Array};
use opfs::Folder;
use repository::Record;
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Blob, DedicatedWorkerGlobalScope, Response, Url};

/// Where the page's catalog lies.
const CATALOG: &str = "models/catalog.json";
/// Bytes that the checksum reads at a time.
const PIECE_BYTES: f64 = 4e6;

/// Why there is no model.
#[derive(Debug)]
pub enum Failure {
    /// As asked.
    Stopped,
    /// What is wrong, where, and what to do.
    Message(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

/// Whom a load tells how it goes.
pub struct Report<'a> {
    /// Phase, bytes so far, bytes in all where known.
    pub progress: &'a dyn Fn(Phase, u64, Option<u64>),
    /// Something worth knowing.
    pub note: &'a dyn Fn(&str),
    /// Whether to give up.
    pub stopped: &'a dyn Fn() -> bool,
    /// Ends a fetch that waits.
    pub abort: AbortSignal,
}

impl Report<'_> {
    /// The same with another view of the progress.
    fn with<'b>(&'b self, progress: &'b dyn Fn(Phase, u64, Option<u64>)) -> Report<'b> {
        Report {
            progress,
            note: self.note,
            stopped: self.stopped,
            abort: self.abort.clone(),
        }
    }
}

/// Files by their names.
pub type Files = Vec<(String, Blob)>;

/// The model's files: from this device, or else from the network and then kept.
///
/// # Errors
/// A sentence when the network, the server, or the file is not what it should be. What was downloaded
/// is kept, and continued from by the next call.
pub async fn open(remote: &Remote, report: &Report<'_>) -> Result<Files, Failure> {
    let folder = Folder::open().await;
    if folder.is_none() {
        (report.note)(
            "This browser does not let the page keep files: the model is held in memory and downloaded again at the next visit.",
        );
    }
    match &remote.place {
        Place::Files { files } => {
            let opened = fetch(files, folder.as_ref(), report).await?;
            if let Some(folder) = &folder {
                Record::new(remote, files).replace(folder).await;
            }
            Ok(opened)
        }
        Place::Hub { repository, site } => {
            repository::open(remote, repository, site, folder.as_ref(), report).await
        }
    }
}

/// Deletes what is kept of a file that turned out to be none of a model.
pub async fn discard(remote: &Remote, file: &str) {
    let Some(folder) = Folder::open().await else {
        return;
    };
    for kept in files_of(remote, &folder).await {
        if kept.name() == file {
            folder.remove(&key(&kept)).await;
        }
    }
}

/// What was found out at an earlier visit about the files of this fingerprint, as JSON.
pub async fn recall(fingerprint: &str, what: &str) -> Option<String> {
    let name = format!("{fingerprint}.{what}");
    Folder::open().await?.read(&name).await
}

/// Keeps what was found out. Where the browser does not let us, it is found out again.
pub async fn remember(fingerprint: &str, what: &str, json: &str) {
    if let Some(folder) = Folder::open().await {
        folder.write(&format!("{fingerprint}.{what}"), json).await;
    }
}

/// Deletes all models from this device.
pub async fn forget() {
    Folder::delete().await;
}

/// Begins to fetch the catalog, for [`catalog`].
pub fn fetch_catalog() -> JsFuture {
    scope().fetch_with_str(&absolute(CATALOG)).into()
}

/// The models of the catalog, and whether each is on this device. Repositories are those of the hub `site`.
///
/// # Errors
/// A sentence when the catalog cannot be read.
pub async fn catalog(fetched: JsFuture, site: &str) -> Result<Vec<Offer>, String> {
    let problem = |what: &str| {
        format!(
            "The list of models ({CATALOG}) {what}. You can still open a model file of your own."
        )
    };
    let response = fetched
        .await
        .map_err(|_| problem("could not be fetched: the network or the server is not there"))?;
    let response: Response = response.unchecked_into();
    if !response.ok() {
        return Err(problem(&format!(
            "could not be fetched: the server answered {}",
            response.status()
        )));
    }
    let text = match response.text() {
        Ok(text) => JsFuture::from(text).await.ok().and_then(|t| t.as_string()),
        Err(_) => None,
    };
    let models: Vec<Remote> = serde_json::from_str(&text.unwrap_or_default())
        .map_err(|e| problem(&format!("cannot be read: {e}")))?;
    let folder = Folder::open().await;
    let mut offers = Vec::new();
    for mut model in models {
        if let Place::Hub { site: its, .. } = &mut model.place {
            site.clone_into(its);
        }
        let stored = match &folder {
            Some(folder) => is_stored(&files_of(&model, folder).await, folder).await,
            None => false,
        };
        offers.push(Offer { model, stored });
    }
    Ok(offers)
}

/// The repositories of the hub `site` that are on this device, by name.
pub async fn repositories(site: &str) -> Vec<Offer> {
    let mut offers = Vec::new();
    let Some(folder) = Folder::open().await else {
        return offers;
    };
    for record in Record::all(&folder, site).await {
        if is_stored(&record.files, &folder).await {
            offers.push(Offer {
                model: record.remote,
                stored: true,
            });
        }
    }
    offers.sort_by(|a, b| a.model.name.cmp(&b.model.name));
    offers
}

/// The files of a model as far as this device knows them.
async fn files_of(remote: &Remote, folder: &Folder) -> Vec<WebFile> {
    match &remote.place {
        Place::Files { files } => files.clone(),
        Place::Hub { .. } => {
            let record = Record::read(folder, remote).await;
            record.map_or(vec![], |record| record.files)
        }
    }
}

async fn is_stored(files: &[WebFile], folder: &Folder) -> bool {
    for file in files {
        if stored(file, folder).await.is_none() {
            return false;
        }
    }
    !files.is_empty()
}

/// A file that is on this device, complete and checked.
async fn stored(file: &WebFile, folder: &Folder) -> Option<Blob> {
    let kept = folder.whole(&key(file)).await?;
    let fits = file.bytes.is_none_or(|bytes| kept.size() as u64 == bytes);
    fits.then(|| kept.into())
}

/// Each file from this device, or else from the network and then kept. Progress is over all of them.
async fn fetch(
    files: &[WebFile],
    folder: Option<&Folder>,
    report: &Report<'_>,
) -> Result<Files, Failure> {
    let total = files.iter().map(|file| file.bytes).sum::<Option<u64>>();
    let mut blobs = Vec::new();
    let mut fresh = Vec::new();
    let mut before = 0_u64;
    for file in files {
        let kept = match folder {
            Some(folder) => stored(file, folder).await,
            None => None,
        };
        let blob = match kept {
            Some(blob) => blob,
            None => {
                let progress = |phase: Phase, done: u64, of: Option<u64>| {
                    // The server may know the size of a single file better than its list.
                    let total = total.or(of.filter(|_| files.len() == 1));
                    (report.progress)(phase, before + done, total);
                };
                let report = report.with(&progress);
                let blob = download::fetch(file, &key(file), folder, &report).await?;
                fresh.push((file, blob.clone()));
                blob
            }
        };
        before += blob.size() as u64;
        blobs.push((file.name().to_owned(), blob));
    }
    check_all(&fresh, folder, report).await?;
    Ok(blobs)
}

/// Marks files as whole that are what they should be, and deletes the first that is not.
async fn check_all(
    files: &[(&WebFile, Blob)],
    folder: Option<&Folder>,
    report: &Report<'_>,
) -> Result<(), Failure> {
    let with_sum = |file: &WebFile, blob: &Blob| match file.sha256 {
        Some(_) => blob.size() as u64,
        None => 0,
    };
    let total: u64 = files.iter().map(|(file, blob)| with_sum(file, blob)).sum();
    let mut before = 0_u64;
    for (file, blob) in files {
        let progress =
            |phase: Phase, done: u64, _| (report.progress)(phase, before + done, Some(total));
        if let Err(failure) = check(file, blob, &report.with(&progress)).await {
            if let (Some(folder), Failure::Message(_)) = (folder, &failure) {
                folder.remove(&key(file)).await;
            }
            return Err(failure);
        }
        if let Some(folder) = folder
            && folder.size(&key(file)).await == Some(blob.size() as u64)
        {
            folder.mark_whole(&key(file)).await;
        }
        before += with_sum(file, blob);
    }
    Ok(())
}

/// Compares size and checksum with what the list promises.
async fn check(file: &WebFile, blob: &Blob, report: &Report<'_>) -> Result<(), Failure> {
    let size = blob.size() as u64;
    if let Some(expected) = file.bytes
        && size != expected
    {
        return Err(format!(
            "{} has {size} bytes where the list promises {expected}: the server holds another file. It was deleted here; try again later",
            file.url
        )
        .into());
    }
    let Some(expected) = &file.sha256 else {
        return Ok(());
    };
    let mut hasher = Sha256::new();
    let mut at = 0.0;
    while at < blob.size() {
        if (report.stopped)() {
            return Err(Failure::Stopped);
        }
        (report.progress)(Phase::Checking, at as u64, Some(size));
        hasher.update(read(blob, at, at + PIECE_BYTES).await?);
        at += PIECE_BYTES;
    }
    let got = format!("{:x}", hasher.finalize());
    if got == expected.to_lowercase() {
        return Ok(());
    }
    Err(format!("{} arrived damaged: its SHA-256 is {got} instead of {expected}. It was deleted; load it again", file.url).into())
}

async fn read(blob: &Blob, start: f64, end: f64) -> Result<Vec<u8>, String> {
    let failed = |e: JsValue| {
        format!(
            "the downloaded model could not be read back from this device ({})",
            describe(&e)
        )
    };
    let piece = blob
        .slice_with_f64_and_f64(start, end.min(blob.size()))
        .map_err(failed)?;
    let buffer: ArrayBuffer = JsFuture::from(piece.array_buffer())
        .await
        .map_err(failed)?
        .unchecked_into();
    Ok(Uint8Array::new(&buffer).to_vec())
}

/// Another address, size or checksum is another file.
fn key(file: &WebFile) -> String {
    hash(&format!(
        "{}\n{:?}\n{:?}",
        absolute(&file.url),
        file.bytes,
        file.sha256
    ))
}

/// A short name for anything.
fn hash(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))[..24].to_owned()
}

/// The worker's script lies beside the page.
fn absolute(url: &str) -> String {
    Url::new_with_base(url, &scope().location().href())
        .map_or_else(|_| url.to_owned(), |u| u.href())
}

fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// What a JavaScript exception says.
pub fn describe(e: &JsValue) -> String {
    let text = |name: &str| {
        js_sys::Reflect::get(e, &name.into())
            .ok()
            .and_then(|v| v.as_string())
    };
    text("message")
        .filter(|m| !m.is_empty())
        .or_else(|| text("name"))
        .unwrap_or_else(|| format!("{e:?}"))
}

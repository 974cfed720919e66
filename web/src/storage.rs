//! Models on this device: downloaded once, piece by piece, into the browser's private file system
//! (OPFS), and opened from there without the network. Runs in the worker.
//!
//! A model is two entries of one folder: `KEY`, its bytes, and `KEY.whole`, which is empty and there
//! only once `KEY` is complete and checked. An interrupted download leaves `KEY`; the next one asks
//! the server for the rest. Nothing of a file ever passes through wasm memory but the checksum's pieces.

mod download;
mod opfs;

use crate::protocol::{Offer, Phase, Remote};
use js_sys::{ArrayBuffer, Uint8Array};
use opfs::Folder;
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

/// The model's bytes: from this device, or else from the network and then kept.
///
/// # Errors
/// A sentence when the network, the server, or the file is not what it should be. What was downloaded
/// is kept, and continued from by the next call.
pub async fn open(remote: &Remote, report: &Report<'_>) -> Result<Blob, Failure> {
    let folder = Folder::open().await;
    let key = key(remote);
    if let Some(folder) = &folder
        && let Some(file) = folder.whole(&key).await
        && remote.bytes.is_none_or(|bytes| file.size() as u64 == bytes)
    {
        return Ok(file.into());
    }
    if folder.is_none() {
        (report.note)(
            "This browser does not let the page keep files: the model is held in memory and downloaded again at the next visit.",
        );
    }
    let blob = download::fetch(remote, &key, folder.as_ref(), report).await?;
    if let Err(failure) = check(remote, &blob, report).await {
        if let (Some(folder), Failure::Message(_)) = (&folder, &failure) {
            folder.remove(&key).await;
        }
        return Err(failure);
    }
    if let Some(folder) = &folder
        && folder.size(&key).await == Some(blob.size() as u64)
    {
        folder.mark_whole(&key).await;
    }
    Ok(blob)
}

/// Deletes what is kept of a model that turned out to be no model.
pub async fn discard(remote: &Remote) {
    if let Some(folder) = Folder::open().await {
        folder.remove(&key(remote)).await;
    }
}

/// Deletes all models from this device.
pub async fn forget() {
    Folder::delete().await;
}

/// The models of the catalog, and whether each is on this device.
///
/// # Errors
/// A sentence when the catalog cannot be read.
pub async fn catalog() -> Result<Vec<Offer>, String> {
    let problem = |what: &str| {
        format!(
            "The list of models ({CATALOG}) {what}. You can still open a model file of your own."
        )
    };
    let response = JsFuture::from(scope().fetch_with_str(&absolute(CATALOG)))
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
    for model in models {
        let stored = match &folder {
            Some(folder) => folder.whole(&key(&model)).await.is_some(),
            None => false,
        };
        offers.push(Offer { model, stored });
    }
    Ok(offers)
}

/// Compares size and checksum with what the catalog promises.
async fn check(remote: &Remote, blob: &Blob, report: &Report<'_>) -> Result<(), Failure> {
    let size = blob.size() as u64;
    if let Some(expected) = remote.bytes
        && size != expected
    {
        return Err(format!(
            "{} has {size} bytes where the catalog promises {expected}: the server holds another file. It was deleted here; try again later",
            remote.url
        )
        .into());
    }
    let Some(expected) = &remote.sha256 else {
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
    Err(format!("{} arrived damaged: its SHA-256 is {got} instead of {expected}. It was deleted; load it again", remote.url).into())
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

/// Another address, size or checksum is another model.
fn key(remote: &Remote) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!(
        "{}\n{:?}\n{:?}",
        absolute(&remote.url),
        remote.bytes,
        remote.sha256
    ));
    format!("{:x}", hasher.finalize())[..24].to_owned()
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

//! A file from the network to this device, continued where an earlier download was torn.

use super::opfs::Folder;
use super::{Failure, Report, WebFile, absolute, describe, scope};
use crate::format;
use crate::protocol::Phase;
use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, FileSystemReadWriteOptions, FileSystemSyncAccessHandle, ReadableStreamDefaultReader,
    Request, RequestCache, RequestInit, Response,
};

const NO_ROOM: &str = "There is no room left on this device to keep the model: it is held in memory and downloaded again at the next visit.";

/// Where bytes go.
enum Sink {
    /// A file, and its length so far.
    File {
        writer: FileSystemSyncAccessHandle,
        bytes: u64,
    },
    /// Parts of a `Blob`; the browser moves large ones out of memory.
    Parts { parts: Array, bytes: u64 },
}

/// Downloads what is missing of a file.
pub async fn fetch(
    wanted: &WebFile,
    key: &str,
    folder: Option<&Folder>,
    report: &Report<'_>,
) -> Result<Blob, Failure> {
    let mut sink = Sink::open(key, folder, report).await?;
    let outcome = fill(&mut sink, wanted, key, folder, report).await;
    // The file opens for others only once it is closed, also after a failure.
    if let Sink::File { writer, .. } = &sink {
        let _ = writer.flush();
        writer.close();
    }
    outcome?;
    match (&sink, folder) {
        (Sink::File { .. }, Some(folder)) => {
            let file = folder.file(key).await;
            file.map(Into::into).ok_or_else(|| {
                "the browser lost the file that was downloaded; load it again"
                    .to_owned()
                    .into()
            })
        }
        (Sink::Parts { parts, .. }, _) => Ok(Blob::new_with_blob_sequence(parts).map_err(held)?),
        (Sink::File { .. }, None) => unreachable!("a file lies in the folder"),
    }
}

async fn fill(
    sink: &mut Sink,
    wanted: &WebFile,
    key: &str,
    folder: Option<&Folder>,
    report: &Report<'_>,
) -> Result<(), Failure> {
    if wanted.bytes.is_some_and(|total| sink.bytes() == total) {
        return Ok(());
    }
    let response = ask(sink, wanted, report).await?;
    let total = wanted
        .bytes
        .or_else(|| content_length(&response).map(|rest| rest + sink.bytes()));
    let body = response
        .body()
        .ok_or_else(|| format!("{} has no content", wanted.url))?;
    let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
    (report.progress)(Phase::Downloading, sink.bytes(), total);
    while let Some(chunk) = next(&reader, sink.bytes(), total, report).await? {
        if sink.write(&chunk).is_err() {
            sink.give_up_file(key, folder).await?;
            (report.note)(NO_ROOM);
            sink.write(&chunk)?;
        }
        (report.progress)(Phase::Downloading, sink.bytes(), total);
    }
    match total {
        Some(total) if sink.bytes() < total => Err(torn(sink.bytes(), Some(total)).into()),
        _ => Ok(()),
    }
}

/// Asks for the bytes after those that are there. Where the server cannot do that, from the first.
async fn ask(sink: &mut Sink, wanted: &WebFile, report: &Report<'_>) -> Result<Response, Failure> {
    let response = request(&wanted.url, &wanted.url, sink.bytes(), report).await?;
    match response.status() {
        206 if first_byte(&response).is_none_or(|first| first == sink.bytes()) => Ok(response),
        200 => {
            sink.clear()?;
            Ok(response)
        }
        // What is there is longer than the file, or cannot be continued.
        206 | 416 if sink.bytes() > 0 => {
            sink.clear()?;
            let response = request(&wanted.url, &wanted.url, 0, report).await?;
            if response.status() == 200 {
                Ok(response)
            } else {
                Err(refused(&wanted.url, &response))
            }
        }
        _ => Err(refused(&wanted.url, &response)),
    }
}

/// Asks for `url` from byte `from` on. `what` is what a sentence calls it.
pub async fn request(
    what: &str,
    url: &str,
    from: u64,
    report: &Report<'_>,
) -> Result<Response, Failure> {
    let init = RequestInit::new();
    init.set_signal(Some(&report.abort));
    // The file is kept by us; a second copy in the browser's cache would be waste.
    init.set_cache(RequestCache::NoStore);
    let failed = |e: JsValue| {
        format!(
            "{url} is not an address that can be fetched ({})",
            describe(&e)
        )
    };
    let request = Request::new_with_str_and_init(&absolute(url), &init).map_err(failed)?;
    if from > 0 {
        request
            .headers()
            .set("Range", &format!("bytes={from}-"))
            .map_err(failed)?;
    }
    match JsFuture::from(scope().fetch_with_request(&request)).await {
        Ok(response) => Ok(response.unchecked_into()),
        Err(_) if (report.stopped)() => Err(Failure::Stopped),
        Err(_) if !scope().navigator().on_line() => Err(format!(
            "{what} could not be fetched: this device is offline. Connect it and try again"
        )
        .into()),
        Err(e) => Err(format!(
            "{what} could not be fetched ({}); check the network and try again. Another site must allow this page to read it (CORS)",
            describe(&e)
        )
        .into()),
    }
}

/// The next piece of the body; `None` at its end.
async fn next(
    reader: &ReadableStreamDefaultReader,
    done: u64,
    total: Option<u64>,
    report: &Report<'_>,
) -> Result<Option<Uint8Array>, Failure> {
    let result = JsFuture::from(reader.read()).await;
    if (report.stopped)() {
        // The signal has ended the transfer.
        return Err(Failure::Stopped);
    }
    let result = result.map_err(|_| torn(done, total))?;
    let value = Reflect::get(&result, &"value".into()).unwrap_or(JsValue::UNDEFINED);
    Ok(value.dyn_into().ok())
}

impl Sink {
    async fn open(
        key: &str,
        folder: Option<&Folder>,
        report: &Report<'_>,
    ) -> Result<Self, Failure> {
        let Some(folder) = folder else {
            return Ok(Self::Parts {
                parts: Array::new(),
                bytes: 0,
            });
        };
        match folder.writer(key).await {
            Ok(writer) => {
                let bytes = writer.get_size().map_or(0, |size| size as u64);
                Ok(Self::File { writer, bytes })
            }
            Err(e) if name(&e) == "NoModificationAllowedError" => {
                Err("another tab of this browser is downloading the same model; wait until it is done, then try again".to_owned().into())
            }
            Err(_) => {
                (report.note)(NO_ROOM);
                Ok(Self::Parts { parts: Array::new(), bytes: 0 })
            }
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::File { bytes, .. } | Self::Parts { bytes, .. } => *bytes,
        }
    }

    /// Appends; an error means that nothing of `chunk` counts.
    fn write(&mut self, chunk: &Uint8Array) -> Result<(), String> {
        let length = chunk.byte_length();
        match self {
            Self::File { writer, bytes } => {
                let at = FileSystemReadWriteOptions::new();
                at.set_at(*bytes as f64);
                let written = writer
                    .write_with_js_u8_array_and_options(chunk, &at)
                    .map_err(|e| describe(&e))?;
                if written as u32 != length {
                    return Err(format!("{written} of {length} bytes"));
                }
            }
            Self::Parts { parts, .. } => {
                let part = Blob::new_with_u8_array_sequence(&Array::of1(chunk)).map_err(held)?;
                parts.push(&part);
            }
        }
        match self {
            Self::File { bytes, .. } | Self::Parts { bytes, .. } => *bytes += u64::from(length),
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<(), String> {
        match self {
            Self::File { writer, bytes } => {
                *bytes = 0;
                writer
                    .truncate_with_u32(0)
                    .map_err(|e| format!("the browser's storage failed ({})", describe(&e)))
            }
            Self::Parts { parts, bytes } => {
                *bytes = 0;
                parts.set_length(0);
                Ok(())
            }
        }
    }

    /// The device is full: what the file holds becomes the first part.
    async fn give_up_file(&mut self, key: &str, folder: Option<&Folder>) -> Result<(), String> {
        let (Self::File { writer, bytes }, Some(folder)) = (&*self, folder) else {
            return Err("the browser has no room for the model, neither on this device nor in memory; free some, or choose a smaller model".to_owned());
        };
        let bytes = *bytes;
        // Cuts off what a failed write left behind.
        let _ = writer.truncate_with_f64(bytes as f64);
        let _ = writer.flush();
        writer.close();
        let file = folder
            .file(key)
            .await
            .ok_or("the browser lost the file that was being downloaded; try again")?;
        *self = Self::Parts {
            parts: Array::of1(&file),
            bytes,
        };
        Ok(())
    }
}

fn torn(done: u64, total: Option<u64>) -> String {
    let of = total
        .map(|t| format!(" of {}", format::bytes(t)))
        .unwrap_or_default();
    format!(
        "the connection was lost after {}{of}. What came is kept: try again to go on from there",
        format::bytes(done)
    )
}

fn refused(url: &str, response: &Response) -> Failure {
    let status = match response.status() {
        404 => "404, there is no such file".to_owned(),
        status @ (401 | 403) => {
            format!("{status}, the file is only for people who have logged in there")
        }
        status => format!("{status} {}", response.status_text())
            .trim_end()
            .to_owned(),
    };
    Failure::Message(format!(
        "{url} could not be downloaded: the server answered {status}. Check the address, or open a model file of your own"
    ))
}

fn held(e: JsValue) -> String {
    format!(
        "the browser could not hold the model in memory ({}); choose a smaller one",
        describe(&e)
    )
}

fn content_length(response: &Response) -> Option<u64> {
    response.headers().get("content-length").ok()??.parse().ok()
}

/// Of `Content-Range: bytes FIRST-LAST/TOTAL`. Hidden from us on another site that does not expose it:
/// then the status alone says that the range was understood.
fn first_byte(response: &Response) -> Option<u64> {
    let range = response.headers().get("content-range").ok().flatten()?;
    range
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

fn name(e: &JsValue) -> String {
    Reflect::get(e, &"name".into())
        .ok()
        .and_then(|n| n.as_string())
        .unwrap_or_default()
}

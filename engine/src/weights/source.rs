//! Where model bytes come from: a file, a browser's `Blob`, or memory. The engine does no other IO.

use std::{ops::Range, rc::Rc};

use crate::{Error, OutOfMemory, Result};

/// A readable model file. Nothing of it is kept: every [`Source::read`] goes to the disk or the browser.
#[derive(Debug)]
pub enum Source {
    /// Bytes that are already here: tests, and small files such as `config.json`.
    Memory {
        /// Name for messages; its ending tells what the file is.
        name: String,
        /// The whole file.
        bytes: Rc<[u8]>,
    },
    /// A file of the operating system.
    #[cfg(not(target_arch = "wasm32"))]
    File {
        /// Name for messages; its ending tells what the file is.
        name: String,
        /// Open for reading.
        file: std::fs::File,
        /// Length in bytes when it was opened.
        len: u64,
    },
    /// A browser's `Blob`: a dropped file, or one in the origin private file system.
    #[cfg(target_arch = "wasm32")]
    Blob {
        /// Name for messages; its ending tells what the file is.
        name: String,
        /// Its bytes stay with the browser until they are read.
        blob: web_sys::Blob,
    },
}

impl Source {
    /// A file that is in memory.
    pub fn memory(name: impl Into<String>, bytes: impl Into<Rc<[u8]>>) -> Source {
        Source::Memory {
            name: name.into(),
            bytes: bytes.into(),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Source`] when it is not there, not readable or a folder.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Source> {
        let path = path.as_ref();
        let failed = |problem: String| Error::Source {
            file: path.display().to_string(),
            problem,
        };
        let file = std::fs::File::open(path).map_err(|e| failed(e.to_string()))?;
        let about = file.metadata().map_err(|e| failed(e.to_string()))?;
        if about.is_dir() {
            return Err(failed("it is a folder".into()));
        }
        let name = path.file_name().unwrap_or(path.as_os_str());
        Ok(Source::File {
            name: name.to_string_lossy().into_owned(),
            file,
            len: about.len(),
        })
    }

    /// A browser's blob; a `File` is one too.
    #[cfg(target_arch = "wasm32")]
    pub fn blob(name: impl Into<String>, blob: web_sys::Blob) -> Source {
        Source::Blob {
            name: name.into(),
            blob,
        }
    }

    /// File name, without folders.
    pub fn name(&self) -> &str {
        match self {
            Source::Memory { name, .. } => name,
            #[cfg(not(target_arch = "wasm32"))]
            Source::File { name, .. } => name,
            #[cfg(target_arch = "wasm32")]
            Source::Blob { name, .. } => name,
        }
    }

    /// Length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty file is no special case"
    )]
    pub fn len(&self) -> u64 {
        match self {
            Source::Memory { bytes, .. } => bytes.len() as u64,
            #[cfg(not(target_arch = "wasm32"))]
            Source::File { len, .. } => *len,
            #[cfg(target_arch = "wasm32")]
            Source::Blob { blob, .. } => blob.size() as u64,
        }
    }

    /// The bytes of `range`.
    ///
    /// # Errors
    /// [`Error::Source`] when the range is not inside the file, and when the disk or browser gives fewer bytes
    /// than asked for.
    pub async fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len() {
            return Err(self.failed(format!(
                "bytes {}..{} were asked for, and the file ends at byte {}",
                range.start,
                range.end,
                self.len()
            )));
        }
        let n_bytes = usize::try_from(range.end - range.start).map_err(|_| OutOfMemory {
            what: format!("a part of {}", self.name()),
            needed_bytes: range.end - range.start,
            limit_bytes: usize::MAX as u64,
        })?;
        let bytes = self.fetch(range.start, n_bytes).await?;
        if bytes.len() != n_bytes {
            return Err(self.failed(format!(
                "of bytes {}..{} only {} came: the file is shorter than the {} bytes it had when it was opened. It was changed meanwhile; load it again",
                range.start,
                range.end,
                bytes.len(),
                self.len()
            )));
        }
        Ok(bytes)
    }

    /// The whole file; only for small ones, such as `config.json` and `tokenizer.json`.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub async fn read_all(&self) -> Result<Vec<u8>> {
        self.read(0..self.len()).await
    }

    /// `n_bytes` from `start` on, or fewer where the file turns out to be shorter.
    async fn fetch(&self, start: u64, n_bytes: usize) -> Result<Vec<u8>> {
        match self {
            Source::Memory { bytes, .. } => {
                let start = start as usize;
                Ok(bytes[start..start + n_bytes].to_vec())
            }
            #[cfg(not(target_arch = "wasm32"))]
            Source::File { file, .. } => {
                use std::io::{Read, Seek, SeekFrom};
                let mut file = file;
                let mut bytes = Vec::with_capacity(n_bytes);
                file.seek(SeekFrom::Start(start))
                    .and_then(|_| file.take(n_bytes as u64).read_to_end(&mut bytes))
                    .map_err(|e| self.failed(e.to_string()))?;
                Ok(bytes)
            }
            #[cfg(target_arch = "wasm32")]
            Source::Blob { blob, .. } => {
                // Numbers of JavaScript hold whole bytes exactly up to 2^53.
                let end = start + n_bytes as u64;
                let part = blob
                    .slice_with_f64_and_f64(start as f64, end as f64)
                    .map_err(|e| self.failed(format!("{e:?}")))?;
                let buffer = wasm_bindgen_futures::JsFuture::from(part.array_buffer())
                    .await
                    .map_err(|e| self.failed(format!("{e:?}")))?;
                Ok(js_sys::Uint8Array::new(&buffer).to_vec())
            }
        }
    }

    fn failed(&self, problem: String) -> Error {
        Error::Source {
            file: self.name().to_string(),
            problem,
        }
    }
}

/// What a file is that begins with bytes of no model format, when that is easy to see.
pub(super) fn looks_like(head: &[u8]) -> &'static str {
    let starts = |prefix: &[u8]| {
        head.len() >= prefix.len() && head[..prefix.len()].eq_ignore_ascii_case(prefix)
    };
    if starts(b"version https://git-lfs") || starts(b"version ") {
        "; it is a Git LFS pointer, a note of where the model is kept"
    } else if starts(b"<!doctype") || starts(b"<html") {
        "; it is a web page"
    } else if starts(b"PK\x03\x04") {
        "; it is a zip archive or a PyTorch checkpoint"
    } else {
        ""
    }
}

//! Reads a binary header from a source: little-endian numbers and strings with checked lengths.

use std::ops::Range;

use super::source::Source;
use crate::{Error, Result};

/// Longest header that is read; the largest vocabularies need about 20 MB.
const MAX_HEADER_BYTES: u64 = 128 << 20;

/// Reads a header front to back, in pieces that double.
pub(super) struct Reader<'a> {
    pub source: &'a Source,
    /// A piece of the file, from `start` on.
    piece: Vec<u8>,
    start: u64,
    /// Next byte, within `piece`.
    at: usize,
    /// Bytes to fetch next time.
    next_bytes: u64,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Source) -> Self {
        Reader {
            source,
            piece: Vec::new(),
            start: 0,
            at: 0,
            next_bytes: 64 << 10,
        }
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.start + self.at as u64
    }

    fn left(&self) -> u64 {
        self.source.len() - self.position()
    }

    /// The next `n` bytes; `what` they are, for messages.
    pub async fn bytes(&mut self, n: usize, what: &str) -> Result<&[u8]> {
        if self.piece.len() - self.at < n {
            self.fetch(n as u64, what).await?;
        }
        let Range { start, end } = self.at..self.at + n;
        self.at = end;
        Ok(&self.piece[start..end])
    }

    /// Replaces the piece by one that begins at the next byte and holds at least `n`.
    async fn fetch(&mut self, n: u64, what: &str) -> Result<()> {
        let position = self.position();
        if n > self.left() {
            return Err(self.bad(format!(
                "the file ends at byte {}, and {what} at byte {position} needs {n} bytes: the download is incomplete or damaged",
                self.source.len()
            )));
        }
        if position + n > MAX_HEADER_BYTES {
            return Err(self.bad(format!(
                "its header is longer than {MAX_HEADER_BYTES} bytes, which no model's is"
            )));
        }
        let end = position + n.max(self.next_bytes).min(self.left());
        self.piece = self.source.read(position..end).await?;
        self.start = position;
        self.at = 0;
        self.next_bytes = (self.next_bytes * 2).min(4 << 20);
        Ok(())
    }

    pub async fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(unsigned(self.bytes(4, what).await?) as u32)
    }

    pub async fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(unsigned(self.bytes(8, what).await?))
    }

    /// A number of items that take at least `item_bytes` each; more than fit the file cannot be true.
    pub async fn count(&mut self, item_bytes: u64, what: &str) -> Result<u64> {
        let n = self.u64(what).await?;
        if n.checked_mul(item_bytes)
            .is_none_or(|bytes| bytes > self.left())
        {
            return Err(self.bad(format!(
                "{what} counts {n} items at byte {}, and only {} bytes are left: the file is incomplete or damaged",
                self.position() - 8,
                self.left()
            )));
        }
        Ok(n)
    }

    pub async fn string(&mut self, what: &str) -> Result<String> {
        let n = self.count(1, what).await?;
        // `count` saw that the file holds `n` more bytes; `fetch` bounds them on 32-bit machines too.
        let bytes = self
            .bytes(usize::try_from(n).unwrap_or(usize::MAX), what)
            .await?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_string()),
            Err(_) => Err(self.bad(format!(
                "{what} before byte {} is not UTF-8",
                self.position()
            ))),
        }
    }

    pub fn bad(&self, problem: String) -> Error {
        Error::BadHeader {
            file: self.source.name().to_string(),
            problem,
        }
    }
}

/// Little-endian, at most eight bytes.
pub(super) fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

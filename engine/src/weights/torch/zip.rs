//! The directory of a zip archive, and where its stored entries lie.
//!
//! The zip crates read through `Read + Seek`, which a browser's file is not: [`Source`] gives byte ranges,
//! asynchronously. What `torch.save` uses of the format is small: entries stored as they are, ZIP64, no comment.

use std::ops::Range;

use super::super::{reader::unsigned, source::Source};
use crate::{Error, Result};

/// Longest directory that is read; an entry takes about 100 bytes.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;
/// Bytes of the record at the file's end, and of the ZIP64 locator before it.
const END_BYTES: u64 = 22;
const LOCATOR_BYTES: u64 = 20;
/// Bytes of the ZIP64 end record that the locator points at.
const END64_BYTES: u64 = 56;
/// Shortest entry of the directory.
const ENTRY_BYTES: u64 = 46;
/// A local header, before its name.
const LOCAL_BYTES: u64 = 30;

/// An opened archive.
pub(super) struct Archive<'s> {
    source: &'s Source,
    /// By name.
    entries: Vec<Entry>,
    /// Where the entries end and the directory begins.
    directory_start: u64,
}

struct Entry {
    name: String,
    flags: u64,
    /// 0 is stored.
    method: u64,
    packed_bytes: u64,
    n_bytes: u64,
    /// Of its local header.
    offset: u64,
}

impl<'s> Archive<'s> {
    /// Reads the directory.
    pub async fn open(source: &'s Source) -> Result<Self> {
        let mut archive = Archive {
            source,
            entries: Vec::new(),
            directory_start: 0,
        };
        let (directory, count) = archive.find_directory().await?;
        let n_bytes = directory.end - directory.start;
        if count > n_bytes / ENTRY_BYTES {
            return Err(archive.bad(format!(
                "its zip directory of {count} entries is said to be at bytes {}..{}",
                directory.start, directory.end
            )));
        }
        if n_bytes > MAX_DIRECTORY_BYTES {
            return Err(archive.bad(format!(
                "its zip directory has {n_bytes} bytes, and {MAX_DIRECTORY_BYTES} are the limit"
            )));
        }
        archive.directory_start = directory.start;
        let bytes = source.read(directory).await?;
        let mut bytes = Bytes::new(&bytes);
        archive.entries.reserve_exact(count as usize);
        for i in 0..count {
            let entry = entry(&mut bytes).ok_or_else(|| {
                archive.bad(format!("the entry {i} of its zip directory is damaged"))
            })?;
            archive.entries.push(entry);
        }
        archive.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let twice = archive.entries.windows(2).find(|p| p[0].name == p[1].name);
        match twice {
            Some(pair) => Err(archive.bad(format!("its entry '{}' is there twice", pair[0].name))),
            None => Ok(archive),
        }
    }

    /// Names of the entries, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The whole of a small entry.
    pub async fn read(&self, name: &str, limit_bytes: u64) -> Result<Vec<u8>> {
        let range = self.locate(name).await?;
        let n_bytes = range.end - range.start;
        if n_bytes > limit_bytes {
            return Err(self.bad(format!(
                "its entry '{name}' has {n_bytes} bytes, and {limit_bytes} are the limit"
            )));
        }
        self.source.read(range).await
    }

    /// Bytes of the file that are the entry's.
    pub async fn locate(&self, name: &str) -> Result<Range<u64>> {
        let bad = |what: &str| self.bad(format!("its entry '{name}' {what}"));
        let entry = self.find(name).ok_or_else(|| bad("is missing"))?;
        if entry.method != 0 || entry.flags & 1 != 0 || entry.packed_bytes != entry.n_bytes {
            return Err(bad(
                "is compressed or encrypted, and torch.save stores entries as they are; unpack the archive and pack it without compression",
            ));
        }
        let outside = || bad("lies outside of the file: the file is incomplete or damaged");
        let name_start = entry.offset.checked_add(LOCAL_BYTES);
        let head_end = name_start
            .and_then(|start| start.checked_add(name.len() as u64))
            .filter(|end| *end <= self.directory_start)
            .ok_or_else(outside)?;
        let head = self.source.read(entry.offset..head_end).await?;
        let extra_bytes = local_extra(&head, name)
            .ok_or_else(|| bad("is not where the zip directory says: the file is damaged"))?;
        let start = head_end + extra_bytes;
        let end = start
            .checked_add(entry.n_bytes)
            .filter(|end| *end <= self.directory_start)
            .ok_or_else(outside)?;
        Ok(start..end)
    }

    pub fn bad(&self, problem: String) -> Error {
        super::bad(self.source, problem)
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        let i = self
            .entries
            .binary_search_by(|entry| entry.name.as_str().cmp(name));
        i.ok().map(|i| &self.entries[i])
    }

    /// Bytes of the directory, and how many entries it has.
    async fn find_directory(&self) -> Result<(Range<u64>, u64)> {
        let len = self.source.len();
        let tail_start = len.saturating_sub(END_BYTES + LOCATOR_BYTES);
        let tail = self.source.read(tail_start..len).await?;
        let (locator, end) = tail.split_at(tail.len().saturating_sub(END_BYTES as usize));
        let end = end_record(end).ok_or_else(|| {
            self.bad(format!(
                "its last {END_BYTES} bytes are not the end of a zip archive: the download is incomplete"
            ))
        })?;
        let Some(offset) = located(locator) else {
            return self.directory(end, len - END_BYTES);
        };
        let end64 = offset
            .checked_add(END64_BYTES)
            .filter(|record_end| *record_end <= tail_start)
            .ok_or_else(|| {
                self.bad(format!(
                    "its ZIP64 end record is said to be at byte {offset}"
                ))
            })?;
        let record = self.source.read(offset..end64).await?;
        let end = end64_record(&record)
            .ok_or_else(|| self.bad(format!("its ZIP64 end record at byte {offset} is damaged")))?;
        self.directory(end, offset)
    }

    /// `end` is the directory's start, bytes and entries; it must lie before `limit`.
    fn directory(&self, end: [u64; 3], limit: u64) -> Result<(Range<u64>, u64)> {
        let [start, n_bytes, count] = end;
        match start.checked_add(n_bytes) {
            Some(directory_end) if directory_end <= limit => Ok((start..directory_end, count)),
            _ => Err(self.bad(format!(
                "its zip directory of {n_bytes} bytes is said to be at byte {start}, and the file has {}",
                self.source.len()
            ))),
        }
    }
}

/// `[start, bytes, entries]` of the directory, by the record at the file's end.
fn end_record(record: &[u8]) -> Option<[u64; 3]> {
    let mut r = Bytes::new(record);
    r.expect(b"PK\x05\x06")?;
    r.take(6)?;
    let count = r.number(2)?;
    let n_bytes = r.number(4)?;
    let start = r.number(4)?;
    (r.number(2)? == 0).then_some([start, n_bytes, count])
}

/// Where the ZIP64 end record lies, if there is one.
fn located(locator: &[u8]) -> Option<u64> {
    let mut r = Bytes::new(locator);
    r.expect(b"PK\x06\x07")?;
    r.take(4)?;
    r.number(8)
}

/// As [`end_record`].
fn end64_record(record: &[u8]) -> Option<[u64; 3]> {
    let mut r = Bytes::new(record);
    r.expect(b"PK\x06\x06")?;
    r.take(28)?;
    let count = r.number(8)?;
    let n_bytes = r.number(8)?;
    Some([r.number(8)?, n_bytes, count])
}

/// The next entry of the directory.
fn entry(r: &mut Bytes<'_>) -> Option<Entry> {
    r.expect(b"PK\x01\x02")?;
    r.take(4)?;
    let flags = r.number(2)?;
    let method = r.number(2)?;
    r.take(8)?;
    let mut packed_bytes = r.number(4)?;
    let mut n_bytes = r.number(4)?;
    let [name, extra, comment] = [r.number(2)?, r.number(2)?, r.number(2)?];
    r.take(8)?;
    let mut offset = r.number(4)?;
    let name = std::str::from_utf8(r.take(name)?).ok()?.to_string();
    let mut blocks = Bytes::new(r.take(extra)?);
    r.take(comment)?;
    while blocks.left() > 0 {
        let kind = blocks.number(2)?;
        let n = blocks.number(2)?;
        let mut block = Bytes::new(blocks.take(n)?);
        // ZIP64 holds, in this order, those numbers for which 32 bits are too few.
        for number in [&mut n_bytes, &mut packed_bytes, &mut offset] {
            if kind == 1 && *number == u64::from(u32::MAX) {
                *number = block.number(8)?;
            }
        }
    }
    Some(Entry {
        name,
        flags,
        method,
        packed_bytes,
        n_bytes,
        offset,
    })
}

/// Bytes between the name and the data of the entry `name`, by the local header that ends with the name. Its
/// sizes are not looked at: PyTorch leaves them 0 and writes them behind the data.
fn local_extra(head: &[u8], name: &str) -> Option<u64> {
    let mut r = Bytes::new(head);
    r.expect(b"PK\x03\x04")?;
    r.take(22)?;
    let name_bytes = r.number(2)?;
    let extra_bytes = r.number(2)?;
    (name_bytes == name.len() as u64 && r.take(name_bytes)? == name.as_bytes())
        .then_some(extra_bytes)
}

/// Reads bytes in memory front to back; `None` where too few are left.
pub(super) struct Bytes<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Bytes<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Bytes { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn take(&mut self, n: u64) -> Option<&'b [u8]> {
        let n = usize::try_from(n).ok().filter(|n| *n <= self.left())?;
        self.at += n;
        Some(&self.bytes[self.at - n..self.at])
    }

    /// A little-endian number of `n_bytes`, at most eight.
    pub fn number(&mut self, n_bytes: u64) -> Option<u64> {
        self.take(n_bytes).map(unsigned)
    }

    /// Up to the next line feed, which is skipped.
    pub fn line(&mut self) -> Option<&'b [u8]> {
        let n = self.bytes[self.at..].iter().position(|b| *b == b'\n')?;
        let line = self.take(n as u64);
        self.at += 1;
        line
    }

    fn expect(&mut self, magic: &[u8]) -> Option<()> {
        (self.take(magic.len() as u64)? == magic).then_some(())
    }
}

//! Writes small GGUF and safetensors files, good and bad, and makes seeded random numbers.

#![allow(dead_code, reason = "each test file uses some of this")]

use std::ops::Range;

/// SplitMix64 (Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// A GGUF file in the making.
#[derive(Clone)]
pub struct GgufFile {
    pub magic: [u8; 4],
    pub version: u32,
    pub n_tensors: Option<u64>,
    pub n_entries: Option<u64>,
    /// Key, type number and bytes of each setting.
    pub entries: Vec<(String, u32, Vec<u8>)>,
    /// Name, dimensions (fastest first), GGML type, offset.
    pub tensors: Vec<(String, Vec<u64>, u32, u64)>,
    /// Bytes behind the header, from the first multiple of `alignment` on.
    pub data: Vec<u8>,
    pub alignment: usize,
}

impl GgufFile {
    pub fn new() -> Self {
        GgufFile {
            magic: *b"GGUF",
            version: 3,
            n_tensors: None,
            n_entries: None,
            entries: Vec::new(),
            tensors: Vec::new(),
            data: Vec::new(),
            alignment: 32,
        }
    }

    pub fn entry(mut self, key: &str, kind: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.entries
            .push((key.into(), kind, bytes.as_ref().to_vec()));
        self
    }

    pub fn str(self, key: &str, text: &str) -> Self {
        self.entry(key, 8, string(text))
    }

    pub fn strings(self, key: &str, texts: &[&str]) -> Self {
        let items: Vec<u8> = texts.iter().flat_map(|t| string(t)).collect();
        self.array(key, 8, texts.len() as u64, items)
    }

    /// `items` are the bytes of `n` elements of type `kind`.
    pub fn array(self, key: &str, kind: u32, n: u64, items: impl AsRef<[u8]>) -> Self {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(n.to_le_bytes());
        bytes.extend(items.as_ref());
        self.entry(key, 9, bytes)
    }

    pub fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        self.tensors
            .push((name.into(), dims.to_vec(), kind, offset));
        self
    }

    pub fn data(mut self, n_bytes: usize) -> Self {
        self.data = (0..n_bytes).map(|i| i as u8).collect();
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(
            self.n_tensors
                .unwrap_or(self.tensors.len() as u64)
                .to_le_bytes(),
        );
        out.extend(
            self.n_entries
                .unwrap_or(self.entries.len() as u64)
                .to_le_bytes(),
        );
        for (key, kind, bytes) in &self.entries {
            out.extend(string(key));
            out.extend(kind.to_le_bytes());
            out.extend(bytes);
        }
        for (name, dims, kind, offset) in &self.tensors {
            out.extend(string(name));
            out.extend((dims.len() as u32).to_le_bytes());
            out.extend(dims.iter().flat_map(|d| d.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        if !self.data.is_empty() {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            out.extend(&self.data);
        }
        out
    }
}

/// Length and text, as GGUF has it.
pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// Flips, cuts, huge numbers, and runs of bytes in each other's place.
pub fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.len() < 16 {
        return;
    }
    let at = random.below(bytes.len());
    let (word, other) = (at.min(bytes.len() - 8), random.below(bytes.len() - 7));
    match random.below(7) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.next() as u8,
        3 => {
            let huge = u64::MAX >> random.below(64);
            bytes[word..word + 8].copy_from_slice(&huge.to_le_bytes());
        }
        4 => (0..8).for_each(|i| bytes.swap(word + i, other + i)),
        5 => bytes.copy_within(other..other + 8, word),
        _ => {
            bytes.remove(at);
        }
    }
}

/// A safetensors file of which one word or number in this part of its header has become another one there, or a
/// huge number: names twice, other formats, swapped offsets, shapes that no file can have.
pub fn reworded(file: &[u8], part: Range<usize>, random: &mut Random) -> Vec<u8> {
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let words: Vec<Range<usize>> = header[part.clone()]
        .chunk_by(|a, b| is_word(a) == is_word(b))
        .scan(part.start, |at, chunk| {
            let range = *at..*at + chunk.len();
            *at = range.end;
            Some((is_word(&chunk[0]), range))
        })
        .filter_map(|(is_word, range)| is_word.then_some(range))
        .collect();
    let huge: &[u8] = [&b"18446744073709551615"[..], b"4294967296", b"-1", b"0"][random.below(4)];
    let from = words[random.below(words.len())].clone();
    let to = match random.below(4) {
        0 => huge,
        _ => &header[words[random.below(words.len())].clone()],
    };
    let header = [&header[..from.start], to, &header[from.end..]].concat();
    [&(header.len() as u64).to_le_bytes(), &header[..], data].concat()
}

/// A safetensors file of a header and `n_bytes` of data.
pub fn safetensors(header: &str, n_bytes: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend((0..n_bytes).map(|i| i as u8));
    out
}

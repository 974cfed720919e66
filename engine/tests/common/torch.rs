//! Writes PyTorch checkpoints by hand, good and bad: a pickle opcode by opcode, and the zip archive around it.

#![allow(dead_code, reason = "each test file uses some of this")]

/// A pickle in the making.
#[derive(Clone)]
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    /// Protocol 2, empty.
    pub fn new() -> Self {
        Pickle(vec![0x80, 2])
    }

    /// Opcodes as they are.
    pub fn ops(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend(bytes.as_ref());
        self
    }

    pub fn text(self, text: &str) -> Self {
        let n = text.len() as u32;
        self.ops(b"X").ops(n.to_le_bytes()).ops(text)
    }

    /// LONG1.
    pub fn int(self, n: i64) -> Self {
        self.ops([0x8a, 8]).ops(n.to_le_bytes())
    }

    /// A tuple of numbers.
    pub fn ints(self, numbers: &[i64]) -> Self {
        let begun = self.ops(b"(");
        numbers.iter().fold(begun, |p, n| p.int(*n)).ops(b"t")
    }

    /// GLOBAL.
    pub fn global(self, module: &str, name: &str) -> Self {
        self.ops(format!("c{module}\n{name}\n"))
    }

    /// A storage by its persistent id.
    pub fn storage(self, class: &str, key: &str, n: i64) -> Self {
        let named = self.ops(b"(").text("storage").global("torch", class);
        named.text(key).text("cpu").int(n).ops(b"tQ")
    }

    /// A tensor of the storage on top of the arguments that `view` writes.
    pub fn tensor(self, view: &View<'_>) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .ops(b"(")
            .storage(view.class, view.key, view.n)
            .int(view.offset)
            .ints(view.shape)
            .ints(view.strides)
            .ops(b"\x89NtR")
    }

    /// A dict with the one entry `w`.
    pub fn weight(self, view: &View<'_>) -> Vec<u8> {
        self.ops(b"}").text("w").tensor(view).ops(b"s.").0
    }
}

/// Arguments of a tensor.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub class: &'a str,
    pub key: &'a str,
    /// Numbers of the storage.
    pub n: i64,
    pub offset: i64,
    pub shape: &'a [i64],
    pub strides: &'a [i64],
}

/// Row-major f32 `[2, 3]` in the storage `0`.
pub const VIEW: View<'static> = View {
    class: "FloatStorage",
    key: "0",
    n: 6,
    offset: 0,
    shape: &[2, 3],
    strides: &[3, 1],
};

/// One entry of an archive.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub bytes: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    /// What the directory says of the sizes and the place, where it lies.
    pub packed_bytes: Option<u32>,
    pub n_bytes: Option<u32>,
    pub offset: Option<u32>,
    /// Name in the local header, where it is another.
    pub local_name: Option<String>,
    /// Of the directory.
    pub extra: Vec<u8>,
}

/// An archive in the making.
#[derive(Clone)]
pub struct ZipFile {
    pub entries: Vec<Entry>,
    /// Adds a ZIP64 end record with the directory's `[start, bytes, entries]`, or these.
    pub zip64: Option<[Option<u64>; 3]>,
    /// What the end record says of `[start, bytes, entries]`, where it lies.
    pub end: [Option<u64>; 3],
}

impl ZipFile {
    /// A checkpoint of this pickle with 24 bytes of numbers in the storage `0`.
    pub fn checkpoint(pickle: impl Into<Vec<u8>>) -> Self {
        ZipFile {
            entries: Vec::new(),
            zip64: None,
            end: [None; 3],
        }
        .entry("m/data.pkl", pickle)
        .entry("m/byteorder", "little")
        .entry("m/data/0", (0..24).collect::<Vec<u8>>())
    }

    pub fn entry(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.entries.push(Entry {
            name: name.into(),
            bytes: bytes.into(),
            flags: 0x808,
            method: 0,
            packed_bytes: None,
            n_bytes: None,
            offset: None,
            local_name: None,
            extra: Vec::new(),
        });
        self
    }

    /// Changes the entry of this name.
    pub fn change(mut self, name: &str, change: impl FnOnce(&mut Entry)) -> Self {
        change(self.entries.iter_mut().find(|e| e.name == name).unwrap());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let offset = out.len() as u32;
            entry.write(&mut out);
            entry.write_listing(offset, &mut directory);
        }
        let is = [out.len(), directory.len(), self.entries.len()].map(|n| n as u64);
        out.extend(directory);
        if let Some(said) = self.zip64 {
            let at = out.len() as u64;
            let [start, n_bytes, count] = [0, 1, 2].map(|i| said[i].unwrap_or(is[i]));
            out.extend(b"PK\x06\x06");
            out.extend([
                44, 0, 0, 0, 0, 0, 0, 0, 45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ]);
            for n in [count, count, n_bytes, start] {
                out.extend(n.to_le_bytes());
            }
            out.extend(b"PK\x06\x07\0\0\0\0");
            out.extend(at.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        let [start, n_bytes, count] = [0, 1, 2].map(|i| self.end[i].unwrap_or(is[i]));
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([count, count].map(|n| (n as u16).to_le_bytes()).concat());
        out.extend([n_bytes, start].map(|n| (n as u32).to_le_bytes()).concat());
        out.extend([0, 0]);
        out
    }
}

impl Entry {
    /// Local header and bytes. Sizes are 0 there, as PyTorch leaves them.
    fn write(&self, out: &mut Vec<u8>) {
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        out.extend(b"PK\x03\x04\0\0");
        out.extend([self.flags, self.method].map(u16::to_le_bytes).concat());
        out.extend([0; 16]);
        out.extend((name.len() as u16).to_le_bytes());
        // Padding as an extra field.
        out.extend([6, 0]);
        out.extend(name.as_bytes());
        out.extend(b"FB\x02\0ZZ");
        out.extend(&self.bytes);
    }

    /// Entry of the directory.
    fn write_listing(&self, offset: u32, out: &mut Vec<u8>) {
        let n = self.bytes.len() as u32;
        out.extend(b"PK\x01\x02\0\0\0\0");
        out.extend([self.flags, self.method].map(u16::to_le_bytes).concat());
        out.extend([0; 8]);
        out.extend(self.packed_bytes.unwrap_or(n).to_le_bytes());
        out.extend(self.n_bytes.unwrap_or(n).to_le_bytes());
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((self.extra.len() as u16).to_le_bytes());
        out.extend([0; 10]);
        out.extend(self.offset.unwrap_or(offset).to_le_bytes());
        out.extend(self.name.as_bytes());
        out.extend(&self.extra);
    }
}

//! Packed formats: how a weight's numbers lie in memory, on the CPU and on the GPU alike.
//!
//! A packed weight has two planes: `quants`, the numbers, and `scales`, one entry per row or per group of
//! 32 weights along a row (formats of whole floats have none). docs/formats.md draws the bits.

mod b1;
mod bf16;
mod f16;
mod f32;
mod i4;
mod q4;
mod q8;

pub(crate) use self::f16::widen;

/// Independent partial sums of a dot product: enough for a 256-bit SIMD register, two of 128 bits.
pub const LANES: usize = 8;

/// Weights along `cols` that share a scale, in formats with scales by group.
pub const GROUP: usize = 32;

/// A packed format. The GPU's twin of each is shaders/formats/`<stem>`.wgsl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE 754 binary16).
    F16,
    /// bfloat16: the upper half of an f32.
    Bf16,
    /// Signed bytes `q`; `w = d·q` with an f16 `d` per group.
    Q8,
    /// Nibbles `q` in 0..=15; `w = d·q + m` with f16 `d` and `m` per group.
    Q4,
    /// Nibbles `q` in 0..=15; `w = d·(q − 8)` with an f16 `d` per row.
    I4,
    /// Bits; `w = ±d` with an f16 `d` per row.
    B1,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 7] = [
        Format::F32,
        Format::F16,
        Format::Bf16,
        Format::Q8,
        Format::Q4,
        Format::I4,
        Format::B1,
    ];

    /// Whether rows of `cols` weights can be packed so: scaled formats take whole groups.
    pub fn can_pack(self, cols: usize) -> bool {
        self.row_scales_bytes(GROUP) == 0 || cols.is_multiple_of(GROUP)
    }

    /// Name, as in shaders/formats and in messages.
    pub fn stem(self) -> &'static str {
        match self {
            Format::F32 => "f32",
            Format::F16 => "f16",
            Format::Bf16 => "bf16",
            Format::Q8 => "q8",
            Format::Q4 => "q4",
            Format::I4 => "i4",
            Format::B1 => "b1",
        }
    }

    /// Bytes of one row's quants.
    pub fn row_quants_bytes(self, cols: usize) -> usize {
        match self {
            Format::F32 => cols * 4,
            Format::F16 | Format::Bf16 => cols * 2,
            Format::Q8 => cols,
            Format::Q4 | Format::I4 => cols / 2,
            Format::B1 => cols / 8,
        }
    }

    /// Bytes of one row's scales.
    pub fn row_scales_bytes(self, cols: usize) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::Bf16 => 0,
            Format::Q8 => cols / GROUP * 2,
            Format::Q4 => cols / GROUP * 4,
            Format::I4 | Format::B1 => 2,
        }
    }

    /// Bytes of a whole `[rows, cols]` weight.
    pub fn bytes(self, rows: usize, cols: usize) -> usize {
        rows * (self.row_quants_bytes(cols) + self.row_scales_bytes(cols))
    }
}

/// One packed row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// `[row_quants_bytes]`
    pub quants: &'a [u8],
    /// `[row_scales_bytes]`
    pub scales: &'a [u8],
}

impl Format {
    /// The row's weights as floats, `out[cols]`.
    pub fn unpack(self, row: Row<'_>, out: &mut [f32]) {
        match self {
            Format::F32 => self::f32::unpack(row, out),
            Format::F16 => self::f16::unpack(row, out),
            Format::Bf16 => self::bf16::unpack(row, out),
            Format::Q8 => q8::unpack(row, out),
            Format::Q4 => q4::unpack(row, out),
            Format::I4 => i4::unpack(row, out),
            Format::B1 => b1::unpack(row, out),
        }
    }

    /// `Σ w·x` of a packed row and `x[cols]`, without unpacking it to memory. `group_sums[cols / 32]`
    /// come from [`group_sums`]; `buffer[cols]` is scratch space for the formats of whole floats.
    pub fn dot(self, row: Row<'_>, x: &[f32], group_sums: &[f32], buffer: &mut [f32]) -> f32 {
        match self {
            Format::Q8 => q8::dot(row, x),
            Format::Q4 => q4::dot(row, x, group_sums),
            Format::I4 => i4::dot(row, x),
            Format::B1 => b1::dot(row, x),
            Format::F32 | Format::F16 | Format::Bf16 => {
                self.unpack(row, buffer);
                dot(buffer, x)
            }
        }
    }
}

/// Appends a row of floats, packed as `format`, to the two planes.
pub fn pack(format: Format, row: &[f32], quants: &mut Vec<u8>, scales: &mut Vec<u8>) {
    assert!(row.len().is_multiple_of(GROUP), "rows of {}", row.len());
    for group in row.as_chunks::<GROUP>().0 {
        match format {
            Format::Q8 => q8::pack(group, quants, scales),
            Format::Q4 => q4::pack(group, quants, scales),
            _ => unreachable!("nothing is packed as {format:?} here"),
        }
    }
}

/// `Σ a·b`, in eight independent sums so that it becomes SIMD.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sum = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sum[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sum.iter().sum::<f32>() + rest
}

/// `Σ x` of each whole group of 32.
pub fn group_sums(x: &[f32]) -> Vec<f32> {
    x.as_chunks::<GROUP>()
        .0
        .iter()
        .map(|group| group.iter().sum())
        .collect()
}

/// Consecutive packed rows, on their way from a file to a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// First row.
    pub row0: usize,
    /// How many.
    pub n_rows: usize,
    /// `[n_rows, row_quants_bytes]`
    pub quants: Vec<u8>,
    /// `[n_rows, row_scales_bytes]`
    pub scales: Vec<u8>,
}

/// What a backend needs to know of a weight before its bytes come. `weights[w.id]` belongs to the
/// handle [`Weight`](crate::op::Weight)` { id, rows, cols }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightInfo {
    /// The tensor's name, for messages and buffer labels.
    pub name: String,
    /// How it is packed.
    pub format: Format,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes without pattern, with scales that are small finite halves.
    pub(crate) fn noise(seed: u32, n: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    fn row_of(format: Format, cols: usize, seed: u32) -> (Vec<u8>, Vec<u8>) {
        let floats = noise(seed, cols)
            .into_iter()
            .map(|b| f32::from(b as i8) / 64.0);
        let quants = match format {
            Format::F32 => floats.flat_map(f32::to_le_bytes).collect(),
            Format::F16 => floats
                .flat_map(|w| half::f16::from_f32(w).to_le_bytes())
                .collect(),
            Format::Bf16 => floats
                .flat_map(|w| half::bf16::from_f32(w).to_le_bytes())
                .collect(),
            _ => noise(seed, format.row_quants_bytes(cols)),
        };
        let halves = noise(seed + 1, format.row_scales_bytes(cols) / 2);
        let scales = halves
            .iter()
            .flat_map(|&b| half::f16::from_f32(f32::from(b as i8) / 512.0).to_le_bytes());
        (quants, scales.collect())
    }

    /// The packed dot product against unpacked weights summed in f64.
    #[test]
    fn dot_agrees_with_unpacked_weights() {
        for format in Format::ALL {
            let scaled = format.row_scales_bytes(32) > 0;
            let widths: &[usize] = if scaled {
                &[32, 96, 576]
            } else {
                &[1, 7, 8, 31, 97, 576]
            };
            for &cols in widths {
                let (quants, scales) = row_of(format, cols, 7 + cols as u32);
                let row = Row {
                    quants: &quants,
                    scales: &scales,
                };
                let x: Vec<f32> = noise(3, cols)
                    .iter()
                    .map(|&b| f32::from(b as i8) / 100.0)
                    .collect();
                let mut w = vec![0.0; cols];
                format.unpack(row, &mut w);
                let exact: f64 = w
                    .iter()
                    .zip(&x)
                    .map(|(w, x)| f64::from(*w) * f64::from(*x))
                    .sum();
                let norm: f64 = w.iter().zip(&x).map(|(w, x)| f64::from(w * x).abs()).sum();
                let mut buffer = vec![0.0; cols];
                let got = format.dot(row, &x, &group_sums(&x), &mut buffer);
                let error = (f64::from(got) - exact).abs();
                assert!(
                    error <= 1e-6 * norm,
                    "{format:?} {cols}: {got} against {exact}"
                );
            }
        }
    }

    #[test]
    fn q4_splits_nibbles_by_half_groups() {
        let quants: Vec<u8> = (0..16).map(|b| b | ((15 - b) << 4)).collect();
        let scales: Vec<u8> = [2.0, -1.0]
            .into_iter()
            .flat_map(|v| half::f16::from_f32(v).to_le_bytes())
            .collect();
        let mut out = [0.0; 32];
        Format::Q4.unpack(
            Row {
                quants: &quants,
                scales: &scales,
            },
            &mut out,
        );
        assert_eq!(out[..3], [-1.0, 1.0, 3.0]);
        assert_eq!(out[16..19], [29.0, 27.0, 25.0]);
    }

    /// Half a step of the packed format, and never a worse fit than that.
    #[test]
    fn packing_rounds_to_the_nearest() {
        let w: Vec<f32> = noise(5, 128)
            .iter()
            .map(|&b| f32::from(b as i8) / 30.0 + 1.0)
            .collect();
        for (format, steps) in [(Format::Q8, 254.0), (Format::Q4, 15.0)] {
            let (mut quants, mut scales) = (Vec::new(), Vec::new());
            pack(format, &w, &mut quants, &mut scales);
            let mut out = vec![0.0; w.len()];
            let row = Row {
                quants: &quants,
                scales: &scales,
            };
            format.unpack(row, &mut out);
            for (w, out) in w.chunks(GROUP).zip(out.chunks(GROUP)) {
                let error: f32 = w.iter().zip(out).map(|(w, o)| (w - o).powi(2)).sum();
                let range = 2.0 * w.iter().fold(0f32, |m, w| m.max(w.abs()));
                let step = range / steps;
                assert!(error <= 32.0 * (0.5 * step).powi(2), "{format:?}: {error}");
            }
        }
    }

    #[test]
    fn packing_keeps_a_constant_group() {
        for (format, value) in [(Format::Q8, 0.0), (Format::Q4, 0.0), (Format::Q4, 1.5)] {
            let (mut quants, mut scales) = (Vec::new(), Vec::new());
            pack(format, &[value; GROUP], &mut quants, &mut scales);
            let mut out = [f32::NAN; GROUP];
            let row = Row {
                quants: &quants,
                scales: &scales,
            };
            format.unpack(row, &mut out);
            assert_eq!(out, [value; GROUP], "{format:?}");
        }
    }
}

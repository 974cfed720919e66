//! Debian's packages: browsers and drivers, and a Rust compiler that can build for other targets.
//!
//! `rustc-web` is the Rust that Debian builds Chromium with. It has a standard library for this machine alone, so another
//! target's is compiled from `rust-web-src` into a private sysroot in `.tools/`, once per version.

use crate::Result;
use crate::sh::{self, cmd, step};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs the packages that are missing. `purpose` ends the sentence for a system without apt.
pub fn apt(packages: &[&str], purpose: &str) -> Result {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|p| version(p).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if sh::find(&["apt-get"]).is_none() {
        return Err(format!(
            "please install {purpose} yourself (on Debian these are the packages `{}`)",
            missing.join(" ")
        ));
    }
    step(&format!("apt-get install {}", missing.join(" ")), || {
        // An old package list only matters if the installation then fails.
        let updated = sh::run(&mut apt_get(&["update", "-qq"]));
        let options = ["install", "-y", "-qq", "--no-install-recommends"];
        let installed = sh::run(apt_get(&options).args(&missing));
        installed.map_err(|e| match updated {
            Ok(()) => e,
            Err(update) => format!("{e}, after {update}"),
        })
    })
}

fn apt_get(args: &[&str]) -> Command {
    let root = sh::output(&mut cmd("id", &["-u"])).is_some_and(|id| id == "0");
    let mut command = if root {
        cmd("env", &[])
    } else {
        cmd("sudo", &["env"])
    };
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .args(args);
    command
}

/// The installed version of a package.
fn version(package: &str) -> Option<String> {
    let format = "${db:Status-Status} ${Version}";
    let text = sh::output(&mut cmd("dpkg-query", &["-W", "-f", format, package]))?;
    text.strip_prefix("installed ").map(str::to_owned)
}

/// Makes `sysroot` (an absolute path) a Rust for a target: `bin/{rustc,cargo,rust-lld}` and a
/// standard library. Programs compiled by another version are deleted from `target_dir`, for cargo
/// does not see that a standard library has changed.
pub fn sysroot(target: &str, sysroot: &Path, target_dir: &Path) -> Result {
    apt(
        &["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"],
        &format!("a Rust with the target {target}"),
    )?;
    let verbose = sh::output(&mut cmd("/usr/bin/rustc", &["-vV"]))
        .ok_or("/usr/bin/rustc of the package rustc-web does not run")?;
    let llvm = llvm_major(&verbose).ok_or("`/usr/bin/rustc -vV` names no LLVM version")?;
    apt(&[&format!("lld-{llvm}")], "the linker lld")?;

    let key = version("rustc-web").ok_or("the package rustc-web is not installed")?;
    let key_file = sysroot.join("key");
    if fs::read_to_string(&key_file).is_ok_and(|old| old == key) {
        return Ok(());
    }
    step(
        &format!("{target} standard library for Debian's rustc {key}"),
        || {
            // Two generations of libraries in one folder would be "multiple candidates" to rustc.
            for old in [sysroot, target_dir] {
                if old.exists() {
                    fs::remove_dir_all(old).map_err(|e| format!("{}: {e}", old.display()))?;
                }
            }
            build(target, sysroot, llvm).map_err(|e| e.to_string())?;
            sh::write(&key_file, &key)
        },
    )
}

/// Compiles the standard library and links the programs beside it.
fn build(
    target: &str,
    sysroot: &Path,
    llvm: &str,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let work = sysroot.with_extension("build");
    let manifest = "[package]\nname = \"stdbuild\"\nversion = \"0.0.0\"\n[workspace]\n\
        [profile.release]\ncodegen-units = 16\n";
    sh::write(work.join("Cargo.toml"), manifest)?;
    sh::write(work.join("src/lib.rs"), "")?;
    // `test` and `proc_macro` are for wasm-bindgen-test; without the bitcode, LTO finds nothing.
    let mut cargo = cmd(
        "/usr/bin/cargo",
        &["build", "--release", "--target", target],
    );
    cargo
        .arg("-Zbuild-std=std,panic_abort,proc_macro,test")
        .current_dir(&work);
    clean_env(&mut cargo)
        .env("PATH", "/usr/bin:/bin")
        .env("CARGO_TARGET_DIR", work.join("target"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    sh::run(&mut cargo)?;

    let lib = sysroot.join("lib/rustlib");
    let built = lib.join(target).join("lib");
    let bin = sysroot.join("bin");
    fs::create_dir_all(&built)?;
    fs::create_dir_all(&bin)?;
    for file in sh::files(work.join(format!("target/{target}/release/deps"))) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".rlib") && !name.starts_with("libstdbuild-") {
            fs::copy(&file, built.join(&*name))?;
        }
    }
    fs::remove_dir_all(&work)?;
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    for dir in [host.as_str(), "src"] {
        symlink(Path::new("/usr/lib/rustlib").join(dir), lib.join(dir))?;
    }
    symlink("/usr/bin/cargo", bin.join("cargo"))?;
    symlink(
        format!("/usr/lib/llvm-{llvm}/bin/lld"),
        bin.join("rust-lld"),
    )?;
    // Quoted: the path of a clone may hold spaces.
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/rustc --sysroot '{}' \"$@\"\n",
        sysroot.display()
    );
    sh::write(bin.join("rustc"), script)?;
    fs::set_permissions(bin.join("rustc"), fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Makes a command use the Rust in `sysroot` and nothing of rustup's.
pub fn use_sysroot(command: &mut Command, sysroot: &Path, target_dir: &Path) -> Vec<PathBuf> {
    // clippy-driver asks SYSROOT instead of our rustc script.
    clean_env(command)
        .env("SYSROOT", sysroot)
        .env("CARGO_TARGET_DIR", target_dir);
    vec![sysroot.join("bin"), PathBuf::from("/usr/bin")]
}

/// Without what rustup's cargo and the user set for another compiler.
fn clean_env(command: &mut Command) -> &mut Command {
    for name in [
        "LD_LIBRARY_PATH",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ] {
        command.env_remove(name);
    }
    command
}

/// `22` from a line such as `LLVM version: 22.1.8`.
fn llvm_major(rustc_verbose: &str) -> Option<&str> {
    let version = rustc_verbose
        .lines()
        .find_map(|l| l.strip_prefix("LLVM version: "))?;
    version.split('.').next()
}

#[cfg(test)]
mod tests {
    #[test]
    fn llvm_version_is_read() {
        let text =
            "rustc 1.96.0 (abc 2026-05-25)\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.8";
        assert_eq!(super::llvm_major(text), Some("22"));
        assert_eq!(super::llvm_major("rustc 1.96.0"), None);
    }
}

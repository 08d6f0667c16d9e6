//! Fetches the prebuilt files of the page at `/` from npm and embeds them in the binary.
//!
//! `graphiql/assets.tsv` lists the files. `graphiql/package-lock.json` pins the packages, which npm installs below
//! OUT_DIR. Without npm the build still succeeds: the page then loads the same files from a CDN, and the build prints a
//! warning. Writes `OUT_DIR/graphiql_assets.rs`, which `transport::graphiql` includes.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() -> Result<(), Box<dyn Error>> {
    let source = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("graphiql");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for file in ["package.json", "package-lock.json", ".npmrc", "assets.tsv"] {
        println!("cargo:rerun-if-changed=graphiql/{file}");
    }

    // Delete the folder after use: npm unpacks more than 100 MB for two packages.
    let work = out.join("npm");
    let installed = install(&source, &work);
    if let Err(problem) = &installed {
        println!("cargo:warning=GraphiQL at / will load from a CDN, because npm could not install it: {problem}");
        println!("cargo:warning=touch api/graphiql/package.json and build again to embed it");
    }

    let mut code = String::from("static ASSETS: &[Asset] = &[\n");
    for line in fs::read_to_string(source.join("assets.tsv"))?.lines() {
        let [package, version, path, integrity] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("assets.tsv: not four columns: {line}").into());
        };
        let (_, extension) = path.rsplit_once('.').ok_or("assets.tsv: a path without an extension")?;
        let name = format!("{package}-{version}.{extension}");
        let bytes = if installed.is_ok() {
            let embedded = out.join(&name);
            fs::copy(work.join("node_modules").join(package).join(path), &embedded)?;
            format!("Some(include_bytes!({embedded:?}))")
        } else {
            "None".to_owned()
        };
        let url = format!("https://cdn.jsdelivr.net/npm/{package}@{version}/{path}");
        writeln!(code, "    Asset {{ name: {name:?}, cdn: {url:?}, integrity: {integrity:?}, bytes: {bytes} }},")?;
    }
    code.push_str("];\n");
    let licenses = if installed.is_ok() { licenses(&work.join("node_modules"))? } else { String::new() };
    fs::write(out.join("licenses.txt"), licenses)?;
    code.push_str("static LICENSES: &str = include_str!(concat!(env!(\"OUT_DIR\"), \"/licenses.txt\"));\n");
    fs::write(out.join("graphiql_assets.rs"), code)?;
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    Ok(())
}

/// The license texts of the packages in a folder. GraphiQL's bundle contains parts of most of its dependencies.
fn licenses(folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut packages = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !path.is_dir() || name.starts_with('.') {
                continue;
            }
            if name.starts_with('@') || name == "node_modules" {
                folders.push(path);
            } else {
                if path.join("node_modules").is_dir() {
                    folders.push(path.join("node_modules"));
                }
                packages.push(path);
            }
        }
    }
    packages.sort();
    let mut text = String::new();
    for package in packages {
        let name = package.strip_prefix(folder)?.display();
        for entry in fs::read_dir(&package)? {
            let path = entry?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            let is_license = ["license", "licence", "notice", "copying"].iter().any(|start| file.starts_with(start));
            if is_license && path.is_file() {
                write!(text, "── {name} ──\n\n{}\n\n", String::from_utf8_lossy(&fs::read(path)?).trim())?;
            }
        }
    }
    Ok(text)
}

/// Installs the locked packages in `work`. npm checks each against the hash in the lock file.
fn install(source: &Path, work: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(work)?;
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(source.join(file), work.join(file))?;
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--prefer-offline", "--fetch-retries=1", "--fetch-timeout=30000"])
        .current_dir(work)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        let reason =
            reason.lines().find(|line| line.contains("error") || line.contains("ERR")).unwrap_or("npm ci failed");
        return Err(reason.to_owned().into());
    }
    Ok(())
}

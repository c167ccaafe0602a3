//! Puts the built web console (`make console`) into the program; without it, the program is whole but for that.

use std::{
    env,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// What the console's build puts beside each file that it is worth for, by ending.
const PACKED: [(&str, &str); 2] = [("br", "br"), ("gz", "gzip")];

fn main() -> io::Result<()> {
    let dir = |name: &str| PathBuf::from(env::var(name).unwrap_or_default());
    let (built, out) = (dir("CARGO_MANIFEST_DIR").join("../console/dist"), dir("OUT_DIR"));
    // Cargo runs this script every time where what it should watch isn't there.
    fs::create_dir_all(&built)?;
    println!("cargo:rerun-if-changed={}", built.display());
    // Copies, since the console may be built anew while this is compiled.
    let kept = out.join("console");
    let _ = fs::remove_dir_all(&kept);
    let mut files = Vec::new();
    copy(&built, &kept, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files.iter().filter(|file| !is_packed(file)) {
        let path = file.strip_prefix(&kept).unwrap_or(file).to_string_lossy().into_owned();
        // No path of this machine: what is compiled of it is to be the same in every folder.
        let bytes = |ending: &str| {
            format!("include_bytes!(concat!(env!(\"OUT_DIR\"), {:?}))", format!("/console/{path}{ending}"))
        };
        let _ = write!(table, "    File {{ path: {path:?}, plain: {}, packed: &[", bytes(""));
        for (ending, name) in PACKED {
            if PathBuf::from(format!("{}.{ending}", file.display())).exists() {
                let _ = write!(table, "({name:?}, {}), ", bytes(&format!(".{ending}")));
            }
        }
        table.push_str("] },\n");
    }
    table.push(']');
    fs::write(out.join("console.rs"), table)
}

/// Copies a directory; adds what it has to `files`.
fn copy(from: &Path, to: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to, files)?;
        } else {
            fs::copy(&from, &to)?;
            files.push(to);
        }
    }
    Ok(())
}

fn is_packed(file: &Path) -> bool {
    file.extension().is_some_and(|ending| PACKED.iter().any(|(packed, _)| ending == *packed))
}

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
    let built = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../console/dist");
    // Cargo runs this script every time where what it should watch isn't there.
    fs::create_dir_all(&built)?;
    println!("cargo:rerun-if-changed={}", built.display());
    let mut files = Vec::new();
    walk(&built, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files.iter().filter(|file| !is_packed(file)) {
        let path = file.strip_prefix(&built).unwrap_or(file).to_string_lossy().replace('\\', "/");
        let _ = write!(table, "    File {{ path: {path:?}, plain: include_bytes!({file:?}), packed: &[");
        for (ending, name) in PACKED {
            let packed = PathBuf::from(format!("{}.{ending}", file.display()));
            if packed.exists() {
                let _ = write!(table, "({name:?}, include_bytes!({packed:?})), ");
            }
        }
        table.push_str("] },\n");
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("console.rs"), table)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn is_packed(file: &Path) -> bool {
    file.extension().is_some_and(|ending| PACKED.iter().any(|(packed, _)| ending == *packed))
}

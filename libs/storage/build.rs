//! Lists the migrations of each database, to be embedded.

#![allow(clippy::print_stdout)]

use std::{env, error::Error, fmt::Write, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=migrations");
    let mut list = String::new();
    for database in ["sqlite", "postgres"] {
        let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("migrations").join(database);
        let mut files =
            fs::read_dir(&folder)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        files.sort();
        writeln!(list, "pub(crate) const {}: &[(i64, &str, &str)] = &[", database.to_uppercase())?;
        for file in files {
            let name = file.file_stem().and_then(|name| name.to_str()).ok_or("a migration without a name")?;
            let (version, description) = name.split_once('_').ok_or("a migration is called VERSION_DESCRIPTION.sql")?;
            let (version, description) = (version.parse::<i64>()?, description.replace('_', " "));
            // No path of this machine: what is compiled of it is to be the same in every folder.
            let file = format!("/migrations/{database}/{name}.sql");
            writeln!(
                list,
                "    ({version}, {description:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {file:?}))),"
            )?;
        }
        writeln!(list, "];")?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("migrations.rs"), list)?;
    Ok(())
}

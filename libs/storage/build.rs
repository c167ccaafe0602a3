//! The migrations are embedded by a macro that the compiler doesn't know to run again when a file is added.

#![allow(clippy::print_stdout)]

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

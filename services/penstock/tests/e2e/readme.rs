//! The README's commands and programs, run as printed: whoever types them sees what it says.

use std::{
    ffi::OsStr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::house::{House, PATIENCE, rows};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const HEADING: &str = "## A first event, a first answer";

#[tokio::test]
async fn the_first_event_and_the_first_answers_are_as_printed() {
    let house = House::start().await;
    // The README doesn't wait for its event; with one there already, no answer is empty.
    let event = json!({"app_id": "xyz123", "event_type": "purchase", "event_id": "first", "user_id": "u0",
        "properties": {"purchase_amount": 12.5, "status": "completed"}});
    let (_, answer) = house.post(&house.demo_key(), "/v1/events", &event).await;
    let token = answer["position_token"].as_str().unwrap();
    house.sql(&house.demo_key(), "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'", token).await;

    let text = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let place = Place::of(&house);
    // What is sent out of a file is answered for people, the rest in JSON.
    let (files, asked): (Vec<_>, Vec<_>) =
        place.blocks(&text, "sh").into_iter().partition(|block| block.contains("penstock send"));
    let asked = asked.concat();
    assert!(asked.contains("buf curl --http2-prior-knowledge"), "the README no longer shows a gRPC client");
    let output = place.run("bash", ["-euo", "pipefail", "-c", asked.as_str()]).await;
    let answers: Vec<Value> =
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<_, _>>().unwrap();
    let [published, sql, grpc, defined, evaluated] = &answers[..] else { panic!("five answers, not {answers:?}") };
    assert_eq!((&published["accepted"], &published["rejections"]), (&json!(1), &json!([])));
    assert_eq!(rows(&sql["result"])[0][0], "purchase", "{sql}");
    assert_eq!(rows(&grpc["result"])[0][0], "purchase", "{grpc}");
    assert_eq!(defined["metric"]["version"], 1, "{defined}");
    assert_eq!(rows(&evaluated["result"])[0][1], 12.5, "{evaluated}"); // one event a user

    let [file] = &files[..] else { panic!("one file is sent, not {files:?}") };
    let said = text_of(place.run("bash", ["-euo", "pipefail", "-c", file.as_str()]).await);
    assert!(said.starts_with("2 accepted, 0 refused"), "{said}");

    // Each tracks a purchase of u1 of its own, and asks with it in the answer.
    let said = text_of(place.python(&place.block(&text, "python")).await);
    let revenues: Vec<Vec<&str>> = said.lines().skip(1).map(|line| line.split_whitespace().skip(1).collect()).collect();
    assert!(revenues.contains(&vec!["u1", "25.0"]), "{said}");
    let said = text_of(place.typescript(&place.block(&text, "ts")).await);
    assert_eq!(said.trim(), "[ { revenue: 50 } ]", "{said}");
}

/// A folder that looks like this one after `make run`, with a house's data and nothing else of its own.
struct Place {
    folder: TempDir,
    address: String,
}

impl Place {
    fn of(house: &House) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("target/release")).unwrap();
        std::fs::create_dir_all(at("node_modules/@penstock")).unwrap();
        symlink(env!("CARGO_BIN_EXE_penstock"), at("target/release/penstock")).unwrap();
        symlink(house.data(), at(".penstock")).unwrap();
        symlink(tools(), at(".tools")).unwrap();
        // As it is installed out of its folder.
        let library = Path::new(ROOT).join("libs/client-typescript").canonicalize().unwrap();
        symlink(&library, at("node_modules/@penstock/client")).unwrap();
        Self { folder, address: house.address.clone() }
    }

    /// The section's blocks of a language, with the house's address in place of the README's and nothing else.
    fn blocks(&self, text: &str, language: &str) -> Vec<String> {
        let (_, after) = text.split_once(HEADING).unwrap_or_else(|| panic!("the README has no {HEADING:?}"));
        let section = after.split("\n## ").next().unwrap();
        let fence = format!("```{language}\n");
        let blocks = section.split(&fence).skip(1);
        blocks.map(|block| block.split("```").next().unwrap().replace("127.0.0.1:7070", &self.address)).collect()
    }

    fn block(&self, text: &str, language: &str) -> String {
        let mut blocks = self.blocks(text, language);
        assert_eq!(blocks.len(), 1, "{blocks:?} of {language}");
        blocks.remove(0)
    }

    async fn python(&self, program: &str) -> Output {
        self.run(tools().join("venv/bin/python"), ["-c", program]).await
    }

    /// Checked with its types, as it stands, and then run.
    async fn typescript(&self, program: &str) -> Output {
        std::fs::write(self.folder.path().join("first.mts"), program).unwrap();
        let packages = Path::new(ROOT).join("libs/client-typescript/node_modules");
        let types = packages.join("@types");
        let options = ["--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "--typeRoots"];
        let options = options.map(OsStr::new).into_iter().chain([types.as_os_str(), OsStr::new("first.mts")]);
        self.run(packages.join(".bin/tsc"), options).await;
        self.run("node", ["first.mjs"]).await
    }

    async fn run(&self, program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        command.env("PENSTOCK_SERVER", format!("http://{}", self.address));
        command.env("PYTHONPATH", tools().join("clients/python/site")).env("PYTHONDONTWRITEBYTECODE", "1");
        // Under `make test` the inner make would say which directory it enters.
        command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = timeout(PATIENCE, output).await.expect("it ends").unwrap();
        let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{said}\n{errors}");
        output
    }
}

fn tools() -> PathBuf {
    Path::new(ROOT).canonicalize().unwrap().join(".tools")
}

fn text_of(output: Output) -> String {
    String::from_utf8(output.stdout).unwrap()
}

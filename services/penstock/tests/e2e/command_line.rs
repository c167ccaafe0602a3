//! The command line as people use it: the real binary against one house.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Output, Stdio},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    house::{House, PATIENCE},
    oracle::python,
};

/// Somebody with a key of an app of their own, in a folder of their own.
struct Person<'a> {
    house: &'a House,
    key: String,
    folder: TempDir,
}

impl<'a> Person<'a> {
    async fn new(house: &'a House, app: &str) -> Self {
        let key = house.tenant(app, app, &["ingest", "query", "metrics"]).await;
        Self { house, key, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    async fn output(&self, arguments: &[&str], input: &str) -> Output {
        run(self.folder.path(), &self.house.address, &self.key, arguments, input).await
    }

    /// What a command that must succeed says.
    async fn says(&self, arguments: &[&str], input: &str) -> String {
        let output = self.output(arguments, input).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that must fail complains of.
    async fn complains(&self, arguments: &[&str], input: &str) -> String {
        let output = self.output(arguments, input).await;
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The program where nothing is said of a server.
pub fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.current_dir(folder).env("HOME", folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["SERVER", "KEY", "PROFILE", "APP", "TENANT"] {
        command.env_remove(format!("PENSTOCK_{name}"));
    }
    command.env_remove("XDG_CONFIG_HOME").kill_on_drop(true);
    command
}

async fn run(folder: &Path, address: &str, key: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = program(folder);
    command.args(arguments).env("PENSTOCK_SERVER", format!("http://{address}")).env("PENSTOCK_KEY", key);
    end(command, input).await
}

async fn end(mut command: Command, input: &str) -> Output {
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await; // who wants none may be gone
    timeout(PATIENCE, child.wait_with_output()).await.expect("the command ends").unwrap()
}

#[tokio::test]
async fn files_are_sent_once_and_what_is_refused_can_be_sent_again() {
    let house = House::start().await;
    let person = Person::new(&house, "sender").await;
    let count = async |token: &str| {
        house
            .sql(&person.key, "SELECT COUNT(*), SUM(amount), COUNT(zip) FROM events WHERE event_type = 'sale'", token)
            .await
    };
    let sale = |i: u32| format!("sale,u{i},{}.5,0{i}\n", i % 10);
    let mut csv = "event_type,who,amount,zip\n".to_owned();
    csv.extend((0..3_000).map(sale));
    person.file("sales.csv", &csv);
    let send = ["send", "sales.csv", "--column", "user_id=who", "--json"];
    let said: Value = serde_json::from_str(&person.says(&send, "").await).unwrap();
    assert_eq!(said["accepted"], 3_000, "{said}");
    // Sent again, and grown, it counts once.
    csv.extend((3_000..3_010).map(sale));
    person.file("sales.csv", &csv);
    let said: Value = serde_json::from_str(&person.says(&send, "").await).unwrap();
    assert_eq!(said["accepted"], 3_010, "{said}");
    let token = said["position_token"].as_str().unwrap();
    assert_eq!(count(token).await, [[json!(3_010), json!(15_050.0), json!(3_010)]]);
    // Another day's file that begins alike is another file.
    person.file("tuesday.csv", &csv);
    let send = ["send", "tuesday.csv", "--column", "user_id=who", "--json"];
    let said: Value = serde_json::from_str(&person.says(&send, "").await).unwrap();
    let token = said["position_token"].as_str().unwrap();
    assert_eq!(count(token).await, [[json!(6_020), json!(30_100.0), json!(6_020)]]);

    let lines = "{\"event_type\":\"sale\",\"event_id\":\"a\",\"properties\":{\"amount\":1}}\n\
        {\"event_type\":\"sale\",\"event_id\":\"b\",\"timestamp\":\"2100-01-01T00:00:00Z\"}\nnothing\n";
    let complaint = person.complains(&["send", "--rejected", "refused.ndjson"], lines).await;
    assert!(complaint.contains("2 of 3 events were refused"), "{complaint}");
    let refused: Vec<Value> =
        person.read("refused.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |line: u64| refused.iter().find(|refused| refused["rejected"]["line"] == line).unwrap();
    assert_eq!(
        (&of(2)["rejected"]["code"], &of(2)["rejected"]["field"]),
        (&json!("IN_THE_FUTURE"), &json!("timestamp"))
    );
    assert_eq!((&of(3)["text"], &of(3)["rejected"]["code"]), (&json!("nothing"), &json!("MALFORMED")));
    person.file("mended.ndjson", &of(2).to_string().replace("2100-01-01T00:00:00.000Z", &jiff_now()));
    let said = person.says(&["send", "mended.ndjson"], "").await;
    assert!(said.starts_with("1 accepted, 0 refused"), "{said}");

    let complaint = person.complains(&["send", "--format", "csv"], "who,what\na,b\n").await;
    assert!(complaint.contains("--event-type NAME"), "{complaint}");
    let complaint = person.complains(&["send", "--format", "csv", "--event-type", "x"], "a,b\n1,2\n3\n").await;
    assert!(complaint.contains("line 3 has 1 cells, the header has 2"), "{complaint}");
    let complaint = person.complains(&["send", "nowhere.csv"], "").await;
    assert!(complaint.contains("can't read nowhere.csv"), "{complaint}");

    python::run("parquet.py", &[&person.folder.path().join("sales.parquet")], "");
    let send = ["send", "sales.parquet", "--column", "user_id=who", "--type", "zip=string", "--event-type", "bill"];
    let output = person.output(&[&send[..], &["--json"]].concat(), "").await;
    let (said, complained) = (&objects(&output.stdout)[0], objects(&output.stderr));
    let rejected = &complained[0]["rejected"];
    let place = (&rejected["row"], &rejected["code"], &rejected["field"]);
    assert_eq!(place, (&json!(42), &json!("MALFORMED"), &json!("ratio")), "{rejected}");
    assert!(rejected["message"].as_str().unwrap().starts_with("must be a number"), "{rejected}");
    assert_eq!((complained.len(), &complained[1]["error"]["code"]), (2, &json!("SOME_REFUSED")));
    assert_eq!((&said["accepted"], &said["refused"]), (&json!(2_499), &json!({"MALFORMED": 1})), "{complained:?}");
    // People are told of some, programs of each.
    let lines = "nothing\n".repeat(30);
    let complaint = person.complains(&["send"], &lines).await;
    assert!(complaint.contains("line 20: MALFORMED") && !complaint.contains("line 21"), "{complaint}");
    assert!(complaint.contains("more are refused; --rejected FILE"), "{complaint}");
    let complained = objects(&person.output(&["send", "--json"], &lines).await.stderr);
    assert_eq!((complained.len(), &complained[29]["rejected"]["line"]), (31, &json!(30)));
    let sql = "SELECT COUNT(*), SUM(amount), COUNT(paid), COUNT(DISTINCT zip), COUNT(DISTINCT user_id), MAX(due) FROM events WHERE event_type = 'bill'";
    let answer = house.sql(&person.key, sql, said["position_token"].as_str().unwrap()).await;
    // Of 2,500 the one that was refused had 1.50.
    let max = "2026-01-01T00:00:00Z";
    assert_eq!(answer, [[json!(2_499), json!(12_498.5), json!(2_498), json!(2_499), json!(2_499), json!(max)]]);
    let nested = ["send", "sales.parquet.nested", "--format", "parquet", "--event-type", "bill"];
    let complaint = person.complains(&nested, "").await;
    assert!(complaint.contains("column \"tags\""), "{complaint}");
}

/// What is written for programs: an object a line.
fn objects(written: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(written);
    let object = |line| serde_json::from_str(line).ok().filter(Value::is_object);
    text.lines().map(|line| object(line).unwrap_or_else(|| panic!("no object: {line}\nof\n{text}"))).collect()
}

fn jiff_now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Somebody with three sales to ask about.
async fn seller<'a>(house: &'a House, app: &str) -> Person<'a> {
    let person = Person::new(house, app).await;
    let csv = "event_type,amount,item\nsale,1.5,\"a,b\"\nsale,20,c\nsale,,d\n";
    let said: Value = serde_json::from_str(&person.says(&["send", "--format", "csv", "--json"], csv).await).unwrap();
    house.sql(&person.key, "SELECT COUNT(*) FROM events", said["position_token"].as_str().unwrap()).await;
    person
}

#[tokio::test]
async fn questions_are_asked_one_or_many_and_mistakes_are_underlined() {
    let house = House::start().await;
    let person = seller(&house, "asker").await;

    let sql = "SELECT item, amount FROM events WHERE event_type = 'sale' ORDER BY item";
    let table = person.says(&["sql", sql], "").await;
    assert_eq!(table, "item  amount\n----  ------\na,b      1.5\nc         20\nd       NULL\n(3 rows)\n");
    let csv = person.says(&["sql", &format!("{sql};"), "--format", "csv"], "").await;
    assert_eq!(csv, "item,amount\r\n\"a,b\",1.5\r\nc,20.0\r\nd,\r\n");
    assert_eq!(person.says(&["sql", sql, "--format", "csv", "--json"], "").await, csv, "what is said wins");
    let lines = person.says(&["sql", sql, "--json"], "").await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |item: &str, amount: Value| json!({"item": item, "amount": amount});
    assert_eq!(lines, [row("a,b", json!(1.5)), row("c", json!(20.0)), row("d", Value::Null)]);
    let arrow = person.output(&["sql", sql, "--format", "arrow"], "").await;
    assert!(arrow.status.success());
    let file = person.folder.path().join("sales.arrow");
    std::fs::write(&file, &arrow.stdout).unwrap();
    let read: Value = serde_json::from_str(&python::run("arrow.py", &[file.as_path()], "")).unwrap();
    let rows = json!([["a,b", 1.5], ["c", 20.0], ["d", null]]);
    assert_eq!(read, json!({"schema": [["item", "string"], ["amount", "double"]], "rows": rows}));

    let script = format!("\\d\n\\format csv\n{sql}\n LIMIT 1; SELECT COUNT(*) AS n\nFROM events;\n\\analyze\n{sql}");
    let said = person.says(&["sql"], &script).await;
    assert!(said.contains("app asker") && said.contains("  amount  number\n"), "{said}");
    assert!(said.contains("item,amount\r\n\"a,b\",1.5\r\nn\r\n3\r\n"), "{said}");
    assert!(said.contains("\nroute: ") && said.contains("\nactual rows: ") && said.ends_with("d,\r\n"), "{said}");

    let script = format!("\\d\n{sql};\n\\explain\n\\analyze\n\\timing\n\\?\n{sql} LIMIT 1;\n\\nothing\n");
    let output = person.output(&["sql", "--json"], &script).await;
    let (said, complained) = (objects(&output.stdout), objects(&output.stderr));
    assert_eq!((&said[0]["tenant_id"], &said[0]["apps"][0]["app_id"]), (&json!("asker"), &json!("asker")));
    assert_eq!(said[1..4], lines);
    assert!(said[4]["plan"].is_string() && said[4]["actual"].is_null(), "{}", said[4]);
    assert!(said[5]["actual"]["read_rows"].is_number(), "{}", said[5]);
    assert!(said[6]["timing"] == true && said[7]["help"].is_string() && said[8] == lines[0], "{said:?}");
    assert!(complained[0]["timing"]["elapsed_ms"].as_f64().unwrap() > 0.0, "{complained:?}");
    assert_eq!((complained.len(), &complained[1]["error"]["code"]), (2, &json!("USAGE")));

    let complaint = person.complains(&["sql", "SELECT SUM(amunt) FROM events"], "").await;
    assert!(complaint.contains("\n  SELECT SUM(amunt) FROM events\n             ^^^^^ "), "{complaint}");
    assert_eq!(complaint.matches("amunt`").count(), 1, "said once: {complaint}");
    assert!(complaint.contains("amount"), "what would be right: {complaint}");
    let output = person.output(&["sql"], "\\watch soon\n").await;
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("nothing was asked yet"), "{complaint}");
    assert_eq!(output.status.code(), Some(2), "it wasn't understood");
    let complaint = person.complains(&["sql"], &format!("{sql};\n\\watch soon\n")).await;
    assert!(complaint.contains("say \\watch 5"), "{complaint}");
}

#[tokio::test]
async fn a_shop_is_shown_and_a_server_measured() {
    let house = House::start().await;
    let (folder, key) = (tempfile::tempdir().unwrap(), house.demo_key());
    let mut demo = program(folder.path());
    demo.args(["demo", "--app", "xyz123", "--events", "700", "--rate", "300"])
        .env("PENSTOCK_SERVER", format!("http://{}", house.address));
    let mut child = demo.env("PENSTOCK_KEY", &key).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = String::new();
    while !said.contains("until Ctrl-C") {
        said += &timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().expect("the shop opens");
    }
    assert!(said.starts_with("700 accepted, 0 refused"), "{said}");
    let sql = "SELECT COUNT(*) FROM events WHERE app_id = 'xyz123'";
    let end = Instant::now() + PATIENCE;
    while house.sql(&key, sql, "").await[0][0].as_u64().unwrap() < 1_000 {
        assert!(Instant::now() < end, "no event comes");
    }
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        last = line;
    }
    let taken: u64 = last.split(' ').next().unwrap().parse().unwrap();
    assert!(taken > 200 && last.contains(" accepted, 0 refused in "), "{last}");

    let bench = ["bench", "--events", "2000", "--seconds", "1", "--json"];
    let output = run(folder.path(), &house.address, &key, &bench, "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["taken"]["events_per_second"].as_f64().unwrap() > 0.0, "{report}");
    let samples = |at: &Value| at["samples"].as_u64().unwrap();
    let (at_rate, answers) = (&report["at_rate"], &report["answers"]);
    assert_eq!((samples(&at_rate["acknowledge"]), samples(&answers["answer"])), (10, 10), "{report}");
    assert_eq!(samples(&at_rate["fresh"]), 10, "{report}");
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0, "{report}");
    // All of its events, and nobody else's, are in its own app.
    assert_eq!(house.sql(&key, "SELECT COUNT(*) FROM events WHERE app_id = 'bench'", "").await, [[json!(3_000)]]);
    let person = Person::new(&house, "quiet").await;
    let complaint = person.complains(&["bench"], "").await;
    assert!(complaint.contains("penstock app create bench"), "{complaint}");
}

#[tokio::test]
async fn shells_and_man_learn_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = run(folder.path(), "127.0.0.1:9", "", &["completions", shell], "").await;
        assert!(String::from_utf8(output.stdout).unwrap().contains("send"), "{shell}");
    }
    let output = run(folder.path(), "127.0.0.1:9", "", &["man", "--dir", "man"], "").await;
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().ends_with(" pages are in man: man -l man/penstock.1\n"));
    assert!(std::fs::read_to_string(folder.path().join("man/penstock-send.1")).unwrap().contains("rejected"));
    // Who reads no further is no fault.
    let mut unread = program(folder.path()).args(["completions", "bash"]).spawn().unwrap();
    drop(unread.stdout.take());
    let output = unread.wait_with_output().await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn a_terminal_shows_completions_tables_bars_and_colours() {
    let house = House::start().await;
    let person = seller(&house, "sitting").await;
    let server = format!("http://{}", house.address);
    let folder = person.folder.path();
    let arguments = [env!("CARGO_BIN_EXE_penstock"), &server, &person.key, "sitting"].map(Path::new);
    python::run("shell.py", &[&arguments[..], &[folder]].concat(), "");
}

/// Commands that aren't walked through, and why.
const UNWALKED: [(&str, &str); 2] =
    [("completions", "what it prints is for shells"), ("serve", "it goes on; its log has tests of its own")];

/// Those that need more than their places filled, or end otherwise than for want of a server: what is said more, and the complaint's code, none
/// where they do well.
const OTHERWISE: [(&str, &str, &str); 13] = [
    ("certs", "--dir certs", ""),
    ("config", "", ""),
    ("man", "--dir man", ""),
    ("restore", "--metastore sqlite:man", "START"),
    ("profile list", "", ""),
    ("profile use", "", "PROFILE"),
    ("profile remove", "", "PROFILE"),
    ("doctor", "", "UNWELL"),
    ("doctor cluster", "", "UNWELL"),
    ("key create", "--can query", "UNREACHABLE"),
    ("report create", "--schedule @daily", "UNREACHABLE"),
    ("replay start", "--range 0:0-1", "UNREACHABLE"),
    ("topic grow", "--partitions 8", "UNREACHABLE"),
];

#[tokio::test]
async fn every_command_speaks_json_where_no_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let (_, said, _) = alone(folder.path(), &["man", "--dir", "man", "--json"], "").await;
    let pages = objects(said.as_bytes()).remove(0)["pages"].take();
    let mut walked = Vec::new();
    for page in pages.as_array().unwrap() {
        let page = std::fs::read_to_string(folder.path().join(page.as_str().unwrap())).unwrap();
        let synopsis = page.lines().skip_while(|line| *line != ".SH SYNOPSIS").nth(1).unwrap().replace("\\-", "-");
        let (command, rest) = synopsis.strip_prefix("\\fBpenstock").unwrap().split_once("\\fR").unwrap();
        let command = command.trim();
        if rest.contains("<\\fIsubcommands") || UNWALKED.iter().any(|(unwalked, _)| *unwalked == command) {
            continue;
        }
        let otherwise = OTHERWISE.iter().find(|(name, ..)| *name == command);
        let (_, more, code) = otherwise.copied().unwrap_or(("", "", "UNREACHABLE"));
        let places = vec!["x"; rest.matches("<\\fI").count()];
        let words = command.split(' ').chain(more.split_whitespace()).chain(places).chain(["--json"]);
        let output = run(folder.path(), "127.0.0.1:1", "pnsk_x", &words.collect::<Vec<_>>(), "pnsk_x\n").await;
        let complained = objects(&output.stderr);
        objects(&output.stdout);
        let codes: Vec<_> = complained.iter().map(|said| said["error"]["code"].as_str().unwrap()).collect();
        let wanted = if code.is_empty() { (Some(0), vec![]) } else { (Some(1), vec![code]) };
        assert_eq!((output.status.code(), codes), wanted, "{command}: {complained:?}");
        walked.push(command.to_owned());
    }
    let has = |name: &str| walked.iter().any(|command| command == name);
    assert!(walked.len() > 50 && OTHERWISE.iter().all(|(name, ..)| has(name)), "{walked:?}");
}

#[tokio::test]
async fn what_needs_no_server_says_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let object = async |arguments: &[&str]| {
        let (well, said, complained) = alone(folder.path(), arguments, "").await;
        assert!(well, "{complained}");
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    assert_eq!(object(&["config", "--json"]).await[0]["listen"], "127.0.0.1:7070");
    let made = object(&["certs", "--dir", "certs", "--role", "query,admin", "--json"]).await;
    assert_eq!((&made[0]["identity"], &made[1]["identity"]), (&json!("query"), &json!("admin")));
    assert!(folder.path().join(made[1]["key"].as_str().unwrap()).exists());
    std::fs::write(folder.path().join("wrong.toml"), "lisen = 1\n").unwrap();
    let (_, _, complained) = alone(folder.path(), &["key", "create", "--can", "fly"], "").await;
    assert!(complained.contains("is not one of ingest, query"), "{complained}");
    let login = [env!("CARGO_BIN_EXE_penstock"), "login", "north"].map(Path::new);
    python::run("hidden.py", &login, "");
    let (well, _, line) = alone(folder.path(), &["serve", "--config", "wrong.toml", "--json"], "").await;
    let error: Value = serde_json::from_str(&line).unwrap();
    assert!(!well && error["error"]["code"] == "CONFIG", "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("lisen"), "{error}");
}

/// What a command says without a server in its environment: well or not, standard output and standard error.
pub async fn alone(folder: &Path, arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut command = program(folder);
    command.args(arguments);
    let output = end(command, input).await;
    let [said, complained] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!said.contains('\x1b') && !complained.contains('\x1b'), "colours where no terminal is: {said}{complained}");
    (output.status.success(), said, complained)
}

#[tokio::test]
async fn servers_and_keys_are_kept_by_name_and_keys_are_never_shown() {
    let house = House::start().await;
    let key = house.tenant("north", "shop", &["query"]).await;
    let folder = tempfile::tempdir().unwrap();
    let server = format!("http://{}", house.address);
    let run = async |arguments: &[&str], input: &str| {
        let (well, said, complained) = alone(folder.path(), arguments, input).await;
        assert!(!said.contains(&key) && !complained.contains(&key), "the key is shown: {said}{complained}");
        (well, said, complained)
    };
    let (well, _, complained) = run(&["whoami"], "").await;
    assert!(!well && complained.contains("next: penstock login NAME"), "{complained}");
    // Only a key that the server knows is kept.
    let login = ["login", "north", "--server", &server, "--app", "shop"];
    let (well, _, complained) = run(&login, "pnsk_live_nothing").await;
    assert!(!well && complained.contains("UNAUTHENTICATED"), "{complained}");
    let (well, said, complained) = run(&login, &format!("{key}\n")).await;
    assert!(well && said.starts_with("north is kept in "), "{said}{complained}");
    let operator_file = house.data().join("operator.key");
    let operator_file = operator_file.to_str().unwrap();
    let (well, said, _) = run(&["profile", "add", "boss", "--server", &server, "--key-file", operator_file], "").await;
    assert!(well && said.contains("penstock profile use boss"), "{said}");
    let (_, said, _) = run(&["profile", "list", "--json"], "").await;
    let listed: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str, field: &str| listed.iter().find(|profile| profile["name"] == name).unwrap()[field].clone();
    assert_eq!((of("north", "in_use"), of("north", "key")), (json!(true), json!("kept")));
    assert_eq!((of("boss", "in_use"), of("boss", "key")), (json!(false), json!(operator_file)));

    // The profile says server, key and app; a flag wins, and the environment.
    let (well, said, complained) = run(&["sql", "SELECT COUNT(*) AS n FROM events", "--json"], "").await;
    assert_eq!((well, said.as_str()), (true, "{\"n\":0}\n"), "{complained}");
    let (well, said, _) = run(&["tenant", "list", "--profile", "boss"], "").await;
    assert!(well && said.contains("\nnorth "), "{said}");
    let mut command = program(folder.path());
    command.args(["tenant", "list", "--json"]).env("PENSTOCK_PROFILE", "boss");
    assert!(end(command, "").await.status.success());
    let (well, _, complained) = run(&["tenant", "list", "--profile", "boss", "--key", "pnsk_live_nothing"], "").await;
    assert!(!well && complained.contains("UNAUTHENTICATED"), "{complained}");
    // Another server never sees the profile's key.
    let (well, _, complained) = run(&["whoami", "--server", "http://localhost:1"], "").await;
    assert!(!well && complained.contains("the key of the profile north is for "), "{complained}");

    let (well, ..) = run(&["profile", "use", "boss"], "").await;
    assert!(well && run(&["tenant", "list"], "").await.0);
    let (well, ..) = run(&["profile", "remove", "boss"], "").await;
    let (unknown, _, complained) = run(&["tenant", "list", "--profile", "boss"], "").await;
    assert!(well && !unknown && complained.contains("there is north"), "{complained}");

    // What holds keys is the user's alone.
    let file = folder.path().join(".config/penstock/config.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let (well, _, complained) = run(&["profile", "list"], "").await;
    assert!(!well && complained.contains("next: chmod 600 "), "{complained}");
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\nkey = ", "\nkey = =")).unwrap();
    let (well, _, complained) = run(&["profile", "list"], "").await;
    assert!(!well && complained.contains("config.toml, line "), "{complained}");
}

#[tokio::test]
async fn errors_say_what_is_wrong_where_and_what_to_do() {
    let house = House::start().await;
    let key = house.tenant("south", "shop", &["query"]).await;
    let folder = tempfile::tempdir().unwrap();
    let complains = async |server: &str, key: &str, arguments: &[&str]| {
        let all: Vec<_> = arguments.iter().copied().chain(["--server", server, "--key", key]).collect();
        let (well, said, complained) = alone(folder.path(), &all, "").await;
        assert!(!well, "{arguments:?}: {said}");
        let (_, _, line) = alone(folder.path(), &[&all[..], &["--json"]].concat(), "").await;
        let error: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        (complained, error["error"].clone())
    };
    let (server, ops) = (format!("http://{}", house.address), format!("http://{}", house.ops_address));
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for (server, why, next) in [
        ("http://127.0.0.1:1", "nothing listens on port 1 of 127.0.0.1", "penstock serve"),
        (&server.replace("http", "https"), "without TLS", &format!("--server {server}")),
        (&ops, "operators' port", "`listen`"),
        (&silent, "says nothing", "penstock doctor"),
        ("ftp://127.0.0.1", "not a server's URL", "http://HOST:PORT"),
    ] {
        let (text, error) = complains(server, &key, &["whoami"]).await;
        assert!(text.contains(why) && text.contains(next), "{server}: {text}");
        assert_eq!(error["code"], "UNREACHABLE", "{error}");
        assert!(error["next"].as_str().unwrap().contains(next), "{error}");
    }
    let (text, error) = complains(&server, &key, &["sql", "SELECT NOSUCH(1) FROM events"]).await;
    assert!(text.contains("^^^^^^ "), "{text}");
    assert_eq!((&error["code"], &error["fields"][0]["field"]), (&json!("INVALID_QUERY"), &json!("sql")));
    assert_eq!(error["fields"][0]["span"], json!([7, 13]), "{error}");
    let (text, error) = complains(&server, &key, &["key", "list"]).await;
    assert!(text.contains("\nnext: penstock key list"), "{text}");
    assert_eq!((&error["code"], &error["retry_after_ms"]), (&json!("PERMISSION_DENIED"), &Value::Null));
    let (text, error) = complains(&server, &key, &["whoami", "--nothing"]).await;
    assert!(text.contains("--nothing") && error["code"] == "USAGE", "{text}{error}");
}

//! Our client libraries on the real program. Each has a program of its own that does what it is told here (`libs/client-*/tests/story`), and
//! all promise the same.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::house::{House, PATIENCE, free_address};

mod door;
mod pages;

use door::Door;

/// A library, by the folder after `client-`, and what it calls its story: one for each way to use it.
const STORIES: [(&str, &str); 6] = [
    ("go", "story"),
    ("python", "story"),
    ("python", "async"),
    ("rust", "story"),
    ("typescript", "story"),
    ("typescript", "web"),
];
const LIBRARIES: [&str; 4] = ["go", "python", "rust", "typescript"];
const PERMISSIONS: [&str; 5] = ["ingest", "query", "metrics", "export", "backfill"];
/// How many events each sends through whatever happens.
const SENT: u64 = 3000;
/// How many are left on disk.
const LEFT: u64 = 500;
/// What a queue that gets full may have.
const QUEUE_BYTES: u64 = 64 << 10;

#[tokio::test]
async fn every_library_tells_the_same_story() {
    let house = House::start().await;
    for (library, telling) in STORIES {
        let app = format!("{library}-{telling}");
        let client = Caller::new(&house, library, &app).await;
        let definition = json!({"definition": {"name": "buyers", "formula": "COUNT(DISTINCT user_id)"}});
        let (status, answer) = house.post(&client.key, &format!("/v1/apps/{app}/metrics"), &definition).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(json_of(&client.run(&[telling]).await), story(), "{library}, {telling}");
    }
}

#[tokio::test]
async fn the_examples_run_as_they_are() {
    let house = House::start().await;
    for library in LIBRARIES {
        let caller = Caller::new(&house, library, library).await;
        for (example, wanted) in examples(library) {
            let output = caller.output(program(library, example)).await;
            for line in wanted {
                assert!(output.contains(line), "{library}, {example} doesn't say {line:?}:\n{output}");
            }
        }
    }
}

#[tokio::test]
async fn each_library_holds_what_it_promises_by_itself() {
    for library in LIBRARIES {
        for mut check in checks(library) {
            let output = timeout(PATIENCE, check.output()).await.expect("a check ends").unwrap();
            succeeded(library, &output);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_the_server_dies_and_connections_break() {
    let mut house = House::start().await;
    let door = Door::open(&house.address).await;
    let mut senders = Vec::new();
    for library in LIBRARIES {
        let caller = Caller { address: door.address.clone(), ..Caller::new(&house, library, library).await };
        let sender = Progress::of(caller.start(&["send", &SENT.to_string()]));
        senders.push((caller, sender));
    }
    // Kills come while each is under way, whatever is acknowledged by then; cuts when an answer is on its way.
    for (until, kill) in [(SENT / 5, true), (SENT * 2 / 5, false), (SENT * 3 / 5, true), (SENT * 4 / 5, false)] {
        for (_, sender) in &mut senders {
            sender.until(until).await;
        }
        if kill {
            house.kill();
            house.launch().await;
            door.lead_to(&house.address);
        } else {
            door.hold().await;
            door.cut();
        }
    }
    for (caller, sender) in senders {
        let library = caller.library;
        let said = sender.end().await;
        assert_eq!(said, json!({"accepted": SENT, "rejected": 0, "bounded": true}), "{library}");
        caller.counted("sent", SENT, &house).await;
    }
}

#[tokio::test]
async fn what_is_queued_on_disk_outlives_its_process() {
    let house = House::start().await;
    // What one has left the next one sends: all keep the same form.
    for (library, next) in LIBRARIES.into_iter().zip(LIBRARIES.into_iter().cycle().skip(1)) {
        let scratch = tempfile::tempdir().unwrap();
        let there = Caller { directory: Some(scratch.path().to_owned()), ..Caller::new(&house, next, library).await };
        let away = Caller { library, address: free_address(), ..there.clone() };

        let mut leaving = away.start(&["leave", &LEFT.to_string()]);
        let mut lines = BufReader::new(leaving.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("queued"), "{library}");
        leaving.kill().await.unwrap(); // kill -9
        tear(scratch.path());

        let sent = json_of(&there.run(&["resume"]).await);
        assert_eq!(sent, json!({"accepted": LEFT, "rejected": 0}), "{next} sends what {library} left");
        there.counted("left", LEFT, &house).await;
    }
}

#[tokio::test]
async fn a_full_queue_takes_no_more_in_memory_or_on_disk() {
    let house = House::start().await;
    for (library, next) in LIBRARIES.into_iter().zip(LIBRARIES.into_iter().cycle().skip(1)) {
        let there = Caller::new(&house, next, &format!("{library}-full")).await;
        let away = Caller { library, address: free_address(), ..there.clone() };
        // In memory, what can't be sent is handed back.
        let [queued, handed_back] = full(&away).await;
        assert_eq!(handed_back, queued, "{library}");

        // On disk, all stays there for the next client, within the same bound.
        let scratch = tempfile::tempdir().unwrap();
        let directory = Some(scratch.path().to_owned());
        let [queued, handed_back] = full(&Caller { directory: directory.clone(), ..away }).await;
        assert_eq!(handed_back, 0, "{library}");
        let written: u64 = queue_files(scratch.path()).map(|file| file.metadata().unwrap().len()).sum();
        assert!((QUEUE_BYTES / 2..=QUEUE_BYTES).contains(&written), "{library} leaves {written} bytes");
        let sent = json_of(&Caller { directory, ..there.clone() }.run(&["resume"]).await);
        assert_eq!(sent, json!({"accepted": queued, "rejected": 0}), "{next} sends what {library} had room for");
        there.counted("full", queued, &house).await;
    }
}

#[tokio::test]
async fn what_is_queued_in_memory_is_sent_when_a_program_ends() {
    let house = House::start().await;
    let endings = LIBRARIES.map(|library| (library, "end")).into_iter().chain([("python", "end-async")]);
    for (library, ending) in endings {
        let caller = Caller::new(&house, library, &format!("{library}-{ending}")).await;
        let said = json_of(&caller.run(&[ending, &LEFT.to_string()]).await);
        assert_eq!(said, json!({"queued": LEFT}), "{library}, {ending}: nothing was sent before");
        caller.counted("ended", LEFT, &house).await;
    }
}

/// How many events a queue had room for, and how many of them came back at the end.
async fn full(caller: &Caller) -> [u64; 2] {
    let said = json_of(&caller.run(&["full", &LEFT.to_string()]).await);
    let [queued, handed_back] = ["queued", "handed_back"].map(|name| said[name].as_u64().unwrap());
    assert!((1..LEFT).contains(&queued), "{}: {said}", caller.library);
    [queued, handed_back]
}

/// What every library must have seen.
fn story() -> Value {
    json!({
        "flushed": [20, 2],
        "rejections": [
            {"code": "REQUIRED", "field": "event_type", "user": "nobody"},
            {"code": "MALFORMED", "field": "traits.plan", "user": "u0"},
        ],
        "columns": [["event_type", "string"], ["events", "integer"], ["amount", "number"]],
        "sql": [["order", 20, 192.5]],
        "query": [{"user_plan": "pro", "revenue": 101.25}, {"user_plan": "free", "revenue": 91.25}],
        "metric": 10,
        "rows": 20,
        "export": [20, 0.125, 1.125],
        "csv": "most\r\n19.125\r\n",
        "wrong": {"code": "INVALID_ARGUMENT", "reason": "INVALID_QUERY", "fields": ["sql"], "position": [42, 42]},
        "live": [20, 1, 21],
    })
}

/// Of the cohorts' example, whose chance is always the same: who of each cohort was there in which week, after its date. Counted as the events are
/// made: of the first cohort's 40 users 13 come back in the next week, then 14, 17, 12 and 14.
const RETENTION: &[&str] = &[
    "519 events\n",
    " 100% 32% 35% 42% 30% 35%\n",
    " 100% 30% 45% 28% 52%    \n",
    " 100% 72% 55% 50%        \n",
    " 100% 57% 62%            \n",
    " 100% 70%                \n",
    " 100%                    \n",
];

/// A library's examples, and what each prints among other things.
fn examples(library: &str) -> Vec<(&'static str, &'static [&'static str])> {
    const FIRST: &[&str] = &["DE 12.5"];
    const LIVE: &[&str] = &["10 orders, "];
    match library {
        "go" => vec![("first-answer", FIRST), ("live", LIVE)],
        "python" => {
            vec![("examples/first_answer.py", FIRST), ("examples/live.py", LIVE), ("examples/cohorts.py", RETENTION)]
        }
        "rust" => vec![("first_answer", FIRST), ("live_orders", LIVE)],
        "typescript" => vec![("dist/examples/first-answer.js", FIRST), ("dist/examples/live.js", LIVE)],
        _ => panic!("no library {library}"),
    }
}

/// What the library's own test runner and type checker have to say.
fn checks(library: &str) -> Vec<Command> {
    let folder = folder(library);
    match library {
        "go" => vec![program(library, "queue.test")],
        "python" => {
            let tests = ["queue", "deadlines"].map(|name| {
                let mut test = program(library, &format!("tests/test_{name}.py"));
                test.env_remove("PENSTOCK_KEY");
                test
            });
            let mut types = python(&made("python/tools"));
            types.args(["-m", "mypy", "--cache-dir", "/dev/null"]).current_dir(folder);
            tests.into_iter().chain([types]).collect()
        }
        "rust" => vec![], // its tests are the workspace's
        "typescript" => {
            let mut tests = Command::new("node");
            tests
                .arg("--test")
                .args(["queue", "browser", "deadlines"].map(|name| folder.join(format!("dist/tests/{name}.test.js"))));
            vec![tests]
        }
        _ => panic!("no library {library}"),
    }
}

/// A program of a library's folder.
fn program(library: &str, path: &str) -> Command {
    if library == "go" {
        return Command::new(made("go").join(path));
    }
    if library == "rust" {
        return Command::new(example(path));
    }
    let path = folder(library).join(path);
    let mut command = match library {
        "python" => python(&made("python/site")),
        "typescript" => Command::new("node"),
        _ => panic!("no library {library}"),
    };
    command.arg(path);
    command
}

fn python(packages: &Path) -> Command {
    let mut python = Command::new(made("../venv/bin/python"));
    python.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn folder(library: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../libs/client-{library}"))
}

/// What `make clients` has put into `.tools/clients`, here or above.
fn made(name: &str) -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let made = above.map(|dir| dir.join(".tools/clients")).find(|dir| dir.join("made-of").exists());
    made.expect("there is no .tools/clients/made-of: run `make clients`").join(name)
}

/// What cargo made of the Rust client's example, beside this very test.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let made = this.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(made.exists(), "there is no {}: run `cargo build -p penstock-client --examples`", made.display());
    made
}

/// Who runs a library's program.
#[derive(Debug, Clone)]
struct Caller {
    library: &'static str,
    address: String,
    key: String,
    app: String,
    directory: Option<PathBuf>,
}

impl Caller {
    /// One with an app of its own.
    async fn new(house: &House, library: &'static str, app: &str) -> Self {
        let key = house.tenant("libraries", app, &PERMISSIONS).await;
        Self { library, address: house.address.clone(), key, app: app.to_owned(), directory: None }
    }

    fn start(&self, told: &[&str]) -> Child {
        self.placed(story_of(self.library, told)).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// What the program says at its end.
    async fn run(&self, told: &[&str]) -> String {
        self.output(story_of(self.library, told)).await
    }

    async fn output(&self, command: Command) -> String {
        let output = timeout(PATIENCE, self.placed(command).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{} does not end", self.library)).unwrap();
        succeeded(self.library, &output)
    }

    fn placed(&self, mut command: Command) -> Command {
        command.env("PENSTOCK_ADDRESS", &self.address).env("PENSTOCK_KEY", &self.key).env("PENSTOCK_APP", &self.app);
        command.envs(self.directory.as_ref().map(|directory| ("PENSTOCK_DIRECTORY", directory)));
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Each event from 0 on is there, once.
    async fn counted(&self, event_type: &str, wanted: u64, house: &House) {
        let whole = [json!(wanted), json!(wanted), json!((wanted - 1) as f64)];
        // Nobody has a token here: what was acknowledged is in the answer soon.
        let all = async { while self.counts(event_type, house).await[0] != whole[0] {} };
        let _ = timeout(PATIENCE, all).await;
        assert_eq!(self.counts(event_type, house).await, whole, "{}", self.library);
    }

    /// How many events there are, how many have a number of their own, and the last of these.
    async fn counts(&self, event_type: &str, house: &House) -> Vec<Value> {
        let sql = format!(
            "SELECT COUNT(*) AS events, COUNT(DISTINCT n) AS different, MAX(n) AS last FROM events \
             WHERE app_id = '{}' AND event_type = '{event_type}'",
            self.app
        );
        house.sql(&self.key, &sql, "").await.swap_remove(0)
    }
}

/// A library's program for these tests, told to do something.
fn story_of(library: &str, told: &[&str]) -> Command {
    let mut story = match library {
        "go" => program(library, "story"),
        "rust" => program(library, "client_story"),
        "python" => program(library, "tests/story.py"),
        _ => program(library, "dist/tests/story.js"),
    };
    if told == ["web"] {
        story.env("NODE_OPTIONS", "--conditions=browser"); // what a page gets
    }
    story.args(told);
    story
}

fn succeeded(library: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{library} ended with {}:\n{said}\n{errors}", output.status);
    said
}

fn json_of(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|error| panic!("no JSON: {error}:\n{said}"))
}

/// What a queue on disk lies in.
fn queue_files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "queue"))
}

/// A record cut off by a crash, at the end of the newest file.
fn tear(directory: &Path) {
    let newest = queue_files(directory).max().unwrap();
    let mut content = std::fs::read(&newest).unwrap();
    content.extend([80, 0, 0, 0, 1, 2, 3, 4, 0, b'x', b'y']);
    std::fs::write(newest, content).unwrap();
}

/// A program that says line by line how many events it has tracked, and at last a JSON object.
struct Progress {
    lines: watch::Receiver<(u64, Option<String>)>,
    child: Child,
}

impl Progress {
    fn of(mut child: Child) -> Self {
        let (told, lines) = watch::channel((0, None));
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Some(line) = stdout.next_line().await.unwrap() {
                match line.parse() {
                    Ok(tracked) => told.send_modify(|told| told.0 = tracked),
                    Err(_) => told.send_modify(|told| told.1 = Some(line)),
                }
            }
        });
        Self { lines, child }
    }

    async fn until(&mut self, tracked: u64) {
        let seen = timeout(PATIENCE, self.lines.wait_for(|told| told.0 >= tracked)).await;
        seen.expect("it gets on").expect("it doesn't end before");
    }

    async fn end(mut self) -> Value {
        let said = timeout(PATIENCE, async {
            while self.lines.changed().await.is_ok() {}
            self.lines.borrow().1.clone()
        });
        let said = said.await.expect("it ends").expect("it says something at its end");
        let output = self.child.wait_with_output().await.unwrap();
        succeeded("a sender", &output);
        json_of(&said)
    }
}

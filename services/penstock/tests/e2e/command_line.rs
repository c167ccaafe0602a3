//! The command line as people use it: the real binary against one house.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::house::{House, PATIENCE};

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

async fn run(folder: &Path, address: &str, key: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.args(arguments).current_dir(folder).env("HOME", folder).env_remove("XDG_CONFIG_HOME");
    command.env("PENSTOCK_SERVER", format!("http://{address}")).env("PENSTOCK_KEY", key);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
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
}

fn jiff_now() -> String {
    jiff::Timestamp::now().to_string()
}

#[tokio::test]
async fn questions_are_asked_one_or_many_and_mistakes_are_underlined() {
    let house = House::start().await;
    let person = Person::new(&house, "asker").await;
    let csv = "event_type,amount,item\nsale,1.5,\"a,b\"\nsale,20,c\nsale,,d\n";
    let said: Value = serde_json::from_str(&person.says(&["send", "--format", "csv", "--json"], csv).await).unwrap();
    house.sql(&person.key, "SELECT COUNT(*) FROM events", said["position_token"].as_str().unwrap()).await;

    let sql = "SELECT item, amount FROM events WHERE event_type = 'sale' ORDER BY item";
    let table = person.says(&["sql", sql], "").await;
    assert_eq!(table, "item  amount\n----  ------\na,b      1.5\nc         20\nd       NULL\n(3 rows)\n");
    let csv = person.says(&["sql", &format!("{sql};"), "--format", "csv"], "").await;
    assert_eq!(csv, "item,amount\r\n\"a,b\",1.5\r\nc,20.0\r\nd,\r\n");
    let lines = person.says(&["sql", sql, "--format", "json"], "").await;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |item: &str, amount: Value| json!({"item": item, "amount": amount});
    assert_eq!(lines, [row("a,b", json!(1.5)), row("c", json!(20.0)), row("d", Value::Null)]);
    let arrow = person.output(&["sql", sql, "--format", "arrow"], "").await;
    assert!(arrow.status.success());
    // A stream of Arrow begins with the mark of a message, and ends with that of none.
    assert!(arrow.stdout.starts_with(&[0xff; 4]) && arrow.stdout.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));

    let script = format!("\\d\n\\format csv\n{sql}\n LIMIT 1; SELECT COUNT(*) AS n\nFROM events;\n\\explain\n{sql}");
    let said = person.says(&["sql"], &script).await;
    assert!(said.contains("app asker") && said.contains("  amount  number\n"), "{said}");
    assert!(said.contains("item,amount\r\n\"a,b\",1.5\r\nn\r\n3\r\n"), "{said}");
    assert!(said.contains("\nroute: ") && said.ends_with("d,\r\n"), "{said}");

    let complaint = person.complains(&["sql", "SELECT SUM(amunt) FROM events"], "").await;
    assert!(complaint.contains("\n  SELECT SUM(amunt) FROM events\n             ^^^^^ "), "{complaint}");
    assert!(complaint.contains("amount"), "what would be right: {complaint}");
    let complaint = person.complains(&["sql"], "\\watch soon\n").await;
    assert!(complaint.contains("nothing was asked yet"), "{complaint}");
    let complaint = person.complains(&["sql"], &format!("{sql};\n\\watch soon\n")).await;
    assert!(complaint.contains("say \\watch 5"), "{complaint}");
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
    assert!(std::fs::read_to_string(folder.path().join("man/penstock-send.1")).unwrap().contains("rejected"));
}

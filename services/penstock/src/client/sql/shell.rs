//! Statements one after the other: typed on a terminal, with history and completion, or piped in.

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use api::v1::{DescribeRequest, ExplainRequest, Route, SqlQuery, explain_request::Question};
use clap::ValueEnum;
use rustyline::{
    Config, Context, Editor, Helper, completion::Completer, error::ReadlineError, highlight::Highlighter, hint::Hinter,
    history::FileHistory, validate::Validator,
};
use serde_json::{Value, json};
use tokio::{signal, task::block_in_place, time::sleep};

use super::{ClientError, Session, mistake};
use crate::{
    cli::SqlFormat,
    client::{Complaint, complain, link},
};

const HELP: &str = "\
SELECT ... ;      ask, over as many lines as need be
\\d                what can be asked about: the apps, and the properties of this one
\\app APP          ask about another app
\\explain [SELECT] how it would be answered; of none, the last one
\\analyze [SELECT] the same, and what answering it takes
\\watch [SECONDS]  ask the last one again and again, until Ctrl-C
\\timing           say how long each took, or no longer
\\format FORMAT    table, csv, json or arrow
\\q                leave
";

/// The fields that every event has, and the words of a SELECT.
const WORDS: &str = "timestamp received_at event_id event_type user_id app_id country user_plan events users SELECT FROM WHERE \
    GROUP BY ORDER HAVING LIMIT OFFSET AND OR NOT IN BETWEEN LIKE IS NULL AS ASC DESC DISTINCT CASE WHEN THEN ELSE END INTERVAL";

/// Reads and answers until there is nothing more. What is typed wrong on a terminal is said, and the next one read; in a pipe it is the end.
pub(super) async fn run(mut session: Session, out: &mut (impl Write + Send)) -> Result<(), ClientError> {
    let mut shell = Shell::default();
    if !std::io::stdin().is_terminal() {
        for line in std::io::stdin().lock().lines() {
            for task in shell.line(&line?) {
                session.perform(task, &mut shell, out).await?;
            }
        }
        let rest = std::mem::take(&mut shell.text);
        return match rest.trim() {
            "" => Ok(()),
            sql => session.perform(Task::Ask(sql.to_owned()), &mut shell, out).await,
        };
    }
    let history = history();
    let config = Config::builder().auto_add_history(true).completion_type(rustyline::CompletionType::List).build();
    let mut editor = Editor::<Names, FileHistory>::with_config(config).map_err(typed)?;
    editor.set_helper(Some(session.names().await?));
    if let Some(path) = &history {
        let _ = editor.load_history(path); // the first time there is none
    }
    if !session.is_json {
        writeln!(out, "SELECT ...; asks, \\? says what else there is, \\q leaves.")?;
    }
    loop {
        let prompt = if shell.text.is_empty() { "penstock> " } else { "       -> " };
        match block_in_place(|| editor.readline(prompt)) {
            Ok(line) => {
                for task in shell.line(&line) {
                    if matches!(task, Task::Leave) {
                        return save(&mut editor, history);
                    }
                    let is_other_app = matches!(task, Task::App(_));
                    let done = tokio::select! {
                        done = session.perform(task, &mut shell, out) => done,
                        _ = signal::ctrl_c() => Err(ClientError::Cancelled),
                    };
                    if let Err(error) = done {
                        complain(&Complaint::from(&error), session.is_json);
                        break;
                    }
                    if is_other_app {
                        match session.names().await {
                            Ok(names) => editor.set_helper(Some(names)),
                            Err(error) => complain(&Complaint::from(&error), session.is_json),
                        }
                    }
                }
            }
            Err(ReadlineError::Interrupted) => shell.text.clear(),
            Err(ReadlineError::Eof) => return save(&mut editor, history),
            Err(error) => return Err(typed(error)),
        }
    }
}

fn typed(error: ReadlineError) -> ClientError {
    ClientError::Write(std::io::Error::other(error))
}

fn save(editor: &mut Editor<Names, FileHistory>, path: Option<PathBuf>) -> Result<(), ClientError> {
    let Some(path) = path else { return Ok(()) };
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    editor.save_history(&path).map_err(typed)
}

/// Where what was typed is kept.
fn history() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    Some(state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?.join("penstock/history"))
}

/// What is typed so far, and what was asked last.
#[derive(Default)]
struct Shell {
    text: String,
    last: String,
}

/// What a line wants done.
#[derive(Debug, PartialEq)]
enum Task {
    Ask(String),
    Explain { sql: String, analyze: bool },
    Watch(String),
    Describe,
    App(String),
    Format(String),
    Timing,
    Help,
    Leave,
    Unknown(String),
}

impl Shell {
    fn line(&mut self, line: &str) -> Vec<Task> {
        if self.text.trim().is_empty() && line.trim_start().starts_with('\\') {
            return vec![command(line.trim().trim_end_matches(';'))];
        }
        self.text += line;
        self.text.push('\n');
        let mut tasks = Vec::new();
        while let Some(end) = end(&self.text) {
            let rest = self.text.split_off(end + 1);
            let sql = std::mem::replace(&mut self.text, rest);
            let sql = sql[..end].trim();
            if !sql.is_empty() {
                tasks.push(Task::Ask(sql.to_owned()));
            }
        }
        if self.text.trim().is_empty() {
            self.text.clear();
        }
        tasks
    }
}

fn name(route: Route) -> String {
    route.as_str_name().trim_start_matches("ROUTE_").to_lowercase()
}

fn command(line: &str) -> Task {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim().to_owned();
    match name {
        "\\d" => Task::Describe,
        "\\app" => Task::App(rest),
        "\\explain" => Task::Explain { sql: rest, analyze: false },
        "\\analyze" => Task::Explain { sql: rest, analyze: true },
        "\\watch" => Task::Watch(rest),
        "\\timing" => Task::Timing,
        "\\format" => Task::Format(rest),
        "\\?" | "\\h" | "\\help" => Task::Help,
        "\\q" => Task::Leave,
        other => Task::Unknown(other.to_owned()),
    }
}

/// Where the first statement ends: at a `;` that stands in no text, no name and no comment.
fn end(text: &str) -> Option<usize> {
    let mut within = None;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match within {
            Some(closing) if c == closing => within = None,
            Some(_) => {}
            None => match c {
                '\'' | '"' | '`' => within = Some(c),
                '-' if before == '-' => within = Some('\n'),
                ';' => return Some(at),
                _ => {}
            },
        }
        before = c;
    }
    None
}

impl Session {
    async fn perform(&mut self, task: Task, shell: &mut Shell, out: &mut impl Write) -> Result<(), ClientError> {
        let mistaken = |text: String| Err(ClientError::Mistake(text));
        match task {
            Task::Ask(sql) => {
                shell.last.clone_from(&sql);
                self.ask(&sql, out).await
            }
            Task::Explain { .. } | Task::Watch(_)
                if shell.last.is_empty() && !matches!(&task, Task::Explain { sql, .. } if !sql.is_empty()) =>
            {
                mistaken("nothing was asked yet: ask a SELECT first".to_owned())
            }
            Task::Explain { sql, analyze } => {
                self.explain(if sql.is_empty() { &shell.last } else { &sql }, analyze, out).await
            }
            Task::Watch(seconds) => match if seconds.is_empty() { Ok(2.0) } else { seconds.parse::<f64>() } {
                Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => loop {
                    self.ask(&shell.last, out).await?;
                    sleep(Duration::from_secs_f64(seconds)).await;
                },
                _ => mistaken(format!("{seconds:?} is no time: say \\watch 5 for each 5 seconds, 0.1 to 86400")),
            },
            Task::Describe => self.describe(out).await,
            Task::App(app) => {
                // One that the key doesn't reach is refused here, and the one before stays.
                self.client.describe(DescribeRequest { app_id: app.clone() }).await?;
                self.arguments.app = app;
                Ok(())
            }
            Task::Format(name) => match SqlFormat::from_str(&name, true) {
                Ok(format) => {
                    self.format = format;
                    Ok(())
                }
                Err(_) => mistaken(format!("{name:?} is no format: say \\format table, csv, json or arrow")),
            },
            Task::Timing => {
                self.is_timed = !self.is_timed;
                let text = format!("timing is {}", if self.is_timed { "on" } else { "off" });
                self.say(&json!({"timing": self.is_timed}), &text, out)
            }
            Task::Help => self.say(&json!({"help": HELP}), HELP.trim_end(), out),
            Task::Leave => Ok(()),
            Task::Unknown(name) => mistaken(format!("{name} is not known here: \\? says what there is")),
        }
    }

    /// What is no answer: an object for programs, words for people.
    fn say(&self, object: &Value, text: &str, out: &mut impl Write) -> Result<(), ClientError> {
        if self.is_json {
            writeln!(out, "{object}")?
        } else {
            writeln!(out, "{text}")?
        }
        Ok(())
    }

    async fn explain(&mut self, sql: &str, analyze: bool, out: &mut impl Write) -> Result<(), ClientError> {
        let question = SqlQuery { sql: sql.to_owned(), app_id: self.arguments.app.clone() };
        let (question, options) = (Some(Question::Sql(question)), Some(self.options()));
        let request = ExplainRequest { question, options, analyze };
        let plan = self.client.explain(request).await.map_err(|status| mistake::of(sql, status))?.into_inner();
        let expected = Duration::from_micros(plan.estimated_cpu_us);
        let mut lines = vec![
            plan.plan.trim_end().to_owned(),
            format!("route: {}: {}", name(plan.route()), plan.route_reason),
            format!("estimated rows: {}, bytes: {}, CPU: {expected:.1?}", plan.estimated_rows, plan.estimated_bytes),
        ];
        if let Some(cost) = &plan.actual {
            let took = Duration::from_micros(cost.elapsed_us);
            let (route, rows, bytes) = (name(plan.actual_route()), cost.read_rows, cost.read_bytes);
            let worked = Duration::from_micros(plan.actual_cpu_us);
            let cpu = if worked.is_zero() { String::new() } else { format!(", CPU: {worked:.1?}") };
            lines.push(format!("actual rows: {rows}, bytes: {bytes}, time: {took:.1?}{cpu}, from {route}"));
        }
        self.say(&link::json_of("ExplainResponse", &plan), &lines.join("\n"), out)
    }

    async fn describe(&mut self, out: &mut impl Write) -> Result<(), ClientError> {
        let request = DescribeRequest { app_id: self.arguments.app.clone() };
        let about = self.client.describe(request).await?.into_inner();
        let (tenant, key, can) = (&about.tenant_id, &about.key_id, about.permissions.join(", "));
        let mut lines = vec![format!("tenant {tenant}, key {key}, may {can}")];
        for app in &about.apps {
            lines.push(format!("app {}  {}  days of {}", app.app_id, app.display_name, app.time_zone));
        }
        if about.properties.is_empty() && about.apps.len() > 1 && self.arguments.app.is_empty() {
            lines.push("\\app APP says which app's properties are wanted".to_owned());
        }
        for property in &about.properties {
            let kind = property.r#type().as_str_name().trim_start_matches("COLUMN_TYPE_").to_lowercase();
            lines.push(format!("  {}  {kind}", property.name));
        }
        self.say(&link::json_of("DescribeResponse", &about), &lines.join("\n"), out)
    }

    /// What can be completed: the app's properties, and all functions.
    async fn names(&mut self) -> Result<Names, ClientError> {
        let request = DescribeRequest { app_id: self.arguments.app.clone() };
        let properties = self.client.describe(request).await?.into_inner().properties;
        let functions = formula::function_names().map(str::to_owned);
        let words = WORDS.split_whitespace().map(str::to_owned);
        let mut names: Vec<_> =
            properties.into_iter().map(|property| property.name).chain(words).chain(functions).collect();
        names.sort_unstable();
        names.dedup();
        Ok(Names(names))
    }
}

/// Completes names.
struct Names(Vec<String>);

impl Names {
    fn of(&self, line: &str) -> (usize, Vec<String>) {
        let start = line
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map_or(0, |at| at + line[at..].chars().next().map_or(0, char::len_utf8));
        let begun = line[start..].to_lowercase();
        let fits = |name: &&String| !begun.is_empty() && name.to_lowercase().starts_with(&begun);
        (start, self.0.iter().filter(fits).cloned().collect())
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.of(&line[..at]))
    }
}

impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_ends_at_a_semicolon_of_its_own() {
        let mut shell = Shell::default();
        assert_eq!(shell.line("SELECT ';' -- no; end"), []);
        let asked = Task::Ask("SELECT ';' -- no; end\nFROM \"a;b\"".to_owned());
        assert_eq!(shell.line("FROM \"a;b\"; SELECT 2; SEL"), [asked, Task::Ask("SELECT 2".to_owned())]);
        // A command within a statement is part of it.
        assert_eq!(shell.line("\\d"), []);
        assert_eq!(shell.line(";"), [Task::Ask("SEL\n\\d".to_owned())]);
        assert_eq!(shell.line("  \\watch 5;"), [Task::Watch("5".to_owned())]);
        assert_eq!(shell.line(";;"), []);
        assert_eq!(shell.text, "");
    }

    #[test]
    fn names_are_completed_in_any_case() {
        let names = Names(["amount", "AND", "country"].map(str::to_owned).into());
        assert_eq!(names.of("SELECT SUM(a"), (11, vec!["amount".to_owned(), "AND".to_owned()]));
        assert_eq!(names.of("→AM"), (3, vec!["amount".to_owned()]));
        assert_eq!(names.of("SELECT "), (7, vec![]));
    }
}

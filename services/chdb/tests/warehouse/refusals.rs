use std::path::Path;

use crate::harness::{Random, Warehouse};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_statement_never_runs() {
    let warehouse = Warehouse::start().await;
    warehouse.run("CREATE TABLE t (a UInt8) ENGINE = Memory").await;
    for sql in [
        "SELECT 1; DROP TABLE t",
        "DROP TABLE t; SELEC",
        "SELECT 1 PARALLEL WITH DROP TABLE t",
        "INSERT INTO t SELECT 1; DROP TABLE t",
        "INSERT INTO t VALUES (1); DROP TABLE t",
        "INSERT INTO t FORMAT CSV 1\n\nDROP TABLE t",
        "INSERT INTO t FORMAT TSV\n1\n\n\n;DROP TABLE t",
        "SELECT 1 FORMAT TSV; DROP TABLE t FORMAT TSV",
        "SELECT ';' /* ; */; DROP TABLE t -- ;",
        "SELECT 1\n;\n;DROP TABLE t",
        "EXPLAIN AST SELECT 1; DROP TABLE t",
        "KILL QUERY WHERE 0; DROP TABLE t",
        "SET max_threads = 1; DROP TABLE t",
        "SELECT ‘;’; DROP TABLE t",
    ] {
        let _ = warehouse.post("", sql).await;
        assert_eq!(warehouse.run("EXISTS TABLE t").await, "1\n", "{sql}");
    }
    assert_eq!(warehouse.post("", "SELECT 1; SELECT 2").await.code(), 62);
    assert_eq!(warehouse.run("SELECT 1;").await, "1\n", "one statement may end with a semicolon");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_machine_is_read_or_written() {
    let warehouse = Warehouse::start().await;
    let secret = secret_file(warehouse.path());
    let out = warehouse.path().join("out");
    let (secret, out) = (secret.display(), out.display());
    for sql in [
        format!("SELECT * FROM '{secret}'"),
        format!("SELECT * FROM `{secret}`"),
        format!("SELECT * FROM default.`{secret}`"),
        format!("SELECT * FROM file('{secret}', 'LineAsString')"),
        format!("SELECT file('{secret}')"),
        format!("DESCRIBE TABLE file('{secret}', 'LineAsString')"),
        format!("SELECT 1 INTO OUTFILE '{out}'"),
        format!("INSERT INTO FUNCTION file('{out}', 'TSV', 'a UInt8') VALUES (1)"),
        format!("CREATE TABLE f ENGINE = File(LineAsString, '{secret}')"),
        format!("CREATE TABLE f (a String) ENGINE = `File`(LineAsString, '{secret}')"),
        format!("CREATE VIEW v AS SELECT * FROM file('{secret}', 'LineAsString')"),
        format!("CREATE FUNCTION f AS x -> file('{secret}')"),
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')".into(),
        "SELECT * FROM remote('127.0.0.1:1', system.one)".into(),
        "SELECT * FROM executable('id', 'TSV', 'a String')".into(),
        "SELECT * FROM sqlite('/x', 'y')".into(),
        "SELECT * FROM eval('SELECT 1')".into(),
        "SELECT aiGenerate('x')".into(),
        "BACKUP TABLE system.one TO File('/tmp/x')".into(),
        "SYSTEM SHUTDOWN".into(),
        "CREATE TEMPORARY TABLE t (a UInt8)".into(),
        "CREATE DATABASE d ENGINE = Filesystem('/')".into(),
    ] {
        let answer = warehouse.post("", sql.clone()).await;
        assert!(!answer.status.is_success(), "{sql}: {}", answer.text());
        assert!(!answer.text().contains(SECRET), "{sql}");
    }
    let named = format!("SELECT * FROM {{f:Identifier}}('{secret}', 'LineAsString')");
    assert_ne!(warehouse.post("param_f=file", named).await.code(), 0);
    assert_eq!(warehouse.post("dialect=prql", "from x").await.code(), 452);
    assert!(!warehouse.path().join("out").exists());
    assert_eq!(warehouse.run("SELECT count() FROM numbers(3)").await, "3\n");
}

const SECRET: &str = "0f5e-not-for-you-91c2";

fn secret_file(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("secret");
    std::fs::write(&path, SECRET).unwrap();
    path
}

/// A statement that reads the file if neither quoting nor comments stop it.
fn attempt(random: &mut Random, path: &Path) -> String {
    const NOISE: &[&str] = &[
        "1",
        "'a''b'",
        "'\\''",
        "'\\\\'",
        "\"dummy\"",
        "`dummy`",
        "$$ ' $$",
        "$a$ \" $a$",
        "‘ ' ’",
        "'‘'",
        "x'41'",
        "1.",
        ".5e3",
        "'/*'",
        "'--'",
        "[1]",
        "'$'",
        "1 AS `a\\``",
        "1 AS “b'”",
    ];
    const GAPS: &[&str] = &[
        "",
        " ",
        "\n",
        "\t",
        "\u{a0}",
        "\u{3000}",
        "\u{feff}",
        "/**/",
        "/* /* */ ' */",
        "-- '\n",
        "# \"\n",
        "#! `\n",
        "// '\n",
        "/* ‘ */",
        "\u{200b}",
        "\r",
        "\x0b",
        "\u{2028}",
        "/* ( */",
    ];
    const NAMES: &[&str] = &[
        "file",
        "`file`",
        "\"file\"",
        "`f\\x69le`",
        "\"fil\\x65\"",
        "“file”",
        "`\\file`",
        "FILE",
        "`File`",
        "f/**/ile",
    ];
    const OPEN: &[&str] = &["SELECT", "select", "WITH 1 AS w SELECT", "(SELECT", "SELECT * FROM (SELECT"];
    let open = random.pick(OPEN);
    let close = if open.contains('(') { ")" } else { "" };
    let mut gap = || random.pick(GAPS);
    let gaps = [gap(), gap(), gap(), gap(), gap(), gap()];
    let (noise, name) = (random.pick(NOISE), random.pick(NAMES));
    let quote = [("'", "'"), ("‘", "’"), ("$q$", "$q$")][random.below(3)];
    let path = format!("{}{}{}", quote.0, path.display(), quote.1);
    let [a, b, c, d, e, f] = gaps;
    match random.below(3) {
        0 => format!("{open} {a}{noise}{b}, {c}{name}{d}({e}{path}{f}){close}"),
        1 => format!("{open} {a}{noise}{b}, * FROM{c} {name}{d}({e}{path}, 'LineAsString'{f}){close}"),
        _ => format!("{open} {a}{noise} {b}FROM (SELECT * FROM {c}{name}{d}({e}{path}{f}, LineAsString)){close}"),
    }
}

/// The guard's lexer must never see less than the engine's. The same statements run where `file` is allowed, which
/// proves that many of them would read the file.
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_slips_through() {
    let mut random = Random::new();
    let guarded = Warehouse::start().await;
    let open = Warehouse::with(&["--allow-external=file"]).await;
    let secret = secret_file(guarded.path());
    let mut would_read = 0;
    for _ in 0..600 {
        let sql = attempt(&mut random, &secret);
        let answer = guarded.post("", sql.clone()).await;
        assert!(!answer.text().contains(SECRET), "{sql}");
        let succeeds = open.post("", sql.clone()).await;
        would_read += usize::from(succeeds.text().contains(SECRET));
        if succeeds.text().contains(SECRET) {
            assert_eq!(answer.code(), 497, "{sql}: {}", answer.text());
        }
    }
    println!("{would_read} of 600 statements read the file where that is allowed");
    assert!(would_read > 50, "only {would_read} of the statements mean anything to the engine");
}

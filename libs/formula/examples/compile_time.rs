//! How long the seed's query takes from text to verified SQL: `cargo run --release -p formula --example compile_time`.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    hint::black_box,
    time::{Duration, Instant},
};

use formula::{Context, Statement, parse_sql, verify};
use model::{AppId, AppSchema, AppSet, Permission, Priority, Property, PropertyKind, Scope, Slot, TenantId};

const SQL: &str = "SELECT date_trunc('day', timestamp) as date, country, COUNT(DISTINCT user_id) as active_users,
    AVG(session_duration) as avg_session, PERCENTILE(0.95, load_time) as p95_load_time
FROM events
WHERE app_id = 'xyz123' AND timestamp > now() - INTERVAL 30 DAY AND user_plan IN ('pro', 'enterprise')
GROUP BY date, country ORDER BY date DESC";
const ROUNDS: u32 = 2_000;

fn compile(context: &Context<'_>, scope: &Scope) -> Result<Statement, model::Error> {
    parse_sql(SQL)?.plan(context)?.seal(scope, context.schema)?.compile()
}

/// The mean time of each stage.
fn stages(context: &Context<'_>, scope: &Scope) -> Result<(), model::Error> {
    let mut spent = [Duration::ZERO; 4];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let query = parse_sql(SQL)?;
        let parsed = Instant::now();
        let sealed = query.plan(context)?.seal(scope, context.schema)?;
        let planned = Instant::now();
        let statement = sealed.compile()?;
        let compiled = Instant::now();
        black_box(verify(statement.text(), statement.params(), scope))
            .map_err(|e| model::Error::internal(e.to_string()))?;
        let verified = Instant::now();
        let stages = [parsed - start, planned - parsed, compiled - planned, verified - compiled];
        spent.iter_mut().zip(stages).for_each(|(sum, stage)| *sum += stage);
    }
    let [parse, plan, compile, verify] = spent.map(|sum| sum.as_secs_f64() * 1e6 / f64::from(ROUNDS));
    println!("parse {parse:.1} us, plan {plan:.1} us, compile {compile:.1} us, of which verify {verify:.1} us");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let number = |name: &str, i| Property { name: name.into(), kind: PropertyKind::Number, slot: Slot::Number(i) };
    let schema = AppSchema::new([number("session_duration", 0), number("load_time", 1)]);
    let context = Context { schema: &schema, app: AppId::new("xyz123")?, now_ms: 1_735_689_600_000, time_zone: "UTC" };
    let scope = Scope::new(
        TenantId::new("acme")?,
        AppSet::All,
        [Permission::Query].into_iter().collect(),
        Priority::Interactive,
    );
    println!("{}", compile(&context, &scope)?.text());

    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            black_box(compile(&context, &scope)).map(|_| start.elapsed())
        })
        .collect::<Result<_, _>>()?;
    times.sort_unstable();
    stages(&context, &scope)?;
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let micros = |share: f64| times[(f64::from(ROUNDS - 1) * share) as usize].as_secs_f64() * 1e6;
    println!("{profile} profile, text to verified SQL: P50 {:.1} us, P99 {:.1} us", micros(0.5), micros(0.99));
    Ok(())
}

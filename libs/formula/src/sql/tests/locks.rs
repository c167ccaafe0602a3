//! What a scope's filters let pass.

use model::{ErrorCode, ReadFilter, Scope};

use crate::{
    Length, Obstacle, Pieces, Refusal, Route, Run, SealedPlan,
    fixture::{NOW_MS, plan, schema, scope},
    verify,
};

const HERE: &str = "tenant = {tenant:String} AND app = {app:String}";

fn locked(filters: &[(&str, &[&str])]) -> Scope {
    let filter = |(property, values): &(&str, &[&str])| ReadFilter {
        property: (*property).to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    Scope { filters: filters.iter().map(filter).collect(), ..scope() }
}

fn sealed(sql: &str, scope: &Scope) -> SealedPlan {
    plan(sql).unwrap().seal(scope, &schema()).unwrap()
}

fn text(sql: &str, filters: &[(&str, &[&str])]) -> String {
    sealed(sql, &locked(filters)).compile().unwrap().text().to_owned()
}

#[test]
fn a_property_is_compared_as_text_whatever_kind_it_was_sent_as() {
    for (property, want) in [
        ("status", "(s0 IN ({lock0:Array(String)}))"),
        ("country", "(country IN ({lock0:Array(String)}))"),
        ("load_time", "(toString(n1) IN ({lock0:Array(String)}))"),
        ("code", "(coalesce(toString(n5), s1) IN ({lock0:Array(String)}))"),
        ("never_sent", "(NULL IN ({lock0:Array(String)}))"),
        ("signup", "(NULL IN ({lock0:Array(String)}))"),
        ("timestamp", "(NULL IN ({lock0:Array(String)}))"),
    ] {
        let text = text("SELECT event_id FROM events", &[(property, &["a"])]);
        assert!(text.ends_with(&format!(" FROM events WHERE {HERE} AND {want}")), "{property}: {text}");
    }
    let bool = text("SELECT event_id FROM events", &[("is_new", &["true"])]);
    assert!(bool.contains(
        "(CASE WHEN (n3 != 0) THEN {p0:String} WHEN NOT (n3 != 0) THEN {p1:String} ELSE NULL END IN ({lock0"
    ));
}

#[test]
fn every_read_of_events_is_locked_wherever_it_stands() {
    let filters: &[(&str, &[&str])] = &[("status", &["it's", "b\\"]), ("country", &["DE"])];
    let locks = " AND (s0 IN ({lock0:Array(String)})) AND (country IN ({lock1:Array(String)}))";
    let many: Vec<_> = (0..40).map(|i| format!("load_time <> {i}")).collect();
    for (sql, reads) in [
        ("SELECT COUNT(*) n FROM events".to_owned(), 1),
        (format!("SELECT COUNT(*) n FROM events WHERE {}", many.join(" AND ")), 1),
        ("SELECT COUNT(*) n FROM events WHERE load_time > 1 OR load_time < 0".to_owned(), 1),
        ("SELECT AVG(n) a FROM (SELECT country, COUNT(*) n FROM events GROUP BY 1) x".to_owned(), 1),
        ("WITH x AS (SELECT user_id FROM events) SELECT COUNT(*) n FROM events WHERE user_id IN (SELECT user_id FROM x)".to_owned(), 2),
        ("SELECT COUNT(*) / (SELECT COUNT(*) FROM events) n FROM events".to_owned(), 2),
        ("SELECT event_id FROM events UNION ALL SELECT event_id FROM events".to_owned(), 2),
        ("SELECT COUNT(*) n FROM events JOIN (SELECT user_id, MAX(load_time) m FROM events GROUP BY 1) u USING (user_id)".to_owned(), 2),
    ] {
        let scope = locked(filters);
        let statement = sealed(&sql, &scope).compile().unwrap();
        assert_eq!(statement.text().matches(HERE).count(), reads, "{sql}");
        assert_eq!(statement.text().matches(&format!("{HERE}{locks}")).count(), reads, "{sql}: {}", statement.text());
        let value = |name: &str| statement.params().iter().find(|p| p.name == name).unwrap().value.clone();
        assert_eq!((value("lock0"), value("lock1")), (r"['it\'s','b\\']".to_owned(), "['DE']".to_owned()));
    }
}

#[test]
fn what_is_known_of_users_is_out_of_reach() {
    for sql in [
        "SELECT user_id FROM users",
        "SELECT COUNT(*) n FROM events JOIN users USING (user_id)",
        "SELECT COUNT(*) n FROM events WHERE user_id IN (SELECT user_id FROM users)",
    ] {
        let refused = plan(sql).unwrap().seal(&locked(&[("status", &["a"])]), &schema()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::PermissionDenied, "{sql}");
    }
}

#[test]
fn the_rollup_answers_only_what_the_filter_leaves_it() {
    let count = "SELECT COUNT(*) n FROM events";
    let of_user = sealed(count, &locked(&[("user_id", &["u"])]));
    assert_eq!(of_user.route(), Route::DailyUsers);
    assert!(of_user.compile().unwrap().text().contains(" FROM daily_users WHERE tenant = {tenant:String} AND app = {app:String} AND (nullIf(user, '') IN ({lock0:Array(String)}))"));
    let of_country = sealed(count, &locked(&[("country", &["DE"])]));
    assert_eq!(of_country.route(), Route::Raw(Obstacle::Name("country".into())));
}

#[test]
fn states_are_of_the_events_that_the_filter_lets_pass_and_no_other_s() {
    let sql = "SELECT status, COUNT(*) n FROM events WHERE timestamp > now() - INTERVAL 1 DAY GROUP BY 1";
    let run = Run { times: 0..model::HOUR_MS, length: Length::Hour, first_piece: 0, life: 0 };
    let of = |values: &[&str]| sealed(sql, &locked(&[("country", values)])).states("", &run).unwrap();
    let (own, others) = (of(&["DE"]), of(&["FR"]));
    assert!(own.text().contains("AND (country IN ({lock0:Array(String)}))"), "{}", own.text());
    assert_ne!(own.params(), others.params(), "so their shapes differ");
    assert_ne!(own.text(), sealed(sql, &scope()).states("", &run).unwrap().text());
    let times = NOW_MS - model::DAY_MS..NOW_MS;
    let pieces = Pieces { shape: "5a".into(), times: times.clone(), numbers: vec![1], rest: [times].into() };
    let merged = sealed(sql, &locked(&[("country", &["DE"])])).put_together(&pieces).unwrap();
    assert!(
        merged.text().contains("FROM events WHERE tenant = {tenant:String} AND app = {app:String} AND (country IN")
    );
}

#[test]
fn a_text_without_its_locks_is_refused() {
    let scope = locked(&[("status", &["a"])]);
    let statement = sealed("SELECT COUNT(*) n FROM events", &scope).compile().unwrap();
    let lock = " AND (s0 IN ({lock0:Array(String)}))";
    assert_eq!(verify(statement.text(), statement.params(), &scope), Ok(()));
    let missing = Err(Refusal::MissingPredicate("lock"));
    for other in [
        "",
        " OR (s0 IN ({lock0:Array(String)}))",
        " AND (NOT (s0 IN ({lock0:Array(String)})))",
        " AND ((s0 IN ({lock0:Array(String)})) OR true)",
        " AND (s0 IN ({lock0:Array(String)}, s0))",
        " AND (s0 IN ({lock1:Array(String)}))",
    ] {
        let text = statement.text().replace(lock, other);
        let refused = verify(&text, statement.params(), &scope);
        assert!(
            refused.is_err() && (refused == missing || other.contains("lock1") || other.contains(" OR (s0")),
            "{text}: {refused:?}"
        );
    }
    let others = locked(&[("status", &["b"])]);
    assert_eq!(verify(statement.text(), statement.params(), &others), Err(Refusal::OutOfScope("lock")));
    let users = "SELECT user AS c0 FROM users WHERE tenant = {tenant:String} AND app = {app:String} AND (s_more IN ({lock0:Array(String)}))";
    assert_eq!(verify(users, statement.params(), &scope), Err(Refusal::Table));
}

//! Attempts to see what isn't yours: another tenant's data, and another app's of the same tenant.
//!
//! The attacker's key reaches app `shop` of tenant `red`. Victims: app `lab` of `red`, and app `shop` of tenant `blue`.

use serde_json::{Value, json};

/// A call by its method's name, with its body in JSON.
pub type Attack = (String, Value);

/// What may stand behind `SELECT ... FROM events`, or in place of it.
const CLAUSES: &[&str] = &[
    "FROM events WHERE app_id = 'lab'",
    "FROM events WHERE app_id = 'shop' OR 1 = 1",
    "FROM events WHERE app_id = 'shop' OR app_id = 'lab'",
    "FROM events WHERE app_id = 'shop' AND app_id = 'lab'",
    "FROM events WHERE NOT (app_id = 'shop' AND 1 = 2)",
    "FROM events WHERE app_id IN ('shop', 'lab')",
    "FROM events WHERE app_id NOT IN ('x')",
    "FROM events WHERE app_id LIKE '%'",
    "FROM events WHERE app_id <> 'nothing'",
    "FROM events WHERE app_id > ''",
    "FROM events WHERE app_id IS NOT NULL",
    "FROM events WHERE coalesce(app_id, '') = 'lab'",
    "FROM events WHERE tenant = 'blue'",
    "FROM events WHERE tenant_id = 'blue' OR TRUE",
    "FROM events WHERE events.tenant = 'blue'",
    "FROM events WHERE user_id = 'u1' OR '' = ''",
    "FROM events WHERE user_id = 'x'' OR ''1''=''1'",
    r"FROM events WHERE user_id = 'x\' OR 1=1 --'",
    r"FROM events WHERE user_id = 'x\\' OR 1=1 --'",
    "FROM events WHERE user_id = 'x' -- ' AND\n OR 1 = 1",
    "FROM events WHERE user_id = 'x' /* ' */ OR 1 = 1 /* ' */",
    "FROM events WHERE user_id = 'x' # OR 1 = 1",
    "FROM events WHERE user_id = \u{2018}x\u{2019} OR 1 = 1",
    "FROM events WHERE user_id = \u{ff07}x\u{ff07} OR 1 = 1",
    "FROM events WHERE user_id = '\u{0}' OR 1 = 1",
    "FROM events WHERE user_id = '\\0' OR 1 = 1",
    "FROM events WHERE user_id = '\\N' OR user_id = '\t\n\\'",
    "FROM events WHERE user_id = '{p0:String}' OR user_id <> '{tenant:String}'",
    "FROM events WHERE user_id <> '{app:String}' AND user_id <> '{p1:String}'",
    "FROM events WHERE app_id = {app:String} OR tenant <> {tenant:String}",
    "FROM events WHERE app_id = '{app:String}' OR 1 = 1",
    "FROM events WHERE app_id = 'shop\0lab' OR 1 = 1",
    "FROM events WHERE user_id LIKE '%' ESCAPE '\\' OR 1 = 1",
    "FROM events WHERE user_id IN (SELECT user FROM users)",
    "FROM events WHERE EXISTS (SELECT 1 FROM events WHERE tenant = 'blue')",
    "FROM (SELECT * FROM events)",
    "FROM (SELECT * FROM penstock.events) AS events",
    "FROM users",
    "FROM penstock.events",
    "FROM penstock.users",
    "FROM default.events",
    "FROM system.tables",
    "FROM system.processes",
    "FROM system.parts",
    "FROM information_schema.tables",
    "FROM events, events AS e",
    "FROM events e WHERE e.tenant <> ''",
    "FROM events AS e JOIN events AS f ON 1 = 1",
    "FROM events CROSS JOIN users",
    "FROM events FINAL",
    "FROM events SAMPLE 1",
    "FROM events PREWHERE tenant = 'blue'",
    "FROM events ARRAY JOIN [1, 2] AS a",
    "FROM \"events\" WHERE 1 = 1",
    "FROM `events` WHERE 1 = 1",
    "FROM `events` -- ` WHERE app_id = 'shop'",
    "FROM merge('', 'events')",
    "FROM remote('127.0.0.1', penstock, events)",
    "FROM cluster('default', penstock, events)",
    "FROM file('/etc/passwd', 'LineAsString', 'secret String')",
    "FROM url('http://127.0.0.1/', 'LineAsString', 'secret String')",
    "FROM numbers(10)",
    "FROM view(SELECT * FROM events)",
    "FROM events UNION ALL SELECT secret, n FROM events",
    "FROM events INTERSECT SELECT secret, n FROM events",
    "FROM events; SELECT * FROM events",
    "FROM events; DROP TABLE events",
    "FROM events LIMIT 10 BY tenant",
    "FROM events SETTINGS additional_table_filters = {'events': '1'}",
    "FROM events FORMAT JSONEachRow",
    "FROM events INTO OUTFILE '/tmp/penstock-attack'",
    "FROM events WHERE app_id = 'shop' HAVING 1 = 1 OR tenant = 'blue'",
    "FROM events ORDER BY tenant",
    "FROM events GROUP BY tenant",
    "FROM events LIMIT 1 OFFSET 1 ROWS",
    "FROM (SELECT secret, user_id, n FROM events WHERE app_id = 'lab') AS events",
    "FROM (SELECT secret, user_id, n FROM events WHERE tenant = 'blue') AS events",
    "FROM (SELECT secret, user_id, n FROM events UNION ALL SELECT secret, user_id, n FROM events) AS x",
    "FROM (SELECT country AS secret, user_id, 1 AS n FROM users) AS x",
    "FROM users WHERE app_id = 'lab'",
    "FROM users WHERE tenant <> '' OR TRUE",
    "FROM events JOIN users ON events.user_id = users.user_id",
    "FROM events LEFT JOIN users AS u ON u.user_id = events.user_id WHERE u.tenant = 'blue'",
    "FROM events JOIN (SELECT user_id AS u, country AS c FROM users WHERE app_id = 'lab') AS x ON events.user_id = x.u",
    "FROM events CROSS JOIN (SELECT MAX(country) AS secret, MAX(plan) AS p FROM users) AS x",
    "FROM events WHERE country IN (SELECT country FROM users)",
    "FROM events WHERE country NOT IN (SELECT country FROM users WHERE tenant = 'blue')",
    "FROM events WHERE n > (SELECT MAX(n) FROM events WHERE app_id = 'lab')",
    "FROM events UNION ALL SELECT country FROM users",
];

/// What may be selected of any of them.
const SELECTED: &[&str] = &[
    "*",
    "COLUMNS('.*')",
    "events.*",
    "* EXCEPT user_id",
    "tenant",
    "app",
    "_partition",
    "_offset",
    "_incarnation",
    "_part",
    "s0",
    "n0",
    "s_more",
    "s_more['secret']",
    "properties",
    "toString(tuple(*))",
    "(SELECT secret FROM events LIMIT 1)",
    "any(tenant)",
    "groupArray(secret)",
    "groupUniqArray(tenant)",
    "argMax(secret, n)",
    "arrayJoin([1, 2])",
    "file('/etc/passwd')",
    "url('http://127.0.0.1/')",
    "dictGet('d', 'a', 1)",
    "joinGet('users', 'country', 'u1')",
    "getSetting('max_threads')",
    "getServerSetting('path')",
    "currentDatabase()",
    "currentUser()",
    "hostName()",
    "version()",
    "queryID()",
    "serverUUID()",
    "hasColumnInTable('penstock', 'events', 'tenant')",
    "evalMLMethod(1)",
    "catboostEvaluate('/x', 1)",
    "toTypeName(secret)",
    "sleep(1)",
    "throwIf(n > 0, secret)",
    "formatRow('CSV', *)",
    "COUNT(*) OVER ()",
    "(SELECT MAX(country) FROM users)",
    "(SELECT MAX(secret) FROM events WHERE app_id = 'lab')",
    "MAX(secret) OVER (PARTITION BY tenant ORDER BY n)",
    "LAG(secret, 3) OVER (ORDER BY timestamp)",
    "users.secret",
    "users.country",
    "MAX(users.country)",
    "secret AS \"c0`, tenant AS x\"",
    "COUNT(*) FILTER (WHERE tenant = 'blue')",
    "canary_blue_pro",
    "MAX(canary_blue_pro)",
    "{p0:String}",
    "1; SELECT 2",
];

/// Every attempt, so that each method of the contracts is among them.
pub fn all() -> Vec<Attack> {
    let mut attacks = sql();
    attacks.extend(typed());
    attacks.extend(metrics());
    attacks.extend(dashboards());
    attacks.extend(admin());
    attacks.extend(ingest());
    attacks.push(("PublicService/GetHostBranding".to_owned(), json!({})));
    attacks
}

fn sql() -> Vec<Attack> {
    let heads = ["SELECT secret, n ", "SELECT COUNT(*) AS c "];
    let clauses = CLAUSES.iter().flat_map(|clause| heads.map(|head| format!("{head}{clause}")));
    let selected = SELECTED.iter().map(|what| format!("SELECT {what} FROM events WHERE app_id = 'shop'"));
    let whole = [
        "INSERT INTO events SELECT * FROM events",
        "SHOW TABLES",
        "SYSTEM FLUSH LOGS",
        "WITH x AS (SELECT 1) SELECT * FROM events",
        "EXPLAIN SELECT 1",
        "DESCRIBE TABLE events",
        "ALTER TABLE events DELETE WHERE 1",
        "KILL QUERY WHERE 1",
        "",
    ];
    let texts: Vec<String> = clauses.chain(selected).chain(whole.map(str::to_owned)).collect();
    let mut attacks = Vec::new();
    for sql in texts {
        for app in ["", "shop", "lab"] {
            attacks.push(("QueryService/Sql".to_owned(), json!({"sql": sql, "app_id": app})));
            if app != "shop" {
                continue;
            }
            attacks.push(("QueryService/SqlStream".to_owned(), json!({"sql": sql, "app_id": app})));
            attacks.push(("QueryService/Subscribe".to_owned(), json!({"sql": {"sql": sql, "app_id": app}})));
            let export = json!({"sql": {"sql": sql, "app_id": app}, "format": "EXPORT_FORMAT_NDJSON"});
            attacks.push(("QueryService/Export".to_owned(), export));
            attacks.push(("QueryService/Explain".to_owned(), json!({"sql": {"sql": sql, "app_id": app}})));
        }
    }
    for app in ["blue", "blue/shop", "shop' OR '1'='1", "SHOP", "shop ", "sh\u{200b}op", "*", "%", "../lab"] {
        attacks.push(("QueryService/Sql".to_owned(), json!({"sql": "SELECT secret, n FROM events", "app_id": app})));
    }
    for app in ["", "shop", "lab", "blue", "shop' OR '1'='1"] {
        attacks.push(("QueryService/Describe".to_owned(), json!({"app_id": app})));
    }
    attacks
}

/// Expressions, as formulas, dimensions, fields and names.
const EXPRESSIONS: &[&str] = &[
    "MAX(secret)",
    "MAX(n) FROM events --",
    "MAX(n)) FROM events --",
    "SUM(n) + (SELECT SUM(n) FROM events)",
    "SUMIf(n, tenant = 'blue')",
    "MAX(tenant)",
    "MAX(s0)",
    "MAX(canary_blue_pro)",
    "MAX(\"n`\")",
    "COUNT(*) /* */ ",
    "tenant",
    "app_id",
    "secret",
    "secret FROM events --",
    "secret, tenant",
    "c0`, tenant AS `x",
    "{tenant:String}",
    "dictGet('d', 'a', 1)",
];

fn typed() -> Vec<Attack> {
    let mut queries = Vec::new();
    for expression in EXPRESSIONS {
        for app in ["", "shop", "lab"] {
            queries.push(json!({"app_id": app, "measures": [{"formula": expression}]}));
        }
        let count = json!([{"name": "c", "formula": "COUNT(*)"}]);
        queries.push(json!({"app_id": "shop", "measures": count, "dimensions": [{"expression": expression}]}));
        queries.push(json!({"app_id": "shop", "measures": [{"name": expression, "formula": "COUNT(*)"}]}));
        queries.push(json!({"app_id": "shop", "measures": count, "order_by": [{"column": expression}]}));
        queries.push(json!({"app_id": "shop", "measures": count, "having": expression, "totals": true}));
        queries.push(json!({
            "app_id": "shop", "measures": [{"name": "c", "formula": "{a@1}"}], "dimensions": [{"expression": "user_id"}],
            "formulas": [{"name": "a@1", "formula": expression}], "top": {"n": 1, "others": expression},
        }));
        for filter in filters(expression) {
            queries.push(json!({"app_id": "shop", "measures": count, "filters": [filter]}));
        }
    }
    let both = |query: Value| {
        [
            ("QueryService/Query".to_owned(), json!({"query": query})),
            ("QueryService/QueryStream".to_owned(), json!({"query": query})),
            ("QueryService/Subscribe".to_owned(), json!({"query": query})),
            ("QueryService/Export".to_owned(), json!({"query": query, "format": "EXPORT_FORMAT_CSV"})),
            ("QueryService/Explain".to_owned(), json!({"query": query})),
            ("QueryService/Query".to_owned(), json!({"query": query, "options": {"time_zone": "UTC') OR 1=1 --"}})),
        ]
    };
    queries.into_iter().flat_map(both).collect()
}

fn filters(text: &str) -> Vec<Value> {
    let value = json!([{"string": text}]);
    vec![
        json!({"field": text, "op": "FILTER_OP_NE", "values": value}),
        json!({"field": "user_id", "op": "FILTER_OP_NE", "values": value}),
        json!({"field": "app_id", "op": "FILTER_OP_EQ", "values": [{"string": "lab"}]}),
        json!({"field": "tenant", "op": "FILTER_OP_IN", "values": [{"string": "blue"}, {"string": "red"}]}),
        json!({"field": "user_id", "op": "FILTER_OP_LIKE", "values": [{"string": "%\\"}]}),
    ]
}

fn metrics() -> Vec<Attack> {
    let definition = |formula: &str| json!({"name": "attack", "formula": formula});
    let mut attacks = Vec::new();
    let mut push = |method: &str, body: Value| attacks.push((format!("MetricsService/{method}"), body));
    for app in ["lab", "blue", "*", "", "sh%6Fp", "../lab"] {
        for name in ["revenue", "blue_only"] {
            push("GetMetric", json!({"app_id": app, "name": name}));
            push("ListMetricVersions", json!({"app_id": app, "name": name}));
            push("Evaluate", json!({"app_id": app, "name": name}));
            push("SubscribeMetric", json!({"app_id": app, "name": name}));
            push("DeleteMetric", json!({"app_id": app, "name": name}));
            let changed = json!({"name": name, "formula": "COUNT(*)"});
            push("UpdateMetric", json!({"app_id": app, "definition": changed, "base_version": 1}));
        }
        push("ListMetrics", json!({"app_id": app}));
        push("CreateMetric", json!({"app_id": app, "definition": definition("COUNT(*)")}));
        push("ValidateMetric", json!({"app_id": app, "definition": definition("MAX(canary_blue_pro)")}));
        push("PreviewMetric", json!({"app_id": app, "definition": definition("MAX(n)")}));
    }
    for name in ["blue_only", "lab_only", "../../lab/metrics/lab_only"] {
        push("GetMetric", json!({"app_id": "shop", "name": name}));
        push("ListMetricVersions", json!({"app_id": "shop", "name": name}));
        push("Evaluate", json!({"app_id": "shop", "name": name}));
        push("SubscribeMetric", json!({"app_id": "shop", "name": name}));
        push("DeleteMetric", json!({"app_id": "shop", "name": name}));
    }
    push("ListMetrics", json!({"app_id": "shop"}));
    for expression in EXPRESSIONS {
        push("ValidateMetric", json!({"app_id": "shop", "definition": definition(expression)}));
        push("PreviewMetric", json!({"app_id": "shop", "definition": definition(expression)}));
        for filter in filters(expression) {
            let evaluation = json!({"filters": [filter], "dimensions": [{"expression": expression}]});
            for method in ["Evaluate", "SubscribeMetric"] {
                push(method, json!({"app_id": "shop", "name": "revenue", "evaluation": evaluation}));
            }
        }
    }
    attacks
}

fn dashboards() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut push = |method: &str, body: Value| attacks.push((format!("DashboardService/{method}"), body));
    let tile = |question: Value| {
        let mut tile = json!({"id": "t"});
        tile.as_object_mut().unwrap().extend(question.as_object().unwrap().clone());
        json!({"dashboard_id": "attack", "tiles": [tile]})
    };
    for app in ["lab", "blue", "*", "", "sh%6Fp", "../lab"] {
        for id in ["sales", "blue_only"] {
            push("GetDashboard", json!({"app_id": app, "dashboard_id": id}));
            push("DeleteDashboard", json!({"app_id": app, "dashboard_id": id}));
            push("PutDashboard", json!({"app_id": app, "dashboard": {"dashboard_id": id, "title": "attacked"}}));
        }
        push("ListDashboards", json!({"app_id": app}));
    }
    for id in ["blue_only", "lab_only", "../../lab/dashboards/lab_only"] {
        push("GetDashboard", json!({"app_id": "shop", "dashboard_id": id}));
        push("DeleteDashboard", json!({"app_id": "shop", "dashboard_id": id}));
    }
    push("ListDashboards", json!({"app_id": "shop"}));
    // What the tiles of a dashboard would ask is told by its refusal at most.
    for expression in EXPRESSIONS {
        let measures = json!([{"formula": expression}]);
        push("PutDashboard", json!({"app_id": "shop", "dashboard": tile(json!({"query": {"measures": measures}}))}));
        let sql = json!({"sql": format!("SELECT {expression} FROM events WHERE app_id = 'lab'")});
        push("PutDashboard", json!({"app_id": "shop", "dashboard": tile(json!({"sql": sql}))}));
    }
    for name in ["blue_only", "lab_only"] {
        push("PutDashboard", json!({"app_id": "shop", "dashboard": tile(json!({"metric": {"name": name}}))}));
    }
    attacks
}

fn admin() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut push = |method: &str, body: Value| attacks.push((format!("AdminService/{method}"), body));
    for tenant in ["blue", "operator", "demo", "*", "red' OR '1'='1", ""] {
        push("ListApps", json!({"tenant_id": tenant}));
        push("ListKeys", json!({"tenant_id": tenant}));
        push("GetTenantQuota", json!({"tenant_id": tenant}));
        push("GetUsage", json!({"tenant_id": tenant}));
        push("GetTenantRetention", json!({"tenant_id": tenant}));
        push("ListAuditEntries", json!({"tenant_id": tenant, "page_size": 1000}));
        push(
            "ListAuditEntries",
            json!({"tenant_id": tenant, "method": "x' OR '1'='1", "page_token": "18446744073709551615"}),
        );
        push("VerifyAudit", json!({"tenant_id": tenant, "expected_entries": "1"}));
        for app in ["shop", "lab", "shop' OR '1'='1"] {
            push("ListDeadLetters", json!({"tenant_id": tenant, "app_id": app, "page_token": "0-0-0-0"}));
            push("EraseUser", json!({"tenant_id": tenant, "app_id": app, "user_id": "u2"}));
            push("EraseUser", json!({"tenant_id": tenant, "app_id": app, "user_id": "u2' OR user <> '"}));
            push("ListErasures", json!({"tenant_id": tenant, "app_id": app, "page_token": "99999999999999-z"}));
            push("GetErasure", json!({"tenant_id": tenant, "erasure_id": "0"}));
            let [from, to] =
                [-1, 1].map(|hours| (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)).to_string());
            push("Reconcile", json!({"tenant_id": tenant, "app_id": app, "from": from, "to": to}));
        }
        push("SetTenantRetention", json!({"tenant_id": tenant, "days": 1}));
        push("GetSettings", json!({"tenant_id": tenant, "app_id": "lab"}));
        push("SetSettings", json!({"tenant_id": tenant, "settings": {"time_zone": "Asia/Tokyo"}}));
        push("GetBranding", json!({"tenant_id": tenant, "app_id": "lab"}));
        push("SetBranding", json!({"tenant_id": tenant, "branding": {"product_name": "attack"}}));
        push("SetTenantDomains", json!({"tenant_id": tenant, "domains": ["attack.example"]}));
        push("SetTenantQuota", json!({"tenant_id": tenant, "quota": {"events_per_second": 1, "events_burst": 1}}));
        push("CreateApp", json!({"tenant_id": tenant, "app": {"app_id": "attack"}}));
        push("CreateTenant", json!({"tenant": {"tenant_id": tenant}}));
        for (apps, permission) in [(json!([]), "QUERY"), (json!(["lab"]), "QUERY"), (json!(["shop"]), "OPERATOR")] {
            let permissions = [format!("PERMISSION_{permission}")];
            push("CreateKey", json!({"tenant_id": tenant, "permissions": permissions, "app_ids": apps}));
        }
    }
    push("CreateKey", json!({"tenant_id": "blue", "permissions": ["PERMISSION_QUERY"], "app_ids": ["shop"]}));
    push("ListTenants", json!({}));
    for app in ["shop", "lab", "blue"] {
        for sql in ["SELECT secret, n FROM events WHERE app_id = 'lab'", "SELECT canary_blue_pro FROM events"] {
            let report = json!({"app_id": app, "schedule": "0 0 1 1 *", "question": {"sql": {"sql": sql}}});
            push("CreateReport", json!({ "report": report }));
        }
    }
    push("ListReports", json!({"page_token": "99999999999999-z"}));
    for id in ["0", "", "' OR '1'='1"] {
        push("GetReport", json!({"report_id": id}));
        push("ListReportRuns", json!({"report_id": id}));
        push("DeleteReport", json!({"report_id": id}));
    }
    push("ListReplays", json!({}));
    push("GetReplay", json!({"replay_id": "0"}));
    push("CancelReplay", json!({"replay_id": "0"}));
    push("StartReplay", json!({"ranges": [{"partition": 0, "first_offset": "0", "last_offset": "0"}]}));
    push("GetTopic", json!({}));
    push("GetHealth", json!({}));
    push("GetUsage", json!({"from": "1969-01-01T00:00:00Z", "to": "2500-01-01T00:00:00Z"}));
    push("GrowTopic", json!({"partitions": 8}));
    push("CreateBackup", json!({}));
    push("ListDeadLetters", json!({"app_id": "shop", "page_token": "0-0-0-0') OR ('1'='1"}));
    attacks
}

fn ingest() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for app in ["lab", "blue", "blue/shop", "attack"] {
        let event = json!({"app_id": app, "event_type": "attack", "user_id": "u1"});
        let batch = json!({"events": [event]});
        attacks.push(("IngestService/Publish".to_owned(), batch.clone()));
        attacks
            .push(("IngestService/Publish".to_owned(), json!({"app_id": app, "events": [{"event_type": "attack"}]})));
        attacks.push(("IngestService/PublishStream".to_owned(), json!({"sequence": 1, "batch": batch})));
        let traits = json!({"country": {"string": "attack"}});
        attacks.push(("IngestService/Identify".to_owned(), json!({"app_id": app, "user_id": "u1", "traits": traits})));
    }
    attacks
}

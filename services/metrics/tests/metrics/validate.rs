//! Checking a definition: every fault, where it is, and what would be right.

use api::v1::{
    Column, ColumnType, Filter, FilterOp, MetricDefinition, Problem, ValidateMetricRequest, ValidateMetricResponse,
    value::Kind,
};
use model::{ErrorCode, Permission, PropertyKind};

use crate::world::{World, analyst, caller, code, equals, filter, method, revenue};

async fn validate(world: &World, definition: MetricDefinition) -> ValidateMetricResponse {
    let request = ValidateMetricRequest { app_id: "shop".into(), definition: Some(definition) };
    world.call(&analyst(), request, method!(validate_metric)).await.unwrap()
}

async fn problems(world: &World, definition: MetricDefinition) -> Vec<Problem> {
    let answer = validate(world, definition).await;
    assert_eq!(answer.column, None);
    answer.problems
}

fn with_formula(formula: &str) -> MetricDefinition {
    MetricDefinition { formula: formula.into(), ..revenue() }
}

fn with_filter(filter: Filter) -> MetricDefinition {
    MetricDefinition { filters: vec![equals("event_type", "purchase"), filter], ..revenue() }
}

#[tokio::test]
async fn a_valid_definition_has_the_column_that_it_will_have() {
    let world = World::new().await;
    for (formula, kind, sketch) in [
        (revenue().formula.as_str(), ColumnType::Number, ""),
        ("COUNT(*)", ColumnType::Integer, ""),
        ("MAX(timestamp)", ColumnType::Time, ""),
        ("MIN(status)", ColumnType::String, ""),
        ("COUNT(*) > 3", ColumnType::Bool, ""),
        ("PERCENTILE(0.95, purchase_amount)", ColumnType::Number, "t-digest"),
    ] {
        let answer = validate(&world, with_formula(formula)).await;
        let column =
            Column { name: "revenue_per_user".into(), r#type: kind.into(), unit: "USD".into(), sketch: sketch.into() };
        assert_eq!(answer, ValidateMetricResponse { problems: Vec::new(), column: Some(column) }, "{formula}");
    }
    assert!(world.query.asked().is_empty());
}

#[tokio::test]
async fn a_fault_in_a_formula_has_its_place() {
    let world = World::new().await;
    for (formula, at, right) in [
        ("SUM(purchase_amout) / COUNT(*)", "purchase_amout", "purchase_amount"),
        ("SUMM(purchase_amount)", "SUMM", "sum"),
        ("SUM(purchase_amount", "", ")"),
        ("SUM(status)", "status", "number"),
        ("purchase_amount", "purchase_amount", "aggregate"),
        ("SUM(SUM(purchase_amount))", "SUM(purchase_amount)", "aggregate"),
    ] {
        let found = problems(&world, with_formula(formula)).await;
        let [problem] = found.as_slice() else { panic!("{formula}: {found:?}") };
        assert_eq!(problem.field, "definition.formula", "{formula}");
        assert_eq!(&formula[problem.start as usize..problem.end as usize], at, "{problem:?}");
        assert!(problem.message.to_lowercase().contains(right), "{problem:?}");
    }
}

#[tokio::test]
async fn a_fault_in_a_filter_names_the_filter() {
    let world = World::new().await;
    let number = |x: f64| filter("purchase_amount", FilterOp::Gt, &[Kind::Number(x)]);
    for (filter, field) in [
        (equals("statu", "completed"), "definition.filters[1]"),
        (filter("gift", FilterOp::Gt, &[Kind::String("x".into())]), "definition.filters[1]"),
        (number(f64::NAN), "definition.filters[1]"),
        (number(f64::INFINITY), "definition.filters[1]"),
        (filter("status", FilterOp::Unspecified, &[]), "definition.filters[1].op"),
        (filter("status", FilterOp::In, &[]), "definition.filters[1].values"),
        (equals("", "completed"), "definition.filters[1].field"),
    ] {
        let found = problems(&world, with_filter(filter.clone())).await;
        let [problem] = found.as_slice() else { panic!("{filter:?}: {found:?}") };
        assert_eq!((problem.field.as_str(), problem.start, problem.end), (field, 0, 0), "{problem:?}");
    }
    let unknown = problems(&world, with_filter(equals("statu", "completed"))).await;
    assert!(unknown[0].message.contains("`status`"), "{unknown:?}");
    assert!(validate(&world, with_filter(number(1.5))).await.problems.is_empty());
}

#[tokio::test]
async fn every_fault_is_told_at_once() {
    let world = World::new().await;
    let bad = MetricDefinition {
        name: "Revenue".into(),
        display_name: "x".repeat(129),
        description: "x".repeat(4097),
        formula: " ".into(),
        filters: vec![equals("nope", "1"), equals("event_type", "purchase"), equals("neither", "2")],
        unit: "x".repeat(33),
        materialize: false,
    };
    let found = problems(&world, bad).await;
    let fields: Vec<_> = found.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "definition.name",
            "definition.display_name",
            "definition.description",
            "definition.unit",
            "definition.formula",
            "definition.filters[0]",
            "definition.filters[2]",
        ]
    );
}

#[tokio::test]
async fn no_text_has_what_a_database_can_not_keep() {
    let world = World::new().await;
    let nul = || "a\0b".to_owned();
    let bad = MetricDefinition { display_name: nul(), description: nul(), unit: nul(), ..revenue() };
    let found = problems(&world, bad).await;
    let fields: Vec<_> = found.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, ["definition.display_name", "definition.description", "definition.unit"]);
    let found = problems(&world, with_formula("COUNT(*) -- \0")).await;
    assert_eq!(found[0].field, "definition.formula");
}

#[tokio::test]
async fn the_column_of_time_buckets_keeps_its_name() {
    let world = World::new().await;
    let found = problems(&world, MetricDefinition { name: "time".into(), ..revenue() }).await;
    assert_eq!(found[0].field, "definition.name");
}

#[tokio::test]
async fn what_is_valid_grows_with_the_app_s_properties() {
    let world = World::new().await;
    let definition = with_formula("AVG(discount)");
    assert_eq!(problems(&world, definition.clone()).await.len(), 1);
    world.register(&[("discount", PropertyKind::Number)]).await;
    assert!(validate(&world, definition).await.problems.is_empty());
}

#[tokio::test]
async fn validating_is_part_of_defining() {
    let world = World::new().await;
    let request = ValidateMetricRequest { app_id: "shop".into(), definition: Some(revenue()) };
    let reader = caller("acme", &[], &[Permission::Query]);
    assert_eq!(code(world.call(&reader, request, method!(validate_metric)).await), ErrorCode::PermissionDenied);
}

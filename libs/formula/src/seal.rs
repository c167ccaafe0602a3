//! A plan bound to who asks. Only here does a plan become SQL, and no SQL leaves unverified.

use model::{AppId, AppSchema, Error, ErrorCode, Permission, PropertyKind, ReadFilter, Scope, TenantId};

use crate::{
    diagnostics::Span,
    plan::{Column, Plan, Source},
    route::{Obstacle, Route},
    sql,
    typed::{Expr, FIELDS, Node},
    types::Type,
    verify::verify,
};

/// A plan and the scope that it runs in. There is no way to make one but [`Plan::seal`], and no way to SQL but
/// [`SealedPlan::compile`].
#[derive(Debug, Clone, PartialEq)]
pub struct SealedPlan {
    plan: Plan,
    scope: Scope,
    /// Whether it may be answered from rollups.
    rollups: bool,
}

/// One verified query of the warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Statement {
    text: String,
    params: Vec<Param>,
    columns: Vec<Column>,
    route: Route,
}

/// A bound value: in the text it stands as `{name:kind}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Param {
    /// Its name; over HTTP the value is sent as `param_<name>`.
    pub name: String,
    /// Its ClickHouse type.
    pub kind: &'static str,
    /// The value in ClickHouse's escaped text form, as the HTTP interface takes it (before URL encoding).
    pub value: String,
}

impl Plan {
    /// Binds the plan to who asks: refused unless the scope may query this app. `schema` is the app's, by which the scope's filters are
    /// understood.
    pub fn seal(mut self, scope: &Scope, schema: &AppSchema) -> Result<SealedPlan, Error> {
        if !scope.allows(Permission::Query) {
            let message = format!("this needs the permission `{}`", Permission::Query.name());
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        if !scope.reaches(&self.app) {
            let message = format!("the app `{}` is out of this key's reach", self.app);
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        if !scope.filters.is_empty() {
            if self.reads_users() {
                let message = "this key reads some events alone, so what is known of users is out of its reach";
                return Err(Error::new(ErrorCode::PermissionDenied, message));
            }
            let locks: Vec<_> = scope.filters.iter().enumerate().map(|(i, filter)| lock(i, filter, schema)).collect();
            self.each(&mut |plan| {
                if plan.source == Source::Events {
                    plan.filters.extend_from_slice(&locks);
                }
            });
        }
        Ok(SealedPlan::new(self, scope))
    }
}

/// Lets pass the events in which the field or property has one of the filter's values, whatever kind it was sent as.
fn lock(number: usize, filter: &ReadFilter, schema: &AppSchema) -> Expr {
    let expr = |node, ty| Expr::new(node, ty, Span::default());
    let field = FIELDS.iter().find(|(name, field)| *name == filter.property && field.ty() == Type::String);
    let values = match field {
        Some((_, field)) => vec![expr(Node::Field(*field), Type::String)],
        None => {
            let kinds = schema.named(&filter.property).iter().filter(|property| property.kind != PropertyKind::Time);
            kinds.map(|property| expr(Node::Property(property.clone()), Type::of(property.kind))).collect()
        }
    };
    expr(Node::Locked(number, values), Type::Bool)
}

impl SealedPlan {
    pub(crate) fn new(plan: Plan, scope: &Scope) -> Self {
        Self { plan, scope: scope.clone(), rollups: true }
    }

    /// What is computed.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whose events are read.
    pub fn tenant(&self) -> &TenantId {
        &self.scope.tenant
    }

    /// Which app's events are read.
    pub fn app(&self) -> &AppId {
        self.plan.app()
    }

    /// The scope that the plan runs in.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The same question, answered from the events themselves whatever else has the answer.
    pub fn without_rollups(self) -> Self {
        Self { rollups: false, ..self }
    }

    /// The same answer of another plan.
    pub(crate) fn with_plan(&self, plan: Plan) -> Self {
        Self { plan, ..self.clone() }
    }

    /// The table that answers it.
    pub fn route(&self) -> Route {
        match self.plan.route() {
            Route::DailyUsers if !self.rollups => Route::Raw(Obstacle::Unwanted),
            route => route,
        }
    }

    /// The SQL, verified against the scope. Refused with `InvalidQuery` if it is too large to run; `Internal` would be
    /// a defect of the compiler that the verifier caught.
    pub fn compile(&self) -> Result<Statement, Error> {
        let (route, columns) = (self.route(), self.plan.columns().cloned().collect());
        let (text, params) = sql::emit(&self.plan, &self.scope, self.rollups)?;
        Statement::verified(text, params, columns, route, &self.scope)
    }

    /// The SQL and its values as a word for the question. Nothing may run them: nobody has verified them.
    pub fn spelled(&self) -> Result<(String, Vec<Param>), Error> {
        sql::emit(&self.plan, &self.scope, self.rollups)
    }
}

impl Statement {
    /// The only way to one.
    pub(crate) fn verified(
        text: String,
        params: Vec<Param>,
        columns: Vec<Column>,
        route: Route,
        scope: &Scope,
    ) -> Result<Self, Error> {
        verify(&text, &params, scope)
            .map_err(|refusal| Error::internal(format!("the compiled query was refused: {refusal}")))?;
        Ok(Self { text, params, columns, route })
    }

    /// The SQL. It holds no text of the caller.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bound values, each name once.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The columns of the result, in order; the text calls them `c0`, `c1`, ...
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Where the rows come from.
    pub fn route(&self) -> &Route {
        &self.route
    }
}

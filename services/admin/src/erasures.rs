//! Users to erase: requests are taken here, and carried out by the [`crate::Eraser`].

use api::{
    convert::time_to_wire,
    v1::{
        self, EraseUserRequest, EraseUserResponse, GetErasureRequest, GetErasureResponse, ListErasuresRequest,
        ListErasuresResponse, erasure::State,
    },
};
use model::{Error, ErrorCode, partition_of};
use storage::{
    Erasure, ErasureRequest, ErasureState, MetaError,
    warehouse::schema::{EVENTS, UNCOUNTED, USERS},
};
use tracing::info;

use crate::{
    caller::Caller,
    check::{self, before, both, page_token},
    reconcile::unreadable,
    service::{Admin, stored},
    wire::app_of,
};

impl Admin {
    pub(crate) async fn erase(&self, caller: &Caller, request: EraseUserRequest) -> Result<EraseUserResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let (app, user_id) = both(app_of(caller, &request.app_id), check::user_id("user_id", request.user_id))?;
        self.require_app(&tenant, &app).await?;
        let ground = self.ground()?;
        let request = ErasureRequest {
            id: format!("{:032x}", rand::random::<u128>()),
            tenant,
            app,
            user_id,
            requested_at_ms: (self.now_ms)(),
            requested_by: caller.key_id().to_owned(),
        };
        let acting = self.acting(caller, "AdminService/EraseUser");
        let erasure = loop {
            let partitions = ground.placement().await?.partitions();
            let ErasureRequest { tenant, app, user_id, .. } = &request;
            let partition = partition_of(tenant.as_str(), app.as_str(), user_id, "", partitions);
            // Whatever was acknowledged by now stands before this.
            let end = ground.log.tail(partition).await.map_err(unreadable)?.end;
            match acting.request_erasure(request.clone(), &ground.topic(), partitions, partition, end).await {
                Err(MetaError::Conflict(_)) => {} // the log grew in between
                requested => break requested.map_err(stored)?,
            }
        };
        let ErasureRequest { id, tenant, app, .. } = &erasure.request;
        info!(by = caller.key_id(), %tenant, %app, erasure = id, "a user is to be erased");
        Ok(EraseUserResponse { erasure: Some(to_wire(erasure)) })
    }

    pub(crate) async fn erasure(
        &self,
        caller: &Caller,
        request: &GetErasureRequest,
    ) -> Result<GetErasureResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let id = check::given_id("erasure_id", &request.erasure_id, "EraseUser")?;
        let erasure = self.ground()?.erasures.erasure(&tenant, id).await.map_err(stored)?;
        // What the caller can't list doesn't exist for the caller.
        let listed = erasure.filter(|erasure| caller.reaches(&erasure.request.app));
        let erasure = listed.ok_or_else(|| Error::new(ErrorCode::NotFound, "the tenant has no such erasure"))?;
        Ok(GetErasureResponse { erasure: Some(to_wire(erasure)) })
    }

    pub(crate) async fn erasures(
        &self,
        caller: &Caller,
        request: &ListErasuresRequest,
    ) -> Result<ListErasuresResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let app = app_of(caller, &request.app_id)?;
        let page_size = check::page_size(request.page_size)?;
        let before = before(&request.page_token)?;
        self.require_app(&tenant, &app).await?;
        let erasures = &self.ground()?.erasures;
        let mut page = erasures.erasures(&tenant, &app, before, page_size + 1).await.map_err(stored)?;
        let there_is_more = page.len() > page_size as usize;
        page.truncate(page_size as usize);
        let last = page.last().filter(|_| there_is_more).map(|last| &last.request);
        let next_page_token = last.map_or_else(String::new, |last| page_token(last.requested_at_ms, &last.id));
        Ok(ListErasuresResponse { erasures: page.into_iter().map(to_wire).collect(), next_page_token })
    }
}

fn to_wire(erasure: Erasure) -> v1::Erasure {
    let Erasure { request, progress, .. } = erasure;
    let state = match progress.state {
        ErasureState::Waiting => State::Waiting,
        ErasureState::Deleting => State::Deleting,
        ErasureState::Settling => State::Settling,
        ErasureState::Done => State::Done,
    };
    let deleted = |table: &str| progress.gone.get(table).map_or(0, |gone| gone.deleted);
    v1::Erasure {
        erasure_id: request.id,
        app_id: request.app.into(),
        user_id: request.user_id,
        requested_at: Some(time_to_wire(request.requested_at_ms)),
        requested_by: request.requested_by,
        state: state.into(),
        finished_at: progress.finished_at_ms.map(time_to_wire),
        events_deleted: deleted(EVENTS),
        identifies_deleted: deleted(USERS),
        uncounted_deleted: deleted(UNCOUNTED),
    }
}

//! What tenants may send: the operator's to say, the tenant's to know.

use api::v1::{
    GetTenantQuotaRequest, GetTenantQuotaResponse, SetTenantQuotaRequest, SetTenantQuotaResponse, TenantQuota,
};
use model::Error;
use storage::{Quota, Setting};
use tracing::info;

use crate::{
    caller::Caller,
    service::{Admin, stored},
};

impl Admin {
    pub(crate) async fn set_quota(
        &self,
        caller: &Caller,
        request: &SetTenantQuotaRequest,
    ) -> Result<SetTenantQuotaResponse, Error> {
        caller.require_operator()?;
        let tenant = caller.tenant(&request.tenant_id)?;
        let required =
            || Error::invalid("quota", "REQUIRED", "must be the quota; without any field it takes back what was set");
        let quota = from_wire("quota", request.quota.as_ref().ok_or_else(required)?)?;
        let acting = self.acting(caller, "AdminService/SetTenantQuota");
        acting.set_settings(Some(&tenant), None, Setting::Quota(quota), None).await.map_err(stored)?;
        info!(by = caller.key_id(), %tenant, ?quota, "set a quota");
        Ok(SetTenantQuotaResponse { quota: Some(to_wire(quota)) })
    }

    pub(crate) async fn quota(
        &self,
        caller: &Caller,
        request: &GetTenantQuotaRequest,
    ) -> Result<GetTenantQuotaResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let quota = self.directory.settings(Some(&tenant), None).await.map_err(stored)?.tenant.quota;
        if quota.is_none() {
            self.require_tenant(&tenant).await?;
        }
        Ok(GetTenantQuotaResponse { quota: Some(to_wire(quota)) })
    }
}

pub(crate) fn from_wire(field: &str, quota: &TenantQuota) -> Result<Quota, Error> {
    let fields = [
        ("events_per_second", quota.events_per_second),
        ("events_burst", quota.events_burst),
        ("bytes_per_second", quota.bytes_per_second),
        ("bytes_burst", quota.bytes_burst),
        ("requests_per_second", quota.requests_per_second),
        ("requests_burst", quota.requests_burst),
        ("query_bytes_per_second", quota.query_bytes_per_second),
        ("query_bytes_burst", quota.query_bytes_burst),
    ];
    let faults =
        fields.into_iter().filter(|(_, value)| value.is_some_and(|value| value > Quota::MAX)).map(|(name, _)| {
            let description = format!("must be at most {}; 0 is no limit", Quota::MAX);
            Error::invalid(format!("{field}.{name}"), "TOO_MANY", description)
        });
    match faults.reduce(Error::and) {
        Some(error) => Err(error),
        None => Ok(Quota {
            events_per_second: quota.events_per_second,
            events_burst: quota.events_burst,
            bytes_per_second: quota.bytes_per_second,
            bytes_burst: quota.bytes_burst,
            requests_per_second: quota.requests_per_second,
            requests_burst: quota.requests_burst,
            query_bytes_per_second: quota.query_bytes_per_second,
            query_bytes_burst: quota.query_bytes_burst,
        }),
    }
}

pub(crate) fn to_wire(quota: Quota) -> TenantQuota {
    TenantQuota {
        events_per_second: quota.events_per_second,
        events_burst: quota.events_burst,
        bytes_per_second: quota.bytes_per_second,
        bytes_burst: quota.bytes_burst,
        requests_per_second: quota.requests_per_second,
        requests_burst: quota.requests_burst,
        query_bytes_per_second: quota.query_bytes_per_second,
        query_bytes_burst: quota.query_bytes_burst,
    }
}

/// Who does something, how, when, and from where: what the audit log tells of it beside the thing itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Act {
    /// The contract's method, as in `AdminService/CreateKey`.
    pub method: String,
    /// The public part of the key that was shown; empty where the program acts by itself.
    pub key_id: String,
    /// The tenant that the key is of.
    pub key_tenant: String,
    /// When, UTC ms.
    pub at_ms: i64,
    /// The address that the call came from; empty if it isn't known.
    pub address: String,
    /// The trace that the call is part of, in hex; empty if it isn't known.
    pub trace_id: String,
}

-- How the product shows itself.
CREATE TABLE brandings (
    tenant   TEXT NOT NULL, -- '': to everybody
    app      TEXT NOT NULL, -- '': in every app
    branding TEXT NOT NULL, -- JSON: what is set
    PRIMARY KEY (tenant, app)
);

-- The hosts by which tenants' customers come.
CREATE TABLE tenant_domains (
    domain TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id)
);
CREATE INDEX domains_of_tenants ON tenant_domains (tenant);

-- How the product shows itself.
CREATE TABLE brandings (
    tenant   TEXT COLLATE "C" NOT NULL, -- '': to everybody
    app      TEXT COLLATE "C" NOT NULL, -- '': in every app
    branding TEXT COLLATE "C" NOT NULL, -- JSON: what is set
    PRIMARY KEY (tenant, app)
);

-- The hosts by which tenants' customers come.
CREATE TABLE tenant_domains (
    domain TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL REFERENCES tenants (id)
);
CREATE INDEX domains_of_tenants ON tenant_domains (tenant);

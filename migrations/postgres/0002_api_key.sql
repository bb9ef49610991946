-- Who may call. The one table whose key does not begin with the tenant: a call says which key it has, and the key says
-- whose it is.
CREATE TABLE api_key (
    key_id TEXT COLLATE "C" NOT NULL,  -- the part of a key that is no secret
    tenant TEXT COLLATE "C" NOT NULL,  -- whose data it opens
    hash BYTEA NOT NULL,               -- SHA-256 of the whole key; the key itself is shown once and kept nowhere
    scopes TEXT COLLATE "C" NOT NULL,  -- what it is good for, such as read,feedback
    label TEXT COLLATE "C" NOT NULL,   -- what its maker calls it; '' where nothing was said
    created BIGINT NOT NULL,           -- when it was made
    expires BIGINT,                    -- from when on it is refused; none: never
    revoked BIGINT,                    -- when it was taken back; the row stays, so that its holder hears why
    CONSTRAINT api_key_pkey PRIMARY KEY (key_id),
    CONSTRAINT api_key_hash_check CHECK (octet_length(hash) = 32)
);

-- Who may call. The one table whose key does not begin with the tenant: a call says which key it has, and the key says
-- whose it is.
CREATE TABLE api_key (
    key_id TEXT NOT NULL,      -- the part of a key that is no secret
    tenant TEXT NOT NULL,      -- whose data it opens
    hash BLOB NOT NULL,        -- SHA-256 of the whole key; the key itself is shown once and kept nowhere
    scopes TEXT NOT NULL,      -- what it is good for, such as read,feedback
    label TEXT NOT NULL,       -- what its maker calls it; '' where nothing was said
    created INTEGER NOT NULL,  -- when it was made
    expires INTEGER,           -- from when on it is refused; none: never
    revoked INTEGER,           -- when it was taken back; the row stays, so that its holder hears why
    CONSTRAINT api_key_pkey PRIMARY KEY (key_id),
    CONSTRAINT api_key_hash_check CHECK (length(hash) = 32)
) STRICT;

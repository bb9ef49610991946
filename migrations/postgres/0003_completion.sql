-- The choices that /v1/chat/completions gave a person, a row each, for as long as they may be compared (/v1/feedback).
-- Nobody is made by reading an answer: there need not be a row of `users`.
CREATE TABLE completion (
    tenant TEXT COLLATE "C" NOT NULL,         -- whose person
    user_id TEXT COLLATE "C" NOT NULL,        -- who was answered; another person's id finds nothing
    completion_id TEXT COLLATE "C" NOT NULL,  -- as the caller was told
    choice BIGINT NOT NULL,                   -- which of its choices, from 0
    prompt TEXT NOT NULL,                     -- x: what was to be answered
    response TEXT NOT NULL,                   -- y
    model_version TEXT COLLATE "C" NOT NULL,  -- the model that chose it
    features BYTEA NOT NULL,                  -- phi(x, y) under that model, J numbers, so that a comparison embeds nothing
    created BIGINT NOT NULL,                  -- when it was asked for
    expires BIGINT NOT NULL,                  -- until when it is remembered
    CONSTRAINT completion_pkey PRIMARY KEY (tenant, user_id, completion_id, choice),
    CONSTRAINT completion_choice_check CHECK (choice >= 0)
);

-- For throwing old ones away without reading the others.
CREATE INDEX completion_expires_idx ON completion (expires);

-- The choices that /v1/chat/completions gave a person, a row each, for as long as they may be compared (/v1/feedback).
-- Nobody is made by reading an answer: there need not be a row of `users`.
CREATE TABLE completion (
    tenant TEXT NOT NULL,         -- whose person
    user_id TEXT NOT NULL,        -- who was answered; another person's id finds nothing
    completion_id TEXT NOT NULL,  -- as the caller was told
    choice INTEGER NOT NULL,      -- which of its choices, from 0
    prompt TEXT NOT NULL,         -- x: what was to be answered
    response TEXT NOT NULL,       -- y
    model_version TEXT NOT NULL,  -- the model that chose it
    features BLOB NOT NULL,       -- phi(x, y) under that model, J numbers, so that a comparison embeds nothing
    created INTEGER NOT NULL,     -- when it was asked for
    expires INTEGER NOT NULL,     -- until when it is remembered
    CONSTRAINT completion_pkey PRIMARY KEY (tenant, user_id, completion_id, choice),
    CONSTRAINT completion_choice_check CHECK (choice >= 0)
) STRICT;

-- For throwing old ones away without reading the others.
CREATE INDEX completion_expires_idx ON completion (expires);

-- The whole store. Times are unix milliseconds. Vectors are little-endian f64, one number after the other, unless
-- said otherwise. Names compare by their bytes, as SQLite's do unless told otherwise. Every primary key begins with
-- the tenant, then the user where there is one: nothing is ever looked up without them. The tables are those of
-- migrations/postgres, column for column; STRICT makes SQLite keep to their types.

-- What the deployment's servers must agree on.
CREATE TABLE setting (
    name TEXT NOT NULL,   -- which setting
    value BLOB NOT NULL,  -- its bytes
    CONSTRAINT setting_pkey PRIMARY KEY (name)
) STRICT;

-- One row a person: the lock of their log.
CREATE TABLE users (
    tenant TEXT NOT NULL,       -- whose person
    user_id TEXT NOT NULL,      -- the tenant's name for them
    revision INTEGER NOT NULL,  -- log position: how many lines their log ever took; a commit names the one it builds on
    created INTEGER NOT NULL,   -- first seen
    updated INTEGER NOT NULL,   -- last line of the log
    CONSTRAINT users_pkey PRIMARY KEY (tenant, user_id),
    CONSTRAINT users_revision_check CHECK (revision >= 0)
) STRICT;

-- Questions put to a person. Stored before they are answered with, so that an answer can always be matched.
CREATE TABLE query (
    tenant TEXT NOT NULL,                -- whose person
    user_id TEXT NOT NULL,               -- who was asked; another person's id finds nothing
    query_id TEXT NOT NULL,              -- UUID, random
    prompt TEXT NOT NULL,                -- x, as shown
    response_a TEXT NOT NULL,            -- the response shown as A
    response_b TEXT NOT NULL,            -- the response shown as B
    pair_key BLOB NOT NULL,              -- digest of the pair without its order: what "seen" means
    model_version TEXT NOT NULL,         -- the model that chose it
    delta BLOB NOT NULL,                 -- feature difference under that model, so that answering embeds nothing
    information_gain REAL NOT NULL,      -- bits expected when it was asked
    predicted_preference REAL NOT NULL,  -- probability that A would be preferred, when it was asked
    created INTEGER NOT NULL,            -- when it was asked
    expires INTEGER NOT NULL,            -- when its pair may be asked again; a late answer still counts
    CONSTRAINT query_pkey PRIMARY KEY (tenant, user_id, query_id),
    CONSTRAINT query_users_fkey FOREIGN KEY (tenant, user_id) REFERENCES users ON DELETE CASCADE
) STRICT;

-- For throwing old unanswered questions away without reading the others.
CREATE INDEX query_expires_idx ON query (expires);

-- The log, the truth from which every fit is derived. Lines are never changed: an undo marks its line.
CREATE TABLE preference (
    tenant TEXT NOT NULL,         -- whose person
    user_id TEXT NOT NULL,        -- who answered
    position INTEGER NOT NULL,    -- the revision that this line made
    preference_id TEXT NOT NULL,  -- UUID; of the request id where there was one, so that a repeat meets its first
    query_id TEXT,                -- the question answered; none for a comparison that the caller brought
    prompt TEXT NOT NULL,         -- x
    response_a TEXT NOT NULL,     -- the response called A
    response_b TEXT NOT NULL,     -- the response called B
    pair_key BLOB NOT NULL,       -- digest of the pair without its order
    outcome TEXT NOT NULL,        -- FIRST, SECOND, TIE, NEITHER or SKIP
    weight REAL NOT NULL,         -- how much it counts
    body_hash BLOB NOT NULL,      -- digest of the call, to tell a repeat from a reused id
    reply BLOB NOT NULL,          -- the first reply, given again to repeats for as long as the line lives
    created INTEGER NOT NULL,     -- when it was recorded
    deleted INTEGER,              -- when it was undone; such a line counts for nothing but a training as of before
    CONSTRAINT preference_pkey PRIMARY KEY (tenant, user_id, position),
    CONSTRAINT preference_id_key UNIQUE (tenant, user_id, preference_id),
    CONSTRAINT preference_users_fkey FOREIGN KEY (tenant, user_id) REFERENCES users ON DELETE CASCADE,
    -- Nobody can answer another person's question, nor one that was never asked.
    CONSTRAINT preference_query_fkey FOREIGN KEY (tenant, user_id, query_id) REFERENCES query ON DELETE CASCADE,
    CONSTRAINT preference_outcome_check CHECK (outcome IN ('FIRST', 'SECOND', 'TIE', 'NEITHER', 'SKIP')),
    CONSTRAINT preference_weight_check CHECK (weight > 0 AND weight <= 10)
) STRICT;

-- A question has at most one live answer; an undo opens it again.
CREATE UNIQUE INDEX preference_query_key ON preference (tenant, user_id, query_id) WHERE deleted IS NULL;

-- Feature difference of an answer under a model version: a refit reads these and embeds nothing.
CREATE TABLE preference_feature (
    tenant TEXT NOT NULL,         -- whose person
    user_id TEXT NOT NULL,        -- who answered
    position INTEGER NOT NULL,    -- which line of the log
    model_version TEXT NOT NULL,  -- which model
    delta BLOB NOT NULL,          -- phi(A) - phi(B), J numbers
    CONSTRAINT preference_feature_pkey PRIMARY KEY (tenant, user_id, position, model_version),
    CONSTRAINT preference_feature_preference_fkey FOREIGN KEY (tenant, user_id, position)
        REFERENCES preference ON DELETE CASCADE
) STRICT;

-- A person's fit under a model version, read and written by every online call.
CREATE TABLE user_posterior (
    tenant TEXT NOT NULL,         -- whose person
    user_id TEXT NOT NULL,        -- whose coefficients
    model_version TEXT NOT NULL,  -- which model's base functions they weigh
    revision INTEGER NOT NULL,    -- the log position it was fitted at; behind users.revision it is stale
    coefficients BLOB NOT NULL,   -- lambda, J numbers
    hessian BLOB NOT NULL,        -- H at lambda, J x J numbers, row by row
    answers INTEGER NOT NULL,     -- live answers with a likelihood term
    CONSTRAINT user_posterior_pkey PRIMARY KEY (tenant, user_id, model_version),
    CONSTRAINT user_posterior_users_fkey FOREIGN KEY (tenant, user_id) REFERENCES users ON DELETE CASCADE
) STRICT;

-- Replies of calls other than SubmitPreference (whose reply lies in its line of the log), by the caller's request id.
CREATE TABLE request (
    tenant TEXT NOT NULL,      -- whose call
    user_id TEXT NOT NULL,     -- about whom; '' for a call about nobody
    method TEXT NOT NULL,      -- the RPC's name
    request_id TEXT NOT NULL,  -- UUID, the caller's key
    body_hash BLOB NOT NULL,   -- digest of the call, to tell a repeat from a reused id
    reply BLOB NOT NULL,       -- the first reply
    created INTEGER NOT NULL,  -- when it was made
    expires INTEGER NOT NULL,  -- until when it is kept
    CONSTRAINT request_pkey PRIMARY KEY (tenant, user_id, method, request_id)
) STRICT;

-- For throwing expired replies away without reading the others.
CREATE INDEX request_expires_idx ON request (expires);

-- All that is left of an erased person.
CREATE TABLE erased_user (
    tenant TEXT NOT NULL,     -- whose person
    user_hash BLOB NOT NULL,  -- HMAC of (tenant, user) under setting.erasure_key: knows the name when it meets it, tells it to nobody
    erased INTEGER NOT NULL,  -- when; for a day late retries are refused, for ever trainings leave the person out
    CONSTRAINT erased_user_pkey PRIMARY KEY (tenant, user_hash)
) STRICT;

-- Named sets of prompts with candidate responses.
CREATE TABLE pool (
    tenant TEXT NOT NULL,        -- whose pool
    pool TEXT NOT NULL,          -- its name
    revision INTEGER NOT NULL,   -- advances with every change; what caches compare
    prompts INTEGER NOT NULL,    -- distinct prompts, counted here so that listing reads no candidate
    responses INTEGER NOT NULL,  -- distinct (prompt, response)
    created INTEGER NOT NULL,    -- first import
    updated INTEGER NOT NULL,    -- last change
    CONSTRAINT pool_pkey PRIMARY KEY (tenant, pool)
) STRICT;

-- A prompt of a pool, kept once for all its responses.
CREATE TABLE pool_prompt (
    tenant TEXT NOT NULL,       -- whose pool
    pool TEXT NOT NULL,         -- which pool
    prompt_hash BLOB NOT NULL,  -- SHA-256 of the prompt
    prompt TEXT NOT NULL,       -- x
    CONSTRAINT pool_prompt_pkey PRIMARY KEY (tenant, pool, prompt_hash),
    CONSTRAINT pool_prompt_pool_fkey FOREIGN KEY (tenant, pool) REFERENCES pool ON DELETE CASCADE
) STRICT;

-- For finding a prompt's candidates in whichever pool has them.
CREATE INDEX pool_prompt_hash_idx ON pool_prompt (tenant, prompt_hash);

-- A candidate response.
CREATE TABLE candidate (
    tenant TEXT NOT NULL,        -- whose pool
    pool TEXT NOT NULL,          -- which pool
    prompt_hash BLOB NOT NULL,   -- which prompt
    content_hash BLOB NOT NULL,  -- digest of (prompt, response): importing it again changes nothing
    place INTEGER NOT NULL,      -- its place in the list it was imported in, which lists keep
    response TEXT NOT NULL,      -- y
    CONSTRAINT candidate_pkey PRIMARY KEY (tenant, pool, prompt_hash, content_hash),
    CONSTRAINT candidate_pool_prompt_fkey FOREIGN KEY (tenant, pool, prompt_hash)
        REFERENCES pool_prompt ON DELETE CASCADE
) STRICT;

-- For knowing whether an embedding's text is still somebody's candidate.
CREATE INDEX candidate_content_idx ON candidate (tenant, content_hash);

-- A backbone's embeddings, so that a new head refits everybody by one matrix product.
CREATE TABLE embedding (
    tenant TEXT NOT NULL,        -- whose text
    backbone TEXT NOT NULL,      -- hash of the backbone's weights and version
    content_hash BLOB NOT NULL,  -- digest of (prompt, response); the text itself is elsewhere
    vector BLOB NOT NULL,        -- h(x, y), little-endian f32
    CONSTRAINT embedding_pkey PRIMARY KEY (tenant, backbone, content_hash)
) STRICT;

-- For dropping a text's embeddings under every backbone when the text goes.
CREATE INDEX embedding_content_idx ON embedding (tenant, content_hash);

-- Named sets of imported preferences, to train on.
CREATE TABLE dataset (
    tenant TEXT NOT NULL,      -- whose data
    dataset_id TEXT NOT NULL,  -- its name
    rows INTEGER NOT NULL,     -- distinct lines, counted here so that listing reads none
    created INTEGER NOT NULL,  -- first import
    updated INTEGER NOT NULL,  -- last change
    CONSTRAINT dataset_pkey PRIMARY KEY (tenant, dataset_id)
) STRICT;

-- A line of a dataset.
CREATE TABLE dataset_row (
    tenant TEXT NOT NULL,       -- whose data
    dataset_id TEXT NOT NULL,   -- which dataset
    line_digest BLOB NOT NULL,  -- SHA-256 of all that follows: sending it again changes nothing, and reading in this order does not depend on the order of sending
    user_id TEXT NOT NULL,      -- who judged
    prompt TEXT NOT NULL,       -- x
    response_a TEXT NOT NULL,   -- the response called A
    response_b TEXT NOT NULL,   -- the response called B
    preference REAL NOT NULL,   -- 1 if A is preferred, 0 if B, 1/2 for a tie
    kind TEXT NOT NULL,         -- kind of prompt or topic; '' where the line says nothing
    CONSTRAINT dataset_row_pkey PRIMARY KEY (tenant, dataset_id, line_digest),
    CONSTRAINT dataset_row_dataset_fkey FOREIGN KEY (tenant, dataset_id) REFERENCES dataset ON DELETE CASCADE,
    CONSTRAINT dataset_row_preference_check CHECK (preference >= 0 AND preference <= 1)
) STRICT;

-- For finding a person's lines when they are erased.
CREATE INDEX dataset_row_user_idx ON dataset_row (tenant, user_id);

-- Trainings, run off the serving threads by whoever holds the lease.
CREATE TABLE training_job (
    tenant TEXT NOT NULL,       -- whose job
    job_id TEXT NOT NULL,       -- UUID, random
    state TEXT NOT NULL,        -- QUEUED, RUNNING, SUCCEEDED, FAILED or CANCELLED
    request BLOB NOT NULL,      -- what to train, as its creator wrote it
    progress TEXT NOT NULL,     -- the worker's last report; '' before the first
    error TEXT,                 -- why it failed
    model_version TEXT,         -- the model it made
    attempts INTEGER NOT NULL,  -- how often it was claimed: a job that kills its workers is given up
    worker TEXT,                -- who holds the lease
    lease_until INTEGER,        -- when another worker may take it over, unless a heartbeat comes first
    cancel_requested INTEGER,   -- when somebody asked to cancel; the worker hears it with its heartbeat
    created INTEGER NOT NULL,   -- when it was asked for; jobs are claimed in this order
    updated INTEGER NOT NULL,   -- last change, heartbeats included
    finished INTEGER,           -- when it ended
    CONSTRAINT training_job_pkey PRIMARY KEY (tenant, job_id),
    CONSTRAINT training_job_state_check
        CHECK (state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED'))
) STRICT;

-- For the claim: workers serve every tenant, oldest job first.
CREATE INDEX training_job_claim_idx ON training_job (created) WHERE state IN ('QUEUED', 'RUNNING');

-- Trained models.
CREATE TABLE model (
    tenant TEXT NOT NULL,           -- whose model; '' for one that all tenants share
    model_version TEXT NOT NULL,    -- its name
    manifest TEXT NOT NULL,         -- manifest.json, so that listing opens no file
    location TEXT NOT NULL,         -- where its files are
    erased_users INTEGER NOT NULL,  -- people of its training data who have been erased since
    created INTEGER NOT NULL,       -- when it was registered
    CONSTRAINT model_pkey PRIMARY KEY (tenant, model_version)
) STRICT;

-- Where a model stands for a tenant. No row: it is ready to be activated.
CREATE TABLE model_state (
    tenant TEXT NOT NULL,         -- for whom; a shared model stands differently with each
    model_version TEXT NOT NULL,  -- which model
    state TEXT NOT NULL,          -- ACTIVATING, ACTIVE or RETIRED
    changed INTEGER NOT NULL,     -- since when
    CONSTRAINT model_state_pkey PRIMARY KEY (tenant, model_version),
    CONSTRAINT model_state_state_check CHECK (state IN ('ACTIVATING', 'ACTIVE', 'RETIRED'))
) STRICT;

-- A tenant is served by one model, and changes to one other at a time.
CREATE UNIQUE INDEX model_state_active_key ON model_state (tenant) WHERE state = 'ACTIVE';
CREATE UNIQUE INDEX model_state_activating_key ON model_state (tenant) WHERE state = 'ACTIVATING';

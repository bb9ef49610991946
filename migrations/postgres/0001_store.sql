-- The whole store. Times are unix milliseconds. Vectors are little-endian f64, one number after the other, unless
-- said otherwise. Names compare by their bytes (COLLATE "C"), so that both engines list in the same order and a page
-- ends where the next begins. Every primary key begins with the tenant, then the user where there is one: nothing is
-- ever looked up without them, and the tables can be distributed by user.

-- What the deployment's servers must agree on.
CREATE TABLE setting (
    name TEXT COLLATE "C" NOT NULL,  -- which setting
    value BYTEA NOT NULL,            -- its bytes
    CONSTRAINT setting_pkey PRIMARY KEY (name)
);

-- One row a person: the lock of their log.
CREATE TABLE users (
    tenant TEXT COLLATE "C" NOT NULL,   -- whose person
    user_id TEXT COLLATE "C" NOT NULL,  -- the tenant's name for them
    revision BIGINT NOT NULL,           -- log position: how many lines their log ever took; a commit names the one it builds on
    created BIGINT NOT NULL,            -- first seen
    updated BIGINT NOT NULL,            -- last line of the log
    CONSTRAINT users_pkey PRIMARY KEY (tenant, user_id),
    CONSTRAINT users_revision_check CHECK (revision >= 0)
);

-- Questions put to a person. Stored before they are answered with, so that an answer can always be matched.
CREATE TABLE query (
    tenant TEXT COLLATE "C" NOT NULL,         -- whose person
    user_id TEXT COLLATE "C" NOT NULL,        -- who was asked; another person's id finds nothing
    query_id TEXT COLLATE "C" NOT NULL,       -- UUID, random
    prompt TEXT NOT NULL,                     -- x, as shown
    response_a TEXT NOT NULL,                 -- the response shown as A
    response_b TEXT NOT NULL,                 -- the response shown as B
    pair_key BYTEA NOT NULL,                  -- digest of the pair without its order: what "seen" means
    model_version TEXT COLLATE "C" NOT NULL,  -- the model that chose it
    delta BYTEA NOT NULL,                     -- feature difference under that model, so that answering embeds nothing
    information_gain DOUBLE PRECISION NOT NULL,      -- bits expected when it was asked
    predicted_preference DOUBLE PRECISION NOT NULL,  -- probability that A would be preferred, when it was asked
    created BIGINT NOT NULL,                  -- when it was asked
    expires BIGINT NOT NULL,                  -- when its pair may be asked again; a late answer still counts
    CONSTRAINT query_pkey PRIMARY KEY (tenant, user_id, query_id),
    CONSTRAINT query_users_fkey FOREIGN KEY (tenant, user_id) REFERENCES users ON DELETE CASCADE
);

-- For throwing old unanswered questions away without reading the others.
CREATE INDEX query_expires_idx ON query (expires);

-- The log, the truth from which every fit is derived. Lines are never changed: an undo marks its line.
CREATE TABLE preference (
    tenant TEXT COLLATE "C" NOT NULL,         -- whose person
    user_id TEXT COLLATE "C" NOT NULL,        -- who answered
    position BIGINT NOT NULL,                 -- the revision that this line made
    preference_id TEXT COLLATE "C" NOT NULL,  -- UUID; of the request id where there was one, so that a repeat meets its first
    query_id TEXT COLLATE "C",                -- the question answered; none for a comparison that the caller brought
    prompt TEXT NOT NULL,                     -- x
    response_a TEXT NOT NULL,                 -- the response called A
    response_b TEXT NOT NULL,                 -- the response called B
    pair_key BYTEA NOT NULL,                  -- digest of the pair without its order
    outcome TEXT COLLATE "C" NOT NULL,        -- FIRST, SECOND, TIE, NEITHER or SKIP
    weight DOUBLE PRECISION NOT NULL,         -- how much it counts
    body_hash BYTEA NOT NULL,                 -- digest of the call, to tell a repeat from a reused id
    reply BYTEA NOT NULL,                     -- the first reply, given again to repeats for as long as the line lives
    created BIGINT NOT NULL,                  -- when it was recorded
    deleted BIGINT,                           -- when it was undone; such a line counts for nothing but a training as of before
    CONSTRAINT preference_pkey PRIMARY KEY (tenant, user_id, position),
    CONSTRAINT preference_id_key UNIQUE (tenant, user_id, preference_id),
    CONSTRAINT preference_users_fkey FOREIGN KEY (tenant, user_id) REFERENCES users ON DELETE CASCADE,
    -- Nobody can answer another person's question, nor one that was never asked.
    CONSTRAINT preference_query_fkey FOREIGN KEY (tenant, user_id, query_id) REFERENCES query ON DELETE CASCADE,
    CONSTRAINT preference_outcome_check CHECK (outcome IN ('FIRST', 'SECOND', 'TIE', 'NEITHER', 'SKIP')),
    CONSTRAINT preference_weight_check CHECK (weight > 0 AND weight <= 10)
);

-- A question has at most one live answer; an undo opens it again.
CREATE UNIQUE INDEX preference_query_key ON preference (tenant, user_id, query_id) WHERE deleted IS NULL;

-- Feature difference of an answer under a model version: a refit reads these and embeds nothing.
CREATE TABLE preference_feature (
    tenant TEXT COLLATE "C" NOT NULL,         -- whose person
    user_id TEXT COLLATE "C" NOT NULL,        -- who answered
    position BIGINT NOT NULL,                 -- which line of the log
    model_version TEXT COLLATE "C" NOT NULL,  -- which model
    delta BYTEA NOT NULL,                     -- phi(A) - phi(B), J numbers
    CONSTRAINT preference_feature_pkey PRIMARY KEY (tenant, user_id, position, model_version),
    CONSTRAINT preference_feature_preference_fkey FOREIGN KEY (tenant, user_id, position)
        REFERENCES preference ON DELETE CASCADE
);

-- A person's fit under a model version, read and written by every online call.
CREATE TABLE user_posterior (
    tenant TEXT COLLATE "C" NOT NULL,         -- whose person
    user_id TEXT COLLATE "C" NOT NULL,        -- whose coefficients
    model_version TEXT COLLATE "C" NOT NULL,  -- which model's base functions they weigh
    revision BIGINT NOT NULL,                 -- the log position it was fitted at; behind users.revision it is stale
    coefficients BYTEA NOT NULL,              -- lambda, J numbers
    hessian BYTEA NOT NULL,                   -- H at lambda, J x J numbers, row by row
    answers BIGINT NOT NULL,                  -- live answers with a likelihood term
    CONSTRAINT user_posterior_pkey PRIMARY KEY (tenant, user_id, model_version),
    CONSTRAINT user_posterior_users_fkey FOREIGN KEY (tenant, user_id) REFERENCES users ON DELETE CASCADE
);

-- Replies of calls other than SubmitPreference (whose reply lies in its line of the log), by the caller's request id.
CREATE TABLE request (
    tenant TEXT COLLATE "C" NOT NULL,      -- whose call
    user_id TEXT COLLATE "C" NOT NULL,     -- about whom; '' for a call about nobody
    method TEXT COLLATE "C" NOT NULL,      -- the RPC's name
    request_id TEXT COLLATE "C" NOT NULL,  -- UUID, the caller's key
    body_hash BYTEA NOT NULL,              -- digest of the call, to tell a repeat from a reused id
    reply BYTEA NOT NULL,                  -- the first reply
    created BIGINT NOT NULL,               -- when it was made
    expires BIGINT NOT NULL,               -- until when it is kept
    CONSTRAINT request_pkey PRIMARY KEY (tenant, user_id, method, request_id)
);

-- For throwing expired replies away without reading the others.
CREATE INDEX request_expires_idx ON request (expires);

-- All that is left of an erased person.
CREATE TABLE erased_user (
    tenant TEXT COLLATE "C" NOT NULL,  -- whose person
    user_hash BYTEA NOT NULL,          -- HMAC of (tenant, user) under setting.erasure_key: knows the name when it meets it, tells it to nobody
    erased BIGINT NOT NULL,            -- when; for a day late retries are refused, for ever trainings leave the person out
    CONSTRAINT erased_user_pkey PRIMARY KEY (tenant, user_hash)
);

-- Named sets of prompts with candidate responses.
CREATE TABLE pool (
    tenant TEXT COLLATE "C" NOT NULL,  -- whose pool
    pool TEXT COLLATE "C" NOT NULL,    -- its name
    revision BIGINT NOT NULL,          -- advances with every change; what caches compare
    prompts BIGINT NOT NULL,           -- distinct prompts, counted here so that listing reads no candidate
    responses BIGINT NOT NULL,         -- distinct (prompt, response)
    created BIGINT NOT NULL,           -- first import
    updated BIGINT NOT NULL,           -- last change
    CONSTRAINT pool_pkey PRIMARY KEY (tenant, pool)
);

-- A prompt of a pool, kept once for all its responses.
CREATE TABLE pool_prompt (
    tenant TEXT COLLATE "C" NOT NULL,  -- whose pool
    pool TEXT COLLATE "C" NOT NULL,    -- which pool
    prompt_hash BYTEA NOT NULL,        -- SHA-256 of the prompt
    prompt TEXT NOT NULL,              -- x
    CONSTRAINT pool_prompt_pkey PRIMARY KEY (tenant, pool, prompt_hash),
    CONSTRAINT pool_prompt_pool_fkey FOREIGN KEY (tenant, pool) REFERENCES pool ON DELETE CASCADE
);

-- For finding a prompt's candidates in whichever pool has them.
CREATE INDEX pool_prompt_hash_idx ON pool_prompt (tenant, prompt_hash);

-- A candidate response.
CREATE TABLE candidate (
    tenant TEXT COLLATE "C" NOT NULL,  -- whose pool
    pool TEXT COLLATE "C" NOT NULL,    -- which pool
    prompt_hash BYTEA NOT NULL,        -- which prompt
    content_hash BYTEA NOT NULL,       -- digest of (prompt, response): importing it again changes nothing
    place BIGINT NOT NULL,             -- its place in the list it was imported in, which lists keep
    response TEXT NOT NULL,            -- y
    CONSTRAINT candidate_pkey PRIMARY KEY (tenant, pool, prompt_hash, content_hash),
    CONSTRAINT candidate_pool_prompt_fkey FOREIGN KEY (tenant, pool, prompt_hash)
        REFERENCES pool_prompt ON DELETE CASCADE
);

-- For knowing whether an embedding's text is still somebody's candidate.
CREATE INDEX candidate_content_idx ON candidate (tenant, content_hash);

-- A backbone's embeddings, so that a new head refits everybody by one matrix product.
CREATE TABLE embedding (
    tenant TEXT COLLATE "C" NOT NULL,    -- whose text
    backbone TEXT COLLATE "C" NOT NULL,  -- hash of the backbone's weights and version
    content_hash BYTEA NOT NULL,         -- digest of (prompt, response); the text itself is elsewhere
    vector BYTEA NOT NULL,               -- h(x, y), little-endian f32
    CONSTRAINT embedding_pkey PRIMARY KEY (tenant, backbone, content_hash)
);

-- For dropping a text's embeddings under every backbone when the text goes.
CREATE INDEX embedding_content_idx ON embedding (tenant, content_hash);

-- Named sets of imported preferences, to train on.
CREATE TABLE dataset (
    tenant TEXT COLLATE "C" NOT NULL,      -- whose data
    dataset_id TEXT COLLATE "C" NOT NULL,  -- its name
    rows BIGINT NOT NULL,                  -- distinct lines, counted here so that listing reads none
    created BIGINT NOT NULL,               -- first import
    updated BIGINT NOT NULL,               -- last change
    CONSTRAINT dataset_pkey PRIMARY KEY (tenant, dataset_id)
);

-- A line of a dataset.
CREATE TABLE dataset_row (
    tenant TEXT COLLATE "C" NOT NULL,      -- whose data
    dataset_id TEXT COLLATE "C" NOT NULL,  -- which dataset
    line_digest BYTEA NOT NULL,            -- SHA-256 of all that follows: sending it again changes nothing, and reading in this order does not depend on the order of sending
    user_id TEXT COLLATE "C" NOT NULL,     -- who judged
    prompt TEXT NOT NULL,                  -- x
    response_a TEXT NOT NULL,              -- the response called A
    response_b TEXT NOT NULL,              -- the response called B
    preference DOUBLE PRECISION NOT NULL,  -- 1 if A is preferred, 0 if B, 1/2 for a tie
    kind TEXT NOT NULL,                    -- kind of prompt or topic; '' where the line says nothing
    CONSTRAINT dataset_row_pkey PRIMARY KEY (tenant, dataset_id, line_digest),
    CONSTRAINT dataset_row_dataset_fkey FOREIGN KEY (tenant, dataset_id) REFERENCES dataset ON DELETE CASCADE,
    CONSTRAINT dataset_row_preference_check CHECK (preference >= 0 AND preference <= 1)
);

-- For finding a person's lines when they are erased.
CREATE INDEX dataset_row_user_idx ON dataset_row (tenant, user_id);

-- Trainings, run off the serving threads by whoever holds the lease.
CREATE TABLE training_job (
    tenant TEXT COLLATE "C" NOT NULL,   -- whose job
    job_id TEXT COLLATE "C" NOT NULL,   -- UUID, random
    state TEXT COLLATE "C" NOT NULL,    -- QUEUED, RUNNING, SUCCEEDED, FAILED or CANCELLED
    request BYTEA NOT NULL,             -- what to train, as its creator wrote it
    progress TEXT NOT NULL,             -- the worker's last report; '' before the first
    error TEXT,                         -- why it failed
    model_version TEXT COLLATE "C",     -- the model it made
    attempts BIGINT NOT NULL,           -- how often it was claimed: a job that kills its workers is given up
    worker TEXT COLLATE "C",            -- who holds the lease
    lease_until BIGINT,                 -- when another worker may take it over, unless a heartbeat comes first
    cancel_requested BIGINT,            -- when somebody asked to cancel; the worker hears it with its heartbeat
    created BIGINT NOT NULL,            -- when it was asked for; jobs are claimed in this order
    updated BIGINT NOT NULL,            -- last change, heartbeats included
    finished BIGINT,                    -- when it ended
    CONSTRAINT training_job_pkey PRIMARY KEY (tenant, job_id),
    CONSTRAINT training_job_state_check
        CHECK (state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED'))
);

-- For the claim: workers serve every tenant, oldest job first.
CREATE INDEX training_job_claim_idx ON training_job (created) WHERE state IN ('QUEUED', 'RUNNING');

-- Trained models.
CREATE TABLE model (
    tenant TEXT COLLATE "C" NOT NULL,         -- whose model; '' for one that all tenants share
    model_version TEXT COLLATE "C" NOT NULL,  -- its name
    manifest TEXT NOT NULL,                   -- manifest.json, so that listing opens no file
    location TEXT NOT NULL,                   -- where its files are
    erased_users BIGINT NOT NULL,             -- people of its training data who have been erased since
    created BIGINT NOT NULL,                  -- when it was registered
    CONSTRAINT model_pkey PRIMARY KEY (tenant, model_version)
);

-- Where a model stands for a tenant. No row: it is ready to be activated.
CREATE TABLE model_state (
    tenant TEXT COLLATE "C" NOT NULL,         -- for whom; a shared model stands differently with each
    model_version TEXT COLLATE "C" NOT NULL,  -- which model
    state TEXT COLLATE "C" NOT NULL,          -- ACTIVATING, ACTIVE or RETIRED
    changed BIGINT NOT NULL,                  -- since when
    CONSTRAINT model_state_pkey PRIMARY KEY (tenant, model_version),
    CONSTRAINT model_state_state_check CHECK (state IN ('ACTIVATING', 'ACTIVE', 'RETIRED'))
);

-- A tenant is served by one model, and changes to one other at a time.
CREATE UNIQUE INDEX model_state_active_key ON model_state (tenant) WHERE state = 'ACTIVE';
CREATE UNIQUE INDEX model_state_activating_key ON model_state (tenant) WHERE state = 'ACTIVATING';

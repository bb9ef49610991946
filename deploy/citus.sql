-- Shards a migrated and still empty database over the workers of Citus (12 or later), by person. Run it once on the coordinator:
--   pref migrate && psql "$PREF_DATABASE_URL" -v ON_ERROR_STOP=1 -f deploy/citus.sql
--
-- Everything that an answer or a question of one person reads and writes lies on one worker, so that each stays one transaction
-- there: their row, questions, log, features and fits. What is read beside it, and seldom written, is on every worker.
-- Serve with PREF_NO_GROUP_COMMIT=true: else people on different workers share a statement, which Citus refuses, and which
-- is then done again for each of them.
--
-- A test applies this file to Postgres with functions in the place of Citus' own that check what Citus would refuse: a
-- distribution column that is not in every key, and references that would leave the worker. It was not run on Citus itself.

-- On every worker.
SELECT create_reference_table('setting');
SELECT create_reference_table('api_key');
SELECT create_reference_table('erased_user');
SELECT create_reference_table('model');
SELECT create_reference_table('model_state');
SELECT create_reference_table('training_job');
SELECT create_reference_table('pool');

-- By person.
SELECT create_distributed_table('users', 'user_id');
SELECT create_distributed_table('query', 'user_id', colocate_with => 'users');
SELECT create_distributed_table('preference', 'user_id', colocate_with => 'users');
SELECT create_distributed_table('preference_feature', 'user_id', colocate_with => 'users');
SELECT create_distributed_table('user_posterior', 'user_id', colocate_with => 'users');
SELECT create_distributed_table('completion', 'user_id', colocate_with => 'users');
-- Replies to calls about nobody have the person ''.
SELECT create_distributed_table('request', 'user_id', colocate_with => 'users');

-- By prompt: one prompt's candidates are read together.
SELECT create_distributed_table('pool_prompt', 'prompt_hash', colocate_with => 'none');
SELECT create_distributed_table('candidate', 'prompt_hash', colocate_with => 'pool_prompt');
-- By text, and by line.
SELECT create_distributed_table('embedding', 'content_hash', colocate_with => 'none');
SELECT create_distributed_table('dataset', 'dataset_id', colocate_with => 'none');
SELECT create_distributed_table('dataset_row', 'dataset_id', colocate_with => 'dataset');

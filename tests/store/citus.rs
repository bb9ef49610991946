//! deploy/citus.sql, as far as Postgres alone can tell: with functions in the place of Citus' that refuse what it refuses.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::fixture::{Fixture, Place, connect};

const SHARDING: &str = include_str!("../../deploy/citus.sql");

/// Each remembers how a table was placed, and refuses keys without the distribution column (Citus could not enforce them) and
/// references to rows that may lie elsewhere.
const IN_PLACE_OF_CITUS: &str = r"
CREATE TABLE placed (name TEXT PRIMARY KEY, distribution TEXT, colocation TEXT);

CREATE FUNCTION create_reference_table(place regclass) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO placed VALUES (place::text, NULL, NULL) $$;

CREATE FUNCTION create_distributed_table(place regclass, distribution text, colocate_with text DEFAULT 'default')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    shard smallint;
    bad text;
BEGIN
    SELECT attnum INTO STRICT shard FROM pg_attribute WHERE attrelid = place AND attname = distribution;
    SELECT indexrelid::regclass::text INTO bad FROM pg_index
    WHERE indrelid = place AND indisunique AND NOT shard = ANY (indkey::smallint[]);
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION '% of % is unique without %', bad, place, distribution;
    END IF;
    INSERT INTO placed VALUES (place::text, distribution, CASE colocate_with
        WHEN 'none' THEN place::text
        WHEN 'default' THEN place::text
        ELSE (SELECT colocation FROM placed WHERE name = colocate_with) END);
    SELECT c.conname INTO bad
    FROM pg_constraint c LEFT JOIN placed other ON other.name = c.confrelid::regclass::text
    WHERE c.conrelid = place AND c.contype = 'f'
      AND (other.name IS NULL OR NOT (other.distribution IS NULL
           OR (other.colocation = (SELECT colocation FROM placed WHERE name = place::text)
               AND shard = ANY (c.conkey))));
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION '% of % leaves its shard', bad, place;
    END IF;
END $$;
";

async fn migrated(test: &str) -> Option<(Fixture, PgConnection)> {
    let f = Fixture::postgres(test).await?;
    let Place::Postgres(database) = &f.place else { unreachable!("this fixture is on Postgres") };
    let mut connection = connect(database).await;
    sqlx::raw_sql(IN_PLACE_OF_CITUS).execute(&mut connection).await.unwrap();
    Some((f, connection))
}

#[tokio::test]
async fn every_table_has_its_place_among_the_shards() {
    let Some((f, mut connection)) = migrated("every_table_has_its_place_among_the_shards").await else {
        return;
    };
    sqlx::raw_sql(SHARDING).execute(&mut connection).await.unwrap();
    let forgotten: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables
         WHERE schemaname = 'public' AND tablename NOT IN ('placed', '_sqlx_migrations')
           AND tablename NOT IN (SELECT name FROM placed)",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(forgotten.is_empty(), "deploy/citus.sql says nothing of {forgotten:?}");
    connection.close().await.unwrap();
    f.store.close().await;
}

#[tokio::test]
async fn what_citus_would_refuse_is_refused_here() {
    let Some((f, mut connection)) = migrated("what_citus_would_refuse_is_refused_here").await else { return };
    for (bad, why) in [
        ("create_distributed_table('dataset_row', 'user_id')", "is unique without user_id"),
        ("create_distributed_table('query', 'user_id')", "leaves its shard"),
    ] {
        let error = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {bad}"))).execute(&mut connection).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    connection.close().await.unwrap();
    f.store.close().await;
}

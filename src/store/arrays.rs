//! Many rows in one exchange with Postgres: a column is one parameter, an array, and `unnest` makes rows of them again.

use super::StoreError;
use super::postgres::Connections;
use super::sql::{Row, Value, on_lease};

/// One column of many rows.
enum Column<'a> {
    Text(Vec<Option<&'a str>>),
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Blob(Vec<Option<&'a [u8]>>),
}

/// All rows that `sql` returns for `rows`, of which it takes column `c`, counted from 1, as the array `$c`. The raw error is
/// kept, so that a caller can ask whether it was one row's.
pub(super) async fn rows_on<const WIDTH: usize>(
    connections: &Connections,
    sql: &'static str,
    rows: &[[Value<'_>; WIDTH]],
) -> Result<Result<Vec<Row>, sqlx::Error>, StoreError> {
    let mut query = sqlx::query(sql);
    for index in 0..WIDTH {
        query = match column(rows, index) {
            Column::Text(texts) => query.bind(texts),
            Column::Int(ints) => query.bind(ints),
            Column::Real(reals) => query.bind(reals),
            Column::Blob(blobs) => query.bind(blobs),
        };
    }
    let answer = on_lease!(connections.acquire().await?, query, fetch_all);
    Ok(answer.map(|rows| rows.into_iter().map(Row::Postgres).collect()))
}

/// Which of `rows` a row belongs to, whose column `index` has the number that `WITH ORDINALITY` gave, from 1.
pub(super) fn place(row: &Row, index: usize) -> Result<usize, StoreError> {
    Ok(usize::try_from(row.get::<i64>(index)? - 1).unwrap_or(usize::MAX))
}

/// Column `index` of `rows`, which hold the same kind of value there.
fn column<'a, const WIDTH: usize>(rows: &'a [[Value<'_>; WIDTH]], index: usize) -> Column<'a> {
    macro_rules! all {
        ($kind:ident, $get:expr) => {
            rows.iter()
                .map(|row| if let Value::$kind(value) = &row[index] { $get(value) } else { None })
                .collect()
        };
    }
    match rows.first().map(|row| &row[index]) {
        Some(Value::Int(_)) => Column::Int(all!(Int, |value: &Option<i64>| *value)),
        Some(Value::Real(_)) => Column::Real(all!(Real, |value: &Option<f64>| *value)),
        Some(Value::Blob(_)) => Column::Blob(all!(Blob, Option::as_deref)),
        Some(Value::Text(_)) | None => Column::Text(all!(Text, Option::as_deref)),
    }
}

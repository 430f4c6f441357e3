"""The workload of every benchmark: a population record of 12 columns and about 300 bytes, seeded.

Of the changes 80 % are inserts, 15 % updates and 5 % deletes, spread evenly over each transaction. All of it is
made inside the server, so that the making costs no client and can be repeated to the byte.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg

TABLE: Final = "population"
BASE_ROWS: Final = 250_000
COLUMNS: Final = """
    id bigint PRIMARY KEY,
    id_number text NOT NULL,
    name text NOT NULL,
    gender smallint NOT NULL,
    born date NOT NULL,
    address text NOT NULL,
    phone text,
    income numeric(12, 2),
    profile jsonb,
    photo_digest bytea,
    registered timestamptz NOT NULL,
    married boolean
"""

# One record from one number: every value depends on n (and a version for updates), none on chance or on the clock.
RECORD: Final = """
CREATE FUNCTION bench_record(n bigint, version int) RETURNS population LANGUAGE sql IMMUTABLE AS $$
SELECT n,
  '37010' || lpad((n * 7919 % 9999999999999)::text, 13, '0'),
  (ARRAY['王','李','张','刘','陈','杨','赵','黄','周','吴'])[1 + n % 10]
    || (ARRAY['伟','芳','娜','敏','静','丽','强','磊','军','洋'])[1 + n / 10 % 10]
    || (ARRAY['','华','明','国','平','英','杰','文'])[1 + n / 100 % 8],
  (n % 2)::smallint,
  date '1940-01-01' + (n * 31 % 27000)::int,
  '山东省济南市' || (ARRAY['历下区','市中区','槐荫区','天桥区','历城区','长清区'])[1 + n % 6]
    || '经十路' || (n % 29999) || '号' || (n % 32) || '单元' || (version + n % 2500) || '室',
  '13' || lpad((n * 104729 % 999999999)::text, 9, '0'),
  (n * 37 % 9999999)::numeric / 100 + version,
  jsonb_build_object('民族', '汉族', '学历', (ARRAY['小学','初中','高中','大学'])[1 + n % 4], '版本', version),
  decode(md5(n::text || ':' || version), 'hex'),
  timestamptz '2015-01-01 00:00:00+08' + make_interval(secs => n % 300000000 + 0.000001 * (n % 1000000)),
  CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN true ELSE false END
$$"""

# Transaction t of size s: inserts take new ids, updates and deletes spread over what is there by a multiplier
# coprime to the range, so that keys seldom repeat within a batch, like a real register.
CHANGES: Final = """
CREATE PROCEDURE bench_changes(transactions bigint, size bigint, start bigint) LANGUAGE plpgsql AS $$
DECLARE
  updates bigint := size * 15 / 100;
  deletes bigint := size * 5 / 100;
  inserts bigint := size - updates - deletes;
BEGIN
  FOR t IN 0 .. transactions - 1 LOOP
    INSERT INTO population SELECT r.* FROM generate_series(start + t * inserts, start + (t + 1) * inserts - 1) n,
      LATERAL bench_record(n, 0) r;
    UPDATE population p SET address = r.address, income = r.income, profile = r.profile, photo_digest = r.photo_digest
      FROM generate_series(t * updates, (t + 1) * updates - 1) i, LATERAL bench_record(i * 7919 % 250000, 1 + (t % 90)::int) r
      WHERE p.id = r.id;
    DELETE FROM population WHERE id IN
      (SELECT i * 104729 % 250000 FROM generate_series(t * deletes, (t + 1) * deletes - 1) i);
    COMMIT;
  END LOOP;
END $$"""

# Single-row transactions: of twenty in a row sixteen insert, three update, one deletes.
SINGLES: Final = """
CREATE PROCEDURE bench_singles(transactions bigint, start bigint) LANGUAGE plpgsql AS $$
BEGIN
  FOR t IN 0 .. transactions - 1 LOOP
    IF t % 20 < 16 THEN
      INSERT INTO population SELECT r.* FROM bench_record(start + t, 0) r;
    ELSIF t % 20 < 19 THEN
      UPDATE population SET address = address || '改', income = income + 1 WHERE id = t::bigint * 7919 % 250000;
    ELSE
      DELETE FROM population WHERE id = t::bigint * 104729 % 250000;
    END IF;
    COMMIT;
  END LOOP;
END $$"""


def create_table(connection: psycopg.Connection[Any]) -> None:
    """An empty population table and nothing else: what a native subscriber needs."""
    connection.execute(f"CREATE TABLE {TABLE} ({COLUMNS})")


def create(connection: psycopg.Connection[Any], base_rows: int = BASE_ROWS) -> None:
    """The table with its *base_rows* and the functions that change it."""
    create_table(connection)
    for statement in (RECORD, CHANGES, SINGLES):
        connection.execute(statement)
    connection.execute(
        f"INSERT INTO {TABLE} SELECT r.* FROM generate_series(0, %s::bigint - 1) n, LATERAL bench_record(n, 0) r",
        (base_rows,),
    )
    connection.execute(f"VACUUM ANALYZE {TABLE}")


def bulk(connection: psycopg.Connection[Any], transactions: int, size: int, start: int) -> None:
    """Commit *transactions* transactions of *size* changes each, new ids from *start* on."""
    connection.execute("SET synchronous_commit = off")
    connection.execute(f"CALL bench_changes({transactions:d}, {size:d}, {start:d})")


def singles(connection: psycopg.Connection[Any], transactions: int, start: int) -> None:
    """Commit *transactions* transactions of one change each, new ids from *start* on."""
    connection.execute("SET synchronous_commit = off")
    connection.execute(f"CALL bench_singles({transactions:d}, {start:d})")


def finish(connection: psycopg.Connection[Any], sentinel: int) -> None:
    """Commit one last row by which a watcher sees that everything before it has arrived."""
    connection.execute("SET synchronous_commit = on")
    connection.execute(f"INSERT INTO {TABLE} SELECT r.* FROM bench_record({sentinel:d}, 0) r")

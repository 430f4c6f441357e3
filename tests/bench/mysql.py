"""The first hop from MariaDB: binary log → capture → exchange database, with the register of the other benchmarks.

    python -m tests.bench.mysql [--changes N] [--size ROWS] [--sqlite] [--decode] [--profile]

Prints rows per second of a first copy and of a backlog; ``--decode`` reads the backlog without keeping it.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import structlog

from agent.capture import Capture
from agent.exchange import Exchange, StoreLimits, migrate, open_exchange
from agent.sources.mysql.place import Place
from agent.sources.source import Limits, Source
from tests.bench.capture_exchange import Runs
from tests.support.mariadb import MariadbServer
from tests.support.mysql import source_of
from tests.support.postgres import Cluster

BASE_ROWS: Final = 250_000
COLUMNS: Final = """
    id bigint PRIMARY KEY, id_number varchar(18) NOT NULL, name varchar(30) NOT NULL, gender smallint NOT NULL,
    born date NOT NULL, address varchar(200) NOT NULL, phone varchar(20), income decimal(12, 2), profile json,
    photo_digest varbinary(16), registered timestamp(6) NOT NULL, married bit(1)
"""
# One record from one number, as tests.bench.workload makes it.
RECORD: Final = """
SELECT n.seq, concat('37010', lpad(n.seq * 7919 % 9999999999999, 13, '0')),
  concat(elt(1 + n.seq % 10, '王','李','张','刘','陈','杨','赵','黄','周','吴'),
    elt(1 + floor(n.seq / 10) % 10, '伟','芳','娜','敏','静','丽','强','磊','军','洋'),
    elt(1 + floor(n.seq / 100) % 8, '','华','明','国','平','英','杰','文')),
  n.seq % 2, date '1940-01-01' + interval (n.seq * 31 % 27000) day,
  concat('山东省济南市', elt(1 + n.seq % 6, '历下区','市中区','槐荫区','天桥区','历城区','长清区'), '经十路',
    n.seq % 29999, '号', n.seq % 32, '单元', {version} + n.seq % 2500, '室'),
  concat('13', lpad(n.seq * 104729 % 999999999, 9, '0')), n.seq * 37 % 9999999 / 100 + {version},
  json_object('民族', '汉族', '学历', elt(1 + n.seq % 4, '小学','初中','高中','大学'), '版本', {version}),
  unhex(md5(concat(n.seq, ':', {version}))),
  timestamp '2015-01-01 00:00:00' + interval (n.seq % 300000000 + 0.000001 * (n.seq % 1000000)) second,
  CASE n.seq % 3 WHEN 0 THEN NULL WHEN 1 THEN b'1' ELSE b'0' END
FROM {numbers} n
"""


def main() -> None:
    """Set up, measure, print."""
    arguments = _arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with ExitStack() as stack:
        server = stack.enter_context(MariadbServer(settings={"innodb_buffer_pool_size": "1G"}))
        business = server.new_database("business")
        connection = stack.enter_context(contextlib.closing(server.connect(business)))
        cursor = connection.cursor()
        cursor.execute(f"CREATE TABLE population ({COLUMNS})")
        _insert(cursor, 0, BASE_ROWS)
        source = source_of(server, business, "population")
        if arguments.decode:
            _decode(source, cursor, arguments)
            return
        exchange = stack.enter_context(contextlib.closing(_exchange(stack, arguments)))
        runs = Runs(source, exchange, arguments.profile)
        runs.until("first copy", _copied)
        _change(cursor, arguments.changes // arguments.size, arguments.size)
        cursor.execute("SHOW MASTER STATUS")
        file, offset = (cursor.fetchone() or ("", 0))[:2]
        runs.until("backlog", lambda capture: _passed(capture, file, offset))
        cursor.execute("SELECT count(*) FROM population")
        here = sum(page.count for page in exchange.mirror.scan("population"))
        print(f"rows at the source and in the mirror: {cursor.fetchall()[0][0]}, {here}")


def _exchange(stack: ExitStack, arguments: argparse.Namespace) -> Exchange:
    if arguments.sqlite:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = f"sqlite:///{place}/exchange.db"
    else:
        cluster = stack.enter_context(Cluster(15))
        url = f"postgresql+psycopg://postgres@127.0.0.1:{cluster.port}/{cluster.new_database('exchange')}"
    engine = open_exchange(url, "bench")
    migrate(engine)
    return Exchange(engine, "bench/hr", StoreLimits(min_free_bytes=0))


def _decode(source: Source, cursor: Any, arguments: argparse.Namespace) -> None:
    """The source alone: nothing is kept."""
    source.open("")
    _change(cursor, arguments.changes // arguments.size, arguments.size)
    rows, began_s = 0, time.monotonic()
    while (batch := source.read(Limits(wait_s=0.5))) is not None:
        rows += batch.rows
        last_s = time.monotonic() - began_s
    print(f"decode       {rows:9} rows in {last_s:6.2f} s = {rows / last_s:8.0f} rows/s")
    began_s = time.monotonic()
    rows = sum(page.count for page in source.scan("population"))
    took_s = time.monotonic() - began_s
    print(f"scan         {rows:9} rows in {took_s:6.2f} s = {rows / took_s:8.0f} rows/s")
    source.close()


def _insert(cursor: Any, first: int, count: int) -> None:
    numbers = f"seq_{first}_to_{first + count - 1}"
    cursor.execute(f"INSERT INTO population {RECORD.format(version=0, numbers=numbers)}")


def _change(cursor: Any, transactions: int, size: int) -> None:
    """Of each transaction's changes 80 % insert, 15 % update and 5 % delete."""
    updates, deletes = size * 15 // 100, size * 5 // 100
    inserts = size - updates - deletes
    for turn in range(transactions):
        cursor.execute("BEGIN")
        _insert(cursor, BASE_ROWS + turn * inserts, inserts)
        numbers = f"seq_{turn * updates}_to_{(turn + 1) * updates - 1}"
        cursor.execute(
            f"UPDATE population p JOIN {numbers} n ON p.id = n.seq * 7919 % {BASE_ROWS} "
            "SET p.address = concat(left(p.address, 20), '改'), p.income = p.income + 1"
        )
        numbers = f"seq_{turn * deletes}_to_{(turn + 1) * deletes - 1}"
        cursor.execute(f"DELETE p FROM population p JOIN {numbers} n ON p.id = n.seq * 104729 % {BASE_ROWS}")
        cursor.execute("COMMIT")


def _copied(capture: Capture) -> bool:
    tables = capture._exchange.tables()
    return bool(tables) and all(status.copy.copied for status in tables.values())


def _passed(capture: Capture, file: str, offset: int) -> bool:
    position = capture.state.read().position
    return bool(position) and Place.parse(position).spot.order >= (int(file.rpartition(".")[2]), offset)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=400_000)
    parser.add_argument("--size", type=int, default=1000, help="changes per source transaction")
    parser.add_argument("--sqlite", action="store_true", help="exchange database in a SQLite file")
    parser.add_argument("--decode", action="store_true", help="read only, keep nothing")
    parser.add_argument("--profile", action="store_true", help="profile the committing thread")
    return parser.parse_args()


if __name__ == "__main__":
    main()

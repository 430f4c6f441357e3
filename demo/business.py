"""A population bureau: its tables, its people, and a day's work on them. All made up, all seeded."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql

TABLES: Final = ("person", "household", "迁移登记")
DATABASE: Final = "population"
ACCOUNT: Final = "ex_capture"

SCHEMA: Final = """
CREATE TABLE person (
    id_number char(18) PRIMARY KEY,
    name text NOT NULL,
    gender smallint NOT NULL,
    born date NOT NULL,
    household bigint NOT NULL,
    phone text,
    income numeric(12, 2),
    profile jsonb NOT NULL,
    registered timestamptz NOT NULL
);
CREATE TABLE household (
    district text NOT NULL,
    number bigint NOT NULL,
    address text NOT NULL,
    members integer NOT NULL DEFAULT 0,
    PRIMARY KEY (district, number)
);
CREATE TABLE "迁移登记" (
    "编号" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "身份证号" text NOT NULL,
    "迁出地" text,
    "迁入地" text NOT NULL,
    "登记时间" timestamp NOT NULL DEFAULT localtimestamp,
    "附件" bytea
)
"""

PEOPLE: Final = """
INSERT INTO person SELECT
    '3701' || lpad((n * 7919 % 99999999999999)::text, 14, '0'),
    (ARRAY['王','李','张','刘','陈','杨','赵','黄','周','吴'])[1 + n % 10]
      || (ARRAY['伟','芳','娜','敏','静','丽','强','磊','军','洋'])[1 + n / 10 % 10]
      || (ARRAY['','华','明','国','平','英','杰','文'])[1 + n / 100 % 8],
    n % 2,
    date '1940-01-01' + (n * 31 % 30000)::int,
    n / 3,
    CASE WHEN n % 7 = 0 THEN NULL ELSE '13' || lpad((n * 104729 % 999999999)::text, 9, '0') END,
    (n * 37 % 9999999)::numeric / 100,
    jsonb_build_object('民族', '汉族', '学历', (ARRAY['小学','初中','高中','大学'])[1 + n % 4]),
    timestamptz '2015-01-01 00:00:00+08' + make_interval(secs => n % 300000000)
FROM generate_series(1::bigint, {people}) n
"""

HOUSEHOLDS: Final = """
INSERT INTO household SELECT
    (ARRAY['历下区','市中区','槐荫区','天桥区','历城区','长清区'])[1 + n % 6], n,
    '经十路' || n % 29999 || '号' || n % 32 || '单元' || n % 2500 || '室', 3
FROM generate_series(0::bigint, {people} / 3) n
"""


def create(connection: psycopg.Connection[Any], people: int, password: str) -> None:
    """The bureau's tables with *people* persons, and the read-only account the agent gets."""
    connection.execute(SCHEMA)
    connection.execute(PEOPLE.format(people=people).encode())
    connection.execute(HOUSEHOLDS.format(people=people).encode())
    connection.execute("ANALYZE")
    account = sql.Identifier(ACCOUNT)
    connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN REPLICATION PASSWORD {}").format(account, sql.Literal(password))
    )
    connection.execute(sql.SQL('GRANT SELECT ON person, household, "迁移登记" TO {}').format(account))


@dataclass(slots=True)
class Day:
    """People are born, move, marry, correct their numbers and die; each call is one transaction or a few."""

    connection: psycopg.Connection[Any]
    random: random.Random = field(default_factory=lambda: random.Random(2015))
    done: int = 0

    def work(self, transactions: int) -> None:
        """Commit *transactions* small transactions."""
        for _ in range(transactions):
            act = self.random.choices((self._birth, self._move, self._correct, self._death), (8, 8, 1, 2))[0]
            with self.connection.transaction():
                act()
            self.done += 1

    def _birth(self) -> None:
        number = f"3701{90_000_000_000_000 + self.done:014d}"
        household = self.random.randrange(1000)
        self.connection.execute(
            "INSERT INTO person VALUES (%s, %s, %s, current_date, %s, NULL, NULL, %s, now())",
            (number, "新生儿" + "𠮷福乐安"[self.done % 4], self.done % 2, household, '{"民族": "汉族"}'),
        )
        self.connection.execute("UPDATE household SET members = members + 1 WHERE number = %s", (household,))

    def _move(self) -> None:
        number = self._anyone()
        self.connection.execute(
            "UPDATE person SET household = %s, phone = %s WHERE id_number = %s",
            (self.random.randrange(1000), f"138{self.random.randrange(10**8):08d}", number),
        )
        self.connection.execute(
            'INSERT INTO "迁移登记" ("身份证号", "迁出地", "迁入地", "附件") VALUES (%s, %s, %s, %s)',
            (number, "历下区", "槐荫区", self.random.randbytes(64)),
        )

    def _correct(self) -> None:
        number = self._anyone()
        self.connection.execute(
            "UPDATE person SET id_number = %s WHERE id_number = %s", (f"3702{self.done:014d}", number)
        )

    def _death(self) -> None:
        self.connection.execute("DELETE FROM person WHERE id_number = %s", (self._anyone(),))

    def _anyone(self) -> str:
        return f"3701{self.random.randrange(1, 20_000) * 7919 % 99999999999999:014d}"

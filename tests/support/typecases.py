"""What is written into each kind of business database to learn what arrives: types, and their awkward values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Case:
    """One column type and one value, as an expression of the database's SQL; of a file, a kind and a cell."""

    type: str
    value: str
    charset: str = ""
    """How the bytes are really written, told by the setting ``charsets``."""


POSTGRESQL: Final = (
    Case("boolean", "true"),
    Case("smallint", "-32768"),
    Case("bigint", "9223372036854775807"),
    Case("numeric(10,2)", "-0.50"),
    Case("numeric", "12345678901234567890.123456789012345678900"),
    Case("numeric", "'NaN'"),
    Case("numeric", "'-Infinity'"),
    Case("real", "3.4028235e38"),
    Case("double precision", "5e-324"),
    Case("double precision", "'NaN'"),
    Case("double precision", "'-Infinity'"),
    Case("double precision", "'-0'"),
    Case("text", "'全角\u3000空格 '"),
    Case("text", "'𠮷😀'"),
    Case("text", "chr(0)"),
    Case("text", "convert_from('\\xbaba', 'UTF8')"),
    Case("char(4)", "'甲'"),
    Case("bytea", "'\\x00ff27'"),
    Case("date", "'2024-02-29'"),
    Case("date", "'0044-03-15 BC'"),
    Case("date", "'10000-01-01'"),
    Case("date", "'infinity'"),
    Case("time", "'23:59:59.999999'"),
    Case("time", "'24:00:00'"),
    Case("timetz", "'12:00:00+08'"),
    Case("timestamp", "'2024-01-02 03:04:05.123456'"),
    Case("timestamp", "'-infinity'"),
    Case("timestamptz", "'2024-07-01 08:00:00.5+08'"),
    Case("interval", "'1 year -2 days 03:04:05.000006'"),
    Case("json", '\'{"乙": 1, "甲": 1.10}\''),
    Case("jsonb", '\'{"乙": 1, "甲": 1.10}\''),
    Case("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
    Case("text[]", "ARRAY['甲', NULL]"),
    Case("inet", "'10.0.0.1/8'"),
    Case("int4range", "'[1,5)'"),
)
MARIADB: Final = (
    Case("tinyint(1)", "2"),
    Case("int unsigned", "4294967295"),
    Case("int(10) unsigned zerofill", "7"),
    Case("bigint unsigned", "18446744073709551615"),
    Case("decimal(10,2)", "-0.5"),
    Case("decimal(10,2) unsigned", "0.5"),
    Case("decimal(65,30)", "-99999999999999999999999999999999999.999999999999999999999999999999"),
    Case("float", "0.1"),
    Case("double", "1.7976931348623157e308"),
    Case("double", "-0e0 * 1"),
    Case("bit(1)", "b'1'"),
    Case("bit(10)", "b'1000000001'"),
    Case("bit(64)", "b'1' << 63 | 1"),
    Case("char(4)", "'甲 '"),
    Case("varchar(20)", "'全角\u3000空格 '"),
    Case("varchar(20)", "'𠮷😀'"),
    Case("varchar(20)", "CONCAT('甲', CHAR(0 USING utf8mb4), '乙')"),
    Case("varchar(20) CHARACTER SET gbk", "'汉字'"),
    Case("varchar(20) CHARACTER SET latin1", "_binary x'BABAD7D6'"),
    Case("varchar(20) CHARACTER SET latin1", "_binary x'BABAD7D6'", "gbk"),
    Case("varchar(20) CHARACTER SET latin1", "_binary x'BABAD7'", "gbk"),
    Case("blob", "x'00FF27'"),
    Case("date", "'2024-02-29'"),
    Case("date", "'0001-01-01'"),
    Case("date", "'0000-00-00'"),
    Case("date", "'2024-00-10'"),
    Case("time(6)", "'23:59:59.999999'"),
    Case("time", "'-838:59:59'"),
    Case("datetime(6)", "'2024-01-02 03:04:05.123456'"),
    Case("datetime", "'0000-00-00 00:00:00'"),
    Case("timestamp(6)", "'2024-07-01 08:00:00.5'"),
    Case("year", "2024"),
    Case("enum('男','女')", "'女'"),
    Case("enum('甲(1)','乙)')", "'乙)'"),
    Case("set('甲','乙')", "'甲,乙'"),
    Case("json", '\'{"乙": 1, "甲": 1.10}\''),
    Case("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
    Case("inet6", "'2001:db8::1'"),
    Case("point", "ST_GeomFromText('POINT(1 2)')"),
)
SQLITE: Final = (
    Case("INTEGER", "9223372036854775807"),
    Case("INTEGER", "'三'"),
    Case("BOOLEAN", "1"),
    Case("BOOLEAN", "2"),
    Case("REAL", "0.1"),
    Case("REAL", "-9e999"),
    Case("DECIMAL(20,6)", "'12.34'"),
    Case("TEXT", "'全角\u3000空格 '"),
    Case("TEXT", "'𠮷😀'"),
    Case("TEXT", "'甲' || char(0) || '乙'"),
    Case("TEXT", "CAST(x'BABAD7D6' AS TEXT)"),
    Case("TEXT", "CAST(x'BABAD7D6' AS TEXT)", "gbk"),
    Case("TEXT", "CAST(x'BABAD7' AS TEXT)", "gbk"),
    Case("TEXT", "CAST(x'E5BC' AS TEXT)"),
    Case("BLOB", "x'00FF27'"),
    Case("DATE", "'2024-02-29'"),
    Case("DATE", "'0000-00-00'"),
    Case("DATETIME", "'2024-01-02 03:04:05.123456'"),
    Case("DATETIME", "'2024-07-01T08:00:00+08:00'"),
    Case("DATETIME", "1700000000"),
)
FILES: Final = (
    Case("bool", "是"),
    Case("int16", "-32768"),
    Case("int32", "2147483648"),
    Case("int64", "1,234"),
    Case("decimal", "12345678901234567890.1200"),
    Case("decimal", "NaN"),
    Case("float64", "1e-300"),
    Case("float64", "Infinity"),
    Case("text", "370102199001011234"),
    Case("text", "3.70102E+17"),
    Case("text", "全角\u3000空格 "),
    Case("text", "𠮷😀"),
    Case("text", "甲\0乙"),
    Case("date", "2024年2月29日"),
    Case("date", "2023-02-29"),
    Case("date", "0000-00-00"),
    Case("time", "23:59:59.999999"),
    Case("timestamp", "2024/1/2 03:04:05.123456"),
    Case("timestamptz", "2024-07-01 08:00:00+08:00"),
    Case("json", '{"甲": 1.10}'),
    Case("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
)
"""Cells; the type is the kind that the rule of the column names."""
BROKEN_BYTES: Final = (
    Case("text", "GBK BA BA D7 D6"),
    Case("text", "GBK BA BA D7"),
    Case("text", "FF"),
)
"""Bytes of a cell in a CSV, as they are written into it."""

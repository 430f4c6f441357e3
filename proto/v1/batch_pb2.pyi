from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_UNSPECIFIED: _ClassVar[Compression]
    COMPRESSION_NONE: _ClassVar[Compression]
    COMPRESSION_ZSTD: _ClassVar[Compression]
COMPRESSION_UNSPECIFIED: Compression
COMPRESSION_NONE: Compression
COMPRESSION_ZSTD: Compression

class ColumnSchema(_message.Message):
    __slots__ = ("name", "kind", "source_type", "not_null")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    NOT_NULL_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    source_type: str
    not_null: bool
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., source_type: _Optional[str] = ..., not_null: _Optional[bool] = ...) -> None: ...

class TableSchema(_message.Message):
    __slots__ = ("name", "columns", "key")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    name: str
    columns: _containers.RepeatedCompositeFieldContainer[ColumnSchema]
    key: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., columns: _Optional[_Iterable[_Union[ColumnSchema, _Mapping]]] = ..., key: _Optional[_Iterable[str]] = ...) -> None: ...

class PartialSection(_message.Message):
    __slots__ = ("columns", "count", "bytes")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedScalarFieldContainer[int]
    count: int
    bytes: int
    def __init__(self, columns: _Optional[_Iterable[int]] = ..., count: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class DeltaSections(_message.Message):
    __slots__ = ("schema", "insert_count", "insert_bytes", "upsert_count", "upsert_bytes", "delete_count", "delete_bytes", "partials", "truncated")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    INSERT_COUNT_FIELD_NUMBER: _ClassVar[int]
    INSERT_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPSERT_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPSERT_BYTES_FIELD_NUMBER: _ClassVar[int]
    DELETE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DELETE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PARTIALS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    schema: int
    insert_count: int
    insert_bytes: int
    upsert_count: int
    upsert_bytes: int
    delete_count: int
    delete_bytes: int
    partials: _containers.RepeatedCompositeFieldContainer[PartialSection]
    truncated: bool
    def __init__(self, schema: _Optional[int] = ..., insert_count: _Optional[int] = ..., insert_bytes: _Optional[int] = ..., upsert_count: _Optional[int] = ..., upsert_bytes: _Optional[int] = ..., delete_count: _Optional[int] = ..., delete_bytes: _Optional[int] = ..., partials: _Optional[_Iterable[_Union[PartialSection, _Mapping]]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class BatchHeader(_message.Message):
    __slots__ = ("format", "position", "first_commit_us", "last_commit_us", "transactions", "continues", "schemas", "deltas", "compression", "raw_bytes", "payload_sha256")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    FIRST_COMMIT_US_FIELD_NUMBER: _ClassVar[int]
    LAST_COMMIT_US_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    CONTINUES_FIELD_NUMBER: _ClassVar[int]
    SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    RAW_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SHA256_FIELD_NUMBER: _ClassVar[int]
    format: int
    position: str
    first_commit_us: int
    last_commit_us: int
    transactions: int
    continues: bool
    schemas: _containers.RepeatedCompositeFieldContainer[TableSchema]
    deltas: _containers.RepeatedCompositeFieldContainer[DeltaSections]
    compression: Compression
    raw_bytes: int
    payload_sha256: bytes
    def __init__(self, format: _Optional[int] = ..., position: _Optional[str] = ..., first_commit_us: _Optional[int] = ..., last_commit_us: _Optional[int] = ..., transactions: _Optional[int] = ..., continues: _Optional[bool] = ..., schemas: _Optional[_Iterable[_Union[TableSchema, _Mapping]]] = ..., deltas: _Optional[_Iterable[_Union[DeltaSections, _Mapping]]] = ..., compression: _Optional[_Union[Compression, str]] = ..., raw_bytes: _Optional[int] = ..., payload_sha256: _Optional[bytes] = ...) -> None: ...

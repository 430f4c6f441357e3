from proto.v1 import desk_pb2 as _desk_pb2
from proto.v1 import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AgentStatus(_message.Message):
    __slots__ = ("node", "version", "started_us", "central", "link_state", "link_sentence", "exchange", "free_disk_bytes", "streams", "received", "pull_state", "pull_sentence", "pull_fix", "notices", "release", "catalogue_state", "catalogue_sentence", "catalogue_fix")
    NODE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_US_FIELD_NUMBER: _ClassVar[int]
    CENTRAL_FIELD_NUMBER: _ClassVar[int]
    LINK_STATE_FIELD_NUMBER: _ClassVar[int]
    LINK_SENTENCE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_FIELD_NUMBER: _ClassVar[int]
    FREE_DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    PULL_STATE_FIELD_NUMBER: _ClassVar[int]
    PULL_SENTENCE_FIELD_NUMBER: _ClassVar[int]
    PULL_FIX_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_STATE_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_SENTENCE_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_FIX_FIELD_NUMBER: _ClassVar[int]
    node: str
    version: str
    started_us: int
    central: str
    link_state: str
    link_sentence: str
    exchange: str
    free_disk_bytes: int
    streams: _containers.RepeatedCompositeFieldContainer[_node_pb2.StreamReport]
    received: _containers.RepeatedCompositeFieldContainer[_node_pb2.ReceivedReport]
    pull_state: str
    pull_sentence: str
    pull_fix: str
    notices: _containers.RepeatedScalarFieldContainer[str]
    release: int
    catalogue_state: str
    catalogue_sentence: str
    catalogue_fix: str
    def __init__(self, node: _Optional[str] = ..., version: _Optional[str] = ..., started_us: _Optional[int] = ..., central: _Optional[str] = ..., link_state: _Optional[str] = ..., link_sentence: _Optional[str] = ..., exchange: _Optional[str] = ..., free_disk_bytes: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[_node_pb2.StreamReport, _Mapping]]] = ..., received: _Optional[_Iterable[_Union[_node_pb2.ReceivedReport, _Mapping]]] = ..., pull_state: _Optional[str] = ..., pull_sentence: _Optional[str] = ..., pull_fix: _Optional[str] = ..., notices: _Optional[_Iterable[str]] = ..., release: _Optional[int] = ..., catalogue_state: _Optional[str] = ..., catalogue_sentence: _Optional[str] = ..., catalogue_fix: _Optional[str] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("source", "who")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    source: str
    who: str
    def __init__(self, source: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class TableRequest(_message.Message):
    __slots__ = ("source", "table", "who")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    source: str
    table: str
    who: str
    def __init__(self, source: _Optional[str] = ..., table: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class ReceivedRequest(_message.Message):
    __slots__ = ("grant", "who")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    grant: str
    who: str
    def __init__(self, grant: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class ReloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Done(_message.Message):
    __slots__ = ("sentence",)
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    sentence: str
    def __init__(self, sentence: _Optional[str] = ...) -> None: ...

class ListQuarantineRequest(_message.Message):
    __slots__ = ("source",)
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    source: str
    def __init__(self, source: _Optional[str] = ...) -> None: ...

class QuarantineEntry(_message.Message):
    __slots__ = ("id", "source", "table", "code", "what", "fix", "rows", "since_us", "position")
    ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SINCE_US_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    id: int
    source: str
    table: str
    code: str
    what: str
    fix: str
    rows: int
    since_us: int
    position: str
    def __init__(self, id: _Optional[int] = ..., source: _Optional[str] = ..., table: _Optional[str] = ..., code: _Optional[str] = ..., what: _Optional[str] = ..., fix: _Optional[str] = ..., rows: _Optional[int] = ..., since_us: _Optional[int] = ..., position: _Optional[str] = ...) -> None: ...

class QuarantineList(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[QuarantineEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[QuarantineEntry, _Mapping]]] = ...) -> None: ...

class SkipQuarantineRequest(_message.Message):
    __slots__ = ("source", "table", "id", "who", "reason")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    source: str
    table: str
    id: int
    who: str
    reason: str
    def __init__(self, source: _Optional[str] = ..., table: _Optional[str] = ..., id: _Optional[int] = ..., who: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

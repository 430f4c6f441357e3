from proto.v1 import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Leg(_message.Message):
    __slots__ = ("name", "state", "lag_us", "sentence", "whose_move", "fix")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LAG_US_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    WHOSE_MOVE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    lag_us: int
    sentence: str
    whose_move: str
    fix: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., lag_us: _Optional[int] = ..., sentence: _Optional[str] = ..., whose_move: _Optional[str] = ..., fix: _Optional[str] = ...) -> None: ...

class HeldTable(_message.Message):
    __slots__ = ("table", "state", "code", "sentence", "fix", "since_us", "held_seq", "after_seq", "retrying")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    SINCE_US_FIELD_NUMBER: _ClassVar[int]
    HELD_SEQ_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    RETRYING_FIELD_NUMBER: _ClassVar[int]
    table: str
    state: str
    code: str
    sentence: str
    fix: str
    since_us: int
    held_seq: int
    after_seq: int
    retrying: bool
    def __init__(self, table: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ..., fix: _Optional[str] = ..., since_us: _Optional[int] = ..., held_seq: _Optional[int] = ..., after_seq: _Optional[int] = ..., retrying: _Optional[bool] = ...) -> None: ...

class CentralStream(_message.Message):
    __slots__ = ("stream", "state", "code", "sentence", "fix", "accepted_seq", "applied_seq", "rows", "bytes", "rows_per_s", "bytes_per_s", "last_commit_us", "applied_at_us", "legs", "reported", "held")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQ_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_S_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    LAST_COMMIT_US_FIELD_NUMBER: _ClassVar[int]
    APPLIED_AT_US_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    stream: str
    state: str
    code: str
    sentence: str
    fix: str
    accepted_seq: int
    applied_seq: int
    rows: int
    bytes: int
    rows_per_s: float
    bytes_per_s: float
    last_commit_us: int
    applied_at_us: int
    legs: _containers.RepeatedCompositeFieldContainer[Leg]
    reported: _node_pb2.StreamReport
    held: _containers.RepeatedCompositeFieldContainer[HeldTable]
    def __init__(self, stream: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ..., fix: _Optional[str] = ..., accepted_seq: _Optional[int] = ..., applied_seq: _Optional[int] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., rows_per_s: _Optional[float] = ..., bytes_per_s: _Optional[float] = ..., last_commit_us: _Optional[int] = ..., applied_at_us: _Optional[int] = ..., legs: _Optional[_Iterable[_Union[Leg, _Mapping]]] = ..., reported: _Optional[_Union[_node_pb2.StreamReport, _Mapping]] = ..., held: _Optional[_Iterable[_Union[HeldTable, _Mapping]]] = ...) -> None: ...

class DeliveryStatus(_message.Message):
    __slots__ = ("grant", "grant_state", "resource", "stream", "table", "state", "code", "sentence", "fix", "generation", "reason", "seq", "acknowledged_seq", "source_seq", "behind", "lag_us", "copying", "rows_copied", "rows_expected", "deliveries", "rows", "bytes", "last_us", "commit_us", "received")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    GRANT_STATE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_SEQ_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    LAG_US_FIELD_NUMBER: _ClassVar[int]
    COPYING_FIELD_NUMBER: _ClassVar[int]
    ROWS_COPIED_FIELD_NUMBER: _ClassVar[int]
    ROWS_EXPECTED_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LAST_US_FIELD_NUMBER: _ClassVar[int]
    COMMIT_US_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    grant: str
    grant_state: str
    resource: str
    stream: str
    table: str
    state: str
    code: str
    sentence: str
    fix: str
    generation: int
    reason: str
    seq: int
    acknowledged_seq: int
    source_seq: int
    behind: int
    lag_us: int
    copying: bool
    rows_copied: int
    rows_expected: int
    deliveries: int
    rows: int
    bytes: int
    last_us: int
    commit_us: int
    received: Leg
    def __init__(self, grant: _Optional[str] = ..., grant_state: _Optional[str] = ..., resource: _Optional[str] = ..., stream: _Optional[str] = ..., table: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ..., fix: _Optional[str] = ..., generation: _Optional[int] = ..., reason: _Optional[str] = ..., seq: _Optional[int] = ..., acknowledged_seq: _Optional[int] = ..., source_seq: _Optional[int] = ..., behind: _Optional[int] = ..., lag_us: _Optional[int] = ..., copying: _Optional[bool] = ..., rows_copied: _Optional[int] = ..., rows_expected: _Optional[int] = ..., deliveries: _Optional[int] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., last_us: _Optional[int] = ..., commit_us: _Optional[int] = ..., received: _Optional[_Union[Leg, _Mapping]] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("node", "state", "sentence", "last_seen_us", "clock_skew_us", "certificate_not_after_us", "revoked", "version", "streams", "deliveries", "notices")
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_US_FIELD_NUMBER: _ClassVar[int]
    CLOCK_SKEW_US_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_NOT_AFTER_US_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    node: str
    state: str
    sentence: str
    last_seen_us: int
    clock_skew_us: int
    certificate_not_after_us: int
    revoked: bool
    version: str
    streams: _containers.RepeatedCompositeFieldContainer[CentralStream]
    deliveries: _containers.RepeatedCompositeFieldContainer[DeliveryStatus]
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node: _Optional[str] = ..., state: _Optional[str] = ..., sentence: _Optional[str] = ..., last_seen_us: _Optional[int] = ..., clock_skew_us: _Optional[int] = ..., certificate_not_after_us: _Optional[int] = ..., revoked: _Optional[bool] = ..., version: _Optional[str] = ..., streams: _Optional[_Iterable[_Union[CentralStream, _Mapping]]] = ..., deliveries: _Optional[_Iterable[_Union[DeliveryStatus, _Mapping]]] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNodesReply(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ...) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class WatchNodesRequest(_message.Message):
    __slots__ = ("interval_ms",)
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    interval_ms: int
    def __init__(self, interval_ms: _Optional[int] = ...) -> None: ...

class ExplainNodeRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class ExplainNodeReply(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lines: _Optional[_Iterable[str]] = ...) -> None: ...

class RequestCommandRequest(_message.Message):
    __slots__ = ("node", "command")
    NODE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    node: str
    command: _node_pb2.Command
    def __init__(self, node: _Optional[str] = ..., command: _Optional[_Union[_node_pb2.Command, _Mapping]] = ...) -> None: ...

class RequestCommandReply(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

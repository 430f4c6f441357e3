from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChainHead(_message.Message):
    __slots__ = ("epoch", "seq", "digest")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    seq: int
    digest: bytes
    def __init__(self, epoch: _Optional[int] = ..., seq: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "stream", "epoch", "incarnation", "head", "oldest_seq")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    OLDEST_SEQ_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    stream: str
    epoch: int
    incarnation: str
    head: ChainHead
    oldest_seq: int
    def __init__(self, protocol: _Optional[int] = ..., stream: _Optional[str] = ..., epoch: _Optional[int] = ..., incarnation: _Optional[str] = ..., head: _Optional[_Union[ChainHead, _Mapping]] = ..., oldest_seq: _Optional[int] = ...) -> None: ...

class BatchPart(_message.Message):
    __slots__ = ("seq", "epoch", "digest", "header", "payload_bytes", "payload")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    seq: int
    epoch: int
    digest: bytes
    header: bytes
    payload_bytes: int
    payload: bytes
    def __init__(self, seq: _Optional[int] = ..., epoch: _Optional[int] = ..., digest: _Optional[bytes] = ..., header: _Optional[bytes] = ..., payload_bytes: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("hello", "part")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    part: BatchPart
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., part: _Optional[_Union[BatchPart, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "head", "window_batches", "window_bytes")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BATCHES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    head: ChainHead
    window_batches: int
    window_bytes: int
    def __init__(self, protocol: _Optional[int] = ..., head: _Optional[_Union[ChainHead, _Mapping]] = ..., window_batches: _Optional[int] = ..., window_bytes: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("seq", "applied", "received_bytes")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    seq: int
    applied: int
    received_bytes: int
    def __init__(self, seq: _Optional[int] = ..., applied: _Optional[int] = ..., received_bytes: _Optional[int] = ...) -> None: ...

class PushReply(_message.Message):
    __slots__ = ("welcome", "ack")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    ack: Ack
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("code", "what", "where", "fix", "retry_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    RETRY_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    what: str
    where: str
    fix: str
    retry_ms: int
    def __init__(self, code: _Optional[str] = ..., what: _Optional[str] = ..., where: _Optional[str] = ..., fix: _Optional[str] = ..., retry_ms: _Optional[int] = ...) -> None: ...

from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
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
    __slots__ = ("protocol", "head", "window_batches", "window_bytes", "release", "part")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BATCHES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    head: ChainHead
    window_batches: int
    window_bytes: int
    release: int
    part: str
    def __init__(self, protocol: _Optional[int] = ..., head: _Optional[_Union[ChainHead, _Mapping]] = ..., window_batches: _Optional[int] = ..., window_bytes: _Optional[int] = ..., release: _Optional[int] = ..., part: _Optional[str] = ...) -> None: ...

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

class Received(_message.Message):
    __slots__ = ("grant", "generation", "seq", "digest")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    grant: str
    generation: int
    seq: int
    digest: bytes
    def __init__(self, grant: _Optional[str] = ..., generation: _Optional[int] = ..., seq: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class PullHello(_message.Message):
    __slots__ = ("protocol", "incarnation", "received", "window_deliveries", "window_bytes")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    WINDOW_DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    incarnation: str
    received: _containers.RepeatedCompositeFieldContainer[Received]
    window_deliveries: int
    window_bytes: int
    def __init__(self, protocol: _Optional[int] = ..., incarnation: _Optional[str] = ..., received: _Optional[_Iterable[_Union[Received, _Mapping]]] = ..., window_deliveries: _Optional[int] = ..., window_bytes: _Optional[int] = ...) -> None: ...

class PullHold(_message.Message):
    __slots__ = ("grant", "state", "code", "sentence", "fix")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    grant: str
    state: str
    code: str
    sentence: str
    fix: str
    def __init__(self, grant: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ..., fix: _Optional[str] = ...) -> None: ...

class PullRequest(_message.Message):
    __slots__ = ("hello", "receipt", "hold", "recalled")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    RECALLED_FIELD_NUMBER: _ClassVar[int]
    hello: PullHello
    receipt: Received
    hold: PullHold
    recalled: Recalled
    def __init__(self, hello: _Optional[_Union[PullHello, _Mapping]] = ..., receipt: _Optional[_Union[Received, _Mapping]] = ..., hold: _Optional[_Union[PullHold, _Mapping]] = ..., recalled: _Optional[_Union[Recalled, _Mapping]] = ...) -> None: ...

class PullWelcome(_message.Message):
    __slots__ = ("protocol", "platform_certificate")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    platform_certificate: bytes
    def __init__(self, protocol: _Optional[int] = ..., platform_certificate: _Optional[bytes] = ...) -> None: ...

class Granted(_message.Message):
    __slots__ = ("grant", "version", "state", "sentence", "resource", "resource_name", "stream", "table", "valid_to_us", "purpose", "withdraw", "contract", "change", "change_us")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    VALID_TO_US_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    WITHDRAW_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_US_FIELD_NUMBER: _ClassVar[int]
    grant: str
    version: int
    state: str
    sentence: str
    resource: str
    resource_name: str
    stream: str
    table: str
    valid_to_us: int
    purpose: str
    withdraw: bool
    contract: int
    change: str
    change_us: int
    def __init__(self, grant: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[str] = ..., sentence: _Optional[str] = ..., resource: _Optional[str] = ..., resource_name: _Optional[str] = ..., stream: _Optional[str] = ..., table: _Optional[str] = ..., valid_to_us: _Optional[int] = ..., purpose: _Optional[str] = ..., withdraw: _Optional[bool] = ..., contract: _Optional[int] = ..., change: _Optional[str] = ..., change_us: _Optional[int] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("grant", "generation", "seq", "digest", "receipt", "signature", "source_seq", "commit_us", "copying", "rows_copied", "rows_expected", "header", "payload_bytes", "payload")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    COMMIT_US_FIELD_NUMBER: _ClassVar[int]
    COPYING_FIELD_NUMBER: _ClassVar[int]
    ROWS_COPIED_FIELD_NUMBER: _ClassVar[int]
    ROWS_EXPECTED_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    grant: str
    generation: int
    seq: int
    digest: bytes
    receipt: str
    signature: bytes
    source_seq: int
    commit_us: int
    copying: bool
    rows_copied: int
    rows_expected: int
    header: bytes
    payload_bytes: int
    payload: bytes
    def __init__(self, grant: _Optional[str] = ..., generation: _Optional[int] = ..., seq: _Optional[int] = ..., digest: _Optional[bytes] = ..., receipt: _Optional[str] = ..., signature: _Optional[bytes] = ..., source_seq: _Optional[int] = ..., commit_us: _Optional[int] = ..., copying: _Optional[bool] = ..., rows_copied: _Optional[int] = ..., rows_expected: _Optional[int] = ..., header: _Optional[bytes] = ..., payload_bytes: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("grant", "source_seq", "proven_us")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    PROVEN_US_FIELD_NUMBER: _ClassVar[int]
    grant: str
    source_seq: int
    proven_us: int
    def __init__(self, grant: _Optional[str] = ..., source_seq: _Optional[int] = ..., proven_us: _Optional[int] = ...) -> None: ...

class Recall(_message.Message):
    __slots__ = ("grant", "recall", "reason")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    grant: str
    recall: str
    reason: str
    def __init__(self, grant: _Optional[str] = ..., recall: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Recalled(_message.Message):
    __slots__ = ("grant", "recall", "rows")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    grant: str
    recall: str
    rows: int
    def __init__(self, grant: _Optional[str] = ..., recall: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class PullReply(_message.Message):
    __slots__ = ("welcome", "granted", "delivery", "progress", "recall")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    welcome: PullWelcome
    granted: Granted
    delivery: Delivery
    progress: Progress
    recall: Recall
    def __init__(self, welcome: _Optional[_Union[PullWelcome, _Mapping]] = ..., granted: _Optional[_Union[Granted, _Mapping]] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., recall: _Optional[_Union[Recall, _Mapping]] = ...) -> None: ...

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

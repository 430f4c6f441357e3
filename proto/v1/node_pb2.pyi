from proto.v1 import batch_pb2 as _batch_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetCatalogueRequest(_message.Message):
    __slots__ = ("release",)
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    release: int
    def __init__(self, release: _Optional[int] = ...) -> None: ...

class NodeCatalogue(_message.Message):
    __slots__ = ("document", "signature", "certificate")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    signature: bytes
    certificate: bytes
    def __init__(self, document: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., certificate: _Optional[bytes] = ...) -> None: ...

class ReadStatement(_message.Message):
    __slots__ = ("stream", "table", "since_us", "proven_us", "rows", "seq")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    SINCE_US_FIELD_NUMBER: _ClassVar[int]
    PROVEN_US_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    stream: str
    table: str
    since_us: int
    proven_us: int
    rows: int
    seq: int
    def __init__(self, stream: _Optional[str] = ..., table: _Optional[str] = ..., since_us: _Optional[int] = ..., proven_us: _Optional[int] = ..., rows: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class Attestation(_message.Message):
    __slots__ = ("statement", "signature")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    signature: bytes
    def __init__(self, statement: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class TableShape(_message.Message):
    __slots__ = ("stream", "table", "columns", "key", "captured", "trouble")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    stream: str
    table: str
    columns: _containers.RepeatedCompositeFieldContainer[_batch_pb2.ColumnSchema]
    key: _containers.RepeatedScalarFieldContainer[str]
    captured: _containers.RepeatedScalarFieldContainer[str]
    trouble: str
    def __init__(self, stream: _Optional[str] = ..., table: _Optional[str] = ..., columns: _Optional[_Iterable[_Union[_batch_pb2.ColumnSchema, _Mapping]]] = ..., key: _Optional[_Iterable[str]] = ..., captured: _Optional[_Iterable[str]] = ..., trouble: _Optional[str] = ...) -> None: ...

class TableReport(_message.Message):
    __slots__ = ("table", "state", "code", "sentence", "fix", "rows_copied", "rows_expected", "read_us", "deletes", "compared_every_s")
    class Deletes(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSAID: _ClassVar[TableReport.Deletes]
        SEEN: _ClassVar[TableReport.Deletes]
        COMPARED: _ClassVar[TableReport.Deletes]
        UNSEEN: _ClassVar[TableReport.Deletes]
    UNSAID: TableReport.Deletes
    SEEN: TableReport.Deletes
    COMPARED: TableReport.Deletes
    UNSEEN: TableReport.Deletes
    TABLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    ROWS_COPIED_FIELD_NUMBER: _ClassVar[int]
    ROWS_EXPECTED_FIELD_NUMBER: _ClassVar[int]
    READ_US_FIELD_NUMBER: _ClassVar[int]
    DELETES_FIELD_NUMBER: _ClassVar[int]
    COMPARED_EVERY_S_FIELD_NUMBER: _ClassVar[int]
    table: str
    state: str
    code: str
    sentence: str
    fix: str
    rows_copied: int
    rows_expected: int
    read_us: int
    deletes: TableReport.Deletes
    compared_every_s: int
    def __init__(self, table: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ..., fix: _Optional[str] = ..., rows_copied: _Optional[int] = ..., rows_expected: _Optional[int] = ..., read_us: _Optional[int] = ..., deletes: _Optional[_Union[TableReport.Deletes, str]] = ..., compared_every_s: _Optional[int] = ...) -> None: ...

class StreamReport(_message.Message):
    __slots__ = ("stream", "state", "code", "sentence", "fix", "position", "captured_seq", "acknowledged_seq", "waiting_batches", "waiting_bytes", "source_lag_us", "push_lag_us", "marker_us", "retained_log_bytes", "rows", "bytes", "rows_per_s", "bytes_per_s", "tables", "read_us", "full_in_us", "horizon")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_SEQ_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_SEQ_FIELD_NUMBER: _ClassVar[int]
    WAITING_BATCHES_FIELD_NUMBER: _ClassVar[int]
    WAITING_BYTES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LAG_US_FIELD_NUMBER: _ClassVar[int]
    PUSH_LAG_US_FIELD_NUMBER: _ClassVar[int]
    MARKER_US_FIELD_NUMBER: _ClassVar[int]
    RETAINED_LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_S_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_S_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    READ_US_FIELD_NUMBER: _ClassVar[int]
    FULL_IN_US_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    stream: str
    state: str
    code: str
    sentence: str
    fix: str
    position: str
    captured_seq: int
    acknowledged_seq: int
    waiting_batches: int
    waiting_bytes: int
    source_lag_us: int
    push_lag_us: int
    marker_us: int
    retained_log_bytes: int
    rows: int
    bytes: int
    rows_per_s: float
    bytes_per_s: float
    tables: _containers.RepeatedCompositeFieldContainer[TableReport]
    read_us: int
    full_in_us: int
    horizon: str
    def __init__(self, stream: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ..., fix: _Optional[str] = ..., position: _Optional[str] = ..., captured_seq: _Optional[int] = ..., acknowledged_seq: _Optional[int] = ..., waiting_batches: _Optional[int] = ..., waiting_bytes: _Optional[int] = ..., source_lag_us: _Optional[int] = ..., push_lag_us: _Optional[int] = ..., marker_us: _Optional[int] = ..., retained_log_bytes: _Optional[int] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., rows_per_s: _Optional[float] = ..., bytes_per_s: _Optional[float] = ..., tables: _Optional[_Iterable[_Union[TableReport, _Mapping]]] = ..., read_us: _Optional[int] = ..., full_in_us: _Optional[int] = ..., horizon: _Optional[str] = ...) -> None: ...

class ReceivedReport(_message.Message):
    __slots__ = ("grant", "state", "code", "sentence", "fix", "version", "resource", "resource_name", "stream", "table", "purpose", "valid_to_us", "generation", "seq", "source_seq", "receipt", "rows", "bytes", "last_commit_us", "received_us", "proven_us", "rows_copied", "rows_expected", "place", "imports", "contract", "change", "change_us")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    VALID_TO_US_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SEQ_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LAST_COMMIT_US_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_US_FIELD_NUMBER: _ClassVar[int]
    PROVEN_US_FIELD_NUMBER: _ClassVar[int]
    ROWS_COPIED_FIELD_NUMBER: _ClassVar[int]
    ROWS_EXPECTED_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    IMPORTS_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_US_FIELD_NUMBER: _ClassVar[int]
    grant: str
    state: str
    code: str
    sentence: str
    fix: str
    version: int
    resource: str
    resource_name: str
    stream: str
    table: str
    purpose: str
    valid_to_us: int
    generation: int
    seq: int
    source_seq: int
    receipt: str
    rows: int
    bytes: int
    last_commit_us: int
    received_us: int
    proven_us: int
    rows_copied: int
    rows_expected: int
    place: str
    imports: _containers.RepeatedCompositeFieldContainer[ImportReport]
    contract: int
    change: str
    change_us: int
    def __init__(self, grant: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ..., fix: _Optional[str] = ..., version: _Optional[int] = ..., resource: _Optional[str] = ..., resource_name: _Optional[str] = ..., stream: _Optional[str] = ..., table: _Optional[str] = ..., purpose: _Optional[str] = ..., valid_to_us: _Optional[int] = ..., generation: _Optional[int] = ..., seq: _Optional[int] = ..., source_seq: _Optional[int] = ..., receipt: _Optional[str] = ..., rows: _Optional[int] = ..., bytes: _Optional[int] = ..., last_commit_us: _Optional[int] = ..., received_us: _Optional[int] = ..., proven_us: _Optional[int] = ..., rows_copied: _Optional[int] = ..., rows_expected: _Optional[int] = ..., place: _Optional[str] = ..., imports: _Optional[_Iterable[_Union[ImportReport, _Mapping]]] = ..., contract: _Optional[int] = ..., change: _Optional[str] = ..., change_us: _Optional[int] = ...) -> None: ...

class ImportReport(_message.Message):
    __slots__ = ("name", "state", "code", "sentence", "fix", "generation", "seq")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    code: str
    sentence: str
    fix: str
    generation: int
    seq: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., code: _Optional[str] = ..., sentence: _Optional[str] = ..., fix: _Optional[str] = ..., generation: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("version", "clock_us", "streams", "done_commands", "refused_commands", "attestations", "shapes", "release", "received", "checkpoint")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CLOCK_US_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    DONE_COMMANDS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COMMANDS_FIELD_NUMBER: _ClassVar[int]
    ATTESTATIONS_FIELD_NUMBER: _ClassVar[int]
    SHAPES_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    version: str
    clock_us: int
    streams: _containers.RepeatedCompositeFieldContainer[StreamReport]
    done_commands: _containers.RepeatedScalarFieldContainer[int]
    refused_commands: _containers.RepeatedScalarFieldContainer[int]
    attestations: _containers.RepeatedCompositeFieldContainer[Attestation]
    shapes: _containers.RepeatedCompositeFieldContainer[TableShape]
    release: int
    received: _containers.RepeatedCompositeFieldContainer[ReceivedReport]
    checkpoint: int
    def __init__(self, version: _Optional[str] = ..., clock_us: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[StreamReport, _Mapping]]] = ..., done_commands: _Optional[_Iterable[int]] = ..., refused_commands: _Optional[_Iterable[int]] = ..., attestations: _Optional[_Iterable[_Union[Attestation, _Mapping]]] = ..., shapes: _Optional[_Iterable[_Union[TableShape, _Mapping]]] = ..., release: _Optional[int] = ..., received: _Optional[_Iterable[_Union[ReceivedReport, _Mapping]]] = ..., checkpoint: _Optional[int] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("id", "verb", "stream", "table", "who")
    class Verb(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERB_UNSPECIFIED: _ClassVar[Command.Verb]
        PAUSE: _ClassVar[Command.Verb]
        RESUME: _ClassVar[Command.Verb]
        SNAPSHOT: _ClassVar[Command.Verb]
        RELOAD: _ClassVar[Command.Verb]
        DESCRIBE: _ClassVar[Command.Verb]
    VERB_UNSPECIFIED: Command.Verb
    PAUSE: Command.Verb
    RESUME: Command.Verb
    SNAPSHOT: Command.Verb
    RELOAD: Command.Verb
    DESCRIBE: Command.Verb
    ID_FIELD_NUMBER: _ClassVar[int]
    VERB_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    id: int
    verb: Command.Verb
    stream: str
    table: str
    who: str
    def __init__(self, id: _Optional[int] = ..., verb: _Optional[_Union[Command.Verb, str]] = ..., stream: _Optional[str] = ..., table: _Optional[str] = ..., who: _Optional[str] = ...) -> None: ...

class SignedCheckpoint(_message.Message):
    __slots__ = ("content", "signature", "certificate")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    signature: bytes
    certificate: str
    def __init__(self, content: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., certificate: _Optional[str] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("clock_us", "commands", "next_s", "release", "notices", "prove_s", "part", "checkpoints")
    CLOCK_US_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_S_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    PROVE_S_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    clock_us: int
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    next_s: int
    release: int
    notices: _containers.RepeatedScalarFieldContainer[str]
    prove_s: int
    part: str
    checkpoints: _containers.RepeatedCompositeFieldContainer[SignedCheckpoint]
    def __init__(self, clock_us: _Optional[int] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ..., next_s: _Optional[int] = ..., release: _Optional[int] = ..., notices: _Optional[_Iterable[str]] = ..., prove_s: _Optional[int] = ..., part: _Optional[str] = ..., checkpoints: _Optional[_Iterable[_Union[SignedCheckpoint, _Mapping]]] = ...) -> None: ...

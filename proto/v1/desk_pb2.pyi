from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeskRequest(_message.Message):
    __slots__ = ("verb", "arguments", "person", "system")
    VERB_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    verb: str
    arguments: str
    person: str
    system: str
    def __init__(self, verb: _Optional[str] = ..., arguments: _Optional[str] = ..., person: _Optional[str] = ..., system: _Optional[str] = ...) -> None: ...

class DeskReply(_message.Message):
    __slots__ = ("answer",)
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    answer: str
    def __init__(self, answer: _Optional[str] = ...) -> None: ...

class VerbsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VerbDescription(_message.Message):
    __slots__ = ("name", "help", "roles", "writes", "arguments")
    NAME_FIELD_NUMBER: _ClassVar[int]
    HELP_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    help: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    writes: bool
    arguments: str
    def __init__(self, name: _Optional[str] = ..., help: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., writes: _Optional[bool] = ..., arguments: _Optional[str] = ...) -> None: ...

class VerbsReply(_message.Message):
    __slots__ = ("verbs",)
    VERBS_FIELD_NUMBER: _ClassVar[int]
    verbs: _containers.RepeatedCompositeFieldContainer[VerbDescription]
    def __init__(self, verbs: _Optional[_Iterable[_Union[VerbDescription, _Mapping]]] = ...) -> None: ...

import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_FIRST: _ClassVar[Outcome]
    OUTCOME_SECOND: _ClassVar[Outcome]
    OUTCOME_TIE: _ClassVar[Outcome]
    OUTCOME_NEITHER: _ClassVar[Outcome]
    OUTCOME_SKIP: _ClassVar[Outcome]

class QueryStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUERY_STRATEGY_UNSPECIFIED: _ClassVar[QueryStrategy]
    QUERY_STRATEGY_INFORMATION_GAIN: _ClassVar[QueryStrategy]
    QUERY_STRATEGY_D_OPTIMAL: _ClassVar[QueryStrategy]
    QUERY_STRATEGY_UNCERTAINTY: _ClassVar[QueryStrategy]
    QUERY_STRATEGY_RANDOM: _ClassVar[QueryStrategy]
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_FIRST: Outcome
OUTCOME_SECOND: Outcome
OUTCOME_TIE: Outcome
OUTCOME_NEITHER: Outcome
OUTCOME_SKIP: Outcome
QUERY_STRATEGY_UNSPECIFIED: QueryStrategy
QUERY_STRATEGY_INFORMATION_GAIN: QueryStrategy
QUERY_STRATEGY_D_OPTIMAL: QueryStrategy
QUERY_STRATEGY_UNCERTAINTY: QueryStrategy
QUERY_STRATEGY_RANDOM: QueryStrategy

class Comparison(_message.Message):
    __slots__ = ("prompt", "response_a", "response_b")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_A_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_B_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    response_a: str
    response_b: str
    def __init__(self, prompt: _Optional[str] = ..., response_a: _Optional[str] = ..., response_b: _Optional[str] = ...) -> None: ...

class Candidates(_message.Message):
    __slots__ = ("prompt", "responses")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    responses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, prompt: _Optional[str] = ..., responses: _Optional[_Iterable[str]] = ...) -> None: ...

class UserProfile(_message.Message):
    __slots__ = ("user_id", "coefficients", "standard_errors", "answers", "revision", "model_version", "remaining_uncertainty", "converged")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    COEFFICIENTS_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REMAINING_UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    CONVERGED_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    coefficients: _containers.RepeatedScalarFieldContainer[float]
    standard_errors: _containers.RepeatedScalarFieldContainer[float]
    answers: int
    revision: int
    model_version: str
    remaining_uncertainty: float
    converged: bool
    def __init__(self, user_id: _Optional[str] = ..., coefficients: _Optional[_Iterable[float]] = ..., standard_errors: _Optional[_Iterable[float]] = ..., answers: _Optional[int] = ..., revision: _Optional[int] = ..., model_version: _Optional[str] = ..., remaining_uncertainty: _Optional[float] = ..., converged: bool = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("query_id", "prompt", "response_a", "response_b", "information_gain", "predicted_preference", "model_version", "expire_time")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_A_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_B_FIELD_NUMBER: _ClassVar[int]
    INFORMATION_GAIN_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    prompt: str
    response_a: str
    response_b: str
    information_gain: float
    predicted_preference: float
    model_version: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, query_id: _Optional[str] = ..., prompt: _Optional[str] = ..., response_a: _Optional[str] = ..., response_b: _Optional[str] = ..., information_gain: _Optional[float] = ..., predicted_preference: _Optional[float] = ..., model_version: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Preference(_message.Message):
    __slots__ = ("preference_id", "revision", "query_id", "comparison", "outcome", "weight", "create_time", "delete_time")
    PREFERENCE_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    preference_id: str
    revision: int
    query_id: str
    comparison: Comparison
    outcome: Outcome
    weight: float
    create_time: _timestamp_pb2.Timestamp
    delete_time: _timestamp_pb2.Timestamp
    def __init__(self, preference_id: _Optional[str] = ..., revision: _Optional[int] = ..., query_id: _Optional[str] = ..., comparison: _Optional[_Union[Comparison, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., weight: _Optional[float] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

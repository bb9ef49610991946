import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pref.v1 import common_pb2 as _common_pb2
from pref.v1 import training_pb2 as _training_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GenerationStrategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GENERATION_STRATEGY_UNSPECIFIED: _ClassVar[GenerationStrategy]
    GENERATION_STRATEGY_BEST_OF_N: _ClassVar[GenerationStrategy]
    GENERATION_STRATEGY_VALUE_GUIDED: _ClassVar[GenerationStrategy]
    GENERATION_STRATEGY_STYLE_GUIDED: _ClassVar[GenerationStrategy]
    GENERATION_STRATEGY_UNGUIDED: _ClassVar[GenerationStrategy]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_CONTENT_FILTER: _ClassVar[FinishReason]
GENERATION_STRATEGY_UNSPECIFIED: GenerationStrategy
GENERATION_STRATEGY_BEST_OF_N: GenerationStrategy
GENERATION_STRATEGY_VALUE_GUIDED: GenerationStrategy
GENERATION_STRATEGY_STYLE_GUIDED: GenerationStrategy
GENERATION_STRATEGY_UNGUIDED: GenerationStrategy
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_CONTENT_FILTER: FinishReason

class NextQueryRequest(_message.Message):
    __slots__ = ("user_id", "pool", "candidates", "generate", "strategy", "count", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    GENERATE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    pool: str
    candidates: _common_pb2.Candidates
    generate: GenerateSource
    strategy: _common_pb2.QueryStrategy
    count: int
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., pool: _Optional[str] = ..., candidates: _Optional[_Union[_common_pb2.Candidates, _Mapping]] = ..., generate: _Optional[_Union[GenerateSource, _Mapping]] = ..., strategy: _Optional[_Union[_common_pb2.QueryStrategy, str]] = ..., count: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class GenerateSource(_message.Message):
    __slots__ = ("prompt", "generator", "candidates", "sampling", "guidance_scale")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    generator: str
    candidates: int
    sampling: Sampling
    guidance_scale: float
    def __init__(self, prompt: _Optional[str] = ..., generator: _Optional[str] = ..., candidates: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., guidance_scale: _Optional[float] = ...) -> None: ...

class NextQueryResponse(_message.Message):
    __slots__ = ("queries", "profile")
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    queries: _containers.RepeatedCompositeFieldContainer[_common_pb2.Query]
    profile: _common_pb2.UserProfile
    def __init__(self, queries: _Optional[_Iterable[_Union[_common_pb2.Query, _Mapping]]] = ..., profile: _Optional[_Union[_common_pb2.UserProfile, _Mapping]] = ...) -> None: ...

class SubmitPreferenceRequest(_message.Message):
    __slots__ = ("user_id", "query_id", "comparison", "outcome", "weight", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    query_id: str
    comparison: _common_pb2.Comparison
    outcome: _common_pb2.Outcome
    weight: float
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., query_id: _Optional[str] = ..., comparison: _Optional[_Union[_common_pb2.Comparison, _Mapping]] = ..., outcome: _Optional[_Union[_common_pb2.Outcome, str]] = ..., weight: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class SubmitPreferenceResponse(_message.Message):
    __slots__ = ("preference_id", "profile")
    PREFERENCE_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    preference_id: str
    profile: _common_pb2.UserProfile
    def __init__(self, preference_id: _Optional[str] = ..., profile: _Optional[_Union[_common_pb2.UserProfile, _Mapping]] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("user_id", "prompt", "messages", "strategy", "candidates", "guidance_scale", "risk_aversion", "sampling", "min_revision", "include_candidates", "generator", "reject_early")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    RISK_AVERSION_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    REJECT_EARLY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    prompt: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    strategy: GenerationStrategy
    candidates: int
    guidance_scale: float
    risk_aversion: float
    sampling: Sampling
    min_revision: int
    include_candidates: bool
    generator: str
    reject_early: bool
    def __init__(self, user_id: _Optional[str] = ..., prompt: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., strategy: _Optional[_Union[GenerationStrategy, str]] = ..., candidates: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., risk_aversion: _Optional[float] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., min_revision: _Optional[int] = ..., include_candidates: bool = ..., generator: _Optional[str] = ..., reject_early: bool = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("role", "content")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_tokens: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., min_p: _Optional[float] = ..., max_tokens: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("started", "delta", "finished")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    started: GenerateStarted
    delta: GenerateDelta
    finished: GenerateFinished
    def __init__(self, started: _Optional[_Union[GenerateStarted, _Mapping]] = ..., delta: _Optional[_Union[GenerateDelta, _Mapping]] = ..., finished: _Optional[_Union[GenerateFinished, _Mapping]] = ...) -> None: ...

class GenerateStarted(_message.Message):
    __slots__ = ("seed", "revision", "model_version")
    SEED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    seed: int
    revision: int
    model_version: str
    def __init__(self, seed: _Optional[int] = ..., revision: _Optional[int] = ..., model_version: _Optional[str] = ...) -> None: ...

class GenerateDelta(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class GenerateFinished(_message.Message):
    __slots__ = ("text", "finish_reason", "reward", "baseline_reward", "candidates", "prompt_tokens", "completion_tokens", "generation_duration", "scoring_duration")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    BASELINE_REWARD_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_DURATION_FIELD_NUMBER: _ClassVar[int]
    SCORING_DURATION_FIELD_NUMBER: _ClassVar[int]
    text: str
    finish_reason: FinishReason
    reward: float
    baseline_reward: float
    candidates: _containers.RepeatedCompositeFieldContainer[ScoredResponse]
    prompt_tokens: int
    completion_tokens: int
    generation_duration: _duration_pb2.Duration
    scoring_duration: _duration_pb2.Duration
    def __init__(self, text: _Optional[str] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., reward: _Optional[float] = ..., baseline_reward: _Optional[float] = ..., candidates: _Optional[_Iterable[_Union[ScoredResponse, _Mapping]]] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., generation_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., scoring_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("user_id", "prompt", "responses", "risk_aversion", "min_revision")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    RISK_AVERSION_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    prompt: str
    responses: _containers.RepeatedScalarFieldContainer[str]
    risk_aversion: float
    min_revision: int
    def __init__(self, user_id: _Optional[str] = ..., prompt: _Optional[str] = ..., responses: _Optional[_Iterable[str]] = ..., risk_aversion: _Optional[float] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ScoredResponse(_message.Message):
    __slots__ = ("index", "text", "reward", "standard_error")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    index: int
    text: str
    reward: float
    standard_error: float
    def __init__(self, index: _Optional[int] = ..., text: _Optional[str] = ..., reward: _Optional[float] = ..., standard_error: _Optional[float] = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("responses", "revision", "model_version")
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    responses: _containers.RepeatedCompositeFieldContainer[ScoredResponse]
    revision: int
    model_version: str
    def __init__(self, responses: _Optional[_Iterable[_Union[ScoredResponse, _Mapping]]] = ..., revision: _Optional[int] = ..., model_version: _Optional[str] = ...) -> None: ...

class GetUserRequest(_message.Message):
    __slots__ = ("user_id", "min_revision")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    min_revision: int
    def __init__(self, user_id: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class GetUserResponse(_message.Message):
    __slots__ = ("profile",)
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    profile: _common_pb2.UserProfile
    def __init__(self, profile: _Optional[_Union[_common_pb2.UserProfile, _Mapping]] = ...) -> None: ...

class ListUsersRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class UserSummary(_message.Message):
    __slots__ = ("user_id", "answers", "revision", "create_time")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    answers: int
    revision: int
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, user_id: _Optional[str] = ..., answers: _Optional[int] = ..., revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListUsersResponse(_message.Message):
    __slots__ = ("users", "next_page_token")
    USERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    users: _containers.RepeatedCompositeFieldContainer[UserSummary]
    next_page_token: str
    def __init__(self, users: _Optional[_Iterable[_Union[UserSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteUserRequest(_message.Message):
    __slots__ = ("user_id", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteUserResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExportUserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ExportUserResponse(_message.Message):
    __slots__ = ("profile", "preference", "query", "imported", "choice")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    profile: _common_pb2.UserProfile
    preference: _common_pb2.Preference
    query: _common_pb2.Query
    imported: ImportedPreference
    choice: GivenChoice
    def __init__(self, profile: _Optional[_Union[_common_pb2.UserProfile, _Mapping]] = ..., preference: _Optional[_Union[_common_pb2.Preference, _Mapping]] = ..., query: _Optional[_Union[_common_pb2.Query, _Mapping]] = ..., imported: _Optional[_Union[ImportedPreference, _Mapping]] = ..., choice: _Optional[_Union[GivenChoice, _Mapping]] = ...) -> None: ...

class GivenChoice(_message.Message):
    __slots__ = ("completion_id", "index", "prompt", "text", "model_version", "create_time", "expire_time")
    COMPLETION_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    completion_id: str
    index: int
    prompt: str
    text: str
    model_version: str
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, completion_id: _Optional[str] = ..., index: _Optional[int] = ..., prompt: _Optional[str] = ..., text: _Optional[str] = ..., model_version: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ImportedPreference(_message.Message):
    __slots__ = ("dataset_id", "row")
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    dataset_id: str
    row: _training_pb2.PreferenceRow
    def __init__(self, dataset_id: _Optional[str] = ..., row: _Optional[_Union[_training_pb2.PreferenceRow, _Mapping]] = ...) -> None: ...

class ListPreferencesRequest(_message.Message):
    __slots__ = ("user_id", "page_size", "page_token")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    page_size: int
    page_token: str
    def __init__(self, user_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListPreferencesResponse(_message.Message):
    __slots__ = ("preferences", "next_page_token")
    PREFERENCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    preferences: _containers.RepeatedCompositeFieldContainer[_common_pb2.Preference]
    next_page_token: str
    def __init__(self, preferences: _Optional[_Iterable[_Union[_common_pb2.Preference, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeletePreferenceRequest(_message.Message):
    __slots__ = ("user_id", "preference_id", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PREFERENCE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    preference_id: str
    request_id: str
    def __init__(self, user_id: _Optional[str] = ..., preference_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeletePreferenceResponse(_message.Message):
    __slots__ = ("profile",)
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    profile: _common_pb2.UserProfile
    def __init__(self, profile: _Optional[_Union[_common_pb2.UserProfile, _Mapping]] = ...) -> None: ...

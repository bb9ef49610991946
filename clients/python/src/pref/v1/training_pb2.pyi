import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tune(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TUNE_UNSPECIFIED: _ClassVar[Tune]
    TUNE_HEAD: _ClassVar[Tune]
    TUNE_LORA: _ClassVar[Tune]
    TUNE_FULL: _ClassVar[Tune]

class TrainingJobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRAINING_JOB_STATE_UNSPECIFIED: _ClassVar[TrainingJobState]
    TRAINING_JOB_STATE_QUEUED: _ClassVar[TrainingJobState]
    TRAINING_JOB_STATE_RUNNING: _ClassVar[TrainingJobState]
    TRAINING_JOB_STATE_SUCCEEDED: _ClassVar[TrainingJobState]
    TRAINING_JOB_STATE_FAILED: _ClassVar[TrainingJobState]
    TRAINING_JOB_STATE_CANCELLED: _ClassVar[TrainingJobState]

class ModelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_STATE_UNSPECIFIED: _ClassVar[ModelState]
    MODEL_STATE_READY: _ClassVar[ModelState]
    MODEL_STATE_ACTIVATING: _ClassVar[ModelState]
    MODEL_STATE_ACTIVE: _ClassVar[ModelState]
    MODEL_STATE_RETIRED: _ClassVar[ModelState]
TUNE_UNSPECIFIED: Tune
TUNE_HEAD: Tune
TUNE_LORA: Tune
TUNE_FULL: Tune
TRAINING_JOB_STATE_UNSPECIFIED: TrainingJobState
TRAINING_JOB_STATE_QUEUED: TrainingJobState
TRAINING_JOB_STATE_RUNNING: TrainingJobState
TRAINING_JOB_STATE_SUCCEEDED: TrainingJobState
TRAINING_JOB_STATE_FAILED: TrainingJobState
TRAINING_JOB_STATE_CANCELLED: TrainingJobState
MODEL_STATE_UNSPECIFIED: ModelState
MODEL_STATE_READY: ModelState
MODEL_STATE_ACTIVATING: ModelState
MODEL_STATE_ACTIVE: ModelState
MODEL_STATE_RETIRED: ModelState

class ImportPreferencesRequest(_message.Message):
    __slots__ = ("header", "row")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    header: ImportPreferencesHeader
    row: PreferenceRow
    def __init__(self, header: _Optional[_Union[ImportPreferencesHeader, _Mapping]] = ..., row: _Optional[_Union[PreferenceRow, _Mapping]] = ...) -> None: ...

class ImportPreferencesHeader(_message.Message):
    __slots__ = ("dataset_id", "request_id")
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    dataset_id: str
    request_id: str
    def __init__(self, dataset_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PreferenceRow(_message.Message):
    __slots__ = ("user_id", "prompt", "response_a", "response_b", "preference", "group")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_A_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_B_FIELD_NUMBER: _ClassVar[int]
    PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    prompt: str
    response_a: str
    response_b: str
    preference: float
    group: str
    def __init__(self, user_id: _Optional[str] = ..., prompt: _Optional[str] = ..., response_a: _Optional[str] = ..., response_b: _Optional[str] = ..., preference: _Optional[float] = ..., group: _Optional[str] = ...) -> None: ...

class ImportPreferencesResponse(_message.Message):
    __slots__ = ("imported", "duplicates", "skipped")
    IMPORTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    imported: int
    duplicates: int
    skipped: int
    def __init__(self, imported: _Optional[int] = ..., duplicates: _Optional[int] = ..., skipped: _Optional[int] = ...) -> None: ...

class TrainRequest(_message.Message):
    __slots__ = ("datasets", "include_service_log", "as_of_log_position", "backbone", "base_functions", "tune", "seed", "request_id", "value_head", "half_life_days", "lapse_rate")
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SERVICE_LOG_FIELD_NUMBER: _ClassVar[int]
    AS_OF_LOG_POSITION_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    BASE_FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    TUNE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_HEAD_FIELD_NUMBER: _ClassVar[int]
    HALF_LIFE_DAYS_FIELD_NUMBER: _ClassVar[int]
    LAPSE_RATE_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedScalarFieldContainer[str]
    include_service_log: bool
    as_of_log_position: int
    backbone: str
    base_functions: int
    tune: Tune
    seed: int
    request_id: str
    value_head: TrainValueHead
    half_life_days: float
    lapse_rate: float
    def __init__(self, datasets: _Optional[_Iterable[str]] = ..., include_service_log: bool = ..., as_of_log_position: _Optional[int] = ..., backbone: _Optional[str] = ..., base_functions: _Optional[int] = ..., tune: _Optional[_Union[Tune, str]] = ..., seed: _Optional[int] = ..., request_id: _Optional[str] = ..., value_head: _Optional[_Union[TrainValueHead, _Mapping]] = ..., half_life_days: _Optional[float] = ..., lapse_rate: _Optional[float] = ...) -> None: ...

class TrainValueHead(_message.Message):
    __slots__ = ("generator", "prompts", "rollouts", "max_tokens")
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    ROLLOUTS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    generator: str
    prompts: int
    rollouts: int
    max_tokens: int
    def __init__(self, generator: _Optional[str] = ..., prompts: _Optional[int] = ..., rollouts: _Optional[int] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class TrainResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: TrainingJob
    def __init__(self, job: _Optional[_Union[TrainingJob, _Mapping]] = ...) -> None: ...

class TrainingJob(_message.Message):
    __slots__ = ("job_id", "state", "progress", "stage", "error", "model_version", "create_time", "start_time", "finish_time")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    FINISH_TIME_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    state: TrainingJobState
    progress: float
    stage: str
    error: str
    model_version: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    finish_time: _timestamp_pb2.Timestamp
    def __init__(self, job_id: _Optional[str] = ..., state: _Optional[_Union[TrainingJobState, str]] = ..., progress: _Optional[float] = ..., stage: _Optional[str] = ..., error: _Optional[str] = ..., model_version: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finish_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetTrainingJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class GetTrainingJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: TrainingJob
    def __init__(self, job: _Optional[_Union[TrainingJob, _Mapping]] = ...) -> None: ...

class ListTrainingJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTrainingJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[TrainingJob]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[TrainingJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelTrainingJobRequest(_message.Message):
    __slots__ = ("job_id", "request_id")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    request_id: str
    def __init__(self, job_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CancelTrainingJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: TrainingJob
    def __init__(self, job: _Optional[_Union[TrainingJob, _Mapping]] = ...) -> None: ...

class WatchTrainingJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class WatchTrainingJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: TrainingJob
    def __init__(self, job: _Optional[_Union[TrainingJob, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("version", "state", "shared", "base_functions", "backbone", "create_time", "metrics", "users", "comparisons", "erased_users", "data_digest", "log_position", "tie_weight", "half_life_days", "lapse_rate")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    BASE_FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    COMPARISONS_FIELD_NUMBER: _ClassVar[int]
    ERASED_USERS_FIELD_NUMBER: _ClassVar[int]
    DATA_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LOG_POSITION_FIELD_NUMBER: _ClassVar[int]
    TIE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    HALF_LIFE_DAYS_FIELD_NUMBER: _ClassVar[int]
    LAPSE_RATE_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: ModelState
    shared: bool
    base_functions: int
    backbone: str
    create_time: _timestamp_pb2.Timestamp
    metrics: _containers.ScalarMap[str, float]
    users: int
    comparisons: int
    erased_users: int
    data_digest: str
    log_position: int
    tie_weight: float
    half_life_days: float
    lapse_rate: float
    def __init__(self, version: _Optional[str] = ..., state: _Optional[_Union[ModelState, str]] = ..., shared: bool = ..., base_functions: _Optional[int] = ..., backbone: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., users: _Optional[int] = ..., comparisons: _Optional[int] = ..., erased_users: _Optional[int] = ..., data_digest: _Optional[str] = ..., log_position: _Optional[int] = ..., tie_weight: _Optional[float] = ..., half_life_days: _Optional[float] = ..., lapse_rate: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    def __init__(self, version: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ActivateModelRequest(_message.Message):
    __slots__ = ("version", "request_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    version: str
    request_id: str
    def __init__(self, version: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ActivateModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class DescribeModelRequest(_message.Message):
    __slots__ = ("version", "examples")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    version: str
    examples: int
    def __init__(self, version: _Optional[str] = ..., examples: _Optional[int] = ...) -> None: ...

class DescribeModelResponse(_message.Message):
    __slots__ = ("model", "base_functions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BASE_FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    model: Model
    base_functions: _containers.RepeatedCompositeFieldContainer[BaseFunction]
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., base_functions: _Optional[_Iterable[_Union[BaseFunction, _Mapping]]] = ...) -> None: ...

class BaseFunction(_message.Message):
    __slots__ = ("index", "difference_share", "common_share", "label", "top", "bottom", "prior_mean", "prior_standard_deviation")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_SHARE_FIELD_NUMBER: _ClassVar[int]
    COMMON_SHARE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    PRIOR_MEAN_FIELD_NUMBER: _ClassVar[int]
    PRIOR_STANDARD_DEVIATION_FIELD_NUMBER: _ClassVar[int]
    index: int
    difference_share: float
    common_share: float
    label: str
    top: _containers.RepeatedCompositeFieldContainer[BaseFunctionExample]
    bottom: _containers.RepeatedCompositeFieldContainer[BaseFunctionExample]
    prior_mean: float
    prior_standard_deviation: float
    def __init__(self, index: _Optional[int] = ..., difference_share: _Optional[float] = ..., common_share: _Optional[float] = ..., label: _Optional[str] = ..., top: _Optional[_Iterable[_Union[BaseFunctionExample, _Mapping]]] = ..., bottom: _Optional[_Iterable[_Union[BaseFunctionExample, _Mapping]]] = ..., prior_mean: _Optional[float] = ..., prior_standard_deviation: _Optional[float] = ...) -> None: ...

class BaseFunctionExample(_message.Message):
    __slots__ = ("prompt", "response", "value")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    response: str
    value: float
    def __init__(self, prompt: _Optional[str] = ..., response: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

"""Client of pref: learns which answers a person likes from about ten questions, and answers in that way.

>>> with pref.Client("127.0.0.1:50051") as client:
...     for _ in range(10):
...         [query] = client.next_query("alice", pool="everyday").queries
...         client.submit_preference("alice", query.query_id, ask(query))
...     print(client.complete("alice", prompt).text)

Requests and replies are the messages of ``pref.v1``, which are documented in the service's .proto files.
"""

from .client import Client
from .errors import PrefError
from .retries import Retries
from .v1.common_pb2 import (
    OUTCOME_FIRST,
    OUTCOME_NEITHER,
    OUTCOME_SECOND,
    OUTCOME_SKIP,
    OUTCOME_TIE,
    QUERY_STRATEGY_D_OPTIMAL,
    QUERY_STRATEGY_INFORMATION_GAIN,
    QUERY_STRATEGY_RANDOM,
    QUERY_STRATEGY_UNCERTAINTY,
    Candidates,
    Comparison,
)
from .v1.personalization_pb2 import (
    GENERATION_STRATEGY_BEST_OF_N,
    GENERATION_STRATEGY_STYLE_GUIDED,
    GENERATION_STRATEGY_UNGUIDED,
    GENERATION_STRATEGY_VALUE_GUIDED,
    GenerateSource,
    Message,
    Sampling,
)
from .v1.training_pb2 import PreferenceRow, TrainValueHead

__all__ = [
    "GENERATION_STRATEGY_BEST_OF_N",
    "GENERATION_STRATEGY_STYLE_GUIDED",
    "GENERATION_STRATEGY_UNGUIDED",
    "GENERATION_STRATEGY_VALUE_GUIDED",
    "OUTCOME_FIRST",
    "OUTCOME_NEITHER",
    "OUTCOME_SECOND",
    "OUTCOME_SKIP",
    "OUTCOME_TIE",
    "QUERY_STRATEGY_D_OPTIMAL",
    "QUERY_STRATEGY_INFORMATION_GAIN",
    "QUERY_STRATEGY_RANDOM",
    "QUERY_STRATEGY_UNCERTAINTY",
    "Candidates",
    "Client",
    "Comparison",
    "GenerateSource",
    "Message",
    "PrefError",
    "PreferenceRow",
    "Retries",
    "Sampling",
    "TrainValueHead",
]

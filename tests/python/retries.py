"""The client against a server that fails in chosen ways: what is called again, how often, with which request id."""

from collections.abc import Iterator
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import pref
from pref.v1 import candidates_pb2, personalization_pb2
from pref.v1.candidates_pb2_grpc import CandidateServiceServicer, add_CandidateServiceServicer_to_server
from pref.v1.personalization_pb2_grpc import (
    PersonalizationServiceServicer,
    add_PersonalizationServiceServicer_to_server,
)


# What calls were authorized with, in their order.
AUTHORIZATIONS: list[str | None] = []


class Failing(PersonalizationServiceServicer, CandidateServiceServicer):
    """Fails as the list of failures says, one a call, then succeeds; keeps what it was sent."""

    def __init__(self, failures: list[grpc.StatusCode | status_pb2.Status]) -> None:
        self.failures = failures
        self.received: list[object] = []

    def fail_first(self, context: grpc.ServicerContext) -> None:
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, status_pb2.Status):
                context.abort_with_status(rpc_status.to_status(failure))
            context.abort(failure, "as told")

    def SubmitPreference(self, request, context):
        self.received.append(request)
        AUTHORIZATIONS.append(dict(context.invocation_metadata()).get("authorization"))
        self.fail_first(context)
        return personalization_pb2.SubmitPreferenceResponse(preference_id="kept")

    def ImportCandidates(self, requests, context):
        self.received.append([(row.prompt, row.request_id) for row in requests])
        self.fail_first(context)
        return candidates_pb2.ImportCandidatesResponse(rows=2)

    def Generate(self, request, context) -> Iterator[personalization_pb2.GenerateResponse]:
        self.received.append(request)
        if len(self.received) > 1:
            yield personalization_pb2.GenerateResponse(delta=personalization_pb2.GenerateDelta(text="half"))
        self.fail_first(context)


def against(failures, call, **options):
    """What a call against the failing server came to, and what the server was sent."""
    service = Failing(list(failures))
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    add_PersonalizationServiceServicer_to_server(service, server)
    add_CandidateServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    retries = pref.Retries(attempts=3, first_wait=0.01, longest_wait=0.05)
    try:
        with pref.Client(f"127.0.0.1:{port}", retries=retries, **options) as client:
            return call(client), service.received
    except pref.PrefError as error:
        return error, service.received
    finally:
        server.stop(None)


def submit(client):
    return client.submit_preference("alice", "question", pref.OUTCOME_FIRST)


def with_details(code: int, *details) -> status_pb2.Status:
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code, message="as told", details=packed)


# A reply that is lost is asked for again, with the same request id.
lost = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED]
reply, received = against(lost, submit)
assert reply.preference_id == "kept", reply
assert len(received) == 3 and received[0].request_id, received
assert received[0] == received[1] == received[2], received

# A key goes with each try; without one, nothing does.
key, _ = against(lost, lambda client: (submit(client), AUTHORIZATIONS[-1])[1], api_key="pref_1")
assert key == "Bearer pref_1", key
key, _ = against([], lambda client: (submit(client), AUTHORIZATIONS[-1])[1])
assert key is None, key

# Two calls of the caller are two changes.
_, received = against([], lambda client: (submit(client), submit(client)))
assert received[0].request_id != received[1].request_id, received

# The tries are counted.
error, received = against([grpc.StatusCode.UNAVAILABLE] * 9, submit)
assert error.code is grpc.StatusCode.UNAVAILABLE and len(received) == 3, (error, received)

# What a retry cannot mend is not tried again, and is told in full.
info = error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="pref.dev", metadata={"given": "11"})
violation = error_details_pb2.BadRequest.FieldViolation(field="weight", description="at most 10")
bad = error_details_pb2.BadRequest(field_violations=[violation])
error, received = against([with_details(code_pb2.INVALID_ARGUMENT, info, bad)], submit)
assert len(received) == 1, received
assert (error.reason, error.metadata) == ("INVALID_FIELD", {"given": "11"}), error
assert error.violations == {"weight": "at most 10"}, error.violations

# A full queue that says when to come back is believed, unless it asks for more than we wait.
soon, late = error_details_pb2.RetryInfo(), error_details_pb2.RetryInfo()
soon.retry_delay.nanos = 20_000_000
late.retry_delay.seconds = 3600
reply, received = against([with_details(code_pb2.RESOURCE_EXHAUSTED, soon)], submit)
assert reply.preference_id == "kept" and len(received) == 2, reply
error, received = against([with_details(code_pb2.RESOURCE_EXHAUSTED, late)], submit)
assert error.retry_after == 3600 and len(received) == 1, (error, received)

# Rows that were sent are sent again.
candidates = [pref.Candidates(prompt=prompt, responses=["a", "b"]) for prompt in ("one", "two")]
reply, received = against([grpc.StatusCode.UNAVAILABLE], lambda client: client.import_candidates("p", iter(candidates)))
assert reply.rows == 2 and len(received) == 2 and received[0] == received[1], received
assert [prompt for prompt, _ in received[0]] == ["one", "two"], received
assert received[0][0][1] and not received[0][1][1], received

# A stream is begun again while nothing of it has arrived, and not after.
error, received = against([grpc.StatusCode.UNAVAILABLE] * 9, lambda client: client.complete("alice", "Hello?"))
assert error.code is grpc.StatusCode.UNAVAILABLE and len(received) == 2, (error, received)

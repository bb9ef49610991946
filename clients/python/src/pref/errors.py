"""What a call can fail with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class PrefError(Exception):
    """A call that failed for good: its retries are used up, or a retry would not help.

    ``code`` is the gRPC status; ``reason`` says in one word what happened (``QUERY_ALREADY_ANSWERED``), with
    ``metadata`` beside it; ``violations`` maps each refused field to what is wrong with it; ``retry_after`` is
    the wait in seconds that the server asks for, where a later retry may help.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code.name}{f' ({reason})' if reason else ''}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = dict(violations or {})
        self.retry_after = retry_after

    @classmethod
    def from_rpc_error(cls, error: grpc.RpcError) -> PrefError:
        """Reads google.rpc.ErrorInfo, BadRequest and RetryInfo out of what grpc raises."""
        if not isinstance(error, grpc.Call):
            return cls(grpc.StatusCode.UNKNOWN, str(error))
        reason, metadata, violations, retry_after = "", {}, {}, None
        for detail in _details(error):
            info = error_details_pb2.ErrorInfo()
            bad_request = error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad_request):
                violations = {v.field: v.description for v in bad_request.field_violations}
            elif detail.Unpack(retry):
                retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        return cls(error.code(), error.details() or "", reason, metadata, violations, retry_after)


def _details(error: grpc.Call) -> Iterable[Any]:
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # The trailer contradicts the status line; the status line is what counts.
        return ()
    return () if status is None else status.details

"""When a call is made again, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import grpc

from .errors import PrefError

Reply = TypeVar("Reply")

#: The call may not have reached the server, or its reply was lost, or it lost a race. Every mutation carries a
#: request id, so that making it again is harmless.
RETRIED = frozenset({
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
})


@dataclass(frozen=True)
class Retries:
    """At most ``attempts`` tries, with a wait that doubles from ``first_wait`` to ``longest_wait`` seconds.

    Each wait is drawn between half and the whole of that, so that many clients do not return at once. A wait
    that the server asks for counts instead where it is longer.
    """

    attempts: int = 5
    first_wait: float = 0.1
    longest_wait: float = 5.0

    def call(self, attempt: Callable[[], Reply]) -> Reply:
        """Makes a call until it succeeds; raises PrefError once another try is not allowed or would not help."""
        for wait in self._waits():
            try:
                return attempt()
            except grpc.RpcError as error:
                self._wait_or_raise(error, wait)
        raise AssertionError("the last wait is None, which raises")

    def stream(self, attempt: Callable[[], Iterator[Reply]]) -> Iterator[Reply]:
        """Like ``call`` for a stream, which is started again only while nothing of it has arrived."""
        for wait in self._waits():
            started = False
            try:
                for reply in attempt():
                    started = True
                    yield reply
                return
            except grpc.RpcError as error:
                self._wait_or_raise(error, None if started else wait)

    def _waits(self) -> Iterator[float | None]:
        """The wait after each try, None after the last."""
        for retry in range(self.attempts - 1):
            yield min(self.first_wait * 2.0**retry, self.longest_wait) * random.uniform(0.5, 1.0)
        yield None

    def _wait_or_raise(self, error: grpc.RpcError, wait: float | None) -> None:
        failure = PrefError.from_rpc_error(error)
        asked = failure.retry_after
        if wait is None or (failure.code not in RETRIED and asked is None):
            raise failure from error
        if asked is not None and asked > self.longest_wait:
            raise failure from error
        time.sleep(max(wait, asked or 0.0))

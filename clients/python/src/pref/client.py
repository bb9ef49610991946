"""The client: one method an RPC."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc

from .retries import Retries
from .v1 import candidates_pb2 as candidate_messages
from .v1 import common_pb2 as common
from .v1 import personalization_pb2 as personal
from .v1 import training_pb2 as training
from .v1.candidates_pb2_grpc import CandidateServiceStub
from .v1.personalization_pb2_grpc import PersonalizationServiceStub
from .v1.training_pb2_grpc import TrainingServiceStub

Reply = TypeVar("Reply")


class Client:
    """Calls a pref server; safe to share between threads. Use it as a context manager, or call ``close``.

    ``timeout`` is the deadline of each try in seconds; ``retries`` says how often a failed call is made again.
    A mutation sends the same request id on every try, so that it takes effect once; pass ``request_id`` to
    keep that true across restarts of the caller too. A stream has no deadline. Failures raise ``PrefError``.

    ``api_key`` is a key of ``pref keys create``, or a token, where the server asks who calls. The connection is plain text,
    for a server on this machine; pass ``channel`` for any other, since a key is for nobody else to read.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        timeout: float = 10.0,
        retries: Retries = Retries(),
        api_key: str | None = None,
        channel: grpc.Channel | None = None,
    ) -> None:
        self._channel = channel if channel is not None else grpc.insecure_channel(target)
        self._timeout = timeout
        self._retries = retries
        self._metadata: tuple[tuple[str, str], ...] = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
        self._personal: Any = PersonalizationServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._candidates: Any = CandidateServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._training: Any = TrainingServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; calls under way end as cancelled."""
        self._channel.close()

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Waits until the server can be reached; raises grpc.FutureTimeoutError when it cannot in time."""
        grpc.channel_ready_future(self._channel).result(timeout=timeout)

    # Learning a person

    def next_query(
        self,
        user_id: str,
        *,
        pool: str | None = None,
        candidates: common.Candidates | None = None,
        generate: personal.GenerateSource | None = None,
        strategy: common.QueryStrategy = common.QUERY_STRATEGY_UNSPECIFIED,
        count: int = 1,
        request_id: str | None = None,
    ) -> personal.NextQueryResponse:
        """Chooses the next questions, from a pool, from one prompt's candidates, or from responses that are generated."""
        request = personal.NextQueryRequest(
            user_id=user_id,
            pool=pool,
            candidates=candidates,
            generate=generate,
            strategy=strategy,
            count=count,
            request_id=_request_id(request_id),
        )
        return self._call(self._personal.NextQuery, request)

    def submit_preference(
        self,
        user_id: str,
        target: str | common.Comparison,
        outcome: common.Outcome,
        *,
        weight: float | None = None,
        request_id: str | None = None,
    ) -> personal.SubmitPreferenceResponse:
        """Logs an answer to a question (its query_id), or to a comparison of the caller's own, and refits."""
        request = personal.SubmitPreferenceRequest(
            user_id=user_id,
            query_id=target if isinstance(target, str) else None,
            comparison=None if isinstance(target, str) else target,
            outcome=outcome,
            weight=weight,
            request_id=_request_id(request_id),
        )
        return self._call(self._personal.SubmitPreference, request)

    def list_preferences(self, user_id: str) -> Iterator[common.Preference]:
        """A person's answers, oldest first."""

        def page(token: str) -> personal.ListPreferencesResponse:
            request = personal.ListPreferencesRequest(user_id=user_id, page_token=token)
            return self._call(self._personal.ListPreferences, request)

        return _pages(page, lambda reply: reply.preferences)

    def delete_preference(
        self, user_id: str, preference_id: str, *, request_id: str | None = None
    ) -> personal.DeletePreferenceResponse:
        """Takes an answer back; the fit is redone without it."""
        request = personal.DeletePreferenceRequest(
            user_id=user_id, preference_id=preference_id, request_id=_request_id(request_id)
        )
        return self._call(self._personal.DeletePreference, request)

    def get_user(self, user_id: str, *, min_revision: int = 0) -> common.UserProfile:
        """What is known of a person."""
        request = personal.GetUserRequest(user_id=user_id, min_revision=min_revision)
        reply: personal.GetUserResponse = self._call(self._personal.GetUser, request)
        return reply.profile

    def list_users(self) -> Iterator[personal.UserSummary]:
        """Everyone who has been asked or has answered, by name."""

        def page(token: str) -> personal.ListUsersResponse:
            return self._call(self._personal.ListUsers, personal.ListUsersRequest(page_token=token))

        return _pages(page, lambda reply: reply.users)

    def delete_user(self, user_id: str, *, request_id: str | None = None) -> None:
        """Erases every trace of a person."""
        request = personal.DeleteUserRequest(user_id=user_id, request_id=_request_id(request_id))
        self._call(self._personal.DeleteUser, request)

    def export_user(self, user_id: str) -> Iterator[personal.ExportUserResponse]:
        """All that is held of a person: profile, log, questions, imported judgments."""
        request = personal.ExportUserRequest(user_id=user_id)
        return self._retries.stream(lambda: self._personal.ExportUser(request, metadata=self._metadata))

    # Answering a person

    def generate(
        self,
        user_id: str,
        prompt: str = "",
        *,
        messages: Sequence[personal.Message] = (),
        strategy: personal.GenerationStrategy = personal.GENERATION_STRATEGY_UNSPECIFIED,
        candidates: int = 0,
        guidance_scale: float | None = None,
        risk_aversion: float | None = None,
        sampling: personal.Sampling | None = None,
        min_revision: int = 0,
        include_candidates: bool = False,
        generator: str = "",
        reject_early: bool = False,
    ) -> Iterator[personal.GenerateResponse]:
        """Streams an answer to a prompt, or to a conversation: a ``started`` event, ``delta`` events with text, a ``finished`` event."""
        request = personal.GenerateRequest(
            user_id=user_id,
            prompt=prompt,
            messages=messages,
            strategy=strategy,
            candidates=candidates,
            guidance_scale=guidance_scale,
            risk_aversion=risk_aversion,
            sampling=sampling,
            min_revision=min_revision,
            include_candidates=include_candidates,
            generator=generator,
            reject_early=reject_early,
        )
        return self._retries.stream(lambda: self._personal.Generate(request, metadata=self._metadata))

    def complete(self, user_id: str, prompt: str = "", **options: Any) -> personal.GenerateFinished:
        """``generate`` to its end: the whole answer, what it is worth, and what an average one is."""
        finished = personal.GenerateFinished()
        for event in self.generate(user_id, prompt, **options):
            if event.HasField("finished"):
                finished = event.finished
        return finished

    def score(
        self,
        user_id: str,
        prompt: str,
        responses: Sequence[str],
        *,
        risk_aversion: float | None = None,
        min_revision: int = 0,
    ) -> personal.ScoreResponse:
        """Ranks responses to a prompt, best first."""
        request = personal.ScoreRequest(
            user_id=user_id,
            prompt=prompt,
            responses=responses,
            risk_aversion=risk_aversion,
            min_revision=min_revision,
        )
        return self._call(self._personal.Score, request)

    # Pools

    def import_candidates(
        self, pool: str, candidates: Iterable[common.Candidates], *, request_id: str | None = None
    ) -> candidate_messages.ImportCandidatesResponse:
        """Adds prompts with their responses to a pool. All are held in memory, to be sent again on a retry."""
        first_id = _request_id(request_id)
        rows = [
            candidate_messages.ImportCandidatesRequest(
                pool=pool, prompt=row.prompt, responses=row.responses, request_id=first_id if i == 0 else ""
            )
            for i, row in enumerate(candidates)
        ]
        return self._call_with_rows(self._candidates.ImportCandidates, rows)

    def list_pools(self) -> Iterator[candidate_messages.Pool]:
        """The pools, by name."""

        def page(token: str) -> candidate_messages.ListPoolsResponse:
            return self._call(self._candidates.ListPools, candidate_messages.ListPoolsRequest(page_token=token))

        return _pages(page, lambda reply: reply.pools)

    def delete_pool(self, pool: str, *, request_id: str | None = None) -> None:
        """Deletes a pool; questions already asked from it stay answerable."""
        request = candidate_messages.DeletePoolRequest(pool=pool, request_id=_request_id(request_id))
        self._call(self._candidates.DeletePool, request)

    # Training

    def import_preferences(
        self, dataset_id: str, rows: Iterable[training.PreferenceRow], *, request_id: str | None = None
    ) -> training.ImportPreferencesResponse:
        """Adds judgments to a dataset. All are held in memory, to be sent again on a retry."""
        header = training.ImportPreferencesHeader(dataset_id=dataset_id, request_id=_request_id(request_id))
        messages = [training.ImportPreferencesRequest(header=header)]
        messages += [training.ImportPreferencesRequest(row=row) for row in rows]
        return self._call_with_rows(self._training.ImportPreferences, messages)

    def train(
        self,
        datasets: Sequence[str] = (),
        *,
        include_service_log: bool = False,
        backbone: str = "",
        base_functions: int | None = None,
        half_life_days: float | None = None,
        lapse_rate: float = 0.0,
        value_head: training.TrainValueHead | None = None,
        seed: int = 0,
        request_id: str | None = None,
    ) -> training.TrainingJob:
        """Starts a training job."""
        request = training.TrainRequest(
            datasets=datasets,
            include_service_log=include_service_log,
            backbone=backbone,
            base_functions=base_functions,
            half_life_days=half_life_days,
            lapse_rate=lapse_rate,
            value_head=value_head,
            seed=seed,
            request_id=_request_id(request_id),
        )
        reply: training.TrainResponse = self._call(self._training.Train, request)
        return reply.job

    def watch_training_job(self, job_id: str) -> Iterator[training.TrainingJob]:
        """A job's states, as they change, until it has ended."""
        request = training.WatchTrainingJobRequest(job_id=job_id)
        for reply in self._retries.stream(lambda: self._training.WatchTrainingJob(request, metadata=self._metadata)):
            yield reply.job

    def get_training_job(self, job_id: str) -> training.TrainingJob:
        """How a job stands."""
        request = training.GetTrainingJobRequest(job_id=job_id)
        reply: training.GetTrainingJobResponse = self._call(self._training.GetTrainingJob, request)
        return reply.job

    def list_training_jobs(self) -> Iterator[training.TrainingJob]:
        """Training jobs, newest first."""

        def page(token: str) -> training.ListTrainingJobsResponse:
            return self._call(self._training.ListTrainingJobs, training.ListTrainingJobsRequest(page_token=token))

        return _pages(page, lambda reply: reply.jobs)

    def cancel_training_job(self, job_id: str, *, request_id: str | None = None) -> training.TrainingJob:
        """Asks a job to stop; one that has ended stays as it ended."""
        request = training.CancelTrainingJobRequest(job_id=job_id, request_id=_request_id(request_id))
        reply: training.CancelTrainingJobResponse = self._call(self._training.CancelTrainingJob, request)
        return reply.job

    # Models

    def list_models(self) -> Iterator[training.Model]:
        """Models, in the order of their names."""

        def page(token: str) -> training.ListModelsResponse:
            return self._call(self._training.ListModels, training.ListModelsRequest(page_token=token))

        return _pages(page, lambda reply: reply.models)

    def get_model(self, version: str = "") -> training.Model:
        """A model; the active one where no version is given."""
        reply: training.GetModelResponse = self._call(
            self._training.GetModel, training.GetModelRequest(version=version)
        )
        return reply.model

    def activate_model(self, version: str, *, request_id: str | None = None) -> training.Model:
        """Makes a model the one that serves."""
        request = training.ActivateModelRequest(version=version, request_id=_request_id(request_id))
        reply: training.ActivateModelResponse = self._call(self._training.ActivateModel, request)
        return reply.model

    def describe_model(self, version: str = "", *, examples: int = 0) -> training.DescribeModelResponse:
        """What each base reward function of a model rewards; of the active one where no version is given."""
        request = training.DescribeModelRequest(version=version, examples=examples)
        return self._call(self._training.DescribeModel, request)

    def _call(self, method: Callable[..., Reply], request: object) -> Reply:
        return self._retries.call(lambda: method(request, timeout=self._timeout, metadata=self._metadata))

    def _call_with_rows(self, method: Callable[..., Reply], rows: Sequence[object]) -> Reply:
        return self._retries.call(lambda: method(iter(rows), timeout=self._timeout, metadata=self._metadata))


def _request_id(given: str | None) -> str:
    return given if given is not None else str(uuid.uuid4())


def _pages(page: Callable[[str], Any], items: Callable[[Any], Iterable[Reply]]) -> Iterator[Reply]:
    token = ""
    while True:
        reply = page(token)
        yield from items(reply)
        token = reply.next_page_token
        if not token:
            return

"""The client's training calls against the real server: judgments in, jobs watched and cancelled, a model that serves."""

import json
import sys

import pref
from pref.v1 import training_pb2 as training

TARGET, DATA = sys.argv[1:]
QUEUED, SUCCEEDED, CANCELLED = (
    training.TRAINING_JOB_STATE_QUEUED,
    training.TRAINING_JOB_STATE_SUCCEEDED,
    training.TRAINING_JOB_STATE_CANCELLED,
)

with open(DATA) as lines:
    rows = [training.PreferenceRow(**json.loads(line)) for line in lines]

with pref.Client(TARGET) as client:
    first, again = (client.import_preferences("hobbies", rows) for _ in range(2))
    assert (first.imported, again.imported) == (len(rows) - first.skipped - first.duplicates, 0), (first, again)
    assert again.duplicates == first.imported + first.duplicates, again

    running, waiting = (client.train(["hobbies"], base_functions=4, seed=seed) for seed in (1, 2))
    assert client.get_training_job(waiting.job_id).state == QUEUED
    stopped = client.cancel_training_job(waiting.job_id)
    assert stopped.state == CANCELLED and not stopped.HasField("start_time"), stopped
    assert client.cancel_training_job(waiting.job_id).finish_time == stopped.finish_time, "it stays as it ended"

    client.cancel_training_job(running.job_id)
    *_, ended = client.watch_training_job(running.job_id)
    assert ended.state == CANCELLED and not ended.model_version and not ended.error, ended

    job = client.train(["hobbies"], base_functions=4, seed=3)
    states = list(client.watch_training_job(job.job_id))
    progress = [state.progress for state in states]
    assert progress == sorted(progress) and progress[-1] == 1, progress
    assert states[-1].state == SUCCEEDED and any(state.stage for state in states), states
    assert client.cancel_training_job(job.job_id).state == SUCCEEDED, "what has ended is not cancelled"
    listed = list(client.list_training_jobs())
    assert {one.job_id for one in listed} == {job.job_id, waiting.job_id, running.job_id} and len(listed) == 3
    ages = [(one.create_time.ToNanoseconds(), one.job_id) for one in listed]
    assert ages == sorted(ages, reverse=True) and listed[0].job_id == job.job_id, "newest first"

    version = states[-1].model_version
    assert client.get_model().version != version
    client.activate_model(version)
    assert client.get_model().version == version and version in [model.version for model in client.list_models()]

    try:
        client.cancel_training_job("00000000-0000-0000-0000-000000000000")
    except pref.PrefError as error:
        assert error.reason == "TRAINING_JOB_NOT_FOUND", error
    else:
        raise AssertionError("a job that nobody asked for")

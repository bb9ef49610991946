use pref::domain::{JobId, RequestId, TenantId};
use pref::store::{JobEnd, JobState, Lease, Recall};

use crate::fixture::{Fixture, NOW, model, request, tenant};

crate::on_both_engines!(
    a_job_is_queued_claimed_and_finished,
    a_lease_that_runs_out_is_taken_over,
    cancelling_waits_for_nobody_or_for_the_worker,
    jobs_list_newest_first,
    a_request_id_queues_one_job,
);

async fn a_job_is_queued_claimed_and_finished(f: &Fixture) {
    let id = JobId::random();
    assert_eq!(f.store.claim_job("w", NOW, NOW + 10).await.unwrap(), None);
    f.store.create_job(&tenant(), id, b"train this", None, NOW).await.unwrap();
    let job = f.store.job(&tenant(), id).await.unwrap().unwrap();
    assert_eq!(
        (job.state, job.request.as_slice(), job.attempts),
        (JobState::Queued, b"train this".as_slice(), 0)
    );
    assert_eq!(f.store.job(&TenantId::parse("other").unwrap(), id).await.unwrap(), None);

    let claimed = f.store.claim_job("w", NOW + 1, NOW + 10).await.unwrap().unwrap();
    assert_eq!((claimed.job_id, claimed.state, claimed.attempts), (id, JobState::Running, 1));
    assert_eq!(f.store.claim_job("v", NOW + 10, NOW + 20).await.unwrap(), None);

    let beat = f.store.heartbeat_job(&tenant(), id, "w", "half", NOW + 5, NOW + 15).await.unwrap();
    assert_eq!(beat, Lease::Held);
    assert_eq!(f.store.job(&tenant(), id).await.unwrap().unwrap().progress, "half");

    let end = JobEnd::Succeeded(model("m1"));
    assert_eq!(f.store.finish_job(&tenant(), id, "v", &end, NOW + 6).await.unwrap(), Lease::Lost);
    assert_eq!(f.store.finish_job(&tenant(), id, "w", &end, NOW + 6).await.unwrap(), Lease::Held);
    let job = f.store.job(&tenant(), id).await.unwrap().unwrap();
    assert_eq!(
        (job.state, job.model_version, job.finished),
        (JobState::Succeeded, Some(model("m1")), Some(NOW + 6))
    );
    assert!(job.state.is_final());
    let late = f.store.heartbeat_job(&tenant(), id, "w", "", NOW + 7, NOW + 17).await.unwrap();
    assert_eq!(late, Lease::Lost);
}

async fn a_lease_that_runs_out_is_taken_over(f: &Fixture) {
    let id = JobId::random();
    f.store.create_job(&tenant(), id, b"", None, NOW).await.unwrap();
    f.store.claim_job("dead", NOW, NOW + 10).await.unwrap().unwrap();
    assert_eq!(f.store.claim_job("w", NOW + 10, NOW + 20).await.unwrap(), None);
    let taken = f.store.claim_job("w", NOW + 11, NOW + 21).await.unwrap().unwrap();
    assert_eq!((taken.job_id, taken.attempts), (id, 2));

    // The one thought dead comes back: it is told, and can write nothing.
    let beat = f.store.heartbeat_job(&tenant(), id, "dead", "90 %", NOW + 12, NOW + 22).await.unwrap();
    assert_eq!(beat, Lease::Lost);
    let end = JobEnd::Failed("out of memory".to_owned());
    assert_eq!(f.store.finish_job(&tenant(), id, "dead", &end, NOW + 12).await.unwrap(), Lease::Lost);
    assert_eq!(f.store.finish_job(&tenant(), id, "w", &end, NOW + 12).await.unwrap(), Lease::Held);
    let job = f.store.job(&tenant(), id).await.unwrap().unwrap();
    assert_eq!((job.state, job.error.as_deref()), (JobState::Failed, Some("out of memory")));
}

async fn cancelling_waits_for_nobody_or_for_the_worker(f: &Fixture) {
    let (running, queued) = (JobId::random(), JobId::random());
    f.store.create_job(&tenant(), running, b"", None, NOW).await.unwrap();
    f.store.create_job(&tenant(), queued, b"", None, NOW + 1).await.unwrap();
    f.store.claim_job("w", NOW + 2, NOW + 10).await.unwrap().unwrap();

    let job = f.store.cancel_job(&tenant(), queued, NOW + 3).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished), (JobState::Cancelled, Some(NOW + 3)));
    let job = f.store.cancel_job(&tenant(), running, NOW + 3).await.unwrap().unwrap();
    assert_eq!((job.state, job.cancel_requested, job.finished), (JobState::Running, Some(NOW + 3), None));
    let beat = f.store.heartbeat_job(&tenant(), running, "w", "", NOW + 4, NOW + 14).await.unwrap();
    assert_eq!(beat, Lease::CancelRequested);
    f.store.finish_job(&tenant(), running, "w", &JobEnd::Cancelled, NOW + 5).await.unwrap();
    let job = f.store.cancel_job(&tenant(), running, NOW + 6).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished), (JobState::Cancelled, Some(NOW + 5)));
    assert_eq!(f.store.cancel_job(&tenant(), JobId::random(), NOW).await.unwrap(), None);
}

async fn jobs_list_newest_first(f: &Fixture) {
    for at in [1, 2, 2, 3] {
        f.store.create_job(&tenant(), JobId::random(), b"", None, NOW + at).await.unwrap();
    }
    let all = f.store.list_jobs(&tenant(), None, 10).await.unwrap();
    assert_eq!(all.iter().map(|job| job.created - NOW).collect::<Vec<_>>(), [3, 2, 2, 1]);
    let mut paged = f.store.list_jobs(&tenant(), None, 2).await.unwrap();
    let last = (paged[1].created, paged[1].job_id);
    paged.extend(f.store.list_jobs(&tenant(), Some(last), 2).await.unwrap());
    assert_eq!(paged, all);
}

async fn a_request_id_queues_one_job(f: &Fixture) {
    let (id, again) = (JobId::random(), JobId::random());
    let key = request(RequestId::random(), 1, "the job");
    assert_eq!(f.store.create_job(&tenant(), id, b"", Some(&key), NOW).await.unwrap(), Recall::New);
    let replayed = f.store.create_job(&tenant(), again, b"", Some(&key), NOW).await.unwrap();
    assert_eq!(replayed, Recall::Replayed(b"the job".to_vec()));
    assert_eq!(f.store.list_jobs(&tenant(), None, 10).await.unwrap().len(), 1);
}

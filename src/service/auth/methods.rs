use crate::domain::Scope;

/// Whom a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Subject {
    /// One person, whom the request names.
    Person,
    /// Nobody in particular: all that is the tenant's.
    Tenant,
}

use Scope::{Admin, Feedback, Generate, Read, Train};
use Subject::{Person, Tenant};

/// Every method of the API: the scope that it needs, and whom it is about.
const METHODS: [(&str, Scope, Subject); 23] = [
    ("/pref.v1.PersonalizationService/NextQuery", Feedback, Person),
    ("/pref.v1.PersonalizationService/SubmitPreference", Feedback, Person),
    ("/pref.v1.PersonalizationService/Generate", Generate, Person),
    ("/pref.v1.PersonalizationService/Score", Generate, Person),
    ("/pref.v1.PersonalizationService/GetUser", Read, Person),
    ("/pref.v1.PersonalizationService/ListUsers", Read, Tenant),
    ("/pref.v1.PersonalizationService/DeleteUser", Admin, Person),
    ("/pref.v1.PersonalizationService/ExportUser", Read, Person),
    ("/pref.v1.PersonalizationService/ListPreferences", Read, Person),
    ("/pref.v1.PersonalizationService/DeletePreference", Feedback, Person),
    ("/pref.v1.CandidateService/ImportCandidates", Train, Tenant),
    ("/pref.v1.CandidateService/ListPools", Read, Tenant),
    ("/pref.v1.CandidateService/DeletePool", Admin, Tenant),
    ("/pref.v1.TrainingService/ImportPreferences", Train, Tenant),
    ("/pref.v1.TrainingService/Train", Train, Tenant),
    ("/pref.v1.TrainingService/GetTrainingJob", Read, Tenant),
    ("/pref.v1.TrainingService/ListTrainingJobs", Read, Tenant),
    ("/pref.v1.TrainingService/CancelTrainingJob", Train, Tenant),
    ("/pref.v1.TrainingService/WatchTrainingJob", Read, Tenant),
    ("/pref.v1.TrainingService/ListModels", Read, Tenant),
    ("/pref.v1.TrainingService/GetModel", Read, Tenant),
    ("/pref.v1.TrainingService/ActivateModel", Admin, Tenant),
    ("/pref.v1.TrainingService/DescribeModel", Read, Tenant),
];

/// What a path may be called without. A probe has no key, and hears no more than whether the server serves; reflection
/// tells what is public, the `.proto` files.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// What a path asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Nothing.
    Nothing,
    /// A credential with this scope, and for this kind of call.
    Credential(Scope, Subject),
}

/// What `path` asks of its caller; nothing where the server has no such method.
pub(super) fn demand(path: &str) -> Option<Demand> {
    if OPEN.iter().any(|prefix| path.starts_with(prefix)) {
        return Some(Demand::Nothing);
    }
    let known = METHODS.iter().find(|(method, ..)| *method == path);
    known.map(|&(_, scope, subject)| Demand::Credential(scope, subject))
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::service::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn every_method_has_its_row_and_a_person_is_who_the_request_names() {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let ours: Vec<_> = files.iter().filter(|file| file.package() == "pref.v1").collect();
        let has_user = |message: &str| {
            let name = message.rsplit('.').next().unwrap_or_default();
            let mut messages = ours.iter().flat_map(|file| &file.message_type);
            let message = messages.find(|message| message.name() == name).expect("a method's own message");
            message.field.iter().any(|field| field.name() == "user_id")
        };
        let mut methods: Vec<_> = ours
            .iter()
            .flat_map(|file| &file.service)
            .flat_map(|service| service.method.iter().map(move |method| (service, method)))
            .map(|(service, method)| {
                let subject = if has_user(method.input_type()) { Person } else { Tenant };
                (format!("/pref.v1.{}/{}", service.name(), method.name()), subject)
            })
            .collect();
        let mut rows: Vec<_> =
            METHODS.iter().map(|(path, _, subject)| ((*path).to_owned(), *subject)).collect();
        methods.sort_by(|one, other| one.0.cmp(&other.0));
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(rows, methods);
    }

    #[test]
    fn what_is_not_listed_is_not_open() {
        assert_eq!(demand("/grpc.health.v1.Health/Check"), Some(Demand::Nothing));
        assert_eq!(demand("/pref.v1.TrainingService/Train"), Some(Demand::Credential(Train, Tenant)));
        for path in ["/pref.v1.TrainingService/Trains", "/pref.v1.TrainingService/train", "/", "/grpc.health"]
        {
            assert_eq!(demand(path), None, "{path}");
        }
    }
}

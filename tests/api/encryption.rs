//! TLS, and certificates of callers.

use pref::service::proto::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

use crate::app::{Bearer, TestApp, Wire};
use crate::identity::guarded;
use pref::domain::Scope;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certified(authority: &Authority, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    Identity::from_pem(certificate.pem(), key.serialize_pem())
}

async fn list_pools(app: &TestApp, url: &str, tls: ClientTlsConfig, bearer: &str) -> Result<(), String> {
    let endpoint = Endpoint::try_from(format!("{url}{}", app.address)).unwrap();
    let endpoint = if url == "https://" { endpoint.tls_config(tls).unwrap() } else { endpoint };
    let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
    let wire: Wire = InterceptedService::new(channel, Bearer::of(bearer));
    let mut client = candidate_service_client::CandidateServiceClient::new(wire);
    let reply = client.list_pools(ListPoolsRequest::default()).await;
    reply.map(drop).map_err(|status| status.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_callers_come_encrypted() {
    let ours = authority();
    let identity = certified(&ours, "pref.example.org");
    let app = TestApp::configured(|engine, service| {
        guarded(engine, service);
        service.tls = Some(ServerTlsConfig::new().identity(identity));
    })
    .await;
    let (_, bearer) = app.key("default", Scope::ALL).await;
    let tls = |authority: &Authority| {
        let ca = Certificate::from_pem(authority.pem());
        ClientTlsConfig::new().ca_certificate(ca).domain_name("pref.example.org")
    };
    assert_eq!(list_pools(&app, "https://", tls(&ours), &bearer).await, Ok(()));
    assert!(list_pools(&app, "https://", tls(&authority()), &bearer).await.is_err(), "another CA's");
    assert!(list_pools(&app, "http://", tls(&ours), &bearer).await.is_err(), "plain text");
    app.ask_to_stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_ca_only_callers_that_it_certified_connect_and_still_need_a_key() {
    let ours = authority();
    let (identity, ca) = (certified(&ours, "pref.example.org"), Certificate::from_pem(ours.pem()));
    let app = TestApp::configured(|engine, service| {
        guarded(engine, service);
        service.tls = Some(ServerTlsConfig::new().identity(identity).client_ca_root(ca.clone()));
    })
    .await;
    let (_, bearer) = app.key("default", Scope::ALL).await;
    let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("pref.example.org");
    let known = tls.clone().identity(certified(&ours, "a caller"));
    assert_eq!(list_pools(&app, "https://", known.clone(), &bearer).await, Ok(()));
    let told = list_pools(&app, "https://", known, "Bearer none").await.unwrap_err();
    assert!(told.contains("authorization"), "{told}");
    assert!(list_pools(&app, "https://", tls.clone(), &bearer).await.is_err(), "no certificate");
    let stranger = tls.identity(certified(&authority(), "a stranger"));
    assert!(list_pools(&app, "https://", stranger, &bearer).await.is_err(), "another CA's");
    app.ask_to_stop();
}

//! Encrypted connections.

use rcgen::{CertificateParams, KeyPair};
use tonic::transport::ServerTlsConfig;
use turnout::{Certificate, ClientTlsConfig, Error, Identity};

use crate::fake::{answering, serve_at};

#[tokio::test]
async fn mutual_tls_carries_the_token() {
    // A certificate of router.test that is its own authority.
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["router.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let identity = Identity::from_pem(&certificate, key.serialize_pem());
    let authority = Certificate::from_pem(&certificate);
    let server = ServerTlsConfig::new().identity(identity.clone()).client_ca_root(authority.clone());
    let fake = serve_at("127.0.0.1:0", Some(server), answering).await;

    let config = ClientTlsConfig::new().ca_certificate(authority).domain_name("router.test");
    let known = fake.builder().tls(config.clone().identity(identity.clone())).token("s3cret").build().unwrap();
    known.route("a").await.unwrap();
    assert_eq!(fake.seen()[0].text("authorization"), "Bearer s3cret");

    let stranger = ClientTlsConfig::new().domain_name("router.test").identity(identity);
    for config in [config, stranger] {
        let error = fake.builder().tls(config).build().unwrap().route("a").await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
    assert_eq!(fake.seen().len(), 1);
}

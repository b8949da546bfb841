package turnout_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	turnout "github.com/turnout-dev/turnout/clients/go"
)

func TestMutualTLSCarriesTheToken(t *testing.T) {
	certificate, authorities := issue(t)
	f := serve(t, credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientCAs: authorities, ClientAuth: tls.RequireAndVerifyClientCert,
	}))
	config := &tls.Config{
		RootCAs: authorities, ServerName: "router.test", Certificates: []tls.Certificate{certificate},
	}
	client := open(t, f.target, turnout.WithTLS(config), turnout.WithToken("s3cret"))
	if _, err := client.Route(t.Context(), turnout.Prompt("a")); err != nil {
		t.Fatal(err)
	}
	if found := f.seen()[0].metadata.Get("authorization"); len(found) != 1 || found[0] != "Bearer s3cret" {
		t.Error(found)
	}
	stranger := open(t, f.target, turnout.WithTLS(&tls.Config{RootCAs: authorities, ServerName: "router.test"}))
	_, err := stranger.Route(t.Context(), turnout.Prompt("a"))
	var unavailable *turnout.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Error(err)
	}
}

// issue makes a certificate of router.test that is its own authority.
func issue(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{"router.test"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authorities
}

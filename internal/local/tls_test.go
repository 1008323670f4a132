package local_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/doctorsflow/doctorsflow/internal/local"
)

// certificate makes one for 127.0.0.1 and returns its files and who trusts it.
func certificate(t *testing.T) (cert, key string, trust *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key, trust = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trust.AddCert(parsed)
	return cert, key, trust
}

func TestNATSServesOthersByTLSOnly(t *testing.T) {
	t.Parallel()
	cert, key, trust := certificate(t)
	n := startNATS(t, local.NATSConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0", TLSCert: cert, TLSKey: key})
	if !strings.HasPrefix(n.URL(), "tls://") {
		t.Errorf("URL = %s", n.URL())
	}
	dial(t, n, local.AppUser, secret) // within the process as ever
	nc, err := nats.Connect(n.UserURL(local.AppUser, secret), nats.Secure(&tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS13}))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	for name, o := range map[string]nats.Option{
		"stranger_to_the_certificate": nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13}),
		"older_tls":                   nats.Secure(&tls.Config{RootCAs: trust, MaxVersion: tls.VersionTLS12}),
	} {
		if nc, err := nats.Connect(n.UserURL(local.AppUser, secret), o); err == nil {
			nc.Close()
			t.Errorf("%s: connected", name)
		}
	}
}

func TestNATSDoesNotListenToOthersInTheClear(t *testing.T) {
	t.Parallel()
	cert, _, _ := certificate(t)
	for name, tt := range map[string]struct {
		cfg  local.NATSConfig
		want string
	}{
		"everywhere":         {local.NATSConfig{Listen: "0.0.0.0:0"}, "NATS_TLS_CERT and NATS_TLS_KEY"},
		"every_address":      {local.NATSConfig{Listen: ":0"}, "NATS_TLS_CERT and NATS_TLS_KEY"},
		"ipv6":               {local.NATSConfig{Listen: "[::]:0"}, "NATS_TLS_CERT and NATS_TLS_KEY"},
		"certificate_alone":  {local.NATSConfig{Listen: "127.0.0.1:0", TLSCert: cert}, "set both"},
		"certificate_is_key": {local.NATSConfig{Listen: "127.0.0.1:0", TLSCert: cert, TLSKey: cert}, "NATS_TLS_KEY"},
	} {
		tt.cfg.Dir, tt.cfg.AppPassword = t.TempDir(), secret
		if n, err := local.StartNATS(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			if n != nil {
				n.Shutdown()
			}
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}

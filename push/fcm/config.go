package fcm

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/loopback"
)

// Google's addresses.
const (
	hostFCM   = "fcm.googleapis.com"
	hostToken = "https://oauth2.googleapis.com/token"
	scopeFCM  = "https://www.googleapis.com/auth/firebase.messaging"
)

// DefaultPerSecond is the pace that keeps a project below Google's default
// quota of 600,000 messages a minute; it belongs into push.App.PerSecond.
const DefaultPerSecond = 9000

// Config is one Firebase project.
type Config struct {
	App            string // the id that devices and metrics name it by
	ProjectID      string // the Firebase project; must be the service account's, and is when empty
	ServiceAccount []byte // the JSON key file as downloaded

	TestEndpoint *TestEndpoint // a simulator instead of Google; only on loopback

	Metrics *push.Metrics
	Log     *slog.Logger     // nil is silence
	Now     func() time.Time // nil is time.Now
}

// TestEndpoint is where a simulator stands in for Google, for messages and
// for OAuth tokens.
type TestEndpoint struct {
	URL string // https on a loopback address
	CA  []byte // certificate authority that signed the simulator's certificate, PEM
}

// account is a service account's key file.
type account struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	ClientEmail  string `json:"client_email"`
	TokenURI     string `json:"token_uri"`
}

var projectPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{4,29}$`)

const (
	maxAccount = 64 << 10 // bytes; a key file has about 2,400
	minKeyBits = 2048     // Google makes no shorter ones

	wanted = "wanted is a service account's key: Firebase console, project settings, service accounts, generate new private key"
)

// parseAccount reads a key file, and says what it is when it is something else.
// An empty project is any.
func parseAccount(file []byte, project string) (account, error) {
	var a account
	if len(file) > maxAccount {
		return a, fmt.Errorf("the service account file has %d bytes, a key file has about 2,400; %s", len(file), wanted)
	}
	file = bytes.TrimSpace(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf")))
	if other := otherFile(file); other != "" {
		return a, fmt.Errorf("the service account file is %s; %s", other, wanted)
	}
	if err := json.Unmarshal(file, &a); err != nil {
		return a, fmt.Errorf("the service account file is not JSON of the expected form: %w; %s", err, wanted)
	}
	switch {
	case a.Type != "service_account":
		return a, fmt.Errorf("the service account file is of type %q, not \"service_account\"; %s", short(a.Type), wanted)
	case project == "" && !projectPattern.MatchString(a.ProjectID):
		return a, fmt.Errorf("the service account file names no project but %q; %s", short(a.ProjectID), wanted)
	case project != "" && a.ProjectID != project:
		return a, fmt.Errorf("the service account belongs to project %q, the app is configured for %q: one of them is wrong", short(a.ProjectID), project)
	case !strings.Contains(a.ClientEmail, "@"):
		return a, errors.New("the service account file has no client_email; " + wanted)
	}
	if err := checkKey(a.PrivateKey); err != nil {
		return a, fmt.Errorf("the private_key of the service account file %w; %s", err, wanted)
	}
	return a, nil
}

// otherFile names the files that are taken for a service account's key, "" for
// what may be one.
func otherFile(file []byte) string {
	switch {
	case len(file) == 0:
		return "empty"
	case bytes.HasPrefix(file, []byte("-----BEGIN")):
		return "a PEM file, for example a key for APNs, not JSON"
	case bytes.HasPrefix(file, []byte("AIza")):
		return "an API key"
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(file, &keys) != nil {
		return ""
	}
	for _, known := range []struct{ key, what string }{
		{"installed", "an OAuth client"},
		{"web", "an OAuth client"},
		{"project_info", "the app's google-services.json"},
		{"apiKey", "a web app's configuration with its API key"},
		{"api_key", "an API key"},
		{"keyString", "an API key"},
	} {
		if _, ok := keys[known.key]; ok && keys["private_key"] == nil {
			return known.what
		}
	}
	return ""
}

// checkKey tells whether the key can sign, by signing with it.
func checkKey(text string) error {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return errors.New("is not in PEM form")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return errors.New("is damaged, or is not a private key")
		}
	}
	key, ok := parsed.(*rsa.PrivateKey)
	switch {
	case !ok:
		return fmt.Errorf("is a %T, not an RSA key", parsed)
	case key.N.BitLen() < minKeyBits:
		return fmt.Errorf("has %d bits, Google's have %d", key.N.BitLen(), minKeyBits)
	}
	digest := sha256.Sum256([]byte(text))
	if _, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]); err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	return nil
}

// endpoints are where messages and token requests go, and whom they trust.
// A key file's own token_uri is used only at Google: a file must not be able
// to send its assertion elsewhere.
func (c *Config) endpoints(a account) (messages *url.URL, token string, trust *tls.Config, err error) {
	if c.TestEndpoint != nil {
		u, err := loopback.Endpoint(c.TestEndpoint.URL)
		if err != nil {
			return nil, "", nil, err
		}
		if trust, err = loopback.Trust(c.TestEndpoint.CA); err != nil {
			return nil, "", nil, err
		}
		return u, u.JoinPath("token").String(), trust, nil
	}
	u, err := url.Parse(a.TokenURI)
	if err != nil || (a.TokenURI != "" && (u.Scheme != "https" || (u.Host != "oauth2.googleapis.com" && u.Host != "accounts.google.com"))) {
		return nil, "", nil, fmt.Errorf("the service account's token_uri %q is not Google's", a.TokenURI)
	}
	token = a.TokenURI
	if token == "" {
		token = hostToken
	}
	return &url.URL{Scheme: "https", Host: hostFCM}, token, &tls.Config{MinVersion: tls.VersionTLS12}, nil
}

func (c *Config) validate() error {
	switch {
	case c.App == "":
		return errors.New("the app has no id")
	case c.ProjectID != "" && !projectPattern.MatchString(c.ProjectID):
		return fmt.Errorf("project id %q: the project's id is wanted, for example oncall-1a2b3, not its name or number", c.ProjectID)
	}
	return nil
}

var _ push.Provider = (*Provider)(nil)

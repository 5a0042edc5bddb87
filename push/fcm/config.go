package fcm

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/internal/loopback"
)

// Google's addresses.
const (
	hostFCM   = "https://fcm.googleapis.com"
	hostToken = "https://oauth2.googleapis.com/token"
	scopeFCM  = "https://www.googleapis.com/auth/firebase.messaging"
)

// DefaultPerSecond is the pace that keeps a project below Google's default
// quota of 600,000 messages a minute; it belongs into push.App.PerSecond.
const DefaultPerSecond = 9000

// Config is one Firebase project.
type Config struct {
	App            string // the id that devices and metrics name it by
	ProjectID      string // the Firebase project; must be the service account's
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

// parseAccount reads a key file, and says what it is when it is something else.
func parseAccount(file []byte, project string) (account, error) {
	var a account
	if err := json.Unmarshal(file, &a); err != nil {
		return a, fmt.Errorf("the service account file is not JSON: %w", err)
	}
	switch {
	case a.Type != "service_account":
		return a, fmt.Errorf("the file is of type %q, wanted is a \"service_account\" key: project settings, service accounts, generate new private key", a.Type)
	case a.ProjectID != project:
		return a, fmt.Errorf("the service account belongs to project %q, the app is configured for %q: one of them is wrong", a.ProjectID, project)
	case a.ClientEmail == "":
		return a, errors.New("the service account file has no client_email")
	}
	block, _ := pem.Decode([]byte(a.PrivateKey))
	if block == nil {
		return a, errors.New("the service account file has no private_key in PEM form")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return a, fmt.Errorf("the service account's private_key is damaged: %w", err)
	}
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return a, fmt.Errorf("the service account's private_key is a %T, wanted is an RSA key", key)
	}
	return a, nil
}

// endpoints are where messages and token requests go, and whom they trust.
// A key file's own token_uri is used only at Google: a file must not be able
// to send its assertion elsewhere.
func (c *Config) endpoints(a account) (messages, token string, trust *tls.Config, err error) {
	if c.TestEndpoint != nil {
		u, err := loopback.Endpoint(c.TestEndpoint.URL)
		if err != nil {
			return "", "", nil, err
		}
		if trust, err = loopback.Trust(c.TestEndpoint.CA); err != nil {
			return "", "", nil, err
		}
		return u.JoinPath("v1/projects", c.ProjectID, "messages:send").String(), u.JoinPath("token").String(), trust, nil
	}
	u, err := url.Parse(a.TokenURI)
	if err != nil || (a.TokenURI != "" && (u.Scheme != "https" || (u.Host != "oauth2.googleapis.com" && u.Host != "accounts.google.com"))) {
		return "", "", nil, fmt.Errorf("the service account's token_uri %q is not Google's", a.TokenURI)
	}
	token = a.TokenURI
	if token == "" {
		token = hostToken
	}
	return hostFCM + "/v1/projects/" + c.ProjectID + "/messages:send", token, &tls.Config{MinVersion: tls.VersionTLS12}, nil
}

func (c *Config) validate() error {
	switch {
	case c.App == "":
		return errors.New("the app has no id")
	case !projectPattern.MatchString(c.ProjectID):
		return fmt.Errorf("project id %q: the project's id is wanted, for example oncall-1a2b3, not its name or number", c.ProjectID)
	}
	return nil
}

var _ push.Provider = (*Provider)(nil)

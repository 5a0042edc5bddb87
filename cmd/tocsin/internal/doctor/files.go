package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/config"
)

const (
	// masterKeyFile is the master key in the data directory.
	masterKeyFile = "master.key"

	diskWarn, diskFail = 20, 5 // per cent free
	expiresSoon        = 21 * 24 * time.Hour
)

func files(_ context.Context, in Input) []Finding {
	return []Finding{configuration(in), directory(in.Config.DataDir), masterKey(in.Config), disk(in.Config.DataDir)}
}

func configuration(in Input) Finding {
	const check = "configuration"
	if in.File == "" {
		return ok(check, "no file: defaults, environment and flags")
	}
	info, err := os.Stat(in.File)
	if err != nil {
		return fail(check, "make it readable for this user", "%v", err)
	}
	secret := in.Config.SMTP.Password != "" || in.Config.MasterKey != "" || strings.Contains(in.Config.Redis.URL, "@")
	if secret && info.Mode().Perm()&0o077 != 0 {
		return warn(check, "chmod 600 "+in.File+", or move the secrets to the environment", "%s holds secrets and others may read it (mode %04o)", in.File, info.Mode().Perm())
	}
	return ok(check, "%s", in.File)
}

func directory(dir string) Finding {
	const check = "data directory"
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ok(check, "%s is made at the first start", dir)
	case err != nil:
		return fail(check, "make it readable for the user that runs tocsin serve", "%v", err)
	case !info.IsDir():
		return fail(check, "name another data_dir", "%s is no directory", dir)
	case info.Mode().Perm()&0o077 != 0:
		return warn(check, "chmod 700 "+dir, "others may look into %s (mode %04o)", dir, info.Mode().Perm())
	}
	return ok(check, "%s", dir)
}

// masterKey reads the key as serve would, and makes none.
func masterKey(c config.Config) Finding {
	const check = "master key"
	path := filepath.Join(c.DataDir, masterKeyFile)
	if c.MasterKey == "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return ok(check, "%s is made at the first start: back it up then", path)
		}
	}
	ring, _, err := auth.LoadKeyring(path, strings.ReplaceAll(c.MasterKey, ",", "\n"))
	if err != nil {
		return fail(check, "restore it from the back-up; without it, sealed secrets and open action links are lost", "%v", err)
	}
	return ok(check, "%s; keep a copy apart from the data", ring.ID())
}

// disk looks where the data is, or will be.
func disk(dir string) Finding {
	const check = "disk"
	path, err := filepath.Abs(dir)
	if err != nil {
		return fail(check, "name another data_dir", "%v", err)
	}
	var st syscall.Statfs_t
	for err = syscall.Statfs(path, &st); errors.Is(err, fs.ErrNotExist) && path != "/"; err = syscall.Statfs(path, &st) {
		path = filepath.Dir(path)
	}
	if err != nil {
		return warn(check, "check by hand that there is space", "the free space at %s is not known: %v", path, err)
	}
	return space(path, uint64(st.Bavail)*uint64(st.Bsize), uint64(st.Blocks)*uint64(st.Bsize)) //nolint:unconvert // the types differ between systems
}

func space(path string, free, total uint64) Finding {
	const check = "disk"
	percent := 100.0
	if total > 0 {
		percent = 100 * float64(free) / float64(total)
	}
	said := fmt.Sprintf("%s free at %s (%.0f %%)", bytesText(free), path, percent)
	cure := "free some, or move data_dir: a full disk stops Redis, and with it all paging"
	switch {
	case percent < diskFail || free < 256<<20:
		return fail(check, cure, "%s", said)
	case percent < diskWarn && free < 20<<30:
		return warn(check, cure, "%s", said)
	}
	return ok(check, "%s", said)
}

func bytesText(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}

// listener checks the certificate that phones will see.
func listener(_ context.Context, in Input) []Finding {
	const check = "tls"
	c := in.Config
	if c.TLS.CertFile == "" {
		if strings.HasPrefix(c.PublicURL, "https://") {
			return []Finding{ok(check, "off: a proxy in front has to speak https for %s", c.URL())}
		}
		return []Finding{warn(check, "set tls.cert_file and tls.key_file, or public_url to the https address of a proxy in front",
			"off: tokens and pages travel in the clear, and phones refuse plain http")}
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
	if err != nil {
		return []Finding{fail(check, "check tls.cert_file and tls.key_file: both PEM, belonging together, readable", "%v", err)}
	}
	leaf := pair.Leaf
	if leaf == nil {
		if leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return []Finding{fail(check, "get another certificate", "%v", err)}
		}
	}
	return []Finding{certificate(leaf, c.PublicURL, in.Now())}
}

func certificate(leaf *x509.Certificate, public string, now time.Time) Finding {
	const check = "tls"
	renew := "renew it; the running server takes the new files on SIGHUP"
	until := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case now.After(leaf.NotAfter):
		return fail(check, renew, "the certificate expired on %s: no phone connects", until)
	case now.Before(leaf.NotBefore):
		return fail(check, "check this machine's clock, or wait", "the certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if u, err := url.Parse(public); err == nil && u.Hostname() != "" {
		if err := leaf.VerifyHostname(u.Hostname()); err != nil {
			return fail(check, "get a certificate for the name in public_url", "%v", err)
		}
	}
	if leaf.NotAfter.Sub(now) < expiresSoon {
		return warn(check, renew, "the certificate expires on %s", until)
	}
	return ok(check, "certificate valid until %s", until)
}

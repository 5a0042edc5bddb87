package auth_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

func TestLoadKeyring(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "master.key")
	ring, made, err := auth.LoadKeyring(path, "")
	if err != nil || !made {
		t.Fatalf("first start: made %v, err %v; want a new key", made, err)
	}
	again, made, err := auth.LoadKeyring(path, "")
	if err != nil || made || again.ID() != ring.ID() {
		t.Fatalf("second start: made %v, id %s, err %v; want the same key %s", made, again.ID(), err, ring.ID())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, err %v; want 0600", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".master-*")); len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := auth.LoadKeyring(path, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by the group: err %v; want the cure chmod 600", err)
	}
}

func TestLoadKeyringOfTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	type result struct {
		ring auth.Keyring
		made bool
		err  error
	}
	results := make(chan result)
	for range 8 {
		go func() {
			r, made, err := auth.LoadKeyring(path, "")
			results <- result{r, made, err}
		}()
	}
	var made int
	ids := map[auth.KeyID]bool{}
	for range 8 {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		if r.made {
			made++
		}
		ids[r.ring.ID()] = true
	}
	if made != 1 || len(ids) != 1 {
		t.Errorf("%d made a key and %d keys are in use; want 1 and 1", made, len(ids))
	}
}

func TestParseKeyring(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, tc := range []struct{ name, text, want string }{
		{"one key", good, ""},
		{"comment and rotation", "# new\n" + good + "\n\n# old\n" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))), ""},
		{"empty", "# nothing\n", "no key"},
		{"short", "c2hvcnQ=", "line 1 is not 32 bytes"},
		{"no base64", good + "\n!!!", "line 2 is not 32 bytes"},
	} {
		_, err := auth.ParseKeyring(tc.text)
		if got := fmt.Sprint(err); (err == nil) != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, got, tc.want)
		}
	}
}

func TestKeyringKeepsItsSecret(t *testing.T) {
	secret := [32]byte([]byte("0123456789abcdef0123456789abcdef"))
	ring, err := auth.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(ring), fmt.Sprintf("%+v", ring), fmt.Sprintf("%#v", ring), ring.LogValue().String()} {
		if strings.Contains(text, "0123456789") || strings.Contains(text, "48, 49") || strings.Contains(text, "0x30") {
			t.Errorf("the key shows: %s", text)
		}
	}
}

func rings(t interface {
	Helper()
	Fatal(args ...any)
}) (old, now, rotated auth.Keyring,
) {
	t.Helper()
	a, b := [32]byte{1}, [32]byte{2}
	var err error
	if old, err = auth.NewKeyring(a); err != nil {
		t.Fatal(err)
	}
	if now, err = auth.NewKeyring(b); err != nil {
		t.Fatal(err)
	}
	if rotated, err = auth.NewKeyring(b, a); err != nil {
		t.Fatal(err)
	}
	return old, now, rotated
}

func TestSealer(t *testing.T) {
	old, now, rotated := rings(t)
	sealed, err := old.Sealer("address").Seal([]byte("token"), "device/d1")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := rotated.Sealer("address").Open(sealed, "device/d1"); err != nil || string(plain) != "token" {
		t.Errorf("after a rotation: %q, %v; want token", plain, err)
	}
	if rotated.Sealer("address").Current(sealed) {
		t.Error("sealed under the old key counts as current")
	}
	for _, tc := range []struct {
		name, purpose, bound string
		ring                 auth.Keyring
		kind                 fault.Kind
	}{
		{"another record", "address", "device/d2", old, fault.Internal},
		{"another purpose", "secret", "device/d1", old, fault.Internal},
		{"lost key", "address", "device/d1", now, fault.Precondition},
	} {
		if _, err := tc.ring.Sealer(tc.purpose).Open(sealed, tc.bound); fault.KindOf(err) != tc.kind || err == nil {
			t.Errorf("%s: %v; want kind %v", tc.name, err, tc.kind)
		}
	}
	if _, err := (auth.Keyring{}).Sealer("x").Seal(nil, ""); err == nil {
		t.Error("the zero keyring seals")
	}
}

func TestSealLaws(t *testing.T) {
	_, _, ring := rings(t)
	s := ring.Sealer("law")
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		sealed, err := s.Seal(plain, "r")
		if err != nil || len(sealed) != len(plain)+auth.SealOverhead {
			t.Fatalf("seal: %d bytes of %d, %v", len(sealed), len(plain), err)
		}
		if got, err := s.Open(sealed, "r"); err != nil || string(got) != string(plain) {
			t.Fatalf("open: %q, %v; want %q", got, err, plain)
		}
		i := rapid.IntRange(0, len(sealed)*8-1).Draw(t, "bit")
		sealed[i/8] ^= 1 << (i % 8)
		if _, err := s.Open(sealed, "r"); err == nil {
			t.Fatalf("bit %d flipped and it still opens", i)
		}
	})
}

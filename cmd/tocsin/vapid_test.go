package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tocsin-oncall/tocsin/push/webpush"
)

// A key is made once: run again, the command shows the one that is there.
func TestVapid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vapid.json")
	vapid := func() (int, string, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), &session{args: []string{"vapid", file}, out: &out, err: &errs})
		return code, out.String(), errs.String()
	}
	code, out, errs := vapid()
	if code != exitOK || !strings.Contains(out, "Back it up") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := webpush.ParseKey(text)
	if err != nil || !strings.Contains(out, key.PublicKey()) {
		t.Errorf("the key reads as %v, %v; told was %s", key, err, out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want it for its owner alone", info, err)
	}
	code, again, errs := vapid()
	if now, err := os.ReadFile(file); code != exitOK || err != nil || !bytes.Equal(now, text) || !strings.Contains(again, key.PublicKey()) {
		t.Errorf("run again: exit %d, %s%s; want the key as it was", code, again, errs)
	}
	if err := os.WriteFile(file, []byte("nothing of ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := vapid(); code != exitError || !strings.Contains(errs, "VAPID") {
		t.Errorf("over a file of others: exit %d, %s", code, errs)
	}
}

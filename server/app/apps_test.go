package app

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// TestABadCredentialStopsItsAppAlone: a server starts although one app's file is
// not a service account's key, pages the phones of the other, keeps the
// addresses of that app's phones, says so in its metrics, and pages them as soon
// as the file has been mended and read again.
func TestABadCredentialStopsItsAppAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	file := w.file("account-of-android.json")
	const wrong = `{"project_info": {"project_id": "tocsin-demo"}, "client": []}` // google-services.json
	if err := os.WriteFile(file, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	reload := make(chan os.Signal)
	in := w.start(func(o *Options) {
		o.Config.Push.Apps[1].ServiceAccountFile, o.Reload = file, reload
	})
	in.apply(strings.Replace(organisation, "targets: [users/ann]", "targets: [users/ann, users/bo]", 1))
	ann, bo := in.enrol(w, "ann", roster.IOS), in.enrol(w, "bo", roster.Android)
	in.send("trigger", "db", "the disk is full")
	gets(t, ann, "a page of the app whose key is right", page)
	const refused = `push_breaker_state{app="oncall",env="production",provider="fcm"} 2`
	for _, text := in.get("/metrics"); !strings.Contains(text, refused); _, text = in.get("/metrics") {
		if !again(t.Context()) {
			t.Fatalf("the metrics never say %s", refused)
		}
	}
	if d, _ := in.server.directory.Snapshot().GetDevice("dbo"); d.State != roster.DeviceActive {
		t.Errorf("the phone is %v, want it as it was: the credential is wrong, not its address", d.State)
	}
	if n := w.fcm.Count(); n != 0 {
		t.Errorf("%d messages were sent without a credential", n)
	}
	if err := os.WriteFile(file, w.fcm.ServiceAccountJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	reload <- syscall.SIGHUP
	gets(t, bo, "the page that waited for the credential", page)
	if _, text := in.get("/metrics"); !strings.Contains(text, strings.Replace(refused, " 2", " 0", 1)) || !strings.Contains(text, "push_connections{") {
		t.Error("the metrics do not say that the app is well again, or nothing of its connections")
	}
}

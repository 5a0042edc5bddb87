package app

import (
	"net/http"
	"testing"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func TestAnEventRingsThePhone(t *testing.T) {
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	if status, body := in.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("an installation that can page nobody is ready: %d %s", status, body)
	}
	in.apply(organisation)
	ann := in.enrol(w, "ann", roster.IOS)
	in.enrol(w, "cy", roster.Android)
	if status, body := in.get("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz answered %d %s, want 200", status, body)
	}
	in.send("trigger", "db-1", "disk full")
	n := gets(t, ann, "the page", page)
	if !n.Audible() || n.IncidentID == "" {
		t.Errorf("the page is not one that wakes anybody: %+v", n)
	}
	in.send("resolve", "db-1", "disk full")
	gets(t, ann, "the quiet card", func(n pushtest.Notification) bool { return n.Kind == "clear" })
}

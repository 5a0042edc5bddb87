package readiness_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/readiness"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestVerdicts(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	mail := roster.Method{ID: "mail", Kind: roster.Email, Verified: true}
	hook := roster.Method{ID: "hook", Kind: roster.Webhook, Verified: true}
	phone := roster.Device{ID: "phone", Name: "Phone", Platform: roster.IOS, State: roster.DeviceActive}
	with := func(d roster.Device, change func(*roster.Device)) roster.Device { change(&d); return d }
	heard := roster.Word{Receipt: ago(time.Hour)}
	for name, c := range map[string]struct {
		user    roster.User
		devices []roster.Device
		word    roster.Word
		want    readiness.Verdict
		says    string
	}{
		"a phone that was heard of":        {roster.User{}, []roster.Device{phone}, heard, readiness.Ready, ""},
		"a test was passed":                {roster.User{}, []roster.Device{phone}, roster.Word{Test: ago(time.Hour), Judged: true, Passed: true}, readiness.Ready, ""},
		"a heartbeat of today":             {roster.User{}, []roster.Device{phone}, roster.Word{Heartbeat: ago(25 * time.Hour)}, readiness.Ready, ""},
		"a heartbeat of two days ago":      {roster.User{}, []roster.Device{phone}, roster.Word{Heartbeat: ago(48 * time.Hour)}, readiness.Doubtful, "within 7 days"},
		"a test was not passed":            {roster.User{}, []roster.Device{phone}, roster.Word{Test: ago(time.Hour), Judged: true, Receipt: ago(2 * time.Hour)}, readiness.Doubtful, "test it again"},
		"notifications are off":            {roster.User{}, []roster.Device{with(phone, func(d *roster.Device) { d.Silenced = true })}, heard, readiness.NotReady, "allow them"},
		"notifications are off, and mail":  {roster.User{Methods: []roster.Method{mail}}, []roster.Device{with(phone, func(d *roster.Device) { d.Silenced = true })}, heard, readiness.Doubtful, "allow them"},
		"the app is gone":                  {roster.User{}, []roster.Device{with(phone, func(d *roster.Device) { d.State = roster.DeviceDead })}, heard, readiness.NotReady, "the app is gone"},
		"parked":                           {roster.User{}, []roster.Device{with(phone, func(d *roster.Device) { d.State = roster.DeviceParked })}, heard, readiness.NotReady, "tocsin doctor"},
		"a browser alone":                  {roster.User{}, []roster.Device{with(phone, func(d *roster.Device) { d.Platform = roster.Web })}, heard, readiness.Doubtful, "enrol a phone"},
		"nothing at all":                   {roster.User{}, nil, heard, readiness.NotReady, "enrol one"},
		"a revoked phone is none":          {roster.User{}, []roster.Device{with(phone, func(d *roster.Device) { d.State = roster.DeviceRevoked })}, heard, readiness.NotReady, "enrol one"},
		"mail alone":                       {roster.User{Methods: []roster.Method{mail}}, nil, heard, readiness.Doubtful, "mail wakes nobody"},
		"a webhook":                        {roster.User{Methods: []roster.Method{hook}}, nil, heard, readiness.Ready, ""},
		"a webhook that bounces":           {roster.User{Methods: []roster.Method{{ID: "hook", Kind: roster.Webhook, Verified: true, Bouncing: true}}}, nil, heard, readiness.NotReady, "enrol one"},
		"inactive":                         {roster.User{Inactive: true}, []roster.Device{phone}, heard, readiness.NotReady, "somebody else"},
		"no step goes to the phone":        {roster.User{Methods: []roster.Method{mail}, High: []roster.Step{{Method: "mail"}}}, []roster.Device{phone}, heard, readiness.Doubtful, "No step for urgent pages"},
		"the only step's method is gone":   {roster.User{High: []roster.Step{{Method: "mail"}}}, []roster.Device{phone}, heard, readiness.NotReady, "No step for urgent pages"},
		"a step of its own for that phone": {roster.User{Methods: []roster.Method{{ID: "p", Kind: roster.Push, Device: "phone", Verified: true}}, High: []roster.Step{{Method: "p"}}}, []roster.Device{phone}, heard, readiness.Ready, ""},
	} {
		got := readiness.Of(c.user, c.devices, map[roster.DeviceID]roster.Word{"phone": c.word}, now)
		said := ""
		for _, r := range got.Reasons {
			said += r.Text
		}
		if got.Verdict != c.want || (c.says == "") != (said == "") || !strings.Contains(said, c.says) {
			t.Errorf("%s: got %d %q, want %d with %q", name, got.Verdict, said, c.want, c.says)
		}
	}
}

// What is nearest to being ready is named first: it is the one to mend.
func TestTheBestDeviceIsNamedFirst(t *testing.T) {
	devices := []roster.Device{
		{ID: "dead", Platform: roster.IOS, State: roster.DeviceDead},
		{ID: "old", Platform: roster.Android, State: roster.DeviceUnverified},
	}
	got := readiness.Of(roster.User{}, devices, nil, now)
	if got.Verdict != readiness.Doubtful || len(got.Reasons) != 2 || got.Reasons[0].Device != "old" {
		t.Errorf("got %+v, want the phone that is there before the one that is gone", got)
	}
	if devices[0].ID != "dead" {
		t.Error("the caller's devices were put in another order")
	}
}

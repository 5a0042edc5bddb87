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

// A drill that was heard on no device outweighs what says that a phone is alive,
// until one of them has passed a test, or another drill was heard.
func TestMissedDrill(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	devices := []roster.Device{
		{ID: "phone", Name: "Phone", Platform: roster.IOS, State: roster.DeviceActive}, {ID: "tablet", Platform: roster.Android, State: roster.DeviceActive},
	}
	missed := roster.Word{Receipt: ago(time.Hour), Drill: ago(24 * time.Hour)}
	with := func(change func(*roster.Word)) roster.Word { w := missed; change(&w); return w }
	for name, c := range map[string]struct {
		phone, tablet roster.Word
		want          readiness.Verdict
	}{
		"on none":                    {missed, missed, readiness.Doubtful},
		"on one":                     {missed, with(func(w *roster.Word) { w.Heard = true }), readiness.Ready},
		"on one, of an older drill":  {missed, with(func(w *roster.Word) { w.Drill, w.Heard = ago(48*time.Hour), true }), readiness.Doubtful},
		"a phone that is new":        {missed, roster.Word{Receipt: ago(time.Hour)}, readiness.Doubtful},
		"passed a test since":        {missed, with(func(w *roster.Word) { w.Test, w.Judged, w.Passed = ago(time.Hour), true, true }), readiness.Ready},
		"passed a test before":       {missed, with(func(w *roster.Word) { w.Test, w.Judged, w.Passed = ago(25*time.Hour), true, true }), readiness.Doubtful},
		"was never drilled":          {roster.Word{Receipt: ago(time.Hour)}, roster.Word{}, readiness.Ready},
		"and nothing is heard of it": {with(func(w *roster.Word) { w.Receipt = ago(30 * 24 * time.Hour) }), roster.Word{}, readiness.Doubtful},
	} {
		got := readiness.Of(roster.User{}, devices, map[roster.DeviceID]roster.Word{"phone": c.phone, "tablet": c.tablet}, now)
		told := len(got.Reasons) > 0 && strings.Contains(got.Reasons[0].Text, "fire drill of 28 February")
		if got.Verdict != c.want || told != (c.want == readiness.Doubtful) {
			t.Errorf("%s: got %+v, want %d", name, got, c.want)
		}
	}
	if a := (readiness.Answer{Verdict: readiness.Ready}).With("He is away."); a.Verdict != readiness.Doubtful || a.Reasons[0].Text != "He is away." {
		t.Errorf("with a reason it is %+v", a)
	}
	if a := (readiness.Answer{Verdict: readiness.NotReady}).With("He is away."); a.Verdict != readiness.NotReady {
		t.Errorf("a reason has made it better: %+v", a)
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

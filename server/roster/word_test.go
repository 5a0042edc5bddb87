package roster

import (
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	phone := Device{Platform: IOS, State: DeviceActive}
	with := func(f func(*Device)) Device {
		d := phone
		f(&d)
		return d
	}
	for _, c := range []struct {
		name   string
		device Device
		word   Word
		want   Health
	}{
		{"never heard of", phone, Word{}, HealthAmber},
		{"a receipt of a page", phone, Word{Receipt: ago(6 * day)}, HealthGreen},
		{"a receipt of long ago", phone, Word{Receipt: ago(8 * day)}, HealthAmber},
		{"the app was open", phone, Word{Opened: ago(6 * day)}, HealthGreen},
		{"any other call proves nothing", phone, Word{Seen: ago(time.Minute)}, HealthAmber},
		{"a heartbeat", phone, Word{Heartbeat: ago(25 * time.Hour)}, HealthGreen},
		{"a heartbeat of the day before", phone, Word{Heartbeat: ago(27 * time.Hour)}, HealthAmber},
		{"a heartbeat that was missed changes nothing", phone, Word{Receipt: ago(day), Asked: ago(20 * time.Hour)}, HealthGreen},
		{"a test that was passed", phone, Word{Test: ago(6 * day), Judged: true, Passed: true}, HealthGreen},
		{"a test that goes on", phone, Word{Test: ago(time.Minute), Opened: ago(time.Minute)}, HealthGreen},
		{"a test that nobody has judged", phone, Word{Test: ago(3 * time.Minute), Opened: ago(time.Minute)}, HealthRed},
		{"a test that failed at once", phone, Word{Test: ago(time.Second), Judged: true, Opened: ago(time.Minute)}, HealthRed},
		{"it says that it shows nothing", phone, Word{Receipt: ago(time.Hour), Muted: ago(time.Hour), MutedBy: "permission"}, HealthRed},
		{"it has shown a page since", phone, Word{Muted: ago(time.Hour), Receipt: ago(time.Minute)}, HealthGreen},
		{"its pages come late", phone, Word{Receipt: ago(time.Hour), Lowered: ago(day)}, HealthAmber},
		{"a browser", with(func(d *Device) { d.Platform = Web }), Word{Receipt: ago(time.Hour)}, HealthAmber},
		{"notifications are off", with(func(d *Device) { d.Silenced = true }), Word{Receipt: ago(time.Hour)}, HealthRed},
		{"parked", with(func(d *Device) { d.State = DeviceParked }), Word{Receipt: ago(time.Hour)}, HealthAmber},
		{"unverified", with(func(d *Device) { d.State = DeviceUnverified }), Word{Receipt: ago(time.Hour)}, HealthAmber},
		{"dead", with(func(d *Device) { d.State = DeviceDead }), Word{Receipt: ago(time.Hour)}, HealthRed},
		{"revoked", with(func(d *Device) { d.State = DeviceRevoked }), Word{Receipt: ago(time.Hour)}, HealthRed},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why := c.device.Health(c.word, now)
			if got != c.want || (why == "") != (got == HealthGreen) {
				t.Errorf("got %s (%q), want %s", got, why, c.want)
			}
		})
	}
}

// Somebody is woken by a green phone or a webhook, and by nothing else.
func TestGreen(t *testing.T) {
	phone, browser := Device{ID: "p", Platform: Android, State: DeviceActive}, Device{ID: "b", Platform: Web, State: DeviceActive}
	green := func(Device) Health { return HealthGreen }
	hook := Method{Kind: Webhook, Verified: true}
	for _, c := range []struct {
		name    string
		user    User
		devices []Device
		health  func(Device) Health
		want    bool
	}{
		{"a green phone", User{}, []Device{phone}, green, true},
		{"an amber phone", User{}, []Device{phone}, func(Device) Health { return HealthAmber }, false},
		{"a browser, whatever its health", User{}, []Device{browser}, green, false},
		{"mail wakes nobody", User{Methods: []Method{{Kind: Email, Verified: true}}}, nil, green, false},
		{"a webhook", User{Methods: []Method{hook}}, nil, green, true},
		{"a webhook that bounces", User{Methods: []Method{{Kind: Webhook, Verified: true, Bouncing: true}}}, nil, green, false},
		{"somebody who is inactive", User{Inactive: true, Methods: []Method{hook}}, []Device{phone}, green, false},
	} {
		if got := c.user.Green(c.devices, c.health); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
}

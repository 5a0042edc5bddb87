package demo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
)

func picture(width, height int) screen {
	badge := 1
	return screen{
		width: width, height: height, monitor: "Prometheus Alertmanager 0.25.0", url: "http://127.0.0.1:41234", open: 1,
		phones: [2]handset{
			{
				name: "Ann's iPhone", clock: "03:12", mood: moodMute, pages: 1, badge: &badge,
				cards: []card{{
					title: "Critical: Checkout", subtitle: "5xx above 20 % for 2 min", body: "1 open: #1 · checkout-1.shop.example:9102 · your phone did not answer · page 2",
					foot: "♪♪ critical sound", left: "9:41", page: true, loud: true,
				}},
			},
			{
				name: "Bo's Android", clock: "03:12", capital: true,
				cards: []card{{title: "#1 acknowledged by Bo", subtitle: "", body: "5xx above 20 % for 2 min", foot: "silent"}},
			},
		},
		incident: board{
			title: "#1 5xx above 20 % for 2 min", state: "triggered", turn: "Ann asked, level 1/2, next in 0:31",
			entries: []entryLine{
				{"+0.042", "Triggered by Alertmanager of checkout: 5xx above 20 % for 2 min."},
				{"+0.042", "Assigned to Ann at level 1."},
				{"+0.042", "Ann was notified by push."},
				{"+8.047", "No phone of Ann confirmed the push in time."},
				{"+8.047", "Ann was notified by mail."},
			},
			deliveries: []string{"Ann, push: accepted", "Ann, mail: accepted", "Ann, push: accepted → received"},
		},
		server:  serverLine{state: "● serve, pid 4711, up 0:12", log: "serving listen=127.0.0.1:41234 tls=false"},
		message: "Ann's iPhone: rings, and its app says nothing: tocsin will notice",
	}
}

func TestScreenFillsTheTerminal(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{72, 18}, {80, 24}, {100, 30}, {110, 24}, {120, 40}, {211, 60}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			t.Parallel()
			for name, s := range map[string]screen{"full": picture(size[0], size[1]), "empty": {width: size[0], height: size[1]}} {
				lines := strings.Split(s.render(), "\n")
				if len(lines) != size[1] {
					t.Errorf("%s: %d lines, want %d", name, len(lines), size[1])
				}
				for i, line := range lines {
					if w := ansi.StringWidth(line); w != size[0] {
						t.Errorf("%s: line %d has %d columns, want %d: %q", name, i, w, size[0], ansi.Strip(line))
					}
				}
			}
		})
	}
}

func TestScreenPictures(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{80, 24}, {120, 40}} {
		s := picture(size[0], size[1])
		golden(t, fmt.Sprintf("screen-%dx%d.txt", size[0], size[1]), ansi.Strip(s.render())+"\n")
	}
}

func TestScreenTooSmall(t *testing.T) {
	t.Parallel()
	if got := picture(60, 20).render(); !strings.Contains(got, "needs 72 columns") {
		t.Errorf("got %q, want what it needs", got)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "+0.000", 84 * time.Millisecond: "+0.084", 12300 * time.Millisecond: "+12.30", 125 * time.Second: "+2m05s",
	} {
		if got := sinceText(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	if got := clockText(545 * time.Second); got != "9:05" {
		t.Errorf("got %s, want 9:05", got)
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                     "",
		"one in five payments":                 "one in|five|payments",
		"see checkout-1.shop.example:9102 now": "see|checkout-1.shop.example:9102|now",
	} {
		if got := strings.Join(wrap(text, 8), "|"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

package push

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever a message holds and however little room there is, the cuts come in
// their order, none too many, and the last form is small.
func TestTrimCutsInOrderAndNoMoreThanNeeded(t *testing.T) {
	text := rapid.StringN(0, 300, 2000)
	rapid.Check(t, func(t *rapid.T) {
		m := Message{
			Kind: Kind(rapid.IntRange(1, 5).Draw(t, "kind")), DeliveryID: text.Draw(t, "delivery"), IncidentID: text.Draw(t, "incident"),
			Title: text.Draw(t, "title"), Subtitle: text.Draw(t, "subtitle"), Body: text.Draw(t, "body"), Sealed: text.Draw(t, "sealed"),
			ThreadID: text.Draw(t, "thread"), ReceiptPath: text.Draw(t, "receipts"), OpenPages: rapid.IntRange(0, 9).Draw(t, "open"),
			Details: map[string]string{"k": text.Draw(t, "detail")}, Deadline: time.Unix(1, 0),
		}
		size := func(x *Trimmed) int {
			n := len(x.DeliveryID) + len(x.IncidentID) + len(x.Title) + len(x.Subtitle) + len(x.Body) + len(x.Sealed) + len(x.ThreadID) + len(x.ReceiptPath)
			for k, v := range x.Details {
				n += len(k) + len(v)
			}
			return n
		}
		room, form := rapid.IntRange(0, 6000).Draw(t, "room"), Form(rapid.IntRange(0, 2).Draw(t, "form"))
		var seen []Trimmed
		got := Trim(&m, form, func(x *Trimmed) bool {
			seen = append(seen, *x)
			return size(x) <= room
		})
		if size(&got) > room && got.Cut != "all but the text" {
			t.Fatalf("%d bytes in a room of %d, and the last cut was %q", size(&got), room, got.Cut)
		}
		if size(&got) > 36*4+MaxCollapseID+2*64*4 && got.Cut == "all but the text" {
			t.Fatalf("the last form has %d bytes", size(&got))
		}
		if cut := (got.Sealed != m.Sealed); cut && !got.Fetch {
			t.Fatal("the sealed text is gone, and the app is not told to fetch it")
		}
		for i, x := range seen[:len(seen)-1] {
			if size(&x) <= room {
				t.Fatalf("form %d of %d fitted, and more was cut", i+1, len(seen))
			}
			if slices.IndexFunc(cuts[:], func(c cutStep) bool { return c.name == x.Cut }) >= slices.IndexFunc(cuts[:], func(c cutStep) bool { return c.name == seen[i+1].Cut }) {
				t.Fatalf("%q was cut before %q", x.Cut, seen[i+1].Cut)
			}
		}
	})
}

func TestLoudness(t *testing.T) {
	for _, c := range []struct {
		name     string
		m        Message
		critical bool
		sound    Sound
		level    Level
	}{
		{"page", Message{Kind: KindPage, Sound: SoundNormal}, true, SoundNormal, LevelTimeSensitive},
		{"critical page", Message{Kind: KindPage, Sound: SoundCritical, Level: LevelCritical}, true, SoundCritical, LevelCritical},
		{"critical page that may not be", Message{Kind: KindPage, Sound: SoundCritical, Level: LevelCritical}, false, SoundNormal, LevelTimeSensitive},
		{"critical level without its sound", Message{Kind: KindPage, Sound: SoundNormal, Level: LevelCritical}, true, SoundNormal, LevelTimeSensitive},
		{"low urgency", Message{Kind: KindPage, Sound: SoundNormal, Level: LevelActive}, true, SoundNormal, LevelActive},
		{"silent", Message{Kind: KindPage, Level: LevelPassive}, true, SoundNone, LevelPassive},
		{"clear that asks for a sound", Message{Kind: KindClear, Sound: SoundCritical, Level: LevelCritical}, true, SoundNone, LevelPassive},
		{"information", Message{Kind: KindInfo}, false, SoundNone, LevelPassive},
	} {
		if sound, level := c.m.Loudness(c.critical); sound != c.sound || level != c.level {
			t.Errorf("%s: sound %v at level %v, want %v at %v", c.name, sound, level, c.sound, c.level)
		}
	}
}

package apns

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// TestKeysOfATeamTakeTurns: two keys of one team change 22 minutes apart, one
// alone has the slots that every instance has, and a third is told of.
func TestKeysOfATeamTakeTurns(t *testing.T) {
	var log bytes.Buffer
	ring := &Keyring{Log: slog.New(slog.NewTextHandler(&log, nil))}
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	take := func(team, keyID string) (*Signer, func()) {
		file, _, err := pushtest.NewP8()
		if err != nil {
			t.Fatal(err)
		}
		s, release, err := ring.take(&Config{TeamID: team, KeyID: keyID, Key: file, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return s, release
	}
	b, releaseB := take("TEAM000001", "KEYB")
	other, releaseOther := take("TEAM000002", "KEYA")
	if b.phase != 0 || other.phase != 0 {
		t.Errorf("single keys have the phases %v and %v, want none", b.phase, other.phase)
	}
	a, releaseA := take("TEAM000001", "KEYA")
	if a.phase != 0 || b.phase != 22*time.Minute+30*time.Second || other.phase != 0 {
		t.Errorf("phases %v and %v, of another team %v; want the two keys half a slot apart, in the order of their ids", a.phase, b.phase, other.phase)
	}
	if gap := b.slotOf(now()).Sub(a.slotOf(now())).Abs(); gap < minTokenAge {
		t.Errorf("the keys change %v apart, want at least %v", gap, minTokenAge)
	}
	if log.Len() > 0 {
		t.Errorf("two keys were complained of: %s", &log)
	}
	_, releaseC := take("TEAM000001", "KEYC")
	if !strings.Contains(log.String(), "keys=3") {
		t.Errorf("log %q, want a word about three keys", &log)
	}
	releaseC()
	releaseA()
	releaseA() // once is enough
	if b.phase != 0 {
		t.Errorf("the key that is left has the phase %v, want none", b.phase)
	}
	releaseB()
	releaseOther()
	if len(ring.held) != 0 {
		t.Errorf("%d signers are held for nobody", len(ring.held))
	}
}

// TestOnlyOurOwnTokensAreLearnt: a vault may answer anything.
func TestOnlyOurOwnTokensAreLearnt(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s, _, file := newSigner(t, now)
	mine, err := s.Bearer(now)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := NewSigner("TEAM000001", "KEY0000001", file, now)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(at time.Time) Bearer {
		jwt, err := twin.sign(at)
		if err != nil {
			t.Fatal(err)
		}
		return Bearer{JWT: jwt, Issued: at}
	}
	stranger, _, _ := newSigner(t, now)
	foreign, err := stranger.sign(mine.Issued.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]Bearer{
		"nothing":         {},
		"older":           signed(mine.Issued.Add(-time.Minute)),
		"the same":        signed(mine.Issued),
		"of the future":   signed(now.Add(time.Minute)),
		"of another key":  {JWT: foreign, Issued: mine.Issued.Add(time.Minute)},
		"of another time": {JWT: signed(mine.Issued).JWT, Issued: mine.Issued.Add(time.Minute)},
		"no token":        {JWT: "x", Issued: mine.Issued.Add(time.Minute)},
	} {
		s.learn(b, now)
		if got := s.Peek(); got.JWT != mine.JWT {
			t.Errorf("a token that is %s was learnt", name)
		}
	}
	newer := signed(mine.Issued.Add(time.Second))
	s.learn(newer, now)
	if got, err := s.Bearer(now); err != nil || got.JWT != newer.JWT || got.carrier.Bearer != newer.JWT {
		t.Errorf("a newer token of the same key was not learnt (%v)", err)
	}
}

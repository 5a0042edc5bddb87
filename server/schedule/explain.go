package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/civil"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// Verdict is what became of a layer or an override at an instant.
type Verdict string

// The verdicts. Their words are for people and programs alike, and do not change.
const (
	Holds      Verdict = "holds"       // it says who is on call
	Overridden Verdict = "overridden"  // it has somebody, but an override (a newer one) counts
	Outranked  Verdict = "outranked"   // it has somebody, but a higher layer has, too
	Masked     Verdict = "masked"      // no restriction lets it count now
	EmptyPlace Verdict = "empty_place" // the turn is that of an empty place
	NotBegun   Verdict = "not_begun"   // the layer starts later
	Ended      Verdict = "ended"       // the layer is over
)

// Explanation says why somebody is on call, or nobody.
type Explanation struct {
	At        time.Time
	Shift     Shift // the answer, as At gives it
	Overrides []OverrideReason
	Layers    []LayerReason
}

// OverrideReason is an override that covers the instant; the newest is the first.
type OverrideReason struct {
	Override Override
	Verdict  Verdict // Holds or Overridden
}

// LayerReason is what a layer has to say; the highest is the first.
type LayerReason struct {
	Layer       Layer // the version that held then
	Verdict     Verdict
	Turn        int64         // number since the anchor, and whose it is:
	Place       int           // among the participants
	User        roster.UserID // empty for an empty place
	Start       time.Time     // when the turn begins by hand-off,
	End         time.Time     // and ends
	Restriction int           // index of the one that lets it count; -1 when masked
	Changes     time.Time     // when restrictions open or close the layer next; zero: not within eight days
}

// Explain says why the answer for t is what it is: each override that covers t,
// and each layer from the highest down, with its turn, its restriction and what
// became of it.
func (r *Resolver) Explain(t time.Time) Explanation {
	e := Explanation{At: t, Shift: r.At(t)}
	verdict := Holds
	for _, o := range r.overrides {
		if o.covers(t) {
			e.Overrides = append(e.Overrides, OverrideReason{o, verdict})
			verdict = Overridden
		}
	}
	for i := range r.tracks {
		k := &r.tracks[i]
		if !k.versionAt(t) {
			continue
		}
		reason := k.explain(t)
		if reason.Verdict == Holds {
			reason.Verdict = verdict
			if verdict == Holds {
				verdict = Outranked
			}
		}
		e.Layers = append(e.Layers, reason)
	}
	return e
}

// versionAt reports whether this is the version of its layer that t is asked of,
// be the layer itself there or not.
func (k *track) versionAt(t time.Time) bool {
	return !t.Before(k.layer.Since) && (k.replaced.IsZero() || t.Before(k.replaced))
}

// explain says what the layer has to say, as if it were the only one.
func (k *track) explain(t time.Time) LayerReason {
	l := k.layer
	reason := LayerReason{Layer: *l, Restriction: -1}
	switch {
	case t.Before(l.Start):
		reason.Verdict = NotBegun
		return reason
	case !l.End.IsZero() && !t.Before(l.End):
		reason.Verdict = Ended
		return reason
	}
	clock := civil.NewClock(k.zone)
	a := k.at(t)
	reason.Turn, reason.Place, reason.User = a.turn.number, a.place, l.Participants[a.place]
	reason.Start, reason.End, reason.Restriction = a.turn.start, a.turn.end, a.restriction
	reason.Changes = mask(l.Restrictions).changes(t, &clock)
	switch {
	case a.restriction < 0:
		reason.Verdict = Masked
	case reason.User == "":
		reason.Verdict = EmptyPlace
	default:
		reason.Verdict = Holds
	}
	return reason
}

// String tells the explanation in lines of text, the answer first.
func (e Explanation) String() string {
	var b strings.Builder
	who := string(e.Shift.User)
	if who == "" {
		who = "nobody"
	}
	fmt.Fprintf(&b, "%s: %s is on call", stamp(e.At), who)
	for _, o := range e.Overrides {
		b.WriteString("\n" + o.String())
	}
	for _, l := range e.Layers {
		b.WriteString("\n" + l.String())
	}
	return b.String()
}

func (o OverrideReason) String() string {
	name := string(o.Override.User)
	if name == "" {
		name = "nobody"
	}
	return fmt.Sprintf("override %s, %s until %s: %s", o.Override.ID, name, stamp(o.Override.End), o.Verdict)
}

func (l LayerReason) String() string {
	head := fmt.Sprintf("layer %s (priority %d)", l.Layer.ID, l.Layer.Priority)
	if l.Verdict == NotBegun || l.Verdict == Ended {
		return fmt.Sprintf("%s: %s", head, l.Verdict)
	}
	who := string(l.User)
	if who == "" {
		who = "an empty place"
	}
	text := fmt.Sprintf("%s: %s, %s by turn %d, place %d of %d, until %s",
		head, l.Verdict, who, l.Turn, l.Place+1, len(l.Layer.Participants), stamp(l.End))
	switch {
	case len(l.Layer.Restrictions) == 0:
	case l.Restriction >= 0:
		text += fmt.Sprintf("; restriction %d lets it count", l.Restriction+1)
	default:
		text += "; no restriction lets it count"
	}
	if !l.Changes.IsZero() {
		text += " until " + stamp(l.Changes)
	}
	return text
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

package night

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/check"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/harm"
	"github.com/tocsin-oncall/tocsin/cmd/chaos/internal/ledger"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// Report is what a run did and found.
type Report struct {
	Seed       uint64
	Replay     string // the command that plays the same night
	Took       time.Duration
	Machine    string
	Faults     map[string]int // by kind
	Events     int            // accepted
	Unaccepted int
	Tries      int // of all events
	Incidents  int
	Pages      int // requests at push services, as pages
	Pushes     int // of all kinds
	Mails      int
	Acts       int // that were answered
	Acks       int
	Looks      int
	Checked    map[string]int // how many things each invariant was held against
	Violations []check.Violation

	around map[int][]string // by violation: what is known of it
}

func newReport(o Options, took time.Duration, b ledger.Book, f check.Found, out check.Outcome) *Report {
	r := &Report{
		Seed: o.Seed, Took: took.Round(time.Second), Faults: map[string]int{}, Incidents: len(f.Records), Pushes: len(b.Pushes),
		Mails: b.Mails, Looks: len(b.Looks), Checked: out.Checked, Violations: out.Violations, around: map[int][]string{},
		Machine: fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
		Replay: fmt.Sprintf("make chaos ARGS='--seed=%d --for=%s --instances=%d --redis=%s --fsync=%s --faults=%s'",
			o.Seed, o.For, o.Instances, o.Redis, o.Fsync, faults(o)),
	}
	for _, h := range b.Harms {
		r.Faults[h.Kind]++
	}
	for _, e := range b.Events {
		r.Tries += e.Tries
		if e.Accepted.IsZero() {
			r.Unaccepted++
		} else {
			r.Events++
		}
	}
	for _, p := range b.Pushes {
		if p.Kind == "page" {
			r.Pages++
		}
	}
	for _, a := range b.Acts {
		if a.Taken {
			r.Acts++
			if a.Verb == "acknowledge" {
				r.Acks++
			}
		}
	}
	for i, v := range r.Violations {
		r.around[i] = about(v, b, f)
	}
	return r
}

func faults(o Options) string {
	if len(o.Faults) == len(harm.All(o.Redis)) {
		return "all"
	}
	words := make([]string, len(o.Faults))
	for i, k := range o.Faults {
		words[i] = string(k)
	}
	return strings.Join(words, ",")
}

// about tells what is known around a violation: what was broken then, and the
// life of its incident.
func about(v check.Violation, b ledger.Book, f check.Found) []string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, h := range b.Harms {
		if v.At.IsZero() || (h.From.Before(v.At.Add(time.Minute)) && h.Until.After(v.At.Add(-time.Minute))) {
			lines = append(lines, line{h.From, fmt.Sprintf("harm  %s %s, until %s", h.Target, h.Detail, h.Until.Format("15:04:05.000"))})
		}
	}
	i := slices.IndexFunc(f.Records, func(r store.Record) bool { return v.Incident != "" && r.Incident.ID == v.Incident })
	if i >= 0 {
		for _, e := range f.Records[i].Timeline {
			lines = append(lines, line{e.At, fmt.Sprintf("entry %d type %d cause %d users %v level %d loop %d actor %s %s", e.Seq, e.Type, e.Cause, e.Users, e.Level, e.Loop, e.Actor.ID, e.Text)})
		}
		for _, p := range b.Pushes {
			if p.Incident == string(v.Incident) {
				lines = append(lines, line{p.At, fmt.Sprintf("push  %s to %s by %s, delivery %s, answered %d", p.Kind, p.Person, p.Service, p.Delivery, p.Answered)})
			}
		}
		for _, a := range b.Acts {
			if a.Incident == string(v.Incident) {
				lines = append(lines, line{a.At, fmt.Sprintf("act   %s by %q, answered %s: %s", a.Verb, a.Person, a.Answered.Format("15:04:05.000"), a.Outcome)})
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var text []string
	for _, l := range lines {
		text = append(text, l.at.Local().Format("15:04:05.000")+" "+l.text)
	}
	return text
}

// maxTold is how many violations are told in full.
const maxTold = 10

// Print tells it.
func (r *Report) Print(to io.Writer) {
	fmt.Fprintf(to, "\nseed %d, %s on %s\n", r.Seed, r.Took, r.Machine)
	fmt.Fprintf(to, "events    %d accepted after %d tries, %d never\n", r.Events, r.Tries, r.Unaccepted)
	fmt.Fprintf(to, "incidents %d; %d requests at push services, %d of them pages; %d mails\n", r.Incidents, r.Pushes, r.Pages, r.Mails)
	fmt.Fprintf(to, "people    %d acts answered, %d of them acknowledgements\n", r.Acts, r.Acks)
	fmt.Fprintf(to, "faults   ")
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(to, " %s %d", k, r.Faults[k])
	}
	fmt.Fprintf(to, "\nchecked  ")
	for _, k := range slices.Sorted(maps.Keys(r.Checked)) {
		fmt.Fprintf(to, " %s %d", k, r.Checked[k])
	}
	fmt.Fprintln(to)
	for i, v := range r.Violations {
		if i == maxTold {
			fmt.Fprintf(to, "… and %d more violations\n", len(r.Violations)-i)
			break
		}
		fmt.Fprintf(to, "\nVIOLATION %s\n", v)
		for _, line := range r.around[i] {
			fmt.Fprintf(to, "    %s\n", line)
		}
	}
	if len(r.Violations) > 0 {
		fmt.Fprintf(to, "\n%d violations; to play this night again: %s\n", len(r.Violations), r.Replay)
		return
	}
	fmt.Fprintf(to, "no promise was broken\n")
}

// keep writes report and ledger as JSON.
func (r *Report) keep(path string, b *ledger.Book) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	out := json.NewEncoder(f)
	out.SetIndent("", " ")
	err = out.Encode(struct {
		Report *Report
		Ledger *ledger.Book
	}{r, b})
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	return nil
}

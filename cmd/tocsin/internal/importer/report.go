package importer

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxListed is how many differences of one schedule are listed before the rest
// is only counted: after so many, the rule is what one has to look at.
const maxListed = 200

// Report is the outcome of an import, for people to read.
type Report struct {
	Import *Import
	Window Window
	Parity []Parity
}

// Equal reports whether all schedules are the same on both sides.
func (r Report) Equal() bool {
	for _, p := range r.Parity {
		if !p.Equal() {
			return false
		}
	}
	return true
}

// WriteTo writes the report. Times are UTC.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	d := r.Import.Document
	fmt.Fprintf(&b, "Import from %s: %s, %s, %s, %s, %s.\n", r.Import.Source,
		count(len(d.People), "person", "people"), count(len(d.Teams), "team", "teams"), count(len(d.Schedules), "schedule", "schedules"),
		count(len(d.Policies), "policy", "policies"), count(len(d.Services), "service", "services"))
	fmt.Fprintf(&b, "\nWho is on call from %s to %s:\n", instant(r.Window.From), instant(r.Window.To))
	if len(r.Parity) == 0 {
		b.WriteString("  no schedules\n")
	}
	for _, p := range r.Parity {
		r.schedule(&b, p)
	}
	fmt.Fprintf(&b, "\nNot carried over as it was: %d\n", len(r.Import.Notes))
	for _, n := range r.Import.Notes {
		fmt.Fprintf(&b, "  %s: %s\n    → %s\n", oneLine(n.About), oneLine(n.What), oneLine(n.Do))
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (r Report) schedule(b *strings.Builder, p Parity) {
	verdict := "equal"
	if p.Unsure != "" {
		verdict = "equal as far as it can be compared: " + p.Unsure
	}
	if n := len(p.Differences); n > 0 {
		verdict = count(n, "difference", "differences")
	}
	shown := ""
	if len(p.Shown) > 0 && len(p.Misread) == 0 {
		shown = fmt.Sprintf("; what %s itself rendered says the same", r.Import.Source)
	}
	fmt.Fprintf(b, "  %s (%s) → %s: %s, %s%s\n", oneLine(p.Name), oneLine(p.ID), cmp.Or(strings.Join(p.Here, ", "), "nothing"), verdict, count(p.Shifts, "shift", "shifts"), shown)
	list(b, p.Differences, "there", "here")
	if len(p.Misread) > 0 {
		fmt.Fprintf(b, "    %s itself rendered it otherwise than its rules are known here, %s:\n", r.Import.Source, count(len(p.Misread), "difference", "differences"))
		list(b, p.Misread, "rendered", "by the rules")
	}
}

func list(b *strings.Builder, all []Difference, there, here string) {
	for i, d := range all {
		if i == maxListed {
			fmt.Fprintf(b, "    and %d more\n", len(all)-i)
			return
		}
		fmt.Fprintf(b, "    %s to %s: %s %s, %s %s\n", instant(d.Start), instant(d.End), there, who(d.There), here, who(d.Here))
	}
}

func who(ids []string) string { return cmp.Or(oneLine(strings.Join(ids, " and ")), "nobody") }

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04Z") }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

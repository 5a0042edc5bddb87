package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// figure is one number that is measured, and how good it has to be.
type figure struct {
	Name string  `json:"name"`
	Unit string  `json:"unit"`
	Bar  float64 `json:"bar"`
	Most bool    `json:"at_most"` // Bar is the most it may be, not the least
	What string  `json:"what"`
}

// atLeast and atMost make figures.
func atLeast(name string, bar float64, unit, what string) figure {
	return figure{Name: name, Unit: unit, Bar: bar, What: what}
}

func atMost(name string, bar float64, unit, what string) figure {
	return figure{Name: name, Unit: unit, Bar: bar, Most: true, What: what}
}

// result is a figure as measured.
type result struct {
	figure
	Value  float64   `json:"value"` // the median
	Runs   []float64 `json:"runs"`  // from the least to the greatest
	Passed bool      `json:"passed"`
}

func summarise(f figure, runs []float64) result {
	slices.Sort(runs)
	r := result{figure: f, Runs: runs, Value: quantile(runs, 0.5)}
	r.Passed = r.Value >= f.Bar
	if f.Most {
		r.Passed = r.Value <= f.Bar
	}
	return r
}

// quantile is the value below which the share q of the sorted values is.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	if q == 0.5 && len(sorted)%2 == 0 {
		half := len(sorted) / 2
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (r result) line() string {
	return fmt.Sprintf("%s %s %s", r.Name, number(r.Value), r.Unit)
}

// table compares with the bars.
func table(all []result) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tmeasured\tof the runs\tbar\t\t")
	for _, r := range all {
		sign, verdict := "≥", "held"
		if r.Most {
			sign = "≤"
		}
		if !r.Passed {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "%s\t%s %s\t%s–%s\t%s %s\t%s\t\n", r.Name, number(r.Value), r.Unit,
			number(r.Runs[0]), number(r.Runs[len(r.Runs)-1]), sign, number(r.Bar), verdict)
	}
	_ = w.Flush() // into memory
	return b.String()
}

// number writes three digits that say something.
func number(x float64) string {
	switch {
	case x >= 100 || x <= -100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case x >= 10 || x <= -10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}

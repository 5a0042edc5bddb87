package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestSummarise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		figure figure
		runs   []float64
		value  float64
		passed bool
	}{
		{atLeast("x", 10, "", ""), []float64{12, 9, 11}, 11, true},
		{atLeast("x", 10, "", ""), []float64{9, 12, 8}, 9, false},
		{atLeast("x", 0, "", ""), []float64{-1}, -1, false},
		{atMost("x", 10, "", ""), []float64{12, 9, 10}, 10, true},
		{atMost("x", 10, "", ""), []float64{12, 9, 11}, 11, false},
		{atMost("x", 10, "", ""), []float64{8, 13}, 10.5, false},
	} {
		got := summarise(c.figure, c.runs)
		if got.Value != c.value || got.Passed != c.passed {
			t.Errorf("%v of %+v: got %v, held %t; want %v, %t", c.runs, c.figure, got.Value, got.Passed, c.value, c.passed)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	got := table([]result{
		summarise(atLeast("ingest_new_per_s", 8000, "events/s", ""), []float64{8100, 8500, 7900}),
		summarise(atMost("start_to_ready_ms", 1000, "ms", ""), []float64{1234.5}),
	})
	for _, want := range []string{"8100 events/s", "7900–8500", "≥ 8000", "held", "MISSED"} {
		if !strings.Contains(got, want) {
			t.Errorf("the table has no %q:\n%s", want, got)
		}
	}
}

// TestMemory plays the scene that writes what a server would: it is the one to
// notice when incidents come to be committed otherwise.
func TestMemory(t *testing.T) {
	t.Parallel()
	st := &stage{o: options{Scale: 0.01}, dir: t.TempDir(), values: map[string]float64{}}
	defer st.close()
	if err := playMemory(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	for _, figure := range []string{"redis_bytes_per_open_incident", "redis_bytes_per_archived"} {
		if st.values[figure] <= 0 {
			t.Errorf("%s: got %v, want some bytes", figure, st.values[figure])
		}
	}
}

// TestScenesAreDistinct holds that no figure is reported twice, and that each
// says what it is.
func TestScenesAreDistinct(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range scenes() {
		if seen["scene "+s.name] || len(s.figures) == 0 {
			t.Errorf("scene %s is there twice or measures nothing", s.name)
		}
		seen["scene "+s.name] = true
		for _, f := range s.figures {
			if seen[f.Name] || f.What == "" {
				t.Errorf("figure %s is there twice or says nothing", f.Name)
			}
			seen[f.Name] = true
		}
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	text, err := draw([]curve{
		{figure: figure{Name: "fast", Unit: "ms"}, points: []point{{1000, 1.5}, {10_000, 2}, {1_000_000, 37}}},
		{figure: figure{Name: "nothing", Unit: "ms"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fast", "37.0", ">1M<", "nothing"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the drawing has no %s", want)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("the drawing is no XML: %v", err)
		}
	}
}

func TestRoundUp(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]float64{0: 0, 0.3: 0.5, 1: 1, 1.1: 2, 37: 50, 51: 100, 4321: 5000} {
		if got := roundUp(x); got != want {
			t.Errorf("%v: got %v, want %v", x, got, want)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	steady := func(change func(i int, l *look)) []look {
		looks := make([]look, 12)
		for i := range looks {
			looks[i] = look{rss: 1e8, goroutines: 100, files: 50, redis: 1e7 + 1000*float64(i), ended: float64(i)}
			change(i, &looks[i])
		}
		return looks
	}
	if err := judge(steady(func(int, *look) {}), io.Discard); err != nil {
		t.Errorf("a steady server: %v", err)
	}
	for what, change := range map[string]func(i int, l *look){
		"memory":     func(i int, l *look) { l.rss *= 1 + float64(i)/20 },
		"goroutines": func(i int, l *look) { l.goroutines += 10 * float64(i) },
		"open files": func(i int, l *look) { l.files += 5 * float64(i) },
		"Redis":      func(i int, l *look) { l.redis += 1e5 * float64(i) },
	} {
		if err := judge(steady(change), io.Discard); err == nil {
			t.Errorf("%s that grows was not seen", what)
		}
	}
	if err := judge(steady(func(int, *look) {})[:5], io.Discard); err == nil {
		t.Error("five looks were enough")
	}
}

// TestCompanyIsOnePlan holds that a server takes the company's folder at once.
func TestCompanyIsOnePlan(t *testing.T) {
	t.Parallel()
	files, err := companyFolder()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, f := range files {
		size += len(f.GetText())
	}
	if size > 4_000_000 {
		t.Errorf("the folder has %d bytes, and a server takes 4,000,000", size)
	}
	t.Logf("the folder has %d bytes", size)
}

package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
)

// sizes are the numbers of open incidents that growth is measured at.
var sizes = []int{1_000, 10_000, 100_000, 1_000_000} //nolint:gochecknoglobals // look-up table

// grown are the figures whose growth is looked at, each a panel of the drawing.
var grown = []figure{ //nolint:gochecknoglobals // look-up table
	{Name: "ingest_new_per_s", Unit: "events/s"},
	{Name: "event_to_push_p50_ms", Unit: "ms"},
	{Name: "timer_late_p50_ms", Unit: "ms"},
	{Name: "list_p50_ms", Unit: "ms"},
}

// grow measures at every size, once, and draws what it found.
func grow(ctx context.Context, o options, out io.Writer) error {
	curves := make([]curve, len(grown))
	for i, f := range grown {
		curves[i].figure = f
	}
	for _, size := range sizes {
		n := max(1, int(float64(size)*o.Scale))
		found, err := once(ctx, o, scene{name: fmt.Sprint("growth-", n), play: func(ctx context.Context, st *stage) error { return playGrowth(ctx, st, n) }}, 0)
		if err != nil {
			return fmt.Errorf("with %d open incidents: %w", n, err)
		}
		for i := range curves {
			name := curves[i].Name
			curves[i].points = append(curves[i].points, point{n, found[name]})
			fmt.Fprintf(out, "%s at %d open incidents: %s %s\n", name, n, number(found[name]), curves[i].Unit)
		}
	}
	text, err := draw(curves)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.Growth), 0o750); err != nil {
		return err
	}
	return os.WriteFile(o.Growth, text, 0o600)
}

// playGrowth measures an installation in which n incidents are open.
func playGrowth(ctx context.Context, st *stage, n int) error {
	const services, events = 250, 100
	got := newArrivals()
	err := st.open(ctx, setting{
		organisation: lab.Organisation{
			Services: services, People: services, Devices: 1, FirstPage: 24 * time.Hour, Prompt: events + 1, LevelDelay: levelDelay,
		},
		onPush: got.note,
		state: func(s *lab.Seed) error {
			return s.Make(ctx, n, true, func(i int) lab.Wanted {
				return lab.Wanted{Service: i % (services - events - 1), Created: time.Now(), Key: fmt.Sprint("open-", i)}
			})
		},
	})
	if err != nil {
		return err
	}
	if err := st.warm(ctx, services-events-1); err != nil {
		return err
	}
	delays, err := st.pageEach(ctx, got, services-events, services)
	if err != nil {
		return err
	}
	st.measured("event_to_push_p50_ms", quantile(delays, 0.5))
	late, err := st.escalate(ctx, 2000, 4*time.Second)
	if err != nil {
		return err
	}
	st.measured("timer_late_p50_ms", quantile(late, 0.5))
	if err := st.list(ctx); err != nil {
		return err
	}
	began := time.Now()
	const posted = 10_000
	l, err := st.post(ctx, posted, func(i int64) (int, int64) { return int(i % (services - events - 1)), i })
	if err != nil {
		return err
	}
	if err := st.drained(ctx, time.Minute); err != nil {
		return err
	}
	st.measured("ingest_new_per_s", float64(posted-l.refused)/time.Since(began).Seconds())
	return nil
}

// list measures the first page of the list of open incidents.
func (st *stage) list(ctx context.Context) error {
	conn, err := grpc.NewClient(st.server.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+lab.Credential(0, 0))
	delays := make([]float64, 50)
	for i := range delays {
		began := time.Now()
		if _, err := pb.NewIncidentServiceClient(conn).ListIncidents(ctx, &pb.ListIncidentsRequest{PageSize: 50}); err != nil {
			return fmt.Errorf("list open incidents: %w", err)
		}
		delays[i] = ms(time.Since(began))
	}
	slices.Sort(delays)
	st.measured("list_p50_ms", quantile(delays, 0.5))
	return nil
}

// point is one measurement of a curve.
type point struct {
	open  int
	value float64
}

// curve is how one figure grows.
type curve struct {
	figure

	points []point
}

//go:embed growth.svg.tmpl
var growthTemplate string

// The measures of the drawing, in its own units.
const (
	panelWidth, panelHeight = 300, 170
	plotLeft, plotTop       = 52, 34
	plotWidth, plotHeight   = 228, 104
)

// panel is a curve as the template draws it.
type panel struct {
	X, Y        int // of its corner
	Title, Unit string
	Line        string // points of a polyline
	Dots        []dot
	Top         string // the value at the upper edge
}

type dot struct {
	X, Y  float64
	Value string
	Size  string // open incidents
}

// draw is an SVG with a panel for each curve: open incidents to the right by
// their order of magnitude, the figure upwards from zero.
func draw(curves []curve) ([]byte, error) {
	panels := make([]panel, len(curves))
	for i, c := range curves {
		panels[i] = c.panel(i%2*panelWidth, i/2*panelHeight)
	}
	t, err := template.New("growth").Parse(growthTemplate)
	if err != nil {
		return nil, fmt.Errorf("read the template of the drawing: %w", err)
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"Width": 2 * panelWidth, "Height": (len(curves) + 1) / 2 * panelHeight, "Panels": panels,
		"Left": plotLeft, "Top": plotTop, "Right": plotLeft + plotWidth, "Bottom": plotTop + plotHeight,
	})
	return []byte(b.String()), err
}

func (c curve) panel(x, y int) panel {
	top := 0.0
	for _, p := range c.points {
		top = max(top, p.value)
	}
	top = roundUp(top * 1.2) // room for what is written above the highest
	panel := panel{X: x, Y: y, Title: c.Name, Unit: c.Unit, Top: number(top)}
	var line []string
	for i, p := range c.points {
		across := 0.0
		if n := len(c.points); n > 1 {
			across = float64(i) / float64(n-1)
		}
		d := dot{X: plotLeft + across*plotWidth, Y: plotTop + plotHeight, Value: number(p.value), Size: thousands(p.open)}
		if top > 0 {
			d.Y -= p.value / top * plotHeight
		}
		panel.Dots = append(panel.Dots, d)
		line = append(line, fmt.Sprintf("%.1f,%.1f", d.X, d.Y))
	}
	panel.Line = strings.Join(line, " ")
	return panel
}

// roundUp is the next 1, 2 or 5 times a power of ten.
func roundUp(x float64) float64 {
	if x <= 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*unit >= x {
			return m * unit
		}
	}
	return 10 * unit
}

func thousands(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1000 && n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprint(n)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
)

// What a soak sends: 2,000 events a second, about half of what a machine of two
// cores bears with everything on it. One in a hundred resolves its condition,
// so that incidents come and go.
const (
	soakClients = 40
	soakPause   = 20 * time.Millisecond // between two events of a client
	soakKeys    = 500                   // conditions of one client
	soakResolve = 100                   // each so many events one is a resolve
	soakLooks   = 60                    // looks at the server in a soak
)

// How much more the server may use in the last third of a soak than in the
// second, and by how many bytes Redis may grow for each incident that ended:
// its document, its entries in the day's feed, its facts.
const (
	soakGrowth   = 1.10
	soakPerEnded = 4000
)

// look is what the server uses at an instant.
type look struct {
	rss, goroutines, files float64
	redis, ended           float64 // bytes; incidents
}

// soak keeps an installation busy for a long while with conditions that come
// and go, and compares what it uses in the last third of the time with the
// second: a leak shows.
func soak(ctx context.Context, o options, out io.Writer) error {
	var looks []look
	_, err := once(ctx, o, scene{name: "soak", play: func(ctx context.Context, st *stage) error {
		var err error
		looks, err = playSoak(ctx, st, o.Soak, out)
		return err
	}}, 0)
	if err != nil {
		return err
	}
	return judge(looks, out)
}

func playSoak(ctx context.Context, st *stage, length time.Duration, out io.Writer) ([]look, error) {
	err := st.open(ctx, setting{organisation: lab.Organisation{Services: 50, People: 50, Devices: 2, FirstPage: 24 * time.Hour}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var sent, refused atomic.Int64
	ended := make(chan error, soakClients)
	for c := range soakClients {
		go func() { ended <- st.churn(ctx, c, &sent, &refused) }()
	}
	var looks []look
	began := time.Now()
	tick := time.NewTicker(max(length/soakLooks, time.Second))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			l, err := st.lookAt(ctx)
			if ctx.Err() != nil {
				break
			}
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(out, "%v: %d events, %d refused, %.0f incidents ended; %.1f MB, %.0f goroutines, %.0f files; Redis %.1f MB\n",
				time.Since(began).Round(time.Second), sent.Load(), refused.Load(), l.ended, l.rss/1e6, l.goroutines, l.files, l.redis/1e6)
			looks = append(looks, l)
		}
	}
	for range soakClients {
		err = errors.Join(err, <-ended)
	}
	if refused.Load() > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d events were refused", refused.Load(), sent.Load()))
	}
	return looks, err
}

// churn is one monitor: conditions that are reported again and again, and now
// and then one that is over.
func (st *stage) churn(ctx context.Context, number int, sent, refused *atomic.Int64) error {
	c, err := lab.Dial(ctx, st.server.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	trigger, resolve := lab.NewEvent(number%50), lab.NewResolve(number%50)
	tick := time.NewTicker(soakPause)
	defer tick.Stop()
	for i := int64(0); ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		key := int64(number)*soakKeys + i%soakKeys
		request := trigger.Request(key)
		if i%soakResolve == soakResolve-1 {
			request = resolve.Request(int64(number)*soakKeys + i/soakResolve%soakKeys)
		}
		status, err := c.Call(request)
		if err != nil {
			return err
		}
		sent.Add(1)
		if status != http.StatusAccepted {
			refused.Add(1)
		}
	}
}

// lookAt reads what the server says of itself, and what Redis holds.
func (st *stage) lookAt(ctx context.Context) (look, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+st.admin+"/metrics", http.NoBody)
	if err != nil {
		return look{}, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return look{}, fmt.Errorf("read the metrics: %w", err)
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		return look{}, fmt.Errorf("read the metrics: %w", err)
	}
	gauge := func(name string) float64 { return families[name].GetMetric()[0].GetGauge().GetValue() }
	info, err := st.look.Store.Info(ctx)
	if err != nil {
		return look{}, err
	}
	used, err := strconv.ParseFloat(info["used_memory"], 64)
	if err != nil {
		return look{}, fmt.Errorf("read what Redis uses: %w", err)
	}
	ended, err := st.look.Ended(ctx)
	return look{
		rss: gauge("process_resident_memory_bytes"), goroutines: gauge("go_goroutines"), files: gauge("process_open_fds"),
		redis: used, ended: float64(ended),
	}, err
}

// judge compares the last third of the looks with the second.
func judge(looks []look, out io.Writer) error {
	third := len(looks) / 3
	if third < 3 {
		return fmt.Errorf("%d looks are too few to compare: let it run for longer", len(looks))
	}
	second, last := looks[third:2*third], looks[2*third:]
	var errs []error
	for _, what := range []struct {
		name string
		of   func(look) float64
	}{
		{"memory", func(l look) float64 { return l.rss }},
		{"goroutines", func(l look) float64 { return l.goroutines }},
		{"open files", func(l look) float64 { return l.files }},
	} {
		before, after := medianOf(second, what.of), medianOf(last, what.of)
		fmt.Fprintf(out, "%s: %.0f, then %.0f (%+.1f %%)\n", what.name, before, after, (after/before-1)*100)
		if after > before*soakGrowth {
			errs = append(errs, fmt.Errorf("%s grew from %.0f to %.0f", what.name, before, after))
		}
	}
	redis := func(l look) float64 { return l.redis }
	ended := func(l look) float64 { return l.ended }
	grown, more := medianOf(last, redis)-medianOf(second, redis), medianOf(last, ended)-medianOf(second, ended)
	each := grown / max(more, 1)
	fmt.Fprintf(out, "Redis: %.0f bytes for each incident that ended\n", each)
	if each > soakPerEnded {
		errs = append(errs, fmt.Errorf("what Redis holds grew by %.0f bytes while %.0f incidents ended", grown, more))
	}
	return errors.Join(errs...)
}

func medianOf(looks []look, of func(look) float64) float64 {
	values := make([]float64, len(looks))
	for i, l := range looks {
		values[i] = of(l)
	}
	slices.Sort(values)
	return quantile(values, 0.5)
}

package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
)

const (
	lookEvery   = 200 * time.Millisecond // at deliveries, which the stream does not tell of
	lookPause   = 100 * time.Millisecond // after the stream broke
	lookTimeout = 3 * time.Second
)

// watch follows incidents over the API, as any client does: the stream says
// that one changed, from its last cursor on when the connection broke; the
// timeline is read from its last entry on. It is safe for concurrent use.
type watch struct {
	api     tocsinv1.IncidentServiceClient
	journal *journal
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	byName map[string]*view
	order  []string // names, in the order in which they were seen first
	live   bool     // the stream is open
}

// view is one incident as far as it is known.
type view struct {
	incident   *tocsinv1.Incident
	entries    []*tocsinv1.TimelineEntry
	deliveries []*tocsinv1.Delivery
}

// follow begins to watch, until close: it outlives the step that begins it.
func follow(ctx context.Context, api tocsinv1.IncidentServiceClient, j *journal) *watch {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &watch{api: api, journal: j, cancel: cancel, byName: make(map[string]*view)}
	w.running.Go(func() { w.stream(ctx) })
	w.running.Go(func() { w.look(ctx) })
	return w
}

func (w *watch) close() {
	w.cancel()
	w.running.Wait()
}

// stream reads changes until ctx ends.
func (w *watch) stream(ctx context.Context) {
	cursor := ""
	for ctx.Err() == nil {
		err := w.read(ctx, &cursor)
		w.setLive(false)
		if status.Code(err) == codes.OutOfRange {
			cursor = "" // too old: list again
		}
		rest(ctx, lookPause)
	}
}

func (w *watch) read(ctx context.Context, cursor *string) error {
	if *cursor == "" { // list first, and watch from there: nothing falls between
		list, err := w.api.ListIncidents(ctx, &tocsinv1.ListIncidentsRequest{PageSize: 1})
		if err != nil {
			return err
		}
		*cursor = list.GetWatchCursor()
	}
	changes, err := w.api.WatchIncidents(ctx, &tocsinv1.WatchIncidentsRequest{Cursor: *cursor})
	if err != nil {
		return err
	}
	for {
		change, err := changes.Recv()
		if err != nil {
			return err
		}
		w.setLive(true)
		*cursor = change.GetCursor()
		if name := change.GetIncident().GetName(); name != "" {
			w.changed(change.GetIncident())
			_ = w.readTimeline(ctx, name) // what fails is read by the next look
		}
	}
}

// look reads what the stream does not tell, or could not: deliveries, and the
// incidents that were there before it.
func (w *watch) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.lookOnce(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) lookOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	list, err := w.api.ListIncidents(ctx, &tocsinv1.ListIncidentsRequest{
		PageSize: 10, OrderBy: "create_time desc", Scope: tocsinv1.ListIncidentsRequest_SCOPE_ALL,
	})
	if err != nil {
		return // the server is down, which is part of the demo
	}
	for _, in := range list.GetIncidents() {
		w.changed(in)
		if w.readTimeline(ctx, in.GetName()) == nil {
			_ = w.readDeliveries(ctx, in.GetName())
		}
	}
}

// changed takes in a newer copy of an incident.
func (w *watch) changed(in *tocsinv1.Incident) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.viewOf(in.GetName())
	if v.incident == nil || v.incident.GetRevision() <= in.GetRevision() {
		v.incident = in
	}
}

func (w *watch) viewOf(name string) *view {
	if w.byName[name] == nil {
		w.byName[name] = &view{}
		w.order = append(w.order, name)
	}
	return w.byName[name]
}

func (w *watch) readTimeline(ctx context.Context, name string) error {
	w.mu.Lock()
	after := int64(len(w.viewOf(name).entries)) // sequence numbers are dense from 1
	w.mu.Unlock()
	page, err := w.api.ListTimeline(ctx, &tocsinv1.ListTimelineRequest{Parent: name, AfterSeq: after, PageSize: 200})
	if err != nil {
		return fmt.Errorf("read the timeline of %s: %w", name, err)
	}
	w.mu.Lock()
	v := w.viewOf(name)
	var fresh []*tocsinv1.TimelineEntry
	for _, e := range page.GetEntries() {
		if e.GetSeq() == int64(len(v.entries))+1 { // both readers may have asked at once
			v.entries = append(v.entries, e)
			fresh = append(fresh, e)
		}
	}
	w.mu.Unlock()
	for _, e := range fresh {
		w.journal.add(sighting{at: e.GetEntryTime().AsTime(), where: atTimeline, text: e.GetSummary(), entry: e, incident: name})
	}
	return nil
}

func (w *watch) readDeliveries(ctx context.Context, name string) error {
	page, err := w.api.ListDeliveries(ctx, &tocsinv1.ListDeliveriesRequest{Parent: name, PageSize: 200})
	if err != nil {
		return fmt.Errorf("read the deliveries of %s: %w", name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.viewOf(name).deliveries = page.GetDeliveries()
	return nil
}

func (w *watch) setLive(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live = on
}

// views are copies of all incidents, in the order in which they were seen first.
func (w *watch) views() []view {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []view
	for _, name := range w.order {
		v := *w.byName[name]
		if v.incident != nil {
			v.entries = slices.Clone(v.entries)
			all = append(all, v)
		}
	}
	return all
}

// view is one of them.
func (w *watch) view(name string) view {
	for _, v := range w.views() {
		if v.incident.GetName() == name {
			return v
		}
	}
	return view{}
}

// delivery finds the record of a page by its id.
func (v view) delivery(id string) *tocsinv1.Delivery {
	i := slices.IndexFunc(v.deliveries, func(d *tocsinv1.Delivery) bool { return d.GetDeliveryId() == id })
	if i < 0 {
		return nil
	}
	return v.deliveries[i]
}

// deliveryWay is the states that a delivery has been in: "accepted → received".
func deliveryWay(d *tocsinv1.Delivery) string {
	var way []string
	for _, s := range []struct {
		name    string
		reached bool
	}{
		{"accepted", d.GetAcceptTime() != nil},
		{"received", d.GetReceiveTime() != nil},
		{"displayed", d.GetDisplayTime() != nil},
		{"opened", d.GetOpenTime() != nil},
		{"acted", d.GetActTime() != nil},
	} {
		if s.reached {
			way = append(way, s.name)
		}
	}
	if end := stateWord(d.GetState()); len(way) == 0 || !slices.Contains(way, end) && d.GetState() != tocsinv1.Delivery_STATE_ATTEMPTED {
		way = append(way, end)
	}
	return strings.Join(way, " → ")
}

func stateWord(s tocsinv1.Delivery_State) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_"))
}

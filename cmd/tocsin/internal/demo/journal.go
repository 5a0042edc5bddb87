package demo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/pushtest"
)

// place is where on the way of a page something was seen.
type place string

// The places.
const (
	atMonitor  place = "alertmanager"
	atServer   place = "server"
	atAPNs     place = "apns"
	atFCM      place = "fcm"
	atPhone    place = "phone"
	atMail     place = "mail"
	atTimeline place = "timeline" // of the incident, read over the API
)

// sighting is one thing that was seen. What is set beside the text depends on the place.
type sighting struct {
	at    time.Time
	where place
	who   person // whose phone or mailbox; 0 for nobody's
	text  string

	request  *pushtest.Request       // at a push service
	push     *pushtest.Notification  // on a phone
	entry    *tocsinv1.TimelineEntry // in a timeline
	incident string                  // resource name
}

// journal is everything that was seen, in the order in which it came to be
// known. It is safe for concurrent use.
type journal struct {
	mu   sync.Mutex
	all  []sighting
	news chan struct{} // closed and replaced at each addition
}

func newJournal() *journal { return &journal{news: make(chan struct{})} }

func (j *journal) add(s sighting) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, s)
	close(j.news)
	j.news = make(chan struct{})
}

// mark is the present end, to look only at what comes after it.
func (j *journal) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.all)
}

// since is what was seen from the mark on, and a channel that closes at the next addition.
func (j *journal) since(mark int) ([]sighting, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.all[min(mark, len(j.all)):]), j.news
}

// find is what of it matches, from the mark on.
func (j *journal) find(mark int, match func(sighting) bool) []sighting {
	all, _ := j.since(mark)
	return slices.DeleteFunc(all, func(s sighting) bool { return !match(s) })
}

// await returns the first sighting from the mark on that matches, seen
// already or still to come.
func (j *journal) await(ctx context.Context, mark int, match func(sighting) bool) (sighting, error) {
	for {
		all, news := j.since(mark)
		if i := slices.IndexFunc(all, match); i >= 0 {
			return all[i], nil
		}
		mark += len(all)
		select {
		case <-news:
		case <-ctx.Done():
			return sighting{}, fmt.Errorf("it was not seen: %w", context.Cause(ctx))
		}
	}
}

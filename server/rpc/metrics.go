package rpc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// metrics are what an operator sees of taps on notifications. Labels are from
// closed sets, never a person, a token or an incident.
type metrics struct {
	actions *prometheus.CounterVec
	queued  prometheus.Histogram
}

// longestQueued bounds what a phone's clock may say about how long a tap waited:
// an action token lives for an hour.
const longestQueued = time.Hour

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "push_actions_total", Help: "Taps on notifications, by what they ask for, how the phone proved itself, and what became of them.",
		}, []string{"verb", "auth", "result"}),
		queued: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "push_ack_queue_delay_seconds", Help: "How long a tap waited on the phone, by the phone's clock and ours, from 0 to an hour.",
			Buckets: []float64{.1, .5, 1, 2, 5, 15, 60, 300, 900, 3600},
		}),
	}
	if r != nil {
		r.MustRegister(m.actions, m.queued)
	}
	return m
}

// acted counts a tap.
func (m *metrics) acted(req *pb.ActRequest, answer *pb.ActResponse, err error, now time.Time) {
	m.actions.WithLabelValues(verbName(req.GetVerb()), proofName(req), resultName(answer, err)).Inc()
	if err != nil || req.GetAtDevice() == nil {
		return
	}
	if at := clientTime(req.GetAtDevice().AsTime(), true); !at.IsZero() {
		m.queued.Observe(min(max(now.Sub(at), 0), longestQueued).Seconds())
	}
}

func verbName(v pb.ActRequest_Verb) string {
	switch v {
	case pb.ActRequest_VERB_ACKNOWLEDGE:
		return "acknowledge"
	case pb.ActRequest_VERB_RESOLVE:
		return "resolve"
	case pb.ActRequest_VERB_ESCALATE:
		return "escalate"
	default:
		return "other"
	}
}

func proofName(req *pb.ActRequest) string {
	switch {
	case req.GetActionToken() != "":
		return "action_token"
	case len(req.GetUnlockSignature()) > 0:
		return "unlocked"
	}
	return "credential"
}

func resultName(answer *pb.ActResponse, err error) string {
	switch kind := fault.KindOf(err); {
	case err != nil && (kind == fault.Unauthenticated || kind == fault.Denied):
		return "refused"
	case err != nil:
		return "failed"
	}
	switch answer.GetOutcome() {
	case pb.ActResponse_OUTCOME_DONE:
		return "done"
	case pb.ActResponse_OUTCOME_ALREADY:
		return "already"
	case pb.ActResponse_OUTCOME_RESOLVED:
		return "resolved"
	default:
		return "other"
	}
}

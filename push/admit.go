package push

import "time"

// admit takes a new job in, or ends it at once.
func (s *Sender) admit(now time.Time, j *job) {
	j.enqueued = now
	m := &j.d.Message
	if m.At.IsZero() {
		m.At = now
	}
	b := s.bulkhead(&j.d.Device)
	switch err := m.Validate(); {
	case s.closing:
		s.end(now, j, EndStopped, AddressKeep)
	case err != nil:
		j.last = Outcome{Class: OurBug, Reason: err.Error(), Local: true}
		s.end(now, j, EndRejected, AddressKeep)
	case b == nil:
		j.last = Outcome{Class: Park, Reason: "UnknownApp", Local: true}
		s.alert(now, appKey{string(j.d.Device.Platform), j.d.Device.App, j.env}, "a phone belongs to an app that is not configured", "UnknownApp")
		s.end(now, j, EndRejected, AddressPark)
	case !now.Before(m.Deadline):
		j.home = b
		s.end(now, j, EndExpired, AddressKeep)
	case len(b.live) >= b.maxQueue:
		j.home = b
		j.last = Outcome{Class: RetryLater, Reason: "QueueFull", Local: true}
		s.alert(now, b.key, "the queue of an app is full", "QueueFull")
		s.end(now, j, EndProviderDown, AddressKeep)
	default:
		s.line(now, b, j)
	}
}

// line puts the job into its slot's line: it takes the place of what waits
// there and goes behind what is in flight, so that a page and its clear never
// overtake each other.
func (s *Sender) line(now time.Time, b *bulkhead, j *job) {
	j.home = b
	if key, ok := j.slot(); ok {
		if prev := s.latest[key]; prev != nil {
			if older(j, prev) {
				s.end(now, j, EndSuperseded, AddressKeep)
				return
			}
			ahead := prev
			if prev.place != placeFlying {
				ahead, prev.ahead = prev.ahead, nil
				s.end(now, prev, EndSuperseded, AddressKeep)
			}
			if ahead != nil {
				ahead.next, j.ahead = j, ahead
			}
		}
		s.latest[key] = j
	}
	b.live[j] = struct{}{}
	if j.ahead != nil {
		j.place = placeBehind
	} else {
		s.ready(now, j)
		s.pump(now, b)
	}
	s.linger(now, j)
}

// linger makes sure that a job which has to stand in a queue is told its end
// at its deadline, not when its turn would have come.
func (s *Sender) linger(now time.Time, j *job) {
	if (j.place != placeQueued && j.place != placeBehind) || j.expiry != nil {
		return
	}
	j.expiry = time.AfterFunc(max(0, j.d.Message.Deadline.Sub(now)), func() {
		s.locked(func(now time.Time) {
			if j.place == placeQueued || j.place == placeBehind {
				s.end(now, j, EndExpired, AddressKeep)
			}
		})
	})
}

func older(j, than *job) bool {
	a, b := &j.d.Message, &than.d.Message
	return a.IncidentID == b.IncidentID && a.Revision < b.Revision
}

func (s *Sender) ready(_ time.Time, j *job) {
	j.place = placeQueued
	j.home.queueFor(j).push(j)
}

// wake queues what waits for the provider to come back.
func (s *Sender) wake(now time.Time, b *bulkhead) {
	var woken []*job
	for j := range b.live {
		j.told = false
		if j.place == placeWaiting && j.held {
			s.stopTimer(j)
			s.ready(now, j)
			woken = append(woken, j)
		}
	}
	s.pump(now, b)
	for _, j := range woken {
		s.linger(now, j)
	}
}

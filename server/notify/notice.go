package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

const (
	noticeLife     = time.Hour
	uncoveredEvery = 6 * time.Hour
)

// notice tells one person something quietly, or asks "still on it?".
func (n *Notifier) notice(j job) error {
	urgent := j.work.Kind == incident.WorkConfirm
	text := j.work.Text
	if urgent {
		text = "Still on it? Say so in the app, or somebody else is paged."
	}
	sent, err := n.tell(j, j.work.User, telling{name: j.name(), text: text, urgent: urgent})
	if err != nil {
		return err
	}
	n.running.Go(func() {
		if <-sent {
			j.end()
		}
	})
	return nil
}

// uncovered tells the owners that a level had nobody: the team of the schedule
// that has nobody on call, once in six hours for the schedule whatever asks by it;
// else that of the service, for the level.
func (n *Notifier) uncovered(j job) error {
	service, _ := n.o.Directory.Service(j.in.Service)
	owners := n.o.Directory.Members(service.Team)
	text := fmt.Sprintf("Level %d had nobody to page (%s).", j.work.Level+1, causeWord(j.work.Cause))
	key := fmt.Sprintf("uncovered/%s/%d", j.in.Policy.ID, j.work.Level)
	if id := j.work.Schedule; id != "" {
		name, team := n.o.Directory.Schedule(id)
		if of := n.o.Directory.Members(team); len(of) > 0 {
			owners = of
		}
		text = fmt.Sprintf("Level %d had nobody to page: nobody is on call by the schedule %q.", j.work.Level+1, name)
		key = "uncovered/schedules/" + string(id)
	}
	if len(owners) == 0 {
		owners = n.o.Directory.Settings().CatchAll
	}
	var all []<-chan bool
	for _, u := range owners {
		// A name for each owner: their documents and devices are apart, their deliveries are not.
		sent, err := n.tell(j, u, telling{name: j.name(), text: text, key: key, every: uncoveredEvery})
		if err != nil {
			return err
		}
		all = append(all, sent)
	}
	n.running.Go(func() {
		finished := true
		for _, sent := range all {
			finished = <-sent && finished
		}
		if finished {
			j.end()
		}
	})
	return nil
}

// telling is something to be told to one person.
type telling struct {
	name, text string
	key        string
	every      time.Duration
	urgent     bool
}

// tell has the notice decided and sends it. The channel says, once, whether it
// has come to its end here.
func (n *Notifier) tell(j job, u roster.UserID, t telling) (<-chan bool, error) {
	ended := make(chan bool, 1)
	user, ok := n.o.Directory.User(u)
	if !ok {
		ended <- true
		return ended, nil
	}
	level, method := n.level(user, j.in.Service), n.quietMethod(user)
	text := noticeWords(j.in, n.serviceName(j.in), t.text, level)
	outcome, err := n.attend(j.ctx, u, attention.Notice{
		Work: t.name, Incident: j.in.ID, Method: method.ID, Key: t.key, Every: t.every, Urgent: t.urgent,
		Text: text.Title + ": " + text.Body,
	}, nil)
	if err != nil {
		return nil, err
	}
	if outcome.Verdict != attention.SendNow {
		ended <- true
		return ended, nil
	}
	n.send(j.ctx, n.noticeEnvelope(j, user, method, text, t, outcome, level, ended))
	return ended, nil
}

func (n *Notifier) noticeEnvelope(j job, user roster.User, method roster.Method, text words, t telling, outcome attention.Outcome, level roster.Privacy, ended chan<- bool) envelope {
	e := envelope{
		work: t.name, user: user, method: method, urgency: incident.Low, doc: store.IncidentDoc(j.in.ID),
		unguarded: !t.urgent, generation: j.work.Generation, alive: j.ctx.Err, incident: j.in, words: text,
		privacy: level, kind: push.KindInfo, collapse: collapseID(j.in.ID) + "-note", letter: "notice",
		lines: []string{text.Title, text.Body}, refs: []Ref{n.ref(j.in, level)}, reason: workName(j.work.Kind),
		at: j.at, deadline: n.now().Add(noticeLife),
		ended: func(_ context.Context, r result) { ended <- !r.stopped },
	}
	e.sound, e.level = push.SoundNone, push.LevelPassive
	if t.urgent {
		e.kind, e.urgency, e.collapse, e.deadline = push.KindPage, incident.High, collapseID(j.in.ID), n.deadline(j.work.Deadline)
		e.open, e.badge = outcome.Open+1, &outcome.Open // the one that is asked about is acknowledged
		e.details = map[string]string{"ask": "confirm"}
		e.sealed = n.fuller(level, j.in, func(p roster.Privacy) words { return noticeWords(j.in, n.serviceName(j.in), t.text, p) })
		e.sound, e.level = loudness(incident.High, outcome.Sound, false)
	}
	return e
}

// quietMethod is how a person is told what needs nobody at once: by push, or by
// mail where no device would get it.
func (n *Notifier) quietMethod(u roster.User) roster.Method {
	pushAll, _ := u.Method(roster.PushAll)
	for _, p := range n.o.Directory.Phones(u.ID) {
		if p.Pageable() {
			return pushAll
		}
	}
	for _, m := range u.Methods {
		if m.Kind == roster.Email && m.Verified && !m.Bouncing {
			return m
		}
	}
	return pushAll
}

func causeWord(c incident.Cause) string {
	if c == incident.CauseNoMethod {
		return "who holds it cannot be reached"
	}
	return "nobody holds it"
}

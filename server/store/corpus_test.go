package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/incident/incidenttest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// The corpus is what archives are made small for: incidents that were decided by
// the rules, from their first alert to their end, with deliveries as notify
// records them and alerts as monitors word them. No two lives have a name in
// common but by chance, as no two installations have.

// life is one incident of the corpus as it comes about.
type life struct {
	r      *rand.Rand
	w      *incidenttest.World
	now    time.Time
	source incident.Actor
	a      archive
}

// lifeOf plays the life of an incident, which the seed alone decides.
func lifeOf(tb testing.TB, seed uint64) *archive {
	tb.Helper()
	l := &life{r: rand.New(rand.NewPCG(seed, 0)), w: incidenttest.New()}
	l.now = base.Add(time.Duration(l.r.Int64N(int64(8000 * time.Hour)))).Truncate(time.Millisecond)
	e, key, integration := l.event()
	l.source = incident.Actor{Kind: incident.ActorSource, ID: integration, Via: "events"}
	svc := l.organise()
	begin := incident.Begin{
		ID: l.id(PartitionOf(string(svc.ID))), Number: 1 + l.r.Int64N(40_000), Service: svc, By: l.source,
		Alert: incident.Alert{Service: svc.ID, Key: key, Integration: catalog.IntegrationID(integration), Count: 1}, Event: e,
	}
	if l.often(4) {
		begin.Trace = fmt.Sprintf("00-%016x%016x-%016x-01", l.r.Uint64(), l.r.Uint64(), l.r.Uint64())
	}
	must := func(cmd incident.Command) {
		if err := l.decide(cmd); err != nil {
			tb.Fatalf("life %d: %T: %v", seed, cmd, err)
		}
	}
	must(begin)
	answered := l.now.Add(l.upTo(5 * time.Minute))
	ends := l.now.Add(l.upTo(time.Hour))
	for l.a.incident.Open() {
		due := l.a.incident.Due()
		switch next := earliest(due, answered, ends); next {
		case ends:
			l.now = ends
			must(l.end())
		case answered:
			l.now, answered = answered, time.Time{}
			for _, cmd := range l.answer() {
				must(cmd)
			}
		default:
			l.now = latest(l.now, due)
			must(incident.Tick{Receipts: incident.Receipts(l.a.deliveries, func(roster.UserID) time.Time { return time.Time{} }), Alerts: l.a.alerts})
		}
	}
	sortRecord(&Record{Alerts: l.a.alerts, Deliveries: l.a.deliveries}) // in place
	return &l.a
}

// id is what [NewIncidentID] makes, of the life's own chance: deliveries are in
// the order of ids that are made of it.
func (l *life) id(p Partition) incident.ID {
	random := appendDigits(nil, l.r.Uint64(), 8)
	return NewIncidentID(p, l.now)[:idLen-len(random)] + incident.ID(random)
}

// earliest returns the first of the instants that are set.
func earliest(at ...time.Time) time.Time {
	return slices.MinFunc(slices.DeleteFunc(at, time.Time.IsZero), time.Time.Compare)
}

func latest(a, b time.Time) time.Time { return slices.MaxFunc([]time.Time{a, b}, time.Time.Compare) }

// often is true once in n times.
func (l *life) often(n int) bool { return l.r.IntN(n) == 0 }

func (l *life) upTo(d time.Duration) time.Duration {
	return time.Duration(1+l.r.Int64N(d.Milliseconds())) * time.Millisecond
}

func (l *life) one(of []string) string { return of[l.r.IntN(len(of))] }

func (l *life) words(n int) string {
	var all []string
	for range n {
		all = append(all, l.one(words))
	}
	return strings.Join(all, " ")
}

// camel is a name as alert rules have it.
func (l *life) camel(n int) string {
	name := ""
	for range n {
		w := l.one(words)
		name += strings.ToUpper(w[:1]) + w[1:]
	}
	return name
}

// organise makes a service, and people with phones.
func (l *life) organise() catalog.Service {
	var levels []escalation.Level
	for range 1 + l.r.IntN(2) {
		user := roster.UserID(l.one(people))
		if l.often(3) {
			user += roster.UserID("." + l.one(words))
		}
		l.w.Add(user)
		l.w.Phones[user] = l.w.Phones[user][:0]
		for range 1 + l.r.IntN(2) {
			phone := roster.Device{ID: roster.DeviceID(fmt.Sprintf("%016x", l.r.Uint64())), User: user, Platform: roster.IOS, State: roster.DeviceActive}
			if l.often(2) {
				phone.Platform = roster.Android
			}
			l.w.Phones[user] = append(l.w.Phones[user], phone)
		}
		levels = append(levels, incidenttest.Level(time.Duration(1+l.r.IntN(6))*5*time.Minute, string(user)))
	}
	policy := escalation.PolicyID(l.one(words))
	if l.often(2) {
		policy += escalation.PolicyID("-" + l.one(words))
	}
	l.w.SetPolicy(policy, l.r.IntN(2), levels...)
	svc := catalog.Service{ID: catalog.ServiceID(l.one(words) + "-" + l.one(words)), Policy: policy, Urgency: catalog.UrgencyHigh}
	svc.Name = string(svc.ID)
	if l.often(2) {
		svc.Team = roster.TeamID(l.one(words))
	}
	l.w.Services[svc.ID] = svc
	return svc
}

// event is one alert as one of the usual monitors words it.
func (l *life) event() (e event.Event, key, integration string) {
	host := fmt.Sprintf("%s-%d", l.one(words), l.r.IntN(40))
	rule, domain := l.camel(2+l.r.IntN(2)), l.one(words)+".example.com"
	e = event.Event{Action: event.Trigger, Severity: event.Severity(1 + l.r.IntN(3)), Source: host}
	switch l.r.IntN(4) {
	case 0: // Alertmanager
		e.Summary = fmt.Sprintf("%s of %s above %d%% for %d minutes", l.words(2+l.r.IntN(3)), host, l.r.IntN(100), 1+l.r.IntN(30))
		e.Class, e.Component, e.Client, e.ClientURL = rule, l.one(words), "Alertmanager", "https://alertmanager."+domain
		e.Details = fmt.Appendf(nil, `{"labels":{"alertname":"%s","instance":"%s","job":"%s","namespace":"%s","severity":"critical"},"receiver":"tocsin"}`, rule, host, e.Component, l.one(words))
		e.Links = []event.Link{{Href: "https://prometheus." + domain + "/graph?g0.expr=" + l.one(words), Text: "Graph"}, {Href: "https://runbooks." + domain + "/" + rule, Text: "Runbook"}}
		return e, fmt.Sprintf("alertmanager:%016x", l.r.Uint64()), "alertmanager"
	case 1: // Events API, from a collection of scripts
		e.Summary = fmt.Sprintf("%s on %s", l.words(3+l.r.IntN(5)), host)
		e.Summary = strings.ToUpper(e.Summary[:1]) + e.Summary[1:]
		e.Component, e.Class = l.one(words), rule
		e.Details = fmt.Appendf(nil, `{"%s":"%d%%","threshold":"%d%%"}`, l.one(words), l.r.IntN(100), l.r.IntN(100))
		return e, fmt.Sprintf("%s/%s/%s", host, e.Component, l.one(words)), "monitor"
	case 2: // keys made of labels
		e.Summary = fmt.Sprintf("High %s on %s in %s", l.words(2), l.one(words), l.one([]string{"eu-west-1", "us-east-1", "eu-central-1", "production", "staging"}))
		e.Component, e.Source = l.one(words), host+"."+domain
		e.Details = fmt.Appendf(nil, `{"%s":"%d.%d%%","runbook":"https://runbooks.%s/%s"}`, l.one(words), l.r.IntN(100), l.r.IntN(10), domain, rule)
		return e, fmt.Sprintf("alertname=%s,instance=%s", rule, host), "prometheus"
	}
	e.Summary = l.words(4 + l.r.IntN(5)) // a check
	return e, fmt.Sprintf("%s/%s", host, l.one(words)), l.one([]string{"icinga", "zabbix", "grafana", "datadog", "cloudwatch"})
}

// answer is what the person who was paged does.
func (l *life) answer() []incident.Command {
	by := incident.Actor{Kind: incident.ActorUser, ID: l.one(people), Via: l.one([]string{"app", "notification", "action_token", "chat", "api"})}
	if a := l.a.incident.Assignees; len(a) > 0 {
		by.ID = string(a[0].User)
		if phones := l.w.Phones[a[0].User]; len(phones) > 0 {
			by.Device = phones[0].ID
		}
	}
	e, _, _ := l.event()
	switch l.r.IntN(8) {
	case 0:
		return nil // he sleeps
	case 1:
		return []incident.Command{incident.Acknowledge{By: by}, incident.AddNote{By: by, Text: l.words(5 + l.r.IntN(10))}}
	case 2:
		return []incident.Command{incident.Repeat{Alert: l.a.alerts[0], Event: e, By: l.source, Count: 1 + l.r.IntN(5)}}
	case 3:
		return []incident.Command{incident.Escalate{By: by, Wrap: true}}
	case 4:
		return []incident.Command{incident.Acknowledge{By: by, ClientAt: l.now.Add(-l.upTo(time.Minute))}, incident.Snooze{By: by, For: time.Duration(1+l.r.IntN(60)) * time.Minute}}
	}
	return []incident.Command{incident.Acknowledge{By: by}}
}

// end is how it is over: mostly the monitor says so.
func (l *life) end() incident.Command {
	if l.often(4) {
		return incident.Resolve{By: incident.Actor{Kind: incident.ActorUser, ID: l.one(people), Via: "app"}, Alerts: l.a.alerts}
	}
	return incident.CloseAlert{Alert: l.a.alerts[0], By: l.source, At: l.now.Add(-l.upTo(time.Minute))}
}

// decide carries a command out, as a commit does.
func (l *life) decide(cmd incident.Command) error {
	dec, err := incident.Decide(l.a.incident, cmd, l.w, l.now)
	if err != nil {
		return err
	}
	for _, alert := range dec.Alerts {
		i := slices.IndexFunc(l.a.alerts, func(b incident.Alert) bool { return b.Key == alert.Key })
		if i < 0 {
			l.a.alerts = append(l.a.alerts, alert)
		} else {
			l.a.alerts[i] = alert
		}
	}
	if dec.Coalesce != nil {
		l.a.timeline[len(l.a.timeline)-1] = *dec.Coalesce
	}
	l.a.timeline = append(l.a.timeline, dec.Timeline...)
	dec.Incident.Revision++
	l.a.incident = dec.Incident
	for _, w := range dec.Work {
		if w.Kind == incident.WorkPage {
			l.page(w)
		}
	}
	return nil
}

// page records what becomes of a page to each phone.
func (l *life) page(w incident.Work) {
	in := l.a.incident
	p := PartitionOf(string(in.Service))
	work := fmt.Sprintf("%s.%s/%d-0", strconv.FormatUint(in.Revision, 36), p, l.now.UnixMilli())
	for _, phone := range l.w.Phones[w.User] {
		d := incident.Delivery{
			Work: work, User: w.User, Device: phone.ID, Method: w.Method, Kind: roster.Push, Native: true, Page: true,
			Urgency: in.Urgency, State: incident.DeliveryAccepted, Audible: true, Attempts: 1, Epoch: 1,
			Deadline: l.now.Add(10 * time.Minute), Queued: l.now, Provider: "",
		}
		if w.Method != roster.PushAll {
			d.Kind, d.Native, d.Device = roster.Email, false, ""
		}
		d.ID = derivedID(in.ID, deliveryToProto(d))
		d.Attempted = l.now.Add(l.upTo(5 * time.Millisecond))
		d.Accepted = d.Attempted.Add(l.upTo(300 * time.Millisecond))
		if phone.Platform == roster.Android && d.Native {
			d.Provider = fmt.Sprintf("projects/%s/messages/0:%016d%%%08x", l.one(words), l.r.Uint64N(1e16), l.r.Uint32())
		}
		if d.Native && !l.often(5) {
			d.State, d.Received = incident.DeliveryReceived, d.Accepted.Add(l.upTo(2*time.Second))
			if l.often(2) {
				d.State, d.Displayed = incident.DeliveryDisplayed, d.Received.Add(l.upTo(200*time.Millisecond))
			}
		}
		l.a.deliveries = append(l.a.deliveries, d)
		if !d.Native {
			break
		}
	}
}

// corpus is n lives, none of which another corpus of other seeds has.
func corpus(tb testing.TB, from uint64, n int) []*archive {
	tb.Helper()
	all := make([]*archive, n)
	for i := range all {
		all[i] = lifeOf(tb, from+uint64(i))
	}
	return all
}

// words are those that alerts are made of.
var words = strings.Fields(`
	access age api auth backend backup bandwidth billing broker cache cart certificate check checkout cluster connection
	consumer container cpu crash cron daemon data database deadlock delay deploy disk dns download drift edge email endpoint
	error etcd export failover failed fan feed file filesystem firewall frontend full gateway gpu group health heartbeat high
	host import index ingress inode instance interface invoice job kafka kernel kubelet lag latency leader leak limit load
	lock login loss mail master memory message metric migration missing mount mysql network nginx node offline order
	packet partition payment pending pod pool port postgres power pressure probe process proxy queue quota raid rate redis
	region replica replication report request restart retry route saturation search session shard shipping slow snapshot
	socket space stale storage stream stuck swap sync target task temperature thread throttle throughput timeout token topic
	traffic transaction tunnel unavailable unhealthy unreachable upload uptime usage user version volume vpn warehouse web
	webhook worker zone`)

var people = strings.Fields(`
	ada alex amir anna bela carla chen clara dana david elif emma farid felix gina hana hugo ines ivan jana jonas kira lars
	lena luis maja marco mia mona nils nora olga omar paul petra rosa sami sara sven tara theo tom uma vera will yara zoe`)

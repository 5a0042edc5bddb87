package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/drill"
	"github.com/tocsin-oncall/tocsin/server/fault"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/roster"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// TestVerdict is how a test of a phone ended. The zero verdict: not over yet.
type TestVerdict uint8

// The verdicts. A test has passed only when the phone had it and the person
// says that it was heard.
const (
	TestPassed TestVerdict = iota + 1
	TestRejected
	TestNoReceipt
	TestSuppressed
	TestNotHeard
)

const (
	testSilence = 30 * time.Second // without a receipt
	testLife    = 2 * time.Minute  // for the person to say whether it was heard
	testPoll    = 100 * time.Millisecond
	notHeard    = drill.NotHeardReason
)

// Test is a test of one phone and how far it got.
type Test struct {
	ID       string // 32 hexadecimal digits
	Delivery incident.Delivery
	Verdict  TestVerdict
	Advice   []string // what the person can do, one sentence each
}

// SendTest sends a page to one phone that is like any other but for its title,
// as critical as the worst when asked. request makes a retry safe: the same one
// is the same test.
func (n *Notifier) SendTest(ctx context.Context, device roster.DeviceID, critical bool, request string) (Test, error) {
	if request == "" {
		request = rand.Text()
	}
	return n.trial(ctx, device, trial{
		name: request, critical: critical, life: testLife, marks: true,
		words: words{Title: "This is how a page sounds", Body: "Tap \"I heard it\" in the app."},
	})
}

// SendDrill sends the test page of a fire drill to one phone, as loud as the
// loudest page of its person's plan. An answer counts for so long. The same drill
// on the same phone is sent once.
func (n *Notifier) SendDrill(ctx context.Context, device roster.DeviceID, id drill.ID, life time.Duration) (Test, error) {
	phone, _ := n.o.Directory.Phone(device)
	user, _ := n.o.Directory.User(phone.User)
	return n.trial(ctx, device, trial{
		name: drillWork + string(id), life: life, critical: slices.ContainsFunc(user.Plan(true), func(s roster.Step) bool { return s.Loud }),
		words: words{Title: "This is a fire drill", Body: "Acknowledge it as you would a page. Nothing has happened."},
	})
}

// DrillDelivery names the delivery of a drill to a phone of a person.
func DrillDelivery(user roster.UserID, device roster.DeviceID, id drill.ID) (string, error) {
	return store.DeliveryID(store.PersonDoc(user), testWork+drillWork+string(id), string(device))
}

// What the names of tests begin with, and after that those of drills.
const (
	testWork  = "test."
	drillWork = "drill."
)

// IsTest reports whether a delivery is a test, of a drill or not: to act on its card is
// to say that it was heard.
func IsTest(dv incident.Delivery) bool { return strings.HasPrefix(dv.Work, testWork) }

// trial is a test page to one phone.
type trial struct {
	name     string // over all tries
	words    words
	critical bool
	life     time.Duration // for the person to say that it was heard
	marks    bool          // how it ends is how the device is, until it is tested again
}

// trial sends a test page to one phone.
func (n *Notifier) trial(ctx context.Context, device roster.DeviceID, t trial) (Test, error) {
	phone, ok := n.o.Directory.Phone(device)
	if !ok {
		return Test{}, fault.New(fault.NotFound, "DEVICE_NOT_FOUND", "there is no device of that name", "device", string(device))
	}
	if !phone.Pageable() {
		return Test{}, fault.New(fault.Precondition, "DEVICE_NOT_PAGEABLE", "the device is not paged at present: the app has to register again", "device", string(device))
	}
	user, ok := n.o.Directory.User(phone.User)
	if !ok {
		return Test{}, fault.New(fault.Precondition, "USER_GONE", "the device belongs to nobody any more", "device", string(device))
	}
	method, _ := user.Method(roster.PushAll)
	method.Device = device
	now, doc := n.now(), store.PersonDoc(user.ID)
	e := envelope{
		work: testWork + t.name, user: user, method: method, urgency: incident.High, page: true, doc: doc, unguarded: true,
		kind: push.KindTest, collapse: "test-" + string(device), words: t.words, at: now, deadline: now.Add(t.life),
	}
	e.privacy = n.level(user)
	e.sealed = n.fuller(e.privacy, nil, func(roster.Privacy) words { return e.words }) // tests the key too
	e.sound, e.level = loudness(incident.High, true, t.critical)
	id, err := store.DeliveryID(doc, e.work, string(device))
	if err != nil {
		return Test{}, err
	}
	queued := incident.Delivery{
		ID: id, Work: e.work, User: user.ID, Device: device, Method: method.ID, Kind: roster.Push, Native: phone.Native(),
		Page: true, Urgency: incident.High, State: incident.DeliveryQueued, Audible: true, Queued: now, Deadline: e.deadline, Epoch: phone.Epoch,
	}
	if _, old, found, err := n.o.Ledger.Delivery(ctx, id); err != nil || found {
		return n.test(old), err
	}
	if t.marks {
		n.tested(ctx, device, map[string]any{roster.WordTest: now, roster.WordJudged: false, roster.WordPassed: false})
	}
	n.send(ctx, e)
	return n.test(queued), nil
}

// Judged keeps how a test ended, for the health of its device.
func (n *Notifier) Judged(ctx context.Context, t Test) {
	if t.Verdict == 0 || strings.HasPrefix(t.Delivery.Work, testWork+drillWork) { // a drill is judged as a whole
		return
	}
	n.tested(ctx, t.Delivery.Device, map[string]any{roster.WordJudged: true, roster.WordPassed: t.Verdict == TestPassed})
}

// GetTest returns a test. NotFound when there is none, or it is long over.
func (n *Notifier) GetTest(ctx context.Context, id string) (Test, error) {
	delivery, ok := dashed(id)
	if !ok {
		return Test{}, noTest(id)
	}
	_, dv, found, err := n.o.Ledger.Delivery(ctx, delivery)
	if err != nil {
		return Test{}, err
	}
	if !found || !IsTest(dv) {
		return Test{}, noTest(id)
	}
	return n.test(dv), nil
}

func noTest(id string) error {
	return fault.New(fault.NotFound, "TEST_NOT_FOUND", "there is no test of that name", "test", id)
}

// WatchTest calls f with every state of a test until it is over, f fails or ctx
// ends. A test that was asked for a moment ago may have no record yet: it is waited for.
func (n *Notifier) WatchTest(ctx context.Context, id string, f func(Test) error) error {
	var last Test
	for begin := n.now(); ; {
		t, err := n.GetTest(ctx, id)
		switch {
		case fault.KindOf(err) == fault.NotFound && err != nil && n.now().Sub(begin) < 5*time.Second:
		case err != nil:
			return err
		case t.Delivery != last.Delivery || t.Verdict != last.Verdict:
			if err := f(t); err != nil {
				return err
			}
			last = t
		}
		if last.Verdict != 0 {
			return nil
		}
		if !wait(ctx, testPoll) {
			return ctx.Err()
		}
	}
}

// ConfirmTest takes in whether the person heard the test. Only the phone's
// owner, or the phone, may say so.
func (n *Notifier) ConfirmTest(ctx context.Context, caller auth.Principal, id string, heard bool) (Test, error) {
	t, err := n.GetTest(ctx, id)
	if err != nil {
		return Test{}, err
	}
	if !caller.Is(t.Delivery.User) {
		return Test{}, fault.New(fault.Denied, "NOT_YOUR_TEST", "only the person whose phone was tested can say whether it was heard", "test", id)
	}
	if heard {
		err = n.Acted(ctx, t.Delivery.ID)
	} else {
		dv := t.Delivery
		dv.Reason, dv.Ended = notHeard, n.now()
		err = n.o.Ledger.RecordDelivery(ctx, store.PersonDoc(dv.User), dv)
	}
	if err != nil {
		return Test{}, fmt.Errorf("confirm test %s: %w", id, err)
	}
	return n.GetTest(ctx, id)
}

// test judges a test by its delivery.
func (n *Notifier) test(dv incident.Delivery) Test {
	t := Test{ID: strings.ReplaceAll(dv.ID, "-", ""), Delivery: dv}
	now, life := n.now(), testLife
	if dv.Deadline.After(dv.Queued) {
		life = dv.Deadline.Sub(dv.Queued)
	}
	got := !dv.Received.IsZero() || !dv.Displayed.IsZero() || !dv.Opened.IsZero()
	switch {
	case got && dv.State == incident.DeliveryActed:
		t.Verdict = TestPassed
	case dv.State == incident.DeliverySuppressed:
		t.Verdict = TestSuppressed
	case dv.State == incident.DeliveryRejected || dv.State == incident.DeliveryExpired || dv.State == incident.DeliveryWithdrawn:
		t.Verdict = TestRejected
	case dv.Reason == notHeard || got && !now.Before(dv.Queued.Add(life)):
		t.Verdict = TestNotHeard
	case !got && !dv.Accepted.IsZero() && !now.Before(dv.Accepted.Add(testSilence)):
		t.Verdict = TestNoReceipt
	case !got && dv.Accepted.IsZero() && !now.Before(dv.Queued.Add(life)):
		t.Verdict = TestRejected
	}
	t.Advice = advice(t.Verdict, dv)
	return t
}

// advice is what the person can do about a test that did not pass.
func advice(v TestVerdict, dv incident.Delivery) []string {
	switch v {
	case TestPassed:
		return nil
	case TestRejected:
		return []string{"Open the app once, so that it registers again.", "If that does not help, ask an administrator to run: tocsin doctor"}
	case TestNoReceipt:
		return []string{
			"Check that the phone is online.", "Open the app once.",
			"Allow the app to run in the background; take it out of battery saving.",
		}
	case TestSuppressed:
		return []string{suppressedAdvice(dv.Reason)}
	case TestNotHeard:
		return []string{"Raise the volume.", "Allow critical alerts, or let the app through Do Not Disturb.", "Check the sound of the app's notification channel."}
	}
	return nil
}

// suppressedAdvice is what mends each of the words by which a phone says what
// keeps pages from being shown.
func suppressedAdvice(code string) string {
	for _, a := range []struct{ word, advice string }{
		{"permission", "Allow notifications for the app in the phone's settings."},
		{"channel", "Switch the app's page channel on in the phone's notification settings."},
		{"dnd", "Let the app through Do Not Disturb."},
		{"focus", "Let the app through the phone's focus: allow time-sensitive notifications, or critical alerts."},
		{"full_screen", "Allow the app to show full-screen notifications in the phone's settings."},
		{"battery", "Take the app out of battery saving in the phone's settings."},
		{"priority", "Open the app: the system holds its pushes back, as none was looked at for long."},
	} {
		if strings.Contains(code, a.word) {
			return a.advice
		}
	}
	return "The phone does not show pages; look at the app's notification settings."
}

// dashed puts the dashes back into a test's id.
func dashed(id string) (string, bool) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 16 || strings.ToLower(id) != id {
		return "", false
	}
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:], true
}

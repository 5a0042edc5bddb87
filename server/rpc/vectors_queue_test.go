package rpc_test

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"
)

// What a phone does with taps and receipts that do not get through at once is
// written here once, as the reference that the libraries are held against.

const (
	retryFirst     = 1     // seconds until the second try; doubled each time
	retryMost      = 30    // seconds between two tries, at most
	confirmWithin  = 15    // seconds after which a tap without an answer is said to be none
	patience       = 600   // seconds that a tap is tried for after its page's deadline, and at least
	receiptsAtOnce = 100   // in one call
	receiptsFor    = 7     // days that a receipt is kept
	day            = 86400 // seconds
)

// retryAfter is the pause after so many tries, without jitter; the server may want a longer one.
func retryAfter(tries, wanted int) int {
	pause := retryMost
	if tries < 6 {
		pause = min(retryMost, retryFirst<<(tries-1))
	}
	return max(pause, wanted)
}

// tries reports whether a call that got the status is made again; 0 is no answer.
func tries(status int) bool {
	return status == 0 || status == 408 || status == 429 || status >= 500
}

// queueStep is one thing that happens to the queue of taps, and what it does then.
type queueStep struct {
	At  int    `json:"at"` // seconds since the first step
	Do  string `json:"do"`
	Tap string `json:"action,omitempty"` // which action: the n-th that was made is the n-th letter

	Delivery string `json:"delivery,omitempty"`
	Verb     string `json:"verb,omitempty"`
	Deadline int    `json:"deadline,omitempty"` // of the page, in the seconds of the steps
	Status   int    `json:"status,omitempty"`   // of an answer
	Retry    int    `json:"retry_after,omitempty"`

	Sends []string          `json:"sends"` // actions whose call begins now
	Shows map[string]string `json:"shows"` // of each action that is not forgotten
	Next  int               `json:"next"`  // when the queue wants to be woken; -1: it does not
}

// queueAction is a tap.
type queueAction struct {
	name, delivery, verb string
	kept                 bool
	tapped, deadline     int
	flying               bool
	tried, due           int
	shows                string
}

func (a *queueAction) over() bool { return a.shows != "acting" && a.shows != "unconfirmed" }
func (a *queueAction) end() int   { return max(a.deadline, a.tapped) + patience }

// phoneQueue is the reference.
type phoneQueue struct{ actions []*queueAction }

func (q *phoneQueue) step(s queueStep) (sends []string, shows map[string]string, next int) {
	var of *queueAction
	if i := slices.IndexFunc(q.actions, func(a *queueAction) bool { return a.name == s.Tap }); i >= 0 {
		of = q.actions[i]
	}
	switch s.Do {
	case "tap", "tap_full": // the disk takes it, or is full
		same := func(a *queueAction) bool { return !a.over() && a.delivery == s.Delivery && a.verb == s.Verb }
		if !slices.ContainsFunc(q.actions, same) {
			name := string(rune('A' + len(q.actions)))
			q.actions = append(q.actions, &queueAction{
				name: name, delivery: s.Delivery, verb: s.Verb, kept: s.Do == "tap", tapped: s.At, deadline: s.Deadline, due: s.At, shows: "acting",
			})
		}
	case "answer", "no_answer":
		of.flying = false
		switch {
		case of.over():
		case s.Status == 200:
			of.shows = "done"
		case tries(s.Status):
			of.due = s.At + retryAfter(of.tried, s.Retry)
		default:
			of.shows = "refused"
		}
	case "killed": // and started again
		q.actions = slices.DeleteFunc(q.actions, func(a *queueAction) bool { return !a.kept || a.over() })
		for _, a := range q.actions {
			a.flying, a.tried, a.due = false, 0, s.At
		}
	case "online":
		for _, a := range q.actions {
			a.due = min(a.due, s.At)
		}
	}
	sends, shows, next = []string{}, map[string]string{}, -1
	wake := func(at int) {
		if next < 0 || at < next {
			next = at
		}
	}
	for _, a := range q.actions {
		if !a.over() && !a.flying && a.due <= s.At && (a.tried == 0 || s.At < a.end()) {
			a.flying, a.tried = true, a.tried+1
			sends = append(sends, a.name)
		}
		switch {
		case a.over():
		case s.At >= a.end() && !a.flying:
			a.shows = "given_up"
		case s.At >= a.tapped+confirmWithin:
			a.shows = "unconfirmed"
		}
		shows[a.name] = a.shows
		if a.over() {
			continue
		}
		if a.shows == "acting" {
			wake(a.tapped + confirmWithin)
		}
		if !a.flying {
			wake(min(a.due, a.end()))
		}
	}
	return sends, shows, next
}

// TestVectorsOfTheQueue writes taps that do not get through at once.
func TestVectorsOfTheQueue(t *testing.T) {
	tap := func(at int, delivery string) queueStep {
		return queueStep{At: at, Do: "tap", Delivery: delivery, Verb: "VERB_ACKNOWLEDGE", Deadline: 600}
	}
	full := func(at int, delivery string) queueStep {
		s := tap(at, delivery)
		s.Do = "tap_full"
		return s
	}
	late := func(at, deadline int) queueStep {
		s := tap(at, "d1")
		s.Deadline = deadline
		return s
	}
	verb := func(at int, verb string) queueStep {
		s := tap(at, "d1")
		s.Verb = verb
		return s
	}
	answer := func(at int, action string, status int) queueStep {
		return queueStep{At: at, Do: "answer", Tap: action, Status: status}
	}
	busy := func(at int, action string, status, after int) queueStep {
		s := answer(at, action, status)
		s.Retry = after
		return s
	}
	none := func(at int, action string) queueStep { return queueStep{At: at, Do: "no_answer", Tap: action} }
	plain := func(at int, do string) queueStep { return queueStep{At: at, Do: do} }

	type story struct {
		Name  string      `json:"name"`
		Steps []queueStep `json:"steps"`
	}
	var giveUp []queueStep
	giveUp = append(giveUp, late(0, 20), none(1, "A"))
	for at := 2; at < 3+patience; at += retryMost {
		giveUp = append(giveUp, plain(at, "wake"), none(at, "A"))
	}
	giveUp = append(giveUp, plain(20+patience, "wake"), plain(20+patience+60, "online"))
	cases := []story{
		{"at once", []queueStep{tap(0, "d1"), answer(1, "A", 200)}},
		{"offline, and back", []queueStep{tap(0, "d1"), none(1, "A"), plain(2, "wake"), none(2, "A"), plain(4, "wake"), none(4, "A"), plain(15, "wake"), none(15, "A"), plain(17, "online"), answer(18, "A", 200)}},
		{"a double tap is one", []queueStep{tap(0, "d1"), tap(0, "d1"), none(1, "A"), tap(1, "d1"), plain(2, "wake"), answer(2, "A", 200), tap(3, "d1"), answer(3, "B", 200)}},
		{"two verbs are two", []queueStep{tap(0, "d1"), verb(1, "VERB_RESOLVE"), answer(2, "A", 200), answer(3, "B", 403)}},
		{"killed while the call is under way", []queueStep{tap(0, "d1"), plain(3, "killed"), answer(4, "A", 200)}},
		{"killed while offline", []queueStep{tap(0, "d1"), none(1, "A"), plain(2, "wake"), none(2, "A"), plain(3600, "killed"), answer(3601, "A", 409)}},
		{"killed, and started again within the time", []queueStep{tap(0, "d1"), none(1, "A"), plain(300, "killed"), answer(301, "A", 200)}},
		{"a full disk", []queueStep{full(0, "d1"), none(1, "A"), plain(2, "wake"), answer(2, "A", 200)}},
		{"a full disk, and killed", []queueStep{full(0, "d1"), none(1, "A"), plain(2, "killed")}},
		{"the server is busy", []queueStep{tap(0, "d1"), busy(1, "A", 503, 20), plain(15, "wake"), plain(21, "wake"), busy(21, "A", 429, 1), plain(23, "wake"), answer(23, "A", 200)}},
		{"the server fails", []queueStep{tap(0, "d1"), answer(1, "A", 500), plain(2, "wake"), answer(2, "A", 502), plain(4, "wake"), answer(4, "A", 200)}},
		{"the server says no", []queueStep{tap(0, "d1"), answer(1, "A", 401), plain(30, "online")}},
		{"an answer after a quarter of a minute", []queueStep{tap(0, "d1"), plain(15, "wake"), answer(16, "A", 200)}},
		{"of a page that is over", []queueStep{late(700, 600), answer(701, "A", 200)}},
		{"with a clock that is an hour ahead", []queueStep{late(3600, 600), none(3601, "A"), plain(3602, "wake"), answer(3602, "A", 200)}},
		{"two pages do not wait for each other", []queueStep{tap(0, "d1"), tap(1, "d2"), answer(2, "B", 200), none(3, "A"), plain(4, "wake"), answer(4, "A", 200)}},
		{"nobody ever answers", giveUp},
	}
	for i := range cases {
		q := &phoneQueue{}
		for j := range cases[i].Steps {
			s := &cases[i].Steps[j]
			s.Sends, s.Shows, s.Next = q.step(*s)
			if s.Next >= 0 && s.Next < s.At {
				t.Errorf("%s: after %d s the queue wants to be woken at %d s", cases[i].Name, s.At, s.Next)
			}
		}
	}
	check := func(name string, step int, want map[string]string) {
		t.Helper()
		i := slices.IndexFunc(cases, func(s story) bool { return s.Name == name })
		steps := cases[i].Steps
		if step < 0 {
			step += len(steps)
		}
		if got := steps[step].Shows; !maps.Equal(got, want) {
			t.Errorf("%s, step %d: it shows %v, want %v", name, step, got, want)
		}
	}
	check("at once", 0, map[string]string{"A": "acting"})
	check("at once", -1, map[string]string{"A": "done"})
	check("offline, and back", -3, map[string]string{"A": "unconfirmed"})
	check("a double tap is one", 3, map[string]string{"A": "acting"})
	check("a full disk, and killed", -1, map[string]string{})
	check("the server says no", -1, map[string]string{"A": "refused"})
	check("nobody ever answers", -1, map[string]string{"A": "given_up"})
	keep(t, "queue.json", "Taps that do not get through at once. At each step something happens (do), then every call begins that is due (sends), and this is what the phone shows of each action (shows): acting, unconfirmed (with a sound: not acknowledged, tap), done (the answer replaces the card), refused (open the app), given_up. next is when the queue wants to be woken; -1: not. "+
		"do: tap (kept before the call begins), tap_full (the disk is full: the call begins all the same), answer and no_answer (of the action's call), wake (the time has come), online (the network is back), killed (the app was ended, and is started again with what it kept). Times are seconds of the phone's clock since the start; the pauses are without jitter: a library takes between half of it and all.", cases)
}

// receiptStep is one thing that happens to receipts that wait, and what is done then.
type receiptStep struct {
	At     int    `json:"at"`
	Do     string `json:"do"`
	From   int    `json:"from,omitempty"` // of the deliveries that are reported: d1, d2, …
	To     int    `json:"to,omitempty"`
	State  string `json:"state,omitempty"`
	Status int    `json:"status,omitempty"`
	Retry  int    `json:"retry_after,omitempty"`

	Call *receiptCall `json:"call"` // that begins now; null: none
	Kept int          `json:"kept"` // receipts that are not forgotten
	Next int          `json:"next"`
}

// receiptCall is what is in a call.
type receiptCall struct {
	Count      int    `json:"count"`
	First      string `json:"first"` // delivery and state
	Last       string `json:"last"`
	ReceiptKey string `json:"receipt_key,omitempty"` // of the delivery whose key authorizes it; none: the credential
}

// receiptNote is a receipt that waits.
type receiptNote struct {
	delivery, state string
	at              int
}

func (n receiptNote) String() string { return n.delivery + " " + n.state }

// phoneReceipts is the reference.
type phoneReceipts struct {
	notes  []receiptNote
	flying []receiptNote
	tried  int
	due    int
	locked bool
}

func (p *phoneReceipts) step(s receiptStep) (call *receiptCall, kept, next int) {
	switch s.Do {
	case "add":
		for i := s.From; i <= max(s.From, s.To); i++ {
			n := receiptNote{"d" + strconv.Itoa(i), s.State, s.At}
			if !slices.ContainsFunc(p.notes, func(o receiptNote) bool { return o.delivery == n.delivery && o.state == n.state }) {
				p.notes = append(p.notes, n)
			}
		}
	case "answer", "no_answer":
		if tries(s.Status) {
			p.due = s.At + retryAfter(p.tried, s.Retry)
		} else { // taken, or never to be
			p.notes = slices.DeleteFunc(p.notes, func(n receiptNote) bool { return slices.Contains(p.flying, n) })
			p.tried, p.due = 0, s.At
		}
		p.flying = nil
	case "killed":
		p.flying, p.tried, p.due = nil, 0, s.At
	case "online":
		p.due = min(p.due, s.At)
	case "locked":
		p.locked = true
	case "unlocked":
		p.locked = false
	}
	p.notes = slices.DeleteFunc(p.notes, func(n receiptNote) bool { return s.At-n.at >= receiptsFor*day })
	if len(p.notes) > 0 && len(p.flying) == 0 && p.due <= s.At {
		p.flying = slices.Clone(p.notes[:min(len(p.notes), receiptsAtOnce)])
		call = &receiptCall{}
		if p.locked { // the key of a page is good for that page alone
			of := p.notes[0].delivery
			p.flying = slices.DeleteFunc(slices.Clone(p.notes), func(n receiptNote) bool { return n.delivery != of })
			call.ReceiptKey = of
		}
		call.Count, call.First, call.Last = len(p.flying), p.flying[0].String(), p.flying[len(p.flying)-1].String()
		p.tried++
	}
	next = -1
	if len(p.notes) > 0 && len(p.flying) == 0 {
		next = p.due
	}
	return call, len(p.notes), next
}

// TestVectorsOfBatches writes receipts that do not get through at once.
func TestVectorsOfBatches(t *testing.T) {
	add := func(at, from, to int, state string) receiptStep {
		return receiptStep{At: at, Do: "add", From: from, To: to, State: state}
	}
	answer := func(at, status int) receiptStep { return receiptStep{At: at, Do: "answer", Status: status} }
	plain := func(at int, do string) receiptStep { return receiptStep{At: at, Do: do} }
	type story struct {
		Name  string        `json:"name"`
		Steps []receiptStep `json:"steps"`
	}
	cases := []story{
		{"one", []receiptStep{add(0, 1, 0, "RECEIVED"), answer(1, 200)}},
		{"what comes while a call is under way waits for the next", []receiptStep{add(0, 1, 0, "RECEIVED"), add(0, 1, 0, "DISPLAYED"), add(1, 2, 0, "RECEIVED"), answer(1, 200), answer(2, 200)}},
		{"the same is reported once", []receiptStep{add(0, 1, 0, "RECEIVED"), add(0, 1, 0, "RECEIVED"), answer(1, 200), add(5, 1, 0, "RECEIVED"), answer(6, 200)}},
		{"a hundred at a time", []receiptStep{add(0, 1, 250, "RECEIVED"), answer(1, 200), answer(2, 200), answer(3, 200)}},
		{"offline, and back", []receiptStep{add(0, 1, 0, "RECEIVED"), plain(1, "no_answer"), plain(2, "wake"), plain(2, "no_answer"), add(3, 1, 0, "DISPLAYED"), plain(4, "wake"), answer(4, 500), plain(6, "online"), answer(7, 200)}},
		{"the server is busy", []receiptStep{add(0, 1, 0, "RECEIVED"), {At: 1, Do: "answer", Status: 503, Retry: 20}, plain(21, "wake"), answer(21, 200)}},
		{"killed", []receiptStep{add(0, 1, 3, "RECEIVED"), plain(5, "killed"), answer(6, 200)}},
		{"refused for good", []receiptStep{add(0, 1, 0, "RECEIVED"), answer(1, 400), add(2, 2, 0, "RECEIVED"), answer(3, 200)}},
		{"after a week they are forgotten", []receiptStep{add(0, 1, 2, "RECEIVED"), plain(1, "no_answer"), add(day, 3, 0, "RECEIVED"), plain(day, "no_answer"), plain(7*day, "wake"), answer(7*day+1, 200)}},
		{"before the first unlock", []receiptStep{plain(0, "locked"), add(0, 1, 0, "RECEIVED"), add(0, 1, 0, "DISPLAYED"), add(0, 2, 0, "RECEIVED"), answer(1, 200), answer(2, 200), plain(3, "unlocked"), answer(3, 200)}},
	}
	for i := range cases {
		p := &phoneReceipts{}
		for j := range cases[i].Steps {
			s := &cases[i].Steps[j]
			s.Call, s.Kept, s.Next = p.step(*s)
		}
		if last := cases[i].Steps[len(cases[i].Steps)-1]; last.Kept != 0 {
			t.Errorf("%s: %d receipts are left", cases[i].Name, last.Kept)
		}
	}
	hundreds := cases[3].Steps
	var counts []int
	for _, s := range hundreds {
		if s.Call != nil {
			counts = append(counts, s.Call.Count)
		}
	}
	if want := []int{100, 100, 50}; !slices.Equal(counts, want) {
		t.Errorf("250 receipts went in calls of %v, want %v", counts, want)
	}
	keep(t, "batches.json", "Receipts that do not get through at once. At each step something happens (do), and then at most one call begins: one is under way at a time. kept is how many are not forgotten, next when the phone wants to be woken; -1: not. "+
		"do: add (of the deliveries from to to; the same delivery and state waits once), answer and no_answer, wake, online, killed (ended, and started again with what was kept), locked and unlocked (the credential cannot be read before the first unlock: each page's key authorizes its own receipts). Times are seconds; the pauses are without jitter: a library takes between half of it and all.", cases)
}

// advice is what an app does about an answer that is no success, by the table of
// mobile-sdk/README.md. code is that of google.rpc.Status; 0 when the body is none.
func advice(status int, code codes.Code, reason string, reopen bool) string {
	switch {
	case reopen:
		return "open"
	case reason == "CREDENTIAL_INVALID":
		return "sign_in"
	case status == http.StatusForbidden:
		return "deny"
	case status == http.StatusNotFound:
		return "remove"
	case status == http.StatusConflict:
		return "decide"
	case code == codes.FailedPrecondition:
		return "refresh"
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return "wait"
	case tries(status):
		return "retry"
	}
	return "fix"
}

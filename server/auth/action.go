package auth

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Verb is what an action token allows.
type Verb string

// VerbAck is the only verb that a token may carry: whoever holds the phone of
// a sleeping person must not be able to do more with it.
const VerbAck Verb = "ack"

// The life of an action token: until the page is of no more use and a little
// longer, for a phone that was offline, but never more than an hour.
const (
	actionGrace = 15 * time.Minute
	actionLife  = time.Hour

	// MaxActionToken is the greatest length of an action token in bytes.
	MaxActionToken = 120
)

// badAction is the same for every reason: a forger learns nothing from it.
// reopen tells the phone to open the app and do it there.
func badAction() error {
	return fault.New(fault.Unauthenticated, "ACTION_TOKEN_INVALID", "the action token is not valid here; open the app", "reopen", "true")
}

// ActionToken is what the text of a token says. It is proven by [Signer.VerifyAction] only.
type ActionToken struct {
	Day      int64 // of issue: names the key
	Delivery string
	Expires  time.Time
	Verbs    []Verb // sorted
	mac      []byte
	verbs    string
	exp      string
}

// Action issues the token of a page that is worth sending until the deadline:
// "v1.<kid>.<delivery>.<exp>.<verbs>.<mac>", with kid in days and exp in
// seconds since 1970, and the MAC in unpadded base64url.
func (s Signer) Action(b Binding, issued, deadline time.Time) (string, error) {
	if err := b.check(); err != nil {
		return "", err
	}
	if b.Incident == "" {
		return "", fault.New(fault.Internal, "BINDING", "an action token needs an incident", "delivery", b.Delivery)
	}
	if !s.ring.Valid() {
		return "", fault.New(fault.Internal, "NO_MASTER_KEY", "there is no master key to sign with")
	}
	expires := deadline.Add(actionGrace)
	if last := issued.Add(actionLife); expires.After(last) {
		expires = last
	}
	day, exp, verbs := dayOf(issued), strconv.FormatInt(expires.Unix(), 10), string(VerbAck)
	m := s.mac(s.ring.keys[0], actionLabel, day, b.actionFields(exp, verbs)...)
	token := strings.Join([]string{"v1", strconv.FormatInt(day, 10), b.Delivery, exp, verbs, encodeMAC(m)}, ".")
	if len(token) > MaxActionToken {
		return "", fault.New(fault.Internal, "ACTION_TOKEN_SIZE", "the action token is too long", "token_bytes", strconv.Itoa(len(token)))
	}
	return token, nil
}

func (b Binding) actionFields(exp, verbs string) []string {
	return []string{
		b.Delivery, string(b.Incident), string(b.User), string(b.Device),
		strconv.FormatUint(uint64(b.Epoch), 10), exp, verbs,
	}
}

// ParseAction reads the text of a token. It proves nothing: the delivery that
// it names tells the binding, and VerifyAction compares with that.
func ParseAction(text string) (ActionToken, error) {
	if len(text) > MaxActionToken {
		return ActionToken{}, badAction()
	}
	part := strings.Split(text, ".")
	if len(part) != 6 || part[0] != "v1" || !isUUID(part[2]) {
		return ActionToken{}, badAction()
	}
	day, okDay := number(part[1])
	exp, okExp := number(part[3])
	m, okMAC := decodeMAC(part[5])
	verbs, okVerbs := parseVerbs(part[4])
	if !okDay || !okExp || !okMAC || !okVerbs {
		return ActionToken{}, badAction()
	}
	return ActionToken{
		Day: day, Delivery: part[2], Expires: time.Unix(exp, 0).UTC(),
		Verbs: verbs, mac: m, verbs: part[4], exp: part[3],
	}, nil
}

func parseVerbs(s string) ([]Verb, bool) {
	var verbs []Verb
	for v := range strings.SplitSeq(s, ",") {
		if v == "" || !isKeyText(v) || (len(verbs) > 0 && verbs[len(verbs)-1] >= Verb(v)) {
			return nil, false
		}
		verbs = append(verbs, Verb(v))
	}
	return verbs, true
}

// VerifyAction proves that the token was issued for exactly this binding, is
// not expired at now, and allows the verb. b is read from the stored delivery
// and the present device, never from the request.
func (s Signer) VerifyAction(t ActionToken, b Binding, verb Verb, now time.Time) error {
	authentic := s.verifies(t.mac, actionLabel, t.Day, b.actionFields(t.exp, t.verbs)...)
	// The key of a day signs for the hour after it at most.
	aged := dayOf(t.Expires)-t.Day > 1 || dayOf(t.Expires) < t.Day
	if !authentic || aged || t.Delivery != b.Delivery || !slices.Contains(t.Verbs, verb) {
		return badAction()
	}
	if !now.Before(t.Expires) { // told apart only of a token that was ours
		return fault.New(fault.Unauthenticated, "ACTION_TOKEN_EXPIRED", "the action token is too old; open the app", "reopen", "true")
	}
	return nil
}

package push

// Trimmed is a message as one attempt carries it: its texts are the ones to
// show (see [Message.Text]), and what has no room is gone.
type Trimmed struct {
	Message
	Fetch bool   // something is missing that the app has to ask the server for
	Cut   string // the last thing that had to go; "" for nothing
}

// Trim leaves of a message what the form stands for, and then takes one thing
// after the other away until fits says that the payload made of the rest has
// room. After the last cut every text and identifier is short, whatever the
// message held: a page is never given up for its size.
func Trim(m *Message, form Form, fits func(*Trimmed) bool) Trimmed {
	t := Trimmed{Message: *m}
	t.Title, t.Subtitle, t.Body = m.Text()
	first := 0
	switch form {
	case FormFull:
	case FormShrunk:
		first = shrunkCuts
	case FormMinimal:
		first = minimalCuts
	}
	for i := range cuts {
		if i >= first && fits(&t) {
			return t
		}
		cuts[i].from(&t)
		t.Cut = cuts[i].name
	}
	fits(&t) // the last form is sent as it is
	return t
}

const (
	shrunkCuts  = 4 // cuts that FormShrunk begins with
	minimalCuts = 6 // cuts that FormMinimal begins with
)

// cutStep takes one thing away.
type cutStep struct {
	name string
	from func(*Trimmed)
}

// cuts are in the order in which a person misses things least. Sealed text
// goes whole, since half of it opens to nothing, and the app fetches it.
//
//nolint:gochecknoglobals // look-up table
var cuts = [...]cutStep{
	{"details", func(t *Trimmed) { t.Details = nil }},
	{"subtitle", func(t *Trimmed) { t.Subtitle = "" }},
	{"body to 178", func(t *Trimmed) { t.Body = CutRunes(t.Body, 178) }},
	{"body to 100", func(t *Trimmed) { t.Body = CutRunes(t.Body, 100) }},
	{"sealed text", func(t *Trimmed) { t.Sealed, t.SealedKeyID, t.Fetch = "", "", true }},
	{"all but the essence", func(t *Trimmed) {
		t.Title, t.Body = CutRunes(t.Title, 64), CutRunes(t.Body, 64)
		t.ThreadID, t.Badge, t.Severity, t.ActionToken = "", nil, "", ""
	}},
	{"all but the text", func(t *Trimmed) { // only identifiers of absurd lengths come here
		t.IncidentID, t.IncidentNumber, t.Revision, t.ReceiptPath, t.ReceiptKey, t.OpenPages = "", 0, 0, "", "", 0
		t.SoundName = ""
		t.DeliveryID, t.CollapseID = CutRunes(t.DeliveryID, 36), CutRunes(t.CollapseID, MaxCollapseID)
	}},
}

package push

// Fields is what an app reads of a push, beside the texts. The keys are short
// because they count; docs/push.md has their meaning.
type Fields struct {
	Version     int               `json:"v"`
	Delivery    string            `json:"d"`
	Kind        string            `json:"k"`
	Expires     int64             `json:"x"`
	Incident    string            `json:"i,omitempty"`
	Number      int64             `json:"n,omitempty"`
	Revision    int64             `json:"r,omitempty"`
	Severity    string            `json:"s,omitempty"`
	Receipt     string            `json:"u,omitempty"`
	ReceiptKey  string            `json:"uk,omitempty"`
	ActionToken string            `json:"a,omitempty"`
	Sealed      string            `json:"e,omitempty"`
	SealedKey   string            `json:"ek,omitempty"`
	Fetch       int               `json:"fetch,omitempty"`
	Shadow      string            `json:"sh,omitempty"`
	Details     map[string]string `json:"m,omitempty"`
}

// Fields returns the fields of the message.
func (t *Trimmed) Fields() Fields {
	f := Fields{
		Version: 1, Delivery: t.DeliveryID, Kind: t.Kind.String(), Expires: t.Deadline.Unix(),
		Incident: t.IncidentID, Number: t.IncidentNumber, Revision: t.Revision, Severity: t.Severity,
		Receipt: t.ReceiptPath, ReceiptKey: t.ReceiptKey, ActionToken: t.ActionToken,
		Sealed: t.Sealed, SealedKey: t.SealedKeyID, Details: t.Details,
		Shadow: t.Shadow,
	}
	if t.Fetch {
		f.Fetch = 1
	}
	return f
}

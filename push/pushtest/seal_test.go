package pushtest

import (
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push/seal"
)

// A phone shows the fuller text of what it can open, and says why it could not
// open the rest.
func TestPhoneOpensWhatIsSealed(t *testing.T) {
	key, err := seal.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	b := seal.Binding{Delivery: "d1", Incident: "i1", Device: "dev", Key: "k1", Deadline: 1_900_000_000}
	full := seal.Text{Title: "Critical: Checkout", Body: "disk full", ActionToken: "v1.a"}
	sealed, err := seal.Seal(key.Public(), full.Encode(), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		key      *SealKey
		title    string
		unopened string
	}{
		{"its key", &SealKey{Device: "dev", ID: "k1", Key: key}, "Critical: Checkout", ""},
		{"another key", &SealKey{Device: "dev", ID: "k1", Key: other}, "Page", "decrypt"},
		{"a key of another name", &SealKey{Device: "dev", ID: "k2", Key: key}, "Page", "decrypt"},
		{"no key", nil, "Page", "decrypt"},
	} {
		p := NewPhone(PhoneOptions{Name: c.name})
		if c.key != nil {
			p.SetSealKey(*c.key)
		}
		p.deliver(parcel{visible: true, n: Notification{
			Kind: "page", DeliveryID: "d1", IncidentID: "i1", Title: "Page", Sealed: sealed, SealedKeyID: "k1", Expires: time.Unix(1_900_000_000, 0),
		}})
		n := p.Got()[0]
		if n.Title != c.title || n.Unopened != c.unopened || (n.Opened != nil) != (c.unopened == "") || (n.ActionToken == "v1.a") != (c.unopened == "") {
			t.Errorf("%s: shows %q, opened %+v, unopened %q; want %q and %q", c.name, n.Title, n.Opened, n.Unopened, c.title, c.unopened)
		}
		p.Close()
	}
}

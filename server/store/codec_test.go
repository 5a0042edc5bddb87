package store

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/tocsin-oncall/tocsin/server/attention"
	"github.com/tocsin-oncall/tocsin/server/event"
	"github.com/tocsin-oncall/tocsin/server/incident"
	"github.com/tocsin-oncall/tocsin/server/store/storepb"
)

// asDrawn makes the writer that was read, which has a form of its own, the one
// that was drawn.
func asDrawn(read *string, drawn string) error {
	if *read != "12345678" {
		return fmt.Errorf("the writer was read as %q", *read)
	}
	*read = drawn
	return nil
}

// through writes a value of the domain and reads it back, as the store does.
var through = map[reflect.Type]func(any) (any, error){
	reflect.TypeFor[incident.Incident](): func(v any) (any, error) {
		in := v.(incident.Incident)
		raw := seal(prefix{
			Revision: in.Revision, Generation: in.Generation, Status: uint8(in.Status), Form: Schema, Encoding: encodingPlain, Nonce: "12345678",
		}, form(Schema).body(incidentToProto(&in)))
		got, _, err := decodeIncident(in.ID, raw)
		if err != nil {
			return nil, err
		}
		return *got, asDrawn(&got.Writer, in.Writer)
	},
	reflect.TypeFor[attention.Person](): func(v any) (any, error) {
		p := v.(attention.Person)
		var m storepb.Person
		if err := proto.Unmarshal(marshal(personToProto(&p)), &m); err != nil {
			return nil, err
		}
		got := personFromProto(p.User, prefix{Revision: p.Revision, Nonce: "12345678"}, &m)
		return *got, asDrawn(&got.Writer, p.Writer)
	},
	reflect.TypeFor[incident.Alert](): func(v any) (any, error) {
		a := v.(incident.Alert)
		return decodeAlert(alertField(a.Service, a.Key), string(form(Schema).record(alertRecord(a, "title"))), "title")
	},
	reflect.TypeFor[incident.Entry](): func(v any) (any, error) {
		var m storepb.Entry
		err := readRecord(form(Schema).record(entryToProto(v.(incident.Entry))), &m)
		return entryFromProto(&m), err
	},
	reflect.TypeFor[incident.Delivery](): func(v any) (any, error) {
		d := v.(incident.Delivery)
		return openDelivery(d.ID, sealDelivery(d, Schema, "12345678"))
	},
	reflect.TypeFor[incident.Work](): func(v any) (any, error) {
		var m storepb.Work
		err := readRecord(form(Schema).record(workToProto(v.(incident.Work))), &m)
		return workFromProto(&m), err
	},
	reflect.TypeFor[event.Event](): func(v any) (any, error) {
		var m storepb.Event
		err := proto.Unmarshal(marshal(eventToProto(v.(event.Event))), &m)
		return eventFromProto(&m), err
	},
	reflect.TypeFor[InboxEntry](): func(v any) (any, error) {
		e := v.(InboxEntry)
		var m storepb.InboxEntry
		err := readRecord(form(Schema).record(inboxToProto(e)), &m)
		got := inboxFromProto(&m)
		got.ID, got.Partition = e.ID, e.Partition // of the stream, not of the entry
		return got, err
	},
	reflect.TypeFor[Facts](): func(v any) (any, error) {
		f := v.(Facts)
		var m storepb.Facts
		err := readRecord(form(Schema).record(f.proto()), &m)
		return factsFromProto(f.Incident, &m), err
	},
}

// fill sets every field of a value to something that is not its zero.
func fill(v reflect.Value, n *int64) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(base.Add(time.Duration(*n) * time.Second)))
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(time.Duration(*n) * time.Second))
	case v.Kind() == reflect.Struct:
		for _, f := range v.Fields() {
			fill(f, n)
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprintf("s%d", *n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(*n%100 + 1)
	case v.CanUint():
		v.SetUint(uint64(*n%8 + 1))
	default:
		panic("a field of a kind that this test does not know: " + v.Type().String())
	}
}

func TestNoFieldIsForgotten(t *testing.T) {
	t.Parallel()
	for typ, f := range through {
		v := reflect.New(typ).Elem()
		var n int64
		fill(v, &n)
		got, err := f(v.Interface())
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if d := diff(v.Interface(), got); d != "" {
			t.Errorf("%s comes back otherwise: a field is missing in the codec (-want +got):\n%s", typ, d)
		}
	}
}

// anything draws a value of any type that the codec knows.
func anything(r *rapid.T, v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		if rapid.Bool().Draw(r, "set") {
			v.Set(reflect.ValueOf(time.UnixMilli(rapid.Int64Range(1, 1<<42).Draw(r, "ms")).UTC()))
		}
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(time.Duration(rapid.Int64Range(0, 1<<32).Draw(r, "ms")) * time.Millisecond))
		if rapid.Bool().Draw(r, "before") {
			v.SetInt(-1)
		}
	case v.Kind() == reflect.Struct:
		for field, f := range v.Fields() {
			anything(r, f)
			if f.Type() == reflect.TypeFor[time.Duration]() && field.Name != "Elapsed" { // of all durations, that one may be negative
				f.SetInt(max(f.Int(), 0))
			}
		}
	case v.Kind() == reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(r, "len")
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			anything(r, v.Index(i))
		}
	case v.Kind() == reflect.String:
		v.SetString(rapid.StringMatching(`[ -~äöü€😀]{0,12}`).Draw(r, "s"))
	case v.Kind() == reflect.Bool:
		v.SetBool(rapid.Bool().Draw(r, "b"))
	case v.Kind() == reflect.Int64:
		v.SetInt(rapid.Int64().Draw(r, "i"))
	case v.CanInt():
		v.SetInt(int64(rapid.Int32().Draw(r, "i")))
	case v.Kind() == reflect.Uint64:
		v.SetUint(rapid.Uint64Range(0, 9_999_999_999).Draw(r, "u"))
	case v.Kind() == reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32Range(0, 999_999).Draw(r, "u")))
	case v.CanUint():
		v.SetUint(uint64(rapid.Uint8Range(0, 9).Draw(r, "u")))
	}
}

func TestCodecRoundTrip(t *testing.T) {
	t.Parallel()
	for typ, f := range through {
		t.Run(strings.ReplaceAll(typ.String(), ".", "_"), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(r *rapid.T) {
				v := reflect.New(typ).Elem()
				anything(r, v)
				want := v.Interface()
				switch x := want.(type) {
				case Facts: // instants of pages are whole seconds after the creation
					x.Created = base
					for i := range x.Paged {
						for j := range x.Paged[i].At {
							x.Paged[i].At[j] = base.Add(time.Duration(j) * time.Minute)
						}
					}
					want = x
				case incident.Delivery: // its prefix has thirteen digits of milliseconds
					if x.Attempted.UnixMilli() > 9_999_999_999_999 {
						x.Attempted = base
					}
					want = x
				}
				got, err := f(want)
				if err != nil {
					r.Fatalf("read back: %v", err)
				}
				if d := diff(want, got); d != "" {
					r.Fatalf("comes back otherwise (-want +got):\n%s", d)
				}
			})
		})
	}
}

func TestInvalidTextIsMended(t *testing.T) {
	t.Parallel()
	var m storepb.Entry
	if err := proto.Unmarshal(marshal(entryToProto(incident.Entry{Seq: 3, Text: "a\xffb", Actor: incident.Actor{ID: "\xc3"}})), &m); err != nil {
		t.Fatal(err)
	}
	if got := entryFromProto(&m); got.Text != "a\uFFFDb" || got.Actor.ID != "\uFFFD" || got.Seq != 3 {
		t.Errorf("entry: got %+v", got)
	}
}

func TestNewerDocumentIsRefused(t *testing.T) {
	t.Parallel()
	raw := seal(prefix{Revision: 1, Status: 1, Form: Schema, Encoding: encodingPlain, Nonce: "12345678"}, nil)
	for schema, newer := range map[int]bool{Schema + 1: true, Schema + leap: true, Schema + leap + 1: false, 99: false} {
		copy(raw[17:], fmt.Sprintf("%02d", schema))
		if _, _, err := decodeIncident("x", raw); err == nil || errors.Is(err, ErrNewerSchema) != newer {
			t.Errorf("a document of schema %d: got %v, want that a newer version reads it: %t", schema, err, newer)
		}
		if err := readRecord([]byte{0, byte(schema)}, &storepb.Entry{}); err == nil || errors.Is(err, ErrNewerSchema) != newer {
			t.Errorf("a record of schema %d: got %v, want that a newer version reads it: %t", schema, err, newer)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(seal(prefix{Revision: 7, Generation: 2, Status: 1, Form: Schema, Encoding: encodingPlain, Nonce: "12345678"}, []byte("body")))
	f.Add([]byte("0000000001000001101Zabcdefgh"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, _, err := decodeIncident("0001", raw)
		if (in == nil) == (err == nil) {
			t.Errorf("got %v and %v, want one of them", in, err)
		}
		_, _ = openDelivery("x", raw)
	})
}

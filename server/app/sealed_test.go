package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tocsin-oncall/tocsin/push/pushtest"
	"github.com/tocsin-oncall/tocsin/push/seal"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/redisd/redistest"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

// everything returns what Redis holds, by key.
func everything(t *testing.T, url string) map[string]string {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer func() { _ = c.Close() }()
	all := map[string]string{}
	keys := c.Scan(t.Context(), 0, "*", 1000).Iterator()
	for keys.Next(t.Context()) {
		dump, err := readKey(t.Context(), c, keys.Val())
		if err != nil {
			t.Fatalf("read %q: %v", keys.Val(), err)
		}
		all[keys.Val()] = dump
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func readKey(ctx context.Context, c *redis.Client, key string) (string, error) {
	kind, err := c.Type(ctx, key).Result()
	if err != nil {
		return "", err
	}
	var v any
	switch kind {
	case "string":
		return c.Get(ctx, key).Result()
	case "hash":
		v, err = c.Do(ctx, "HGETALL", key).Result()
	case "list":
		v, err = c.LRange(ctx, key, 0, -1).Result()
	case "zset":
		v, err = c.ZRange(ctx, key, 0, -1).Result()
	case "stream":
		v, err = c.XRange(ctx, key, "-", "+").Result()
	}
	var b strings.Builder
	write(&b, v)
	return b.String(), err
}

// write writes the strings of an answer of Redis as they are.
func write(b *strings.Builder, v any) {
	switch v := v.(type) {
	case string:
		b.WriteString(v)
	case []string:
		for _, s := range v {
			b.WriteString(s)
		}
	case []any:
		for _, s := range v {
			write(b, s)
		}
	case map[any]any:
		for k, s := range v {
			write(b, k)
			write(b, s)
		}
	case []redis.XMessage:
		for _, m := range v {
			for k, s := range m.Values {
				b.WriteString(k)
				write(b, s)
			}
		}
	}
}

// holder is the kind of a key: what comes after its partition.
func holder(key string) string {
	_, rest, _ := strings.Cut(key, "}:")
	kind, _, _ := strings.Cut(rest, ":")
	return kind
}

// TestCase65_MinimalTellsNothing pages at the minimal level about an incident
// whose text has a password in it: no fragment of the text is in any payload,
// in what Redis holds of pages and people, or in the log.
func TestCase65_MinimalTellsNothing(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	w := newWorld(t, r.URL())
	log, web := &journal{}, w.browsers()
	in := w.start(func(o *Options) {
		o.Config.Push.Apps = append(o.Config.Push.Apps, web.app)
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	in.apply(strings.Replace(organisation, "settings: {", "settings: {privacy: minimal, ", 1))
	browser, _ := in.browse(w, web, "ann")
	phones := map[string]*pushtest.Phone{"apns": in.enrol(w, "ann", roster.IOS), "fcm": in.enrol(w, "bo", roster.Android), "webpush": browser}

	in.send("trigger", "db", "zebra database is full, password=hunter2xyz, ask ann@zebra.example")
	first := gets(t, phones["apns"], "the page", page)
	in.send("trigger", "db2", "zebra queue is stuck, token: hunter2xyz")
	gets(t, phones["apns"], "the storm card", func(n pushtest.Notification) bool { return page(n) && n.DeliveryID != first.DeliveryID })
	w.watch.forward(patience * 12) // the second level is asked
	gets(t, phones["fcm"], "the page of the next level", page)
	gets(t, phones["webpush"], "the page", page)
	in.send("resolve", "db", "zebra database is well, hunter2xyz")
	in.send("resolve", "db2", "zebra queue is well, hunter2xyz")
	gets(t, phones["fcm"], "the clear", func(n pushtest.Notification) bool { return n.Kind == "clear" })

	secrets := []string{"zebra", "hunter2xyz", "database", "queue"}
	for provider, phone := range phones {
		t.Run(provider, func(t *testing.T) {
			for _, n := range phone.Got() {
				for _, s := range append(secrets, "checkout", "Checkout") {
					if strings.Contains(string(n.Raw), s) {
						t.Errorf("a %s tells %q: %s", n.Kind, s, n.Raw)
					}
				}
			}
		})
	}
	in.stop()
	for _, s := range secrets {
		if before, _, told := strings.Cut(log.String(), s); told {
			t.Errorf("the log tells %q: %s…", s, before[strings.LastIndex(before, "\n")+1:])
		}
	}
	// The incident and the event itself are what people read after signing in.
	itself := []string{"i", "tl", "al", "in", "feed", "dd"}
	kinds, found := map[string]int{}, false
	for key, text := range everything(t, r.URL()) {
		kinds[holder(key)]++
		for _, s := range secrets {
			told := strings.Contains(text, s) || strings.Contains(key, s)
			found = found || (told && holder(key) == "i")
			if told && !slices.Contains(itself, holder(key)) {
				t.Errorf("%q in Redis tells %q", key, s)
			}
		}
	}
	if !found || kinds["dv"] == 0 || kinds["u"] == 0 || kinds["wk"] == 0 {
		t.Errorf("looked through %v, and found the text in the incident: %v; want pages, people, work, and the text there", kinds, found)
	}
}

// TestPhoneThatCannotOpenItsPages gives a phone another key than the one that it
// registered: its receipt takes the key out of use, its record says so, pages
// are redacted, and a new key brings sealed pages back.
func TestPhoneThatCannotOpenItsPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t).URL())
	in := w.start()
	in.apply(strings.Replace(organisation, "settings: {", "settings: {privacy: sealed, ", 1))
	ann := in.enrol(w, "ann", roster.IOS)
	lost, fresh := newSealKey(t), newSealKey(t)
	in.setSealKey(t, "dann", lost, "k1")
	ann.SetSealKey(pushtest.SealKey{Device: "dann", ID: "k1", Key: fresh})

	in.send("trigger", "db", "disk full")
	first := gets(t, ann, "the page", page)
	if first.Sealed == "" || first.Unopened != "decrypt" || first.Title != "Page" {
		t.Fatalf("the phone shows %q (%q), want a sealed page that does not open", first.Title, first.Unopened)
	}
	body, err := json.Marshal(map[string]any{
		"receipt_key": first.ReceiptKey,
		"receipts":    []any{map[string]any{"delivery_id": first.DeliveryID, "state": "STATE_RECEIVED", "reason": first.Unopened}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := in.post("/v1/push/receipts", body); status != http.StatusOK {
		t.Fatalf("receipt answered %d %s", status, answer)
	}
	again := gets(t, ann, "the page once more", func(n pushtest.Notification) bool { return page(n) && n.DeliveryID != first.DeliveryID })
	if again.Sealed != "" || again.Title != "Page" || again.Details["ask"] != "seal_key" {
		t.Errorf("the phone shows %q, sealed %v, details %v; want the minimal page that asks for a key", again.Title, again.Sealed != "", again.Details)
	}
	d, _ := in.server.directory.Snapshot().GetDevice("dann")
	if d.Seals() || d.SealFailed.IsZero() {
		t.Errorf("the key failed at %v, in use %v; want it out of use", d.SealFailed, d.Seals())
	}

	in.setSealKey(t, "dann", fresh, "k2")
	ann.SetSealKey(pushtest.SealKey{Device: "dann", ID: "k2", Key: fresh})
	in.send("trigger", "db2", "queue stuck")
	n := gets(t, ann, "a page that it can open", func(n pushtest.Notification) bool { return page(n) && n.Opened != nil })
	if !strings.Contains(n.Body, "queue stuck") {
		t.Errorf("the phone shows %q, %q; want the text", n.Title, n.Body)
	}
}

func newSealKey(t *testing.T) seal.PrivateKey {
	t.Helper()
	k, err := seal.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// setSealKey registers a key for the device, as its app does.
func (in *instance) setSealKey(t *testing.T, device roster.DeviceID, k seal.PrivateKey, id string) {
	t.Helper()
	_, err := in.server.directory.Change(t.Context(), directory.ByServer("test"), func(e *directory.Edit) error {
		d, _ := e.GetDevice(device)
		c := *d
		c.SetSealKey(k.Public(), id, e.Now)
		return e.Update(&c, "")
	})
	if err != nil {
		t.Fatal(err)
	}
}

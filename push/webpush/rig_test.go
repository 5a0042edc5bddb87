package webpush_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/webpush"
)

const (
	appURL  = "https://oncall.example.com/app/"
	subject = "mailto:oncall@example.com"
)

// newProvider is a provider with a key of its own.
func newProvider(t testing.TB, change func(*webpush.Config)) *webpush.Provider {
	t.Helper()
	p, err := webpush.New(config(t, change))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func config(t testing.TB, change func(*webpush.Config)) webpush.Config {
	t.Helper()
	k, err := webpush.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file, err := k.File()
	if err != nil {
		t.Fatal(err)
	}
	c := webpush.Config{App: "web", Key: file, Subject: subject, AppURL: appURL}
	if change != nil {
		change(&c)
	}
	return c
}

func page() push.Message {
	return push.Message{
		Kind: push.KindPage, DeliveryID: uuid(), IncidentID: "00a1m8k5w6q0abcdefgh0", IncidentNumber: 42, Revision: 1, Severity: "critical",
		Title: "CRITICAL checkout", Subtitle: "Database down", Body: "pg-1 does not answer", OpenPages: 1,
		CollapseID: "inc-00a1m8k5w6q0abcdefgh0", ThreadID: "checkout", Sound: push.SoundNormal, HighUrgency: true,
		At: time.Now(), Deadline: time.Now().Add(2 * time.Minute), ReceiptPath: "/v1/push/receipts",
	}
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

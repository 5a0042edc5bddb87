package demo

import (
	"net/smtp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const bothParts = "From: a@shop.example\r\nSubject: =?utf-8?q?Critical:_Checkout_=E2=80=93_5xx?=\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/alternative; boundary=XX\r\n\r\n--XX\r\nContent-Type: text/html\r\n\r\n<p>no</p>\r\n" +
	"--XX\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\none in =\r\nfive=2E\r\n--XX--\r\n"

func TestMailbox(t *testing.T) {
	t.Parallel()
	arrived := make(chan letter, 1)
	m, err := openMailbox(func(l letter) { arrived <- l })
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	address := "127.0.0.1:" + strconv.Itoa(m.port)
	if err := smtp.SendMail(address, nil, "a@shop.example", []string{"ann@shop.example"}, []byte(bothParts)); err != nil {
		t.Fatal(err)
	}
	l := <-arrived
	if want := "Critical: Checkout – 5xx"; l.subject != want {
		t.Errorf("subject: got %q, want %q", l.subject, want)
	}
	if got := strings.TrimSpace(l.text); got != "one in five." {
		t.Errorf("text: got %q, want %q", got, "one in five.")
	}
	if len(l.to) != 1 || personOf(l.to[0]) != ann || time.Since(l.at) > time.Minute {
		t.Errorf("got %v at %v, want Ann now", l.to, l.at)
	}
	if err := smtp.SendMail(address, nil, "a@shop.example", []string{"ann@shop.example"}, []byte("no header here")); err == nil {
		t.Error("a message without a header was taken")
	}
}

func FuzzReadLetter(f *testing.F) {
	f.Add(bothParts)
	f.Add("Subject: plain\r\n\r\ntext")
	f.Add("Content-Type: multipart/mixed\r\n\r\n")
	f.Add("Content-Transfer-Encoding: base64\r\n\r\n!!!")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := readLetter(strings.NewReader(text))
		if err == nil && len(l.text) > 2*len(text) {
			t.Errorf("%d bytes became %d", len(text), len(l.text))
		}
	})
}

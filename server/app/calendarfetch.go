package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tocsin-oncall/tocsin/push/egress"
	"github.com/tocsin-oncall/tocsin/server/calendar"
	"github.com/tocsin-oncall/tocsin/server/config"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// Limits of reading a calendar at an address that a caller has named.
const (
	fetchPatience  = 8 * time.Second // a call may take ten
	fetchRedirects = 5
	fetchAtOnce    = 8
)

// fetcher reads calendars of others. It goes where webhooks may go, and looks at
// every address that it connects to, those of redirects too.
type fetcher struct {
	client *http.Client
	plain  bool // http as well, for what is allowed inside the house
	room   chan struct{}
}

func calendarFetcher(c config.Webhooks) (func(ctx context.Context, address string) ([]byte, error), error) {
	allow := make([]netip.Prefix, len(c.Allow))
	for i, text := range c.Allow {
		var err error
		if allow[i], err = config.ParsePrefix(text); err != nil {
			return nil, fmt.Errorf("webhooks.allow[%d]: %w", i, err)
		}
	}
	dialer := &net.Dialer{Timeout: fetchPatience, Control: egress.Control(allow...)}
	f := &fetcher{plain: c.Plain, room: make(chan struct{}, fetchAtOnce)}
	f.client = &http.Client{
		Timeout: fetchPatience,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableKeepAlives: true,
			TLSHandshakeTimeout: fetchPatience, MaxResponseHeaderBytes: 16 << 10,
		}, // no proxy from the environment: it would connect past the guard
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > fetchRedirects {
				return notRead("leads on more than %d times", fetchRedirects)
			}
			return f.check(req.URL)
		},
	}
	return f.fetch, nil
}

// check refuses what is not to be called by its looks.
func (f *fetcher) check(u *url.URL) error {
	if u.Host == "" || u.User != nil || (u.Scheme != "https" && (u.Scheme != "http" || !f.plain)) {
		return notRead("is not an https URL without a password in it")
	}
	return nil
}

func (f *fetcher) fetch(ctx context.Context, address string) ([]byte, error) {
	select {
	case f.room <- struct{}{}:
		defer func() { <-f.room }()
	default:
		return nil, fault.New(fault.Exhausted, "CALENDARS_BUSY", "too many calendars are read at the moment").After(fetchPatience)
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, notRead("is no URL")
	}
	if strings.EqualFold(u.Scheme, "webcal") {
		u.Scheme = "https"
	}
	if err := f.check(u); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, notRead("is no URL")
	}
	req.Header.Set("Accept", "text/calendar")
	req.Header.Set("User-Agent", "tocsin")
	res, err := f.client.Do(req)
	if err != nil {
		return nil, unread(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, notRead("answers %d", res.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, calendar.MaxCalendar+1)) // one more is told as too large
	if err != nil {
		return nil, unread(err)
	}
	return raw, nil
}

// unread says why nothing was read, without what the address is: it is a secret.
func unread(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if _, ok := errors.AsType[*egress.RefusedError](err); ok {
		return notRead("leads inside the house; allow it in webhooks.allow if it is meant")
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the rest of it is the address
	}
	return fault.New(fault.Unavailable, "CALENDAR_SILENT", "the calendar did not answer").Because(err)
}

func notRead(format string, args ...any) *fault.Error {
	return fault.InvalidField("url", "the address "+format, args...)
}

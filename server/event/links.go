package event

import (
	"net/url"
	"strings"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// webURL returns s when a person can be sent there: an http or https address
// with a host. Else "": a javascript or file address would run on the phone of
// whoever taps it.
func webURL(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > MaxURL || line(s) != s {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return ""
	}
	return s
}

func normaliseLinks(all []Link) []Link {
	var kept []Link
	seen := make(map[string]bool, min(len(all), MaxLinks))
	for _, l := range all {
		l.Href, l.Text = webURL(l.Href), clip(line(l.Text), MaxField)
		if l.Href == "" || seen[l.Href] {
			continue
		}
		if kept = append(kept, l); len(kept) == MaxLinks {
			break
		}
		seen[l.Href] = true
	}
	return kept
}

func normaliseImages(all []Image) []Image {
	var kept []Image
	seen := make(map[string]bool, min(len(all), MaxLinks))
	for _, i := range all {
		i.Src, i.Href, i.Alt = webURL(i.Src), webURL(i.Href), clip(line(i.Alt), MaxField)
		if i.Src == "" || seen[i.Src] {
			continue
		}
		if kept = append(kept, i); len(kept) == MaxLinks {
			break
		}
		seen[i.Src] = true
	}
	return kept
}

func checkLinks(e Event) error {
	if len(e.Links) > MaxLinks || len(e.Images) > MaxLinks {
		return fault.InvalidField("links", "must be at most %d, and as many images", MaxLinks)
	}
	seen := map[string]bool{}
	for _, l := range e.Links {
		if l.Href == "" || webURL(l.Href) != l.Href || seen[l.Href] || !isLine(l.Text, MaxField) {
			return fault.InvalidField("links", "must be different http or https addresses with a text of one line")
		}
		seen[l.Href] = true
	}
	clear(seen)
	for _, i := range e.Images {
		if i.Src == "" || webURL(i.Src) != i.Src || webURL(i.Href) != i.Href || seen[i.Src] || !isLine(i.Alt, MaxField) {
			return fault.InvalidField("images", "must be different http or https addresses with a text of one line")
		}
		seen[i.Src] = true
	}
	return nil
}

package directory

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/catalog"
	"github.com/tocsin-oncall/tocsin/server/escalation"
	"github.com/tocsin-oncall/tocsin/server/event"
)

func (c *checker) service(s *Service) {
	c.id(string(s.ID))
	c.name("display_name", s.Name)
	if s.Policy == "" {
		c.bad("escalation_policy", "name the policy that says who is paged")
	}
	if s.Urgency > catalog.UrgencyBySupportHours {
		c.bad("urgency_rule", "is none of by_severity, high, low and by_support_hours")
	}
	if s.MinSeverity > event.Info {
		c.bad("min_severity", "is none of critical, error, warning and info")
	}
	if s.KeyScope > catalog.ScopeIntegration {
		c.bad("key_scope", "is none of service and integration")
	}
	c.privacy("privacy", s.Privacy)
	c.hours(s)
	if s.AckTimeout > 0 {
		c.between("acknowledge_timeout", s.AckTimeout, time.Minute, maxAck)
	}
	if s.AckReminder != 0 {
		c.between("acknowledge_reminder", s.AckReminder, time.Minute, maxAck)
	}
	if s.AutoResolve != 0 {
		c.between("auto_resolve", s.AutoResolve, time.Minute, maxAuto)
	}
	if s.ReopenWindow != 0 {
		c.between("reopen_window", s.ReopenWindow, time.Second, maxReopen)
	}
}

func (c *checker) hours(s *Service) {
	h := s.Hours
	if s.Urgency != catalog.UrgencyBySupportHours && h.Zone == "" && len(h.Days) == 0 && h.Start == 0 && h.End == 0 {
		return
	}
	if h.Zone == "" {
		c.bad("support_hours.time_zone", "support hours need a time zone, such as Europe/Zurich")
	} else {
		c.zone("support_hours.time_zone", h.Zone)
	}
	for i, d := range h.Days {
		if d < time.Sunday || d > time.Saturday {
			c.bad(fmt.Sprintf("support_hours.days[%d]", i), "is no day of the week")
		}
	}
	c.clock("support_hours.start", h.Start)
	c.clock("support_hours.end", h.End)
}

func (c *checker) integration(in *Integration) {
	c.id(string(in.ID))
	c.name("display_name", in.Name)
	if !methodForm.MatchString(in.Source) {
		c.bad("source", "%q is no source; write one such as alertmanager, pagerduty or generic", in.Source)
	}
	if auth.Hash(in.KeyHash).IsZero() {
		c.bad("key", "an integration needs a key")
	}
	if len(in.Options) > maxOptions {
		c.bad("options", "there are %d; at most %d are allowed", len(in.Options), maxOptions)
	}
	for k, v := range in.Options {
		if k == "" || len(k) > maxOptionKey || utf8.RuneCountInString(v) > maxOption {
			c.bad("options."+k, "a name has 1 to %d bytes and a value at most %d characters", maxOptionKey, maxOption)
		}
	}
}

func (c *checker) policy(p *Policy) {
	c.id(string(p.ID))
	c.name("display_name", p.Name)
	if n := len(p.Levels); n == 0 || n > escalation.MaxLevels {
		c.bad("levels", "there are %d; a policy has 1 to %d", n, escalation.MaxLevels)
	}
	if p.Loops < 0 || p.Loops > escalation.MaxLoops {
		c.bad("loops", "is %d; write 0 to %d", p.Loops, escalation.MaxLoops)
	}
	for i, l := range p.Levels {
		path := fmt.Sprintf("levels[%d]", i)
		if len(l.Targets) == 0 {
			c.bad(path+".targets", "a level asks 1 to %d", escalation.MaxTargets)
		}
		c.targets(path+".targets", l.Targets)
		c.between(path+".delay", l.Delay, escalation.MinDelay, escalation.MaxDelay)
		if l.Strategy > escalation.AnyOne {
			c.bad(path+".strategy", "is none of everyone, round_robin and any_one")
		}
	}
	c.targets("fallback", p.Fallback)
}

func (c *checker) targets(path string, targets []escalation.Target) {
	unique(c, path, targets, escalation.MaxTargets)
	for i, t := range targets {
		if t.ID == "" || t.Kind < escalation.UserTarget || t.Kind > escalation.TeamTarget {
			c.bad(fmt.Sprintf("%s[%d]", path, i), "names nobody")
		}
	}
}

func (c *checker) scopes(t *Token) {
	for i, s := range t.Scopes {
		if !slices.Contains(auth.Scopes(), s) {
			c.bad(fmt.Sprintf("scopes[%d]", i), "%q is none of read, respond, configure and operate", s)
		}
	}
	unique(c, "scopes", t.Scopes, len(auth.Scopes()))
}

// span writes a duration as people write it: "5m", "1h30m", "24h".
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

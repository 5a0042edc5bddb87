package demo

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

const (
	leastWidth  = 72
	leastHeight = 18
	wideAt      = 110 // columns from which phones are wide
	freshFor    = time.Second
	footLines   = 3 // below the panels: message, server, keys
)

// screen is one picture of the demo, ready to be drawn.
type screen struct {
	width, height int
	now           time.Time
	monitor, url  string
	open          int
	phones        [2]handset
	incident      board
	server        serverLine
	message       string
}

// handset is one phone.
type handset struct {
	name    string
	clock   string
	mood    mood
	pending string
	pages   int
	badge   *int
	capital bool // its keys are capitals
	cards   []card
}

// card is one notification on a lock screen.
type card struct {
	title, subtitle, body, foot, left string
	page, loud                        bool
	age                               time.Duration
}

// board is one incident.
type board struct {
	title, state, turn string
	entries            []entryLine
	deliveries         []string
}

type entryLine struct{ at, text string }

type serverLine struct {
	state, log string
	down       bool
}

// The colours are those of the terminal, so that they fit light and dark ones.
//
//nolint:gochecknoglobals // look-up tables
var (
	red    = lipgloss.NewStyle().Foreground(lipgloss.Red)
	alarm  = lipgloss.NewStyle().Foreground(lipgloss.BrightRed).Bold(true)
	green  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	yellow = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	cyan   = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
	strong = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
	inside = lipgloss.NewStyle().Reverse(true)
)

// render draws the screen in exactly width columns and height lines.
func (s screen) render() string {
	if s.width < leastWidth || s.height < leastHeight {
		return fmt.Sprintf("The demo needs %d columns and %d lines; this terminal has %d and %d.\nq quits.", leastWidth, leastHeight, s.width, s.height)
	}
	phone := 22
	if s.width >= wideAt {
		phone = 34
	}
	rows := s.height - 1 - footLines
	left := s.phones[0].panel(phone, rows)
	right := s.phones[1].panel(phone, rows)
	middle := s.incident.panel(s.width-2*phone-2, rows)
	lines := []string{s.head()}
	for i := range rows {
		lines = append(lines, left[i]+" "+right[i]+" "+middle[i])
	}
	lines = append(lines, fit(yellow.Render(s.message), s.width), s.foot(), fit(faint.Render(keyHelp), s.width))
	return strings.Join(lines, "\n")
}

// head says what this is.
func (s screen) head() string {
	title := " tocsin demo "
	what := fmt.Sprintf(" %s · %s ", s.monitor, strings.TrimPrefix(s.url, "http://"))
	open := fmt.Sprintf(" %d open ", s.open)
	room := s.width - ansi.StringWidth(title) - ansi.StringWidth(open)
	return inside.Bold(true).Render(title) + inside.Render(fit(what, room)+open)
}

func (s screen) foot() string {
	state := green.Render(s.server.state)
	if s.server.down {
		state = alarm.Render(s.server.state)
	}
	if s.server.log != "" {
		state += faint.Render(" │ " + s.server.log)
	}
	return fit(state, s.width)
}

// panel draws a phone: a frame with its name, the clock, and its cards, the
// newest first, as many as there is room for.
func (h handset) panel(width, height int) []string {
	room := width - 2
	lines := []string{
		centre(strong.Render(h.clock), room),
		centre(h.status(), room),
		"",
	}
	bottom := h.buttons(room)
	for i, c := range h.cards {
		drawn := c.lines(room)
		if free := height - 2 - len(lines) - len(bottom); len(drawn) > free {
			if free > 0 {
				lines = append(lines, faint.Render(fmt.Sprintf(" and %d more", len(h.cards)-i)))
			}
			break
		}
		lines = append(lines, drawn...)
	}
	for len(lines) < height-2-len(bottom) {
		lines = append(lines, "")
	}
	frame := lipgloss.NewStyle()
	if len(h.cards) > 0 && h.cards[0].page && h.cards[0].foot != "silent" && h.cards[0].age < freshFor {
		frame = alarm // it rings
	}
	return box(append(lines, bottom...), h.name, width, height, frame)
}

func (h handset) status() string {
	switch {
	case h.pending != "":
		return yellow.Render(h.pending)
	case h.mood == moodOffline:
		return red.Render("off line")
	case h.mood == moodMute:
		return yellow.Render("says nothing")
	case h.badge != nil && *h.badge > 0:
		return fmt.Sprintf("on line · badge %d", *h.badge)
	}
	return faint.Render("on line")
}

// buttons are the actions of the newest page.
func (h handset) buttons(room int) []string {
	if h.pages == 0 {
		return nil
	}
	keys := []string{"a", "r", "e"}
	if h.capital {
		keys = []string{"A", "R", "E"}
	}
	key := func(i int, text string) string { return cyan.Render("["+keys[i]+"]") + " " + text }
	if room < 28 {
		return []string{" " + key(0, "Acknowledge"), " " + key(1, "Fix") + " " + key(2, "Pass on")}
	}
	return []string{" " + key(0, "Acknowledge"), " " + key(1, "Resolve") + "  " + key(2, "Can't take it")}
}

// lines draws a notification.
func (c card) lines(room int) []string {
	bar, title := green, strong
	if c.page {
		bar, title = red, strong.Foreground(lipgloss.Red)
	}
	if c.loud {
		bar, title = alarm, alarm
	}
	text := room - 2
	var lines []string
	add := func(style lipgloss.Style, s string, most int) {
		if s == "" {
			return
		}
		parts := wrap(s, text)
		for i, part := range parts[:min(len(parts), most)] {
			if i == most-1 && len(parts) > most {
				part = ansi.Truncate(part+" "+strings.Join(parts[most:], " "), text, "…")
			}
			lines = append(lines, bar.Render("▌")+style.Render(ansi.Truncate(part, text, "…")))
		}
	}
	add(title, c.title, 2)
	add(lipgloss.NewStyle(), c.subtitle, 2)
	add(lipgloss.NewStyle(), c.body, 2)
	foot := c.foot
	if c.left != "" { // what there is no room for is said by the colour
		foot = fit(foot, text-ansi.StringWidth(c.left)-1) + " " + c.left
	}
	return append(lines, bar.Render("▌")+faint.Render(ansi.Truncate(foot, text, "…")), "")
}

// panel draws the incident: where it stands, its timeline, and what became of each page.
func (b board) panel(width, height int) []string {
	room := width - 2
	if b.title == "" {
		return box([]string{"", centre(faint.Render("all is well"), room)}, "incident", width, height, lipgloss.NewStyle())
	}
	state := map[string]lipgloss.Style{"triggered": alarm, "acknowledged": yellow, "resolved": green}[b.state]
	lines := []string{" " + strong.Render(ansi.Truncate(b.title, room-2, "…"))}
	lines = append(lines, " "+state.Render(strings.ToUpper(b.state)))
	for _, part := range wrap(b.turn, room-2) {
		lines = append(lines, " "+part)
	}
	lines = append(lines, faint.Render(strings.Repeat("─", room)))

	ways := b.ways(room, (height-2-len(lines))/2)
	free := height - 2 - len(lines) - len(ways)
	lines = append(lines, b.history(room, free)...)
	return box(append(lines, ways...), "incident", width, height, lipgloss.NewStyle())
}

// history is the end of the timeline, in exactly so many lines.
func (b board) history(room, height int) []string {
	const at = 8
	var lines []string
	for _, e := range b.entries {
		for i, part := range wrap(e.text, room-at-1) {
			stamp := ""
			if i == 0 {
				stamp = e.at
			}
			lines = append(lines, cyan.Render(fmt.Sprintf(" %-*s", at-1, stamp))+part)
		}
	}
	lines = lines[max(0, len(lines)-height):]
	for len(lines) < height {
		lines = append(lines, "")
	}
	return lines
}

// ways is how far the newest pages came, in at most so many lines.
func (b board) ways(room, height int) []string {
	if len(b.deliveries) == 0 {
		return nil
	}
	var lines []string
	for _, d := range b.deliveries {
		for i, part := range wrap(d, room-3) {
			indent := " "
			if i > 0 {
				indent = "   "
			}
			lines = append(lines, indent+part)
		}
	}
	lines = lines[max(0, len(lines)-height+1):]
	return append([]string{faint.Render("── pages " + strings.Repeat("─", max(0, room-9)))}, lines...)
}

// box frames lines with a name in the upper edge, in exactly that size.
func box(lines []string, name string, width, height int, edge lipgloss.Style) []string {
	room := width - 2
	label := " " + ansi.Truncate(name, room-4, "…") + " "
	rule := room - ansi.StringWidth(label)
	out := []string{edge.Render("╭"+strings.Repeat("─", rule/2)) + strong.Render(label) + edge.Render(strings.Repeat("─", rule-rule/2)+"╮")}
	for i := range height - 2 {
		line := ""
		if i < len(lines) {
			line = lines[i]
		}
		out = append(out, edge.Render("│")+fit(line, room)+edge.Render("│"))
	}
	return append(out, edge.Render("╰"+strings.Repeat("─", room)+"╯"))
}

// wrap breaks a text between words, and nowhere else: names have hyphens.
func wrap(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case ansi.StringWidth(*last)+1+ansi.StringWidth(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

// fit cuts or fills a line to exactly that many columns.
func fit(line string, width int) string {
	line = ansi.Truncate(line, width, "…")
	return line + strings.Repeat(" ", max(0, width-ansi.StringWidth(line)))
}

// centre puts a line into the middle.
func centre(line string, width int) string {
	line = ansi.Truncate(line, width, "…")
	return strings.Repeat(" ", max(0, (width-ansi.StringWidth(line))/2)) + line
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// output is the flag of every command that prints something to read.
type output struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"text, or json for programs."`
}

func (o output) json() bool { return o.Output == "json" }

// printJSON writes m as the HTTP API would say it, indented. protojson varies
// its blanks from build to build on purpose; the second pass takes that away.
func (s *session) printJSON(m proto.Message) error {
	return writeJSON(s.out, m, "  ")
}

// printLine writes m on one line, for streams.
func (s *session) printLine(m proto.Message) error { return writeJSON(s.out, m, "") }

func writeJSON(w io.Writer, m proto.Message, indent string) error {
	text, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	var b bytes.Buffer
	if indent == "" {
		err = json.Compact(&b, text)
	} else {
		err = json.Indent(&b, text, "", indent)
	}
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}

// table writes rows in columns. Cells come from other people's systems and are
// cleaned: an alert's title must not be able to move the cursor.
type table struct {
	w      *tabwriter.Writer
	indent string
}

func (s *session) table(heads ...string) *table {
	t := &table{w: tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.StripEscape)}
	t.row(heads...)
	return t
}

// facts is a table without heads: a name and a value a line.
func (s *session) facts() *table {
	return &table{w: tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.StripEscape)}
}

// listing is a table without heads, set in below a line that says what it is.
func (s *session) listing() *table {
	t := s.facts()
	t.indent = "  "
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		if c = clean(c); c == "" && i < len(cells)-1 {
			c = "-"
		}
		cells[i] = c
	}
	fmt.Fprintln(t.w, t.indent+strings.TrimRight(strings.Join(cells, "\t"), "\t"))
}

// fact writes a line unless there is nothing to say.
func (t *table) fact(name, value string) {
	if value != "" {
		t.row(name, value)
	}
}

func (t *table) flush() error { return t.w.Flush() }

// clean makes text safe for a terminal: one line, no control or invisible
// formatting characters.
func clean(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, text))
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return strings.TrimSpace(string(runes[:n-1])) + "…"
}

// word makes STATE_TRIGGERED into "triggered": the value without the name of
// its enum. Unspecified values are "".
func word(e protoreflect.Enum) string {
	d := e.Descriptor().Values().ByNumber(e.Number())
	if d == nil {
		return "unknown (" + strconv.Itoa(int(e.Number())) + ")"
	}
	if e.Number() == 0 {
		return ""
	}
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(string(d.Name()), prefixOf(e)), "_", " "))
}

// prefixOf is the name of the enum as it stands before its values: ResolveCause -> RESOLVE_CAUSE_.
func prefixOf(e protoreflect.Enum) string {
	zero := string(e.Descriptor().Values().ByNumber(0).Name())
	return strings.TrimSuffix(zero, "UNSPECIFIED")
}

// id is the last part of a resource name.
func id(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// ids lists the last parts of names.
func ids(names []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = id(n)
	}
	return strings.Join(parts, ", ")
}

// span shows a duration in the two largest units: 3m12s, 4h5m, 12d3h.
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < 24*time.Hour:
		return two(d, time.Hour, "h", time.Minute, "m")
	default:
		return two(d, 24*time.Hour, "d", time.Hour, "h")
	}
}

func two(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	text := strconv.Itoa(int(d/big)) + bigName
	if rest := int(d % big / small); rest > 0 {
		text += strconv.Itoa(rest) + smallName
	}
	return text
}

// age is how long ago t was.
func (s *session) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return span(max(s.now().Sub(t.AsTime()), 0))
}

// at shows an instant: the clock for today, the date with it otherwise.
func (s *session) at(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	local, now := t.AsTime().In(s.zone), s.now().In(s.zone)
	if local.YearDay() == now.YearDay() && local.Year() == now.Year() {
		return local.Format("15:04:05")
	}
	return local.Format("2006-01-02 15:04:05")
}

// when shows an instant and how far it is from now.
func (s *session) when(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	away := t.AsTime().Sub(s.now()).Round(time.Second)
	if away.Abs() < time.Second {
		return s.at(t) + " (now)"
	}
	if away > 0 {
		return s.at(t) + " (in " + span(away) + ")"
	}
	return s.at(t) + " (" + span(away) + " ago)"
}

package calendar

import (
	"bytes"
	"unicode/utf8"
)

// longestLine is how many octets a line may have without its end (RFC 5545, 3.1).
const longestLine = 75

// fold breaks lines that are too long, never within a character. The encoder
// leaves that to its caller.
func fold(calendar []byte) []byte {
	folded := make([]byte, 0, len(calendar)+len(calendar)/longestLine)
	for line := range bytes.SplitAfterSeq(calendar, []byte("\r\n")) {
		room := longestLine
		for text := len(bytes.TrimSuffix(line, []byte("\r\n"))); text > room; text = len(line) - 2 {
			cut := room
			for !utf8.RuneStart(line[cut]) {
				cut--
			}
			folded = append(append(folded, line[:cut]...), "\r\n "...)
			line, room = line[cut:], longestLine-1 // the blank counts
		}
		folded = append(folded, line...)
	}
	return folded
}

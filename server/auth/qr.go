package auth

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// quiet is the empty border that a reader needs around a code, in modules
// (ISO/IEC 18004, 9.1). Terminals get by with half of it on phones of today,
// but a dark prompt right beside the code does not.
const quiet = 4

// QRText draws the text as a QR code for a terminal of light text on a dark
// ground: two modules per character, by half blocks. Lines end in a newline.
func QRText(text string) (string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", fmt.Errorf("draw QR code: %w", err)
	}
	// Light modules are drawn and dark ones are left to the ground, so the code
	// comes out with its own polarity on the usual dark terminal.
	light := func(x, y int) bool { return !code.Black(x, y) }
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		for x := -quiet; x < code.Size+quiet; x++ {
			top, bottom := light(x, y), y+1 < code.Size+quiet && light(x, y+1)
			switch {
			case top && bottom:
				b.WriteString("█")
			case top:
				b.WriteString("▀")
			case bottom:
				b.WriteString("▄")
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// QRPNG draws the text as a QR code in a PNG image, eight pixels a module.
func QRPNG(text string) ([]byte, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil, fmt.Errorf("draw QR code: %w", err)
	}
	return code.PNG(), nil
}

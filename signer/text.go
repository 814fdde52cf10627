package signer

import (
	"fmt"
	"io"
	"strings"

	"github.com/tufops/tufops/internal/escape"
)

// columns is how wide text is written where names allow.
const columns = 80

// page is text for a terminal. Every line that is added to it is escaped as a
// whole, so nothing that comes from a branch can get past it.
type page struct{ b strings.Builder }

// line adds one line, as it is.
func (p *page) line(format string, args ...any) {
	p.b.WriteString(strings.TrimRight(escape.Terminal(fmt.Sprintf(format, args...)), " "))
	p.b.WriteByte('\n')
}

// fold adds a text, broken at spaces to fit. Lines after the first are indented
// by so many columns.
func (p *page) fold(indent int, format string, args ...any) {
	text := escape.Terminal(fmt.Sprintf(format, args...))
	pad := strings.Repeat(" ", indent)
	for len([]rune(text)) > columns {
		head := string([]rune(text)[:columns+1])
		at := strings.LastIndexByte(head, ' ')
		if at <= len(text)-len(strings.TrimLeft(text, " ")) { // one long word
			if at = strings.IndexByte(strings.TrimLeft(text, " "), ' '); at < 0 {
				break
			}
			at += len(text) - len(strings.TrimLeft(text, " "))
		}
		p.b.WriteString(strings.TrimRight(text[:at], " ") + "\n")
		text = pad + strings.TrimLeft(text[at:], " ")
	}
	p.b.WriteString(strings.TrimRight(text, " ") + "\n")
}

func (p *page) blank() { p.b.WriteByte('\n') }

func (p *page) writeTo(w io.Writer) error {
	_, err := io.WriteString(w, p.b.String())
	return err
}

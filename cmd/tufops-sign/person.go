package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/tufops/tufops/internal/cli"
	"github.com/tufops/tufops/internal/escape"
)

// person is whoever sits at the terminal, or has piped answers: one line per
// question. Questions go to stderr.
type person struct {
	in      *bufio.Reader
	file    *os.File // stdin where it is a terminal
	out     io.Writer
	program string
}

func newPerson(env cli.Env, program string) *person {
	p := &person{in: bufio.NewReader(env.Stdin), out: env.Stderr, program: program}
	if f, ok := env.Stdin.(*os.File); ok && env.StdinIsTerminal {
		p.file = f
	}
	return p
}

// errNoAnswer says that input has ended before a question was answered.
var errNoAnswer = cli.WithHint(errors.New("a question was not answered: the input has ended"),
	"answer it, give it as a flag (see --help), or take the defaults with --yes")

const maxAnswer = 64 << 10

func (p *person) Ask(ctx context.Context, question, otherwise string) (string, error) {
	prompt := escape.Terminal(question)
	if otherwise != "" {
		prompt += " [" + escape.Terminal(otherwise) + "]"
	}
	fmt.Fprintf(p.out, "%s: %s: ", p.program, prompt)
	answer, err := p.wait(ctx, p.readLine)
	if p.file == nil { // where a terminal would have shown it
		fmt.Fprintln(p.out, escape.Terminal(answer))
	}
	return strings.TrimSpace(answer), err
}

func (p *person) Secret(ctx context.Context, question string) (string, error) {
	fmt.Fprintf(p.out, "%s: %s: ", p.program, escape.Terminal(question))
	if p.file == nil {
		answer, err := p.wait(ctx, p.readLine)
		fmt.Fprintln(p.out)
		return answer, err
	}
	fd := int(p.file.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	answer, err := p.wait(ctx, func() (string, error) {
		secret, err := term.ReadPassword(fd)
		return string(secret), err
	})
	if ctx.Err() != nil { // the read is still waiting, with echo off
		return "", errors.Join(ctx.Err(), term.Restore(fd, state))
	}
	fmt.Fprintln(p.out) // the person's own was not shown
	return answer, err
}

func (p *person) Tell(text string) { fmt.Fprintf(p.out, "%s: %s\n", p.program, escape.Terminal(text)) }

// readLine reads one line, without what ends it.
func (p *person) readLine() (string, error) {
	var line []byte
	for {
		part, err := p.in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxAnswer {
			return "", errors.New("the answer is too long")
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) == 0:
			return "", errNoAnswer
		case err != nil && !errors.Is(err, io.EOF):
			return "", err
		default:
			return strings.TrimRight(string(line), "\r\n"), nil
		}
	}
}

// wait ends with the context even where read does not.
func (p *person) wait(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return a.text, a.err
	case <-ctx.Done():
		fmt.Fprintln(p.out)
		return "", ctx.Err()
	}
}

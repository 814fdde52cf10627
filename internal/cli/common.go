package cli

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/tufops/tufops/internal/escape"
)

// Common holds the values of the flags that every command has.
type Common struct {
	Dir     string // the git checkout
	TUFDir  string // the TUF repository inside it: a slash-separated path that does not leave it, "." at the top
	Verbose bool

	// Log writes to stderr: what a person running the command should know,
	// and with -v what explains it. It is no place for results.
	Log *slog.Logger

	// Now is the clock of [Clock].
	Now func() time.Time
}

// CommonFlags returns the flags that every command has, for the Flags of the
// app.
func CommonFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "C", Value: ".", Usage: "work on the git checkout in `DIR`"},
		&urfave.StringFlag{Name: "tuf-dir", Value: ".", Usage: "the TUF repository is in `DIR` of it"},
		&urfave.StringFlag{Name: "log-format", Value: "text", Usage: "write the log on stderr as `text|json`",
			Action: func(_ *urfave.Context, format string) error {
				if format != "text" && format != "json" {
					return Usagef("--log-format is text or json, not %q", format)
				}
				return nil
			}},
		&urfave.BoolFlag{Name: "v", Usage: "log more"},
	}
}

// ParseCommon returns the values of [CommonFlags]. Every error is a usage
// error.
func ParseCommon(c *urfave.Context, env Env) (Common, error) {
	env = env.withDefaults()
	tufDir := filepath.ToSlash(filepath.Clean(c.String("tuf-dir")))
	if !filepath.IsLocal(c.String("tuf-dir")) {
		return Common{}, Usagef("--tuf-dir is a path inside the git checkout, not %q", c.String("tuf-dir"))
	}
	if c.String("C") == "" {
		return Common{}, Usagef("-C needs a directory")
	}
	now, err := Clock(env)
	if err != nil {
		return Common{}, err
	}
	return Common{
		Dir:     c.String("C"),
		TUFDir:  tufDir,
		Verbose: c.Bool("v"),
		Log:     newLog(env.Stderr, c.App.Name, c.String("log-format"), c.Bool("v")),
		Now:     now,
	}, nil
}

func newLog(w io.Writer, program, format string, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(jsonEscaper{w}, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(&textHandler{mu: new(sync.Mutex), w: w, program: program, level: level})
}

type jsonEscaper struct{ w io.Writer }

func (e jsonEscaper) Write(doc []byte) (int, error) {
	if _, err := e.w.Write(escape.JSON(doc)); err != nil {
		return 0, err
	}
	return len(doc), nil
}

// textHandler writes log lines as the programs speak otherwise:
//
//	tufops: warning: the event is far behind main commits=312
type textHandler struct {
	mu      *sync.Mutex
	w       io.Writer
	program string
	level   slog.Level
	attrs   string // already formatted
	group   string // prefix of names
}

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(h.program + ": ")
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString("error: ")
	case r.Level >= slog.LevelWarn:
		b.WriteString("warning: ")
	case r.Level < slog.LevelInfo:
		b.WriteString("debug: ")
	}
	b.WriteString(escape.Terminal(r.Message))
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		appendAttr(&b, h.group, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		appendAttr(&b, h.group, a)
	}
	with := *h
	with.attrs += b.String()
	return &with
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	with := *h
	if name != "" {
		with.group += name + "."
	}
	return &with
}

func appendAttr(b *strings.Builder, group string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, member := range value.Group() {
			appendAttr(b, group, member)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	text := value.String()
	if text == "" || strings.ContainsAny(text, " \t\n\"=") {
		text = strconv.Quote(text)
	}
	b.WriteString(" " + escape.Terminal(group+a.Key) + "=" + escape.Terminal(text))
}

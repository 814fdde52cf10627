package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/escape"
)

// What a [CheckReport] comes to.
const (
	CheckPassed      = "passed"
	CheckFailed      = "failed"      // the repository is bad
	CheckUnreachable = "unreachable" // something could not be fetched, and nothing that was is bad
)

// What one check comes to.
const (
	ResultPassed  = "passed"
	ResultWarning = "warning"
	ResultFailed  = "failed"
	ResultSkipped = "not-judged" // what it needs is not there, which another check says
)

// What a problem is one of.
const (
	CauseRepository  = "repository"  // what is served is wrong, or missing
	CauseUnreachable = "unreachable" // nothing was served
	CausePrevious    = "previous"    // the same of the previous state, which is not what is checked
)

// CheckReport says what [Check] found. Text in it is the server's in part: it
// is escaped by Text and Markdown, and by nothing else.
type CheckReport struct {
	Schema      int           `json:"schema"`
	MetadataURL string        `json:"metadata_url"`
	Time        time.Time     `json:"time"`
	Result      string        `json:"result"`
	Checks      []CheckResult `json:"checks"`
	Roles       []CheckedRole `json:"roles"` // those that verified: the top-level ones, then the others by name

	Mirrors []CheckedMirror `json:"mirrors"`
}

// CheckResult is one check.
type CheckResult struct {
	Check    string    `json:"check"`
	Result   string    `json:"result"`
	Message  string    `json:"message"` // what was seen, or why nothing was judged; empty where there are problems
	Problems []Problem `json:"problems"`
}

// Problem is one thing that is wrong.
type Problem struct {
	Cause   string `json:"cause"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
	warning bool
}

// CheckedRole is a role that verified. It may have expired all the same.
type CheckedRole struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
}

func (k *checker) add(check, result, message string, problems []Problem) {
	k.report.Checks = append(k.report.Checks, CheckResult{Check: check, Result: result, Message: message, Problems: append([]Problem{}, problems...)})
}

func (k *checker) pass(check, format string, args ...any) {
	k.add(check, ResultPassed, fmt.Sprintf(format, args...), nil)
}
func (k *checker) skip(check, why string)                 { k.add(check, ResultSkipped, why, nil) }
func (k *checker) warn(check string, problems ...Problem) { k.add(check, ResultWarning, "", problems) }
func (k *checker) fail(check string, problems ...Problem) { k.add(check, ResultFailed, "", problems) }

// problem is what an error means to those who run the repository. The hints of
// the errors themselves mostly send people to them.
func (k *checker) problem(err error) Problem {
	p := Problem{Cause: CauseRepository, Message: err.Error(),
		Hint: "no client takes this: publish again with tufops publish --deep; if it stays, see with --compare-source whether main holds the same file, and if it does mend main"}
	var (
		fetch    *FetchError
		missing  *NotFoundError
		unknown  *TargetNotFoundError
		limit    *LimitError
		early    *EarlyExpiryError
		mismatch *SourceMismatchError
		proxy    *ProxyError
	)
	switch {
	case errors.As(err, &proxy):
		p.Cause, p.Hint = CauseUnreachable, proxy.Hint()
	case errors.As(err, &fetch):
		p.Cause = CauseUnreachable
		p.Hint = "look at the server and the network on the way to it, then check again"
		if fetch.Status == 401 || fetch.Status == 403 {
			p.Hint = "the server refuses access: look at who may read there, and at the URL"
		}
	case errors.As(err, &missing):
		p.Hint = "check the URL; if it is right, a file is not there: publish again with tufops publish --deep"
	case errors.As(err, &unknown):
		p.Hint = "check the spelling; if it is right, look whether the signing event that adds it is merged and published, and whether the paths of its role cover it"
	case errors.As(err, &limit):
		p.Hint = limit.Hint()
	case errors.As(err, &early):
		p.Hint = early.Hint()
	case errors.As(err, &mismatch):
		p.Hint = mismatch.Hint()
	}
	return p
}

// finish fills in what follows from the checks.
func (k *checker) finish() *CheckReport {
	r := k.report
	for _, role := range k.order() {
		doc := k.documents[role].doc
		r.Roles = append(r.Roles, CheckedRole{Role: role, Version: doc.Version(), Expires: doc.Expires(), Expired: doc.Expired(k.now)})
	}
	r.Result = CheckPassed
	if p := r.worst(); p != nil {
		r.Result = CheckFailed
		if p.Cause == CauseUnreachable {
			r.Result = CheckUnreachable
		}
	}
	return r
}

// failures are the problems of the checks that failed.
func (r *CheckReport) failures() (list []Problem) {
	for _, c := range r.Checks {
		for _, p := range c.Problems {
			if c.Result == ResultFailed && !p.warning {
				list = append(list, p)
			}
		}
	}
	return list
}

// worst is the problem to begin with: what is wrong comes before what could
// not be seen. It is nil where no check failed.
func (r *CheckReport) worst() *Problem {
	list := r.failures()
	for _, cause := range []string{CauseRepository, CausePrevious, CauseUnreachable} {
		for i := range list {
			if list[i].Cause == cause {
				return &list[i]
			}
		}
	}
	return nil
}

// Err is nil if the repository is good, else a [*CheckError].
func (r *CheckReport) Err() error {
	if r.Result == CheckPassed {
		return nil
	}
	return &CheckError{r}
}

// Summary is one sentence.
func (r *CheckReport) Summary() string {
	count := map[string]int{}
	for _, c := range r.Checks {
		count[c.Result]++
	}
	more := ""
	if n := len(r.failures()) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	p := r.worst()
	switch {
	case p == nil && count[ResultWarning] > 0:
		return fmt.Sprintf("the repository at %s is good: %s passed, %d with a warning", r.MetadataURL,
			plural(count[ResultPassed]+count[ResultWarning], "check"), count[ResultWarning])
	case p == nil:
		return fmt.Sprintf("the repository at %s is good: %s passed", r.MetadataURL, plural(count[ResultPassed], "check"))
	case p.Cause == CausePrevious:
		return fmt.Sprintf("the repository at %s could not be checked from its previous state, which is bad itself: %s%s", r.MetadataURL, cut(p.Message), more)
	case p.Cause == CauseUnreachable:
		return fmt.Sprintf("the repository at %s could not be reached for all checks, and what was reached is good: %s%s", r.MetadataURL, cut(p.Message), more)
	}
	return fmt.Sprintf("the repository at %s is bad: %s%s", r.MetadataURL, cut(p.Message), more)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Bounds on what is shown. Names are as long as whoever signed them liked, and
// ten artifacts that are not there look like ten thousand.
const (
	longestShown  = 600
	problemsShown = 10
	columns       = 80
)

func cut(s string) string { return shorten(s, longestShown) }

// shorten cuts s so that it takes at most n columns, as far as a character takes
// one.
func shorten(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}

func shown(result string) string { return strings.ReplaceAll(result, "-", " ") }

// Text is the report for a person at a terminal.
func (r *CheckReport) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %s\n\n", escape.Terminal(r.MetadataURL), r.Time.Format(time.RFC3339))
	for _, c := range r.Checks {
		result := shown(c.Result)
		if c.Result == ResultFailed {
			result = "FAILED"
		}
		for i, line := range c.lines() {
			if i > 0 {
				fmt.Fprintf(&b, "%27s%s\n", "", escape.Terminal(line))
				continue
			}
			fmt.Fprintf(&b, "%-10s  %-13s  %s\n", result, c.Check, escape.Terminal(line))
		}
	}
	if len(r.Roles) > 0 {
		fmt.Fprintf(&b, "\n%8s  %-20s  %-9s  %s\n", "version", "expires", "left", "role")
		for _, role := range r.Roles {
			line := fmt.Sprintf("%8d  %-20s  %-9s  ", role.Version, role.Expires.Format(time.RFC3339), r.left(role))
			b.WriteString(line + shorten(escape.Terminal(role.Role), columns-len(line)) + "\n")
		}
	}
	if len(r.Mirrors) > 0 {
		fmt.Fprintf(&b, "\n%-10s  %-9s  %5s  %-13s  %s\n", "", "timestamp", "roles", "artifacts", "mirror")
		for _, m := range r.Mirrors {
			result := m.Result
			if result == ResultFailed {
				result = "FAILED"
			}
			line := fmt.Sprintf("%-10s  %-9s  %5d  %-13s  ", result, m.timestamp(), len(m.Roles), m.artifacts())
			b.WriteString(line + shorten(escape.Terminal(m.MetadataURL), columns-len(line)) + "\n")
		}
	}
	fmt.Fprintf(&b, "\n%s\n", escape.Terminal(r.Summary()))
	return b.String()
}

// lines are what there is to say of a check: each problem and what to do
// about it.
func (c CheckResult) lines() []string {
	if len(c.Problems) == 0 {
		return []string{cut(c.Message)}
	}
	var lines []string
	hints := map[string]bool{}
	for i, p := range c.Problems {
		if i == problemsShown {
			lines = append(lines, fmt.Sprintf("and %d more, which --format json lists", len(c.Problems)-i))
			break
		}
		lines = append(lines, cut(p.Message))
		hints[p.Hint] = true
	}
	for _, p := range c.Problems {
		if hints[p.Hint] {
			delete(hints, p.Hint)
			lines = append(lines, "hint: "+p.Hint)
		}
	}
	return lines
}

// left is how long a role lives yet.
func (r *CheckReport) left(role CheckedRole) string {
	left := role.Expires.Sub(r.Time)
	switch {
	case role.Expired:
		return "expired"
	case left < 48*time.Hour:
		return fmt.Sprintf("%d h", int(left.Hours()))
	}
	return fmt.Sprintf("%d days", int(left.Hours()/24))
}

// Markdown is the report for the summary of a CI job.
func (r *CheckReport) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**: %s\n\n| check | result | |\n| --- | --- | --- |\n", r.Result, escape.Markdown(r.Summary()))
	for _, c := range r.Checks {
		result := shown(c.Result)
		if c.Result == ResultFailed {
			result = "**failed**"
		}
		var cells []string
		for _, line := range c.lines() {
			cells = append(cells, escape.Markdown(line))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.Check, result, strings.Join(cells, "<br>"))
	}
	if len(r.Roles) > 0 {
		b.WriteString("\n| role | version | expires | left |\n| --- | --- | --- | --- |\n")
		for _, role := range r.Roles {
			fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", escape.Markdown(cut(role.Role)), role.Version, role.Expires.Format(time.RFC3339), r.left(role))
		}
	}
	if len(r.Mirrors) > 0 {
		b.WriteString("\n| mirror | result | timestamp | roles | artifacts |\n| --- | --- | --- | --- | --- |\n")
		for _, m := range r.Mirrors {
			fmt.Fprintf(&b, "| %s | %s | %s | %d | %s |\n", escape.Markdown(cut(m.MetadataURL)), m.Result, m.timestamp(), len(m.Roles), m.artifacts())
		}
	}
	return b.String()
}

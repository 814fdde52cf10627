package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/tufops/tufops/signingevent"
)

// UnavailableError says that GitHub gave no answer to act on, however often it
// was asked.
type UnavailableError struct {
	Method, Path string
	Tries        int
	Waited       time.Duration // between the tries
	Last         string        // what came of the last one: "502 Bad Gateway"
	RateLimited  bool
	Until        time.Time // when the limit ends, if RateLimited
	MayBeDone    bool      // the request may have been carried out without the answer arriving
	Err          error     // the cause of the last one; nil where there was an answer
}

func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("%s %s: tried ", e.Method, e.Path)
	if e.Tries == 1 {
		s += "once"
	} else {
		s += fmt.Sprintf("%d times, waiting %v", e.Tries, e.Waited.Round(time.Second))
	}
	return s + ", at last: " + e.Last
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *UnavailableError) Hint() string {
	if e.RateLimited {
		return "GitHub allows this token no more requests before " + e.Until.UTC().Format(time.RFC3339) + ": run it again then"
	}
	return "see whether GitHub is up and can be reached from here, then run it again"
}

// Note says how things were left.
func (e *UnavailableError) Note() string {
	if e.MayBeDone {
		return "GitHub may have done it all the same; the next run looks"
	}
	return ""
}

// AnswerError says that GitHub refused, or answered something that nobody can
// act on.
type AnswerError struct {
	Status  int    // of HTTP
	Message string // GitHub's
	Advice  string // what to do; may be empty
	Err     error  // the kind, such as [signingevent.ErrNotFound]; may be nil
}

func (e *AnswerError) Error() string {
	s := "GitHub answered " + status(e.Status)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *AnswerError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *AnswerError) Hint() string { return e.Advice }

// settingError is a permission that no token has before a setting of the
// repository is changed.
type settingError struct {
	*signingevent.PermissionError
	setting string
}

func (e *settingError) Unwrap() error { return e.PermissionError }
func (e *settingError) Hint() string  { return e.setting }

// redirectError says that a request was led away, and that its token stayed
// here.
type redirectError struct{ from, to string }

func (e *redirectError) Error() string { return fmt.Sprintf("%s leads to %s", e.from, e.to) }

func (e *redirectError) Hint() string {
	return "check GITHUB_API_URL and GITHUB_REPOSITORY: a token is not sent on, and the repository may have moved"
}

type tooLargeError struct{ max int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("GitHub's answer is larger than %d bytes", e.max)
}

func status(code int) string {
	if text := http.StatusText(code); text != "" {
		return fmt.Sprintf("%d %s", code, text)
	}
	return fmt.Sprint(code)
}

// failed turns what go-github returns into what [signingevent.Forge] promises.
// The action is what was tried, as in "set the commit status of 0123456789ab";
// the permission is what it needs, where it is known.
func (f *Forge) failed(action, permission string, err error) error {
	if err == nil {
		return nil
	}
	var led *url.Error // names the address once more
	if errors.As(err, &led) {
		err = led.Err
	}
	if errors.As(err, new(*json.SyntaxError)) || errors.As(err, new(*json.UnmarshalTypeError)) || errors.As(err, new(*time.ParseError)) || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%s: read GitHub's answer: %w", action, err)
	}
	var refused *gh.ErrorResponse
	var otp *gh.TwoFactorAuthError
	if errors.As(err, &otp) {
		refused = (*gh.ErrorResponse)(otp)
	}
	if refused == nil && !errors.As(err, &refused) {
		return fmt.Errorf("%s: %w", action, err)
	}
	code, message, header := 0, said(refused), http.Header{}
	if refused.Response != nil {
		code, header = refused.Response.StatusCode, refused.Response.Header
	}
	return f.refused(action, permission, code, message, header)
}

// maxMessage is how much of what GitHub says is passed on.
const maxMessage = 500

// refused makes an error of a refusal.
func (f *Forge) refused(action, permission string, code int, message string, header http.Header) error {
	answer := &AnswerError{Status: code, Message: cut(message, maxMessage)}
	switch {
	case strings.Contains(message, "not permitted to create or approve pull requests"):
		return &settingError{
			PermissionError: &signingevent.PermissionError{Action: action, Err: answer},
			setting:         `turn on "Allow GitHub Actions to create and approve pull requests" in Settings, Actions, General of the repository (or of its organization), or give a token of a GitHub App`,
		}
	case strings.Contains(message, "does not have permission to convert the pull request"):
		// All that GraphQL says where the plan has no drafts. A token that lacks
		// the permission hears that the resource is not accessible.
		answer.Err = signingevent.ErrNoDrafts
	case code == http.StatusForbidden:
		if !strings.Contains(message, "not accessible") && !strings.HasPrefix(message, "Must have ") {
			permission = "" // archived, blocked, single sign-on: not a matter of permissions
		} else {
			permission = cut(needed(header.Get("X-Accepted-GitHub-Permissions"), permission), maxMessage)
		}
		return &signingevent.PermissionError{Action: action, Permission: permission, Err: answer}
	case code == http.StatusUnauthorized:
		answer.Advice = fmt.Sprintf("the token of %s is wrong, has expired or was revoked", f.credentials.source)
	case code == http.StatusNotFound:
		answer.Err = fmt.Errorf("%w, or the repository %s/%s is not there or not visible to the token", signingevent.ErrNotFound, f.owner, f.name)
		answer.Advice = fmt.Sprintf("check GITHUB_REPOSITORY, and what the token of %s may see", f.credentials.source)
	case strings.Contains(message, "A pull request already exists"):
		answer.Err = signingevent.ErrExists
	case strings.Contains(message, "Draft pull requests are not supported"):
		answer.Err = signingevent.ErrNoDrafts
	case code == http.StatusGone && strings.Contains(strings.ToLower(message), "issues"):
		answer.Advice = "turn issues on in the settings of the repository"
	}
	return fmt.Errorf("%s: %w", action, answer)
}

// said is the whole of what GitHub says in a refusal: the reason often stands
// in the list of details.
func said(e *gh.ErrorResponse) string {
	parts := []string{e.Message}
	for _, detail := range e.Errors {
		switch {
		case detail.Message != "":
			parts = append(parts, detail.Message)
		case detail.Code != "" || detail.Field != "":
			parts = append(parts, strings.TrimSpace(detail.Field+" "+detail.Code))
		}
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// needed picks the permission to name. The header lists sets, any of which is
// taken in general, as in "issues=write; pull_requests=write"; for a given object
// one of them may not be enough, so what we know goes first where it is listed.
func needed(header, known string) string {
	var sets []string
	for set := range strings.SplitSeq(header, ";") {
		var list []string
		for p := range strings.SplitSeq(set, ",") {
			if name, level, ok := strings.Cut(strings.TrimSpace(p), "="); ok {
				list = append(list, strings.ReplaceAll(name, "_", "-")+": "+level)
			}
		}
		if len(list) > 0 {
			sets = append(sets, strings.Join(list, " and "))
		}
	}
	if len(sets) == 0 || slices.Contains(sets, known) {
		return known
	}
	return strings.Join(sets, " or ")
}

package client_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
)

// Checks that remember notice what a check by itself finds good: an older state,
// and other bytes under a version that was served before. They forget neither.
// Kills: a memory that takes over what is wrong, and is silent from then on.
func TestSeen(t *testing.T) {
	s := newSite(t)
	s.o.MetadataDir, s.o.BaseURL, s.o.SourceDir = "", "", ""
	file := filepath.Join(t.TempDir(), "seen.json")
	check := func(want string) {
		t.Helper()
		var err error
		if s.o.Seen, err = client.ReadSeen(file); err != nil {
			t.Fatal(err)
		}
		report := s.check()
		if err := s.o.Seen.Write(file); err != nil {
			t.Fatal(err)
		}
		got := report.Checks[len(report.Checks)-1]
		if got.Check != client.CheckSeen {
			t.Fatalf("the last check is %s", got.Check)
		}
		if want == "" {
			if got.Result != client.ResultPassed || report.Err() != nil {
				t.Errorf("%+v, %v", got, report.Err())
			}
			return
		}
		if report.Err() == nil || got.Result != client.ResultFailed || len(got.Problems) == 0 {
			t.Fatalf("%+v, want %s", got, want)
		}
		for _, p := range got.Problems {
			if !strings.Contains(p.Message, want) || p.Hint == "" {
				t.Errorf("%+v, want %s", p, want)
			}
		}
		for _, c := range report.Checks[:len(report.Checks)-1] {
			if c.Result == client.ResultFailed {
				t.Errorf("%s fails as well: %+v", c.Check, c)
			}
		}
	}
	check("")
	check("")
	before := s.repo.Clone()
	s.repo.Publish(targets)
	check("")
	newest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	// Back, twice: it is told again.
	after := s.repo
	s.repo = before
	check("was served before")
	check("was served before")
	if got, _ := os.ReadFile(file); string(got) != string(newest) {
		t.Errorf("remembers %s, and before %s", got, newest)
	}

	// Another content under the same version, signed as well as the first.
	s.repo = before
	s.repo.AddTarget(targets, "another", "artifact")
	s.repo.Publish(targets)
	check("with other bytes than before")
	s.repo = after
	check("")

	// A repository that cannot be reached is no reason to forget.
	s.repo = &clienttest.Repo{Hook: func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}}
	s.o.Seen, _ = client.ReadSeen(file)
	report := s.check()
	if got := report.Checks[len(report.Checks)-1]; report.Result != client.CheckUnreachable || got.Check != client.CheckSeen || got.Result != client.ResultSkipped {
		t.Errorf("%+v", got)
	}
	if want, _ := client.ReadSeen(file); !reflect.DeepEqual(s.o.Seen, want) {
		t.Errorf("remembers %+v, and before %+v", s.o.Seen, want)
	}

	// With a slash it is the same repository, another is not.
	s.o.MetadataURL += "/"
	if _, err := client.Check(t.Context(), s.o); err != nil {
		t.Error(err)
	}
	s.o.Seen.MetadataURL = "https://another.test/metadata"
	if _, err := client.Check(t.Context(), s.o); err == nil || !strings.Contains(err.Error(), "another.test") {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", "[]", "{}", `{"schema": 2, "roles": {}}`, `{"schema": 1, "rules": {}}`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var e *client.SeenFileError
		if got, err := client.ReadSeen(file); !errors.As(err, &e) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// TestPrometheus: every line is one that a collector reads, and strangers' names
// stay within their quotes.
func TestPrometheus(t *testing.T) {
	s := newSite(t)
	text := s.check().Prometheus()
	for _, line := range []string{
		`tufops_check_result{repository="` + s.o.MetadataURL + `",result="passed"} 1`,
		`tufops_check_result{repository="` + s.o.MetadataURL + `",result="failed"} 0`,
		`tufops_check_time_seconds{repository="` + s.o.MetadataURL + `"} 1767225600`,
		`tufops_check_problems{repository="` + s.o.MetadataURL + `",check="roots"} 0`,
		`tufops_check_role_version{repository="` + s.o.MetadataURL + `",role="root"} 3`,
		`tufops_check_role_expires_seconds{repository="` + s.o.MetadataURL + `",role="C"} 1769817600`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is not in\n%s", line, text)
		}
	}
	r := client.CheckReport{Result: client.CheckFailed, Roles: []client.CheckedRole{{Role: "a\"} 1\nb\\ \x1b[31m", Version: 7}}}
	lines := strings.Split(strings.TrimSuffix(r.Prometheus(), "\n"), "\n")
	found := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if !strings.HasPrefix(line, "tufops_check_") || strings.ContainsAny(line, "\x1b") {
			t.Errorf("%q", line)
		}
		if strings.HasSuffix(line, `"} 7`) && strings.Contains(line, `role="a\"} 1`) {
			found++
		}
	}
	if found != 1 {
		t.Errorf("the role is there %d times in\n%s", found, r.Prometheus())
	}
}

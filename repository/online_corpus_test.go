package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// differsFromRecorded lists the online signings in the corpus that we would have done
// otherwise, by commit, with the reason.
var differsFromRecorded = map[string]string{}

// TestOnlineSignReplay does the online signings in the corpus again, from the
// state before each, and compares files byte for byte, but for the signatures
// themselves: all that made a snapshot, and every tenth that made only a
// timestamp. With TUFOPS_SOAK set, as make soak does, it takes all of them.
func TestOnlineSignReplay(t *testing.T) {
	ctx := context.Background()
	repo := openCorpus(t)
	head, err := repo.Git.Resolve(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	commits, err := repo.Git.History(ctx, head, "", git.HistoryOptions{Reverse: true})
	if err != nil {
		t.Fatal(err)
	}
	exceptions := maps.Clone(differsFromRecorded)
	count, reasons := map[string]int{}, map[string]int{}
	for _, oid := range commits {
		c, err := repo.Git.Commit(ctx, oid)
		if err != nil {
			t.Fatal(err)
		}
		subject := c.Subject()
		if !strings.HasPrefix(subject, "Online sign (") {
			continue
		}
		count[subject]++
		if count[subject]%10 != 0 && subject == "Online sign (timestamp)" && os.Getenv("TUFOPS_SOAK") == "" {
			continue
		}
		problem := replayOnlineSign(ctx, repo, c, subject, reasons)
		key := string(oid[:10])
		why, known := differsFromRecorded[key]
		switch {
		case problem == "" && known:
			t.Errorf("%s is listed as an exception (%s), but does not differ", key, why)
		case problem != why:
			t.Errorf("%q: %q,", key, problem)
		}
		delete(exceptions, key)
	}
	for key := range exceptions {
		t.Errorf("exception %s is no online signing on main", key)
	}
	t.Logf("replayed %v: %v", count, reasons)
	want := map[string]int{
		"snapshot content": 19, "snapshot signature after a rotation": 3,
		"timestamp content": 19, "timestamp signature after a rotation": 3, "timestamp period": 67,
	}
	if os.Getenv("TUFOPS_SOAK") != "" {
		want["timestamp period"] = 678
	}
	if !maps.Equal(reasons, want) {
		t.Errorf("reasons are %v, want %v", reasons, want)
	}
	if count["Online sign (timestamp)"] != 678 || count["Online sign (snapshot & timestamp)"] != 22 {
		t.Errorf("found %v online signings, want 678 and 22", count)
	}
}

func replayOnlineSign(ctx context.Context, repo *repository.Repository, c *git.Commit, subject string, why map[string]int) string {
	after, err := repo.At(ctx, c.OID)
	if err != nil {
		return err.Error()
	}
	opened := map[git.OID]*repository.Online{}
	renew := func(commit git.OID, now time.Time) (*repository.Renewals, error) {
		if opened[commit] == nil {
			signable, err := repo.Signable(ctx, commit)
			if err != nil {
				return nil, err
			}
			if opened[commit], err = signable.For(commit); err != nil {
				return nil, err
			}
		}
		return opened[commit].Renew(ctx, now)
	}
	roles := []string{metadata.Timestamp}
	if subject == "Online sign (snapshot & timestamp)" {
		roles = []string{metadata.Snapshot, metadata.Timestamp}
	}
	root, err := after.Document(metadata.Root)
	if err != nil {
		return err.Error()
	}
	var now time.Time
	for _, role := range roles {
		recorded, err := after.Document(role)
		if err != nil {
			return err.Error()
		}
		d, _ := root.Delegation(role)
		now = recorded.Expires().Add(-time.Duration(metadata.PeriodOf(d.Object).Expiry) * 24 * time.Hour)
		if apart := c.CommitterTime.Sub(now); apart < 0 || apart > time.Minute {
			return fmt.Sprintf("%s expires at a time that its period does not give", role)
		}
		got, err := renew(c.Parents[0], now)
		if err != nil {
			return err.Error()
		}
		if len(got.Blocked) > 0 {
			return "blocked: " + got.Blocked[0].Message
		}
		var made []string
		for _, r := range got.List {
			made = append(made, r.Role)
			if r.Role == role {
				kind := role + " " + string(r.Why)
				if r.Outgoing != nil {
					kind += " after a rotation"
				}
				why[kind]++
			}
		}
		if !slices.Equal(made, roles) {
			return fmt.Sprintf("renews %v", made)
		}
		ours, err := got.Edit.Document(role)
		if err != nil {
			return err.Error()
		}
		var placeholders []metadata.Signature
		for _, s := range recorded.Signatures() {
			placeholders = append(placeholders, metadata.Signature{KeyID: s.KeyID})
		}
		want, err := recorded.WithSigned(metadata.Clone(recorded.Signed()), placeholders)
		if err != nil {
			return err.Error()
		}
		switch {
		case !bytes.Equal(recorded.Raw(), recorded.Bytes()):
			return role + " is not in our form"
		case !bytes.Equal(ours.Payload(), recorded.Payload()):
			return fmt.Sprintf("%s: signed part is %s, recorded %s", role, ours.Payload(), recorded.Payload())
		case !bytes.Equal(ours.Bytes(), want.Bytes()):
			return role + ": placeholders differ from the recorded signatures"
		}
		// Everything in the commit is in our edit, and the reverse.
		changes, err := got.Edit.Changes(ctx)
		if err != nil {
			return err.Error()
		}
		var files []string
		for _, change := range changes {
			files = append(files, change.Path)
		}
		diff, err := repo.Git.DiffTrees(ctx, c.Parents[0], c.OID)
		if err != nil {
			return err.Error()
		}
		var recordedFiles []string
		for _, change := range diff {
			recordedFiles = append(recordedFiles, change.Path)
		}
		if slices.Sort(files); !slices.Equal(files, recordedFiles) {
			return fmt.Sprintf("changes %v, recorded %v", files, recordedFiles)
		}
		// Where only time asked for it: not a second earlier.
		if why := got.List[0].Why; role == roles[0] && why == repository.ReasonPeriod {
			before, err := repo.At(ctx, c.Parents[0])
			if err != nil {
				return err.Error()
			}
			old, err := before.Document(role)
			if err != nil {
				return err.Error()
			}
			due := old.Expires().Add(-time.Duration(metadata.PeriodOf(d.Object).Signing) * 24 * time.Hour)
			for _, step := range []time.Duration{-time.Second, 0} {
				got, err := renew(c.Parents[0], due.Add(step))
				if err != nil {
					return err.Error()
				}
				if len(got.List) != map[time.Duration]int{-time.Second: 0, 0: len(roles)}[step] {
					return fmt.Sprintf("%v around the start of the signing period it renews %d roles", step, len(got.List))
				}
			}
		}
	}
	again, err := renew(c.OID, now)
	if err != nil {
		return err.Error()
	}
	if len(again.List) > 0 {
		return fmt.Sprintf("a second run renews %s (%s)", again.List[0].Role, again.List[0].Why)
	}
	return ""
}

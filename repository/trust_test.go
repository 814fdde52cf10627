package repository_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/repository"
	. "github.com/tufops/tufops/repository/repositorytest"
	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

func root(change func(o trustroottest.Object)) string {
	o := trustroottest.Root()
	if change != nil {
		change(o)
	}
	return string(trustroottest.Bytes(o))
}

func signingConfig(change func(o trustroottest.Object)) string {
	o := trustroottest.Config()
	if change != nil {
		change(o)
	}
	return string(trustroottest.Bytes(o))
}

const (
	rootFile   = "trusted_root.json"
	configFile = "signing_config.v0.2.json"
)

// put writes artifacts of targets and lists them, signed by everybody. An empty
// content removes one.
func put(w *World, files map[string]string) {
	bumpTargets(w, func(s object) {
		for name, content := range files {
			if content == "" {
				w.Remove("targets/" + name)
				delete(s["targets"].(object), name)
				continue
			}
			w.Artifact(name, content)
			List(s, name, content)
		}
	})
}

// onMain has artifacts merged, after which the event begins anew.
func trustOnMain(w *World, files map[string]string) {
	put(w, files)
	w.Commit("main")
	w.Run("branch", "-f", "main", "HEAD")
}

// closed sets the end of the certificate authority.
func closed(end string) func(trustroottest.Object) {
	return func(o trustroottest.Object) {
		trustroottest.At(o, "certificateAuthorities", 0, "validFor")["end"] = end
	}
}

func unreadable(data string) string { return strings.Replace(data, "T00:00:00Z", ":00:00:00Z", 1) }

func withLog(t *testing.T) func(trustroottest.Object) {
	return func(o trustroottest.Object) {
		trustroottest.Add(o, "ctlogs", trustroottest.Log(t, "https://ctfe.example.test/2029", "ecdsa", "2029-01-01T00:00:00Z"))
	}
}

// TestTrustMaterial: the event's trust material is judged with what stands
// beside it and what stood there before, and nothing else is.
func TestTrustMaterial(t *testing.T) {
	good := map[string]string{rootFile: root(nil), configFile: signingConfig(nil)}
	for _, test := range []struct {
		name     string
		main     map[string]string // nil: nothing yet
		event    func(t *testing.T, w *World)
		want     []string
		complete bool
		meaning  map[string]string // by artifact: a line that its change must have
	}{
		{"new, and in order", nil, func(t *testing.T, w *World) { put(w, good) }, nil, true,
			map[string]string{rootFile: "new file", configFile: "new file"}},
		{"unreadable, signed by everybody", good, func(t *testing.T, w *World) { put(w, map[string]string{rootFile: unreadable(root(nil))}) },
			[]string{"targets trusted-root/unreadable error"}, false,
			map[string]string{rootFile: "DO NOT SIGN: clients cannot read this file."}},
		{"far too large", good, func(t *testing.T, w *World) { put(w, map[string]string{rootFile: strings.Repeat(" ", 2_000_000)}) },
			[]string{"targets trusted-root/unreadable error"}, false, nil},
		{"unreadable, and not listed yet", good, func(t *testing.T, w *World) {
			bumpTargets(w, nil)
			w.Artifact(rootFile, unreadable(root(nil)))
		}, []string{"targets artifact-mismatch error", "targets trusted-root/unreadable error"}, false, nil},
		{"another artifact", map[string]string{rootFile: unreadable(root(nil))}, func(t *testing.T, w *World) { put(w, map[string]string{"b.txt": "b"}) }, nil, true, nil},
		{"a warning", good, func(t *testing.T, w *World) {
			put(w, map[string]string{rootFile: root(func(o trustroottest.Object) {
				trustroottest.At(o, "certificateAuthorities", 0, "subject")["organization"] = "somebody"
			})})
		}, []string{"targets trusted-root/subject warning"}, true, map[string]string{rootFile: "    subject    example, anchor becomes somebody, anchor"}},

		{"an authority closes that signers still use", good, func(t *testing.T, w *World) {
			put(w, map[string]string{rootFile: root(closed("2030-06-01T00:00:00Z"))})
		}, []string{"targets signing-config/untimely error", "targets trusted-root/none-active warning"}, false, map[string]string{rootFile: "    effect     closes in 151 days: later signatures will not verify"}},
		{"both in one event", good, func(t *testing.T, w *World) {
			put(w, map[string]string{rootFile: root(closed("2030-06-01T00:00:00Z")), configFile: signingConfig(func(o trustroottest.Object) {
				trustroottest.At(o, "caUrls", 0, "validFor")["end"] = "2030-05-01T00:00:00Z"
			})})
		}, []string{"targets signing-config/none-active warning", "targets trusted-root/none-active warning"}, true,
			map[string]string{configFile: "    effect     signers stop using it in 120 days"}},
		{"a fault that a neighbour had before", map[string]string{rootFile: root(nil), configFile: unreadable(signingConfig(nil))}, func(t *testing.T, w *World) {
			put(w, map[string]string{rootFile: root(withLog(t))})
		}, nil, true, nil},
		{"in another folder there are no neighbours", nil, func(t *testing.T, w *World) {
			bumpTargets(w, nil)
			w.Artifact("releases/v1/"+configFile, signingConfig(func(o trustroottest.Object) { trustroottest.At(o, "caUrls", 0)["url"] = "https://other.test" }))
			w.Artifact(rootFile, root(nil))
			w.Edit("targets", func(s object) { List(s, rootFile, root(nil)) }).Sign("targets", "alice", "bob", "carol")
			w.Edit("releases", func(s object) {
				List(s, "releases/v1/"+configFile, signingConfig(func(o trustroottest.Object) { trustroottest.At(o, "caUrls", 0)["url"] = "https://other.test" }))
			}).Sign("releases", "carol")
		}, nil, true, nil},
		{"a fault in a delegated role", nil, func(t *testing.T, w *World) {
			w.Artifact("releases/v1/"+rootFile, "{")
			w.Edit("releases", func(s object) { List(s, "releases/v1/"+rootFile, "{") }).Sign("releases", "carol")
		}, []string{"releases trusted-root/unreadable error"}, false, nil},

		{"a log leaves", map[string]string{rootFile: root(withLog(t))}, func(t *testing.T, w *World) { put(w, map[string]string{rootFile: root(nil)}) },
			[]string{"targets trusted-root/removed error"}, false, map[string]string{rootFile: "    effect     everything that it has ever logged stops verifying"}},
		{"a trusted root leaves", good, func(t *testing.T, w *World) { put(w, map[string]string{rootFile: ""}) },
			[]string{"targets trusted-root/removed error"}, false, map[string]string{rootFile: "the file is removed"}},
		{"a signing configuration leaves", good, func(t *testing.T, w *World) { put(w, map[string]string{configFile: ""}) }, nil, true,
			map[string]string{configFile: "the file is removed"}},
		{"a correction is judged by what could be read", map[string]string{rootFile: root(nil)}, func(t *testing.T, w *World) {
			trustOnMain(w, map[string]string{rootFile: unreadable(root(nil))})
			put(w, map[string]string{rootFile: root(closed("2030-06-01T00:00:00Z"))})
		}, []string{"targets trusted-root/none-active warning"}, true, map[string]string{rootFile: "~ WINDOW certificate authority https://fulcio.example.test"}},
		{"and cannot hide what it takes away", map[string]string{rootFile: root(withLog(t))}, func(t *testing.T, w *World) {
			trustOnMain(w, map[string]string{rootFile: unreadable(root(nil))})
			put(w, map[string]string{rootFile: root(nil)})
		}, []string{"targets trusted-root/removed error"}, false, nil},
		{"a key file of older clients is forgotten", map[string]string{rootFile: root(nil)}, func(t *testing.T, w *World) {
			put(w, map[string]string{"ctfe.pub": "nothing"})
		}, []string{"targets trusted-root/legacy-keys warning"}, true, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := New(t)
			if test.main != nil {
				trustOnMain(w, test.main)
			}
			test.event(t, w)
			w.Commit("event")
			s := ruleCase{want: test.want, complete: test.complete}.check(t, w, repository.Policy{EnforceTrust: true}, repository.EventOptions{})
			for _, r := range s.Roles {
				for _, a := range r.Artifacts {
					_, is := trustroot.KindOf(a.Path)
					if (a.Meaning != nil) != is {
						t.Errorf("%s has a meaning: %v, want %v", a.Path, a.Meaning != nil, is)
					}
					if !is {
						continue
					}
					if want := test.meaning[a.Path]; want != "" && !slices.Contains(a.Meaning.Lines(), want) {
						t.Errorf("the meaning of %s has no line %q:\n%s", a.Path, want, strings.Join(a.Meaning.Lines(), "\n"))
					}
					if a.After != nil && a.Meaning.SHA256 != a.After.Hashes["sha256"] && test.complete {
						t.Errorf("%s: the meaning is of sha256 %s, but the metadata lists %s", a.Path, a.Meaning.SHA256, a.After.Hashes["sha256"])
					}
				}
			}
		})
	}
}

// TestUnreadableByDefault: without any policy nobody is asked to sign a file that
// no client can read. Where all have signed it, with another tool, the verdict is
// the one that this tool gave, but on the machine of a person who is to sign.
func TestUnreadableByDefault(t *testing.T) {
	strict := repository.Policy{RefuseUnreadable: true}
	for _, test := range []struct {
		name     string
		content  string
		signers  []string // of targets, two of three
		policy   repository.Policy
		level    string
		complete bool
	}{
		{"nobody has signed", unreadable(root(nil)), nil, repository.Policy{}, "unreadable error", false},
		{"one too few has signed", unreadable(root(nil)), []string{"alice"}, repository.Policy{}, "unreadable error", false},
		{"all have signed", unreadable(root(nil)), []string{"alice", "bob"}, repository.Policy{}, "unreadable warning", true},
		{"all have signed, to one who is to", unreadable(root(nil)), []string{"alice", "bob"}, strict, "unreadable error", false},
		{"ambiguous", strings.Replace(root(nil), "{", `{"mediaType": "", `, 1), []string{"alice"}, repository.Policy{}, "ambiguous error", false},
		{"another mistake", root(closed("2029-06-01T00:00:00Z")), []string{"alice"}, strict, "end-in-past warning", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := New(t)
			trustOnMain(w, map[string]string{rootFile: root(nil)})
			w.Artifact(rootFile, test.content)
			w.Edit("targets", func(s object) { List(s, rootFile, test.content) }).Sign("targets", test.signers...)
			w.Commit("event")
			s := w.Status(test.policy)
			var got []string
			for _, f := range s.AllFindings() {
				if name, ok := strings.CutPrefix(f.Rule, "trusted-root/"); ok {
					got = append(got, name+" "+string(f.Level))
				}
			}
			if !slices.Contains(got, test.level) || s.Complete != test.complete || s.Failed() != strings.HasSuffix(test.level, "error") {
				t.Errorf("found %q, want %q; complete %v, failed %v", got, test.level, s.Complete, s.Failed())
			}
		})
	}
}

// TestTrustMaterialLowered: main may wave a mistake through, with a reason, but
// not a file that cannot be read.
func TestTrustMaterialLowered(t *testing.T) {
	policy := func(rule string) (repository.Policy, error) {
		return repository.ParsePolicy([]byte("trust-material: enforced\nrules: {" + rule + ": {level: warning, reason: it never signed anything}}"))
	}
	if _, err := policy("trusted-root/unreadable"); err == nil {
		t.Error("trusted-root/unreadable can be lowered")
	}
	p, err := policy("trusted-root/removed")
	if err != nil {
		t.Fatal(err)
	}
	w := New(t)
	trustOnMain(w, map[string]string{rootFile: root(withLog(t))})
	put(w, map[string]string{rootFile: root(nil)})
	w.Commit("event")
	s := ruleCase{want: []string{"targets trusted-root/removed warning"}, complete: true}.check(t, w, p, repository.EventOptions{})
	if f := s.Roles[0].Findings[0]; f.Reason != "it never signed anything" || f.Lowered != repository.LevelError {
		t.Errorf("the finding is %+v", f)
	}
}

// TestTrustRules: every check is a rule for each kind of document that it looks
// at, and gates an event where it is an error.
func TestTrustRules(t *testing.T) {
	rules := map[string]repository.Rule{}
	for _, r := range repository.Rules() {
		if strings.Contains(r.Name, "/") {
			rules[r.Name] = r
		}
	}
	for _, c := range trustroot.Checks() {
		for _, k := range c.Kinds {
			name := string(k) + "/" + c.Name
			r, ok := rules[name]
			delete(rules, name)
			if gates := c.Level == trustroot.Error; !ok || (r.Gates == "E") != gates || (r.Level == repository.LevelError) != gates || r.Title == "" || r.Hint == "" || r.Example == "" || r.Source == "" {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	delete(rules, "trusted-root/replay") // of an event, see TestTrustReplay
	for name := range rules {
		t.Errorf("%s is no check", name)
	}
}

// TestRealMistakesInEvents: the recorded events that brought a mistake are told
// what to mend, in the words of the table in docs/trust-material.md, and the one
// that mended it is complete.
func TestRealMistakesInEvents(t *testing.T) {
	r := openCorpus(t)
	seen := map[string]bool{}
	for _, want := range rows(t) {
		rules, bad := mistakes[want.Head[:8]]
		healed := want.Event == "sign/fix-trusted-root" && want.Valid
		if !bad && !healed {
			continue
		}
		e, err := r.OpenEvent(context.Background(), repository.EventOptions{Name: want.Event, Head: want.Head, Base: want.Base})
		if err != nil {
			t.Fatal(err)
		}
		s, err := e.Status(context.Background(), want.Now, repository.Policy{EnforceTrust: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := rulesOf(blocking(s)); s.Complete != healed || !slices.Equal(got, rules) {
			t.Errorf("%s %.8s: complete %v, blocked by %v, want %v", want.Event, want.Head, s.Complete, got, rules)
		}
		if healed {
			seen["healed"] = true
			lines := s.Roles[0].Artifacts[0].Meaning.Lines()
			for _, line := range []string{"~ WINDOW rekor log https://log2025-alpha1.rekor.sigstage.dev", "= 6 entries unchanged"} {
				if !slices.Contains(lines, line) {
					t.Errorf("%.8s says nothing like %q:\n%s", want.Head, line, strings.Join(lines, "\n"))
				}
			}
			data, err := r.Git.Blob(context.Background(), fileOf(t, e.Proposed, "targets/"+rootFile))
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(data); s.Roles[0].Artifacts[0].Meaning.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("%.8s: the meaning is of another file", want.Head)
			}
		}
		seen[want.Head[:8]] = true
	}
	if len(seen) < len(mistakes)+2 {
		t.Errorf("only %d rows were looked at", len(seen))
	}
}

// TestTrustReplay: a bundle that main keeps must go on verifying. The bundle and
// the trusted root are real, from sigstore-go's test data.
func TestTrustReplay(t *testing.T) {
	data := trustroottest.SigstoreData(t, "trusted-roots/public-good.json")
	production := string(data)
	bundle := trustroottest.SigstoreData(t, "bundles/sigstore.js@2.0.0-provenance.sigstore.json")
	// The authority that issued the bundle's certificate had no end.
	closed := func(end string) string {
		o := trustroottest.Parse(data)
		for i := range o["certificateAuthorities"].([]any) {
			trustroottest.At(o, "certificateAuthorities", i, "validFor")["end"] = end
		}
		return string(trustroottest.Bytes(o))
	}
	for _, test := range []struct {
		name    string
		bundles map[string]string
		to      string
		want    string // of the findings of the rule
	}{
		{"it is still in the window", map[string]string{"a.json": string(bundle)}, closed("2023-08-19T00:00:00Z"), ""},
		{"it is no longer in the window", map[string]string{"a.json": string(bundle)}, closed("2023-08-17T00:00:00Z"), "error"},
		{"nobody keeps a bundle", nil, closed("2023-08-17T00:00:00Z"), ""},
		{"a bundle that verifies nowhere", map[string]string{"a.json": "{}", "note.txt": "x"}, closed("2023-08-19T00:00:00Z"), "warning"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := New(t)
			for name, content := range test.bundles {
				w.WriteFile(repository.BundleFolder+"/"+name, content)
			}
			trustOnMain(w, map[string]string{rootFile: production})
			put(w, map[string]string{rootFile: test.to})
			for name := range test.bundles { // what the event does to them changes nothing
				w.Remove(repository.BundleFolder + "/" + name)
			}
			w.Commit("event")
			s := w.Status(repository.Policy{EnforceTrust: true})
			var got []string
			for _, f := range s.AllFindings() {
				if f.Rule == "trusted-root/replay" {
					got = append(got, string(f.Level))
					if f.Role != "targets" || !strings.Contains(f.Message, repository.BundleFolder+"/a.json") {
						t.Errorf("%+v", f)
					}
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

func fileOf(t *testing.T, s *repository.State, name string) git.OID {
	t.Helper()
	f, ok := s.File(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return f.OID
}

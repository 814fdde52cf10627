package sigstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/client/sigstore/sigstoretest"
)

// FuzzVerify: no bundle crashes it, and none but those that were signed prove
// anything, whatever else they hold.
func FuzzVerify(f *testing.F) {
	for _, s := range signings() {
		f.Add(sigstoretest.JSON(here.Sign(s)))
		f.Add(sigstoretest.JSON(there.Sign(s)))
		s.Artifact = []byte("another artifact")
		f.Add(sigstoretest.JSON(here.Sign(s)))
	}
	f.Add([]byte(`{"verificationMaterial": {"tlogEntries": [null]}}`))
	v := verifier(f, here.TrustedRoot())
	forged := digests(f, []byte("an artifact that nobody signs"))
	key, person := policy(f, signings()["message, key, rekor v1"]), policy(f, signings()["message, rekor v1"])
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range []sigstore.Policy{key, person} {
			proof, err := v.Verify(data, forged, p)
			var e *sigstore.Error
			if proof != nil || !errors.As(err, &e) || e.Error() == "" || e.Hint() == "" {
				t.Errorf("proof %+v, error %v", proof, err)
			}
		}
	})
}

// FuzzTrustedRoot: no trusted root crashes it.
func FuzzTrustedRoot(f *testing.F) {
	f.Add(here.TrustedRoot())
	f.Add([]byte(`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": [null]}`))
	b := sigstoretest.JSON(here.Sign(signings()["message, rekor v1"]))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := sigstore.New(data)
		if err != nil {
			var e *sigstore.TrustedRootError
			if !errors.As(err, &e) {
				t.Errorf("%v (%T)", err, err)
			}
			return
		}
		proof, err := v.Verify(b, digests(t, []byte("an artifact that nobody signs")), policy(t, signings()["message, rekor v1"]))
		if proof != nil || err == nil {
			t.Errorf("proof %+v, error %v", proof, err)
		}
	})
}

// TestNulls puts null and every other type of value at every path of good
// bundles. Each either ends in a typed error or leaves the proof as it was.
func TestNulls(t *testing.T) {
	v := verifier(t, here.TrustedRoot())
	tried, refused := 0, 0
	for name, s := range signings() {
		good := sigstoretest.JSON(here.Sign(s))
		want, err := v.Verify(good, digests(t, artifact), policy(t, s))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		each(t, good, func(path string, data []byte) {
			tried++
			proof, err := v.Verify(data, digests(t, artifact), policy(t, s))
			var e *sigstore.Error
			switch {
			case err != nil && errors.As(err, &e):
				refused++
			case err != nil:
				t.Errorf("%s, %s: %v (%T)", name, path, err, err)
			case !reflect.DeepEqual(proof, want):
				t.Errorf("%s, %s: proves %+v, and before %+v", name, path, proof, want)
			}
		})
	}
	t.Logf("%d mutations, %d refused", tried, refused)
	if tried < 2000 || refused < tried*9/10 {
		t.Errorf("%d of %d mutations are refused", refused, tried)
	}
}

// each calls f with a document for every value that can stand at every path.
func each(t *testing.T, data []byte, f func(path string, data []byte)) {
	t.Helper()
	var doc any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var visit func(path string, v any, put func(any))
	visit = func(path string, v any, put func(any)) {
		for _, other := range []any{nil, true, 7.0, -1.5, "", "text", []any{}, []any{nil}, map[string]any{}} {
			if reflect.DeepEqual(other, v) {
				continue
			}
			put(other)
			f(path, must(json.Marshal(doc)))
		}
		put(v)
		switch v := v.(type) {
		case map[string]any:
			for key, one := range v {
				visit(path+"/"+key, one, func(x any) { v[key] = x })
			}
		case []any:
			for i, one := range v {
				visit(fmt.Sprintf("%s/%d", path, i), one, func(x any) { v[i] = x })
			}
		}
	}
	visit("", doc, func(x any) { doc = x })
}

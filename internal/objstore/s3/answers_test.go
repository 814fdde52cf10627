package s3_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

type refusal struct {
	status int
	code   string
}

// answers is a service that gives the same answer to every request of a method,
// and lists one object: for what versitygw never says.
func answers(t *testing.T, headers http.Header, refusals map[string]refusal) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range headers {
			w.Header()[name] = values
		}
		refusal, refused := refusals[r.Method]
		switch {
		case refused:
			w.WriteHeader(refusal.status)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>so it is</Message></Error>", refusal.code)
		case r.URL.Query().Has("list-type"):
			fmt.Fprint(w, `<ListBucketResult><Contents><Key>metadata/timestamp.json</Key><Size>1</Size><ETag>"9dd4e461268c8034f5c8564e155c67a6"</ETag></Contents></ListBucketResult>`)
		default:
			w.Header().Set("ETag", `"9dd4e461268c8034f5c8564e155c67a6"`)
			if r.Method == http.MethodGet {
				fmt.Fprint(w, "x")
			}
		}
	}))
	t.Cleanup(server.Close)
	environment(t, server.URL)
}

// TestDigests: what looks like an MD5 is one only where objects are not encrypted
// with a key of the KMS.
func TestDigests(t *testing.T) {
	for _, test := range []struct {
		encryption string
		want       string
	}{
		{"", "9dd4e461268c8034f5c8564e155c67a6"},
		{"AES256", "9dd4e461268c8034f5c8564e155c67a6"},
		{"aws:kms", ""},
		{"aws:kms:dsse", ""},
	} {
		headers := http.Header{}
		if test.encryption != "" {
			headers.Set("X-Amz-Server-Side-Encryption", test.encryption)
		}
		answers(t, headers, nil)
		for what, learn := range map[string]func(s publish.Store) error{
			"nothing": func(publish.Store) error { return nil },
			"Get": func(s publish.Store) error {
				rd, _, err := s.Get(t.Context(), "metadata/timestamp.json")
				rd.Close()
				return err
			},
			"Put": func(s publish.Store) error { return storetest.Put(t.Context(), s, "metadata/timestamp.json", "x", "") },
		} {
			s := open(t, "s3://tuf", &storetest.Clock{})
			if err := learn(s); err != nil {
				t.Fatal(err)
			}
			want := test.want
			if what == "nothing" { // then nobody knows
				want = ""
			}
			objects, err := s.List(t.Context(), "")
			if err != nil || len(objects) != 1 || fmt.Sprintf("%x", objects[0].MD5) != want {
				t.Errorf("encrypted with %q, after %s: List gives %x, %v, want the digest %q", test.encryption, what, objects, err, want)
			}
		}
	}
}

// TestAnswers: what services say in ways that versitygw does not.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		refusal
		changed bool
		kind    bucket.Kind
		want    string
	}{
		{refusal{http.StatusConflict, "ConditionalRequestConflict"}, true, 0, "s3://tuf/metadata/x: the object has changed since it was read (so it is (409 ConditionalRequestConflict))"},
		{refusal{http.StatusPreconditionFailed, "PreconditionFailed"}, true, 0, "(412 PreconditionFailed)"},
		{refusal{http.StatusConflict, "OperationAborted"}, false, bucket.Other, "put s3://tuf/metadata/x: so it is (409 OperationAborted)"},
		{refusal{http.StatusMovedPermanently, "PermanentRedirect"}, false, bucket.Elsewhere, "(301 PermanentRedirect)"},
		{refusal{http.StatusBadRequest, "AuthorizationHeaderMalformed"}, false, bucket.Elsewhere, "(400 AuthorizationHeaderMalformed)"},
		{refusal{http.StatusForbidden, "AccessDenied"}, false, bucket.Denied, "(403 AccessDenied)"},
		{refusal{http.StatusNotImplemented, "NotImplemented"}, false, bucket.Other, "(501 NotImplemented)"},
	} {
		answers(t, nil, map[string]refusal{http.MethodPut: test.refusal})
		err := storetest.Put(t.Context(), open(t, "s3://tuf", &storetest.Clock{}), "metadata/x", "x", "")
		if errors.Is(err, publish.ErrChanged) != test.changed || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d %s: Put gives %v", test.status, test.code, err)
		}
		var e *bucket.Error
		if !test.changed && (!errors.As(err, &e) || e.Kind != test.kind) {
			t.Errorf("%d %s: Put gives %v of another kind than %d", test.status, test.code, err, test.kind)
		}
	}

	// What is gone cannot be deleted, and services differ in what they say to it.
	for _, said := range []refusal{{http.StatusNotFound, "NoSuchKey"}, {http.StatusPreconditionFailed, "PreconditionFailed"}, {http.StatusConflict, "ConditionalRequestConflict"}} {
		for _, gone := range []bool{true, false} {
			refusals := map[string]refusal{http.MethodDelete: said}
			if gone {
				refusals[http.MethodGet] = refusal{http.StatusNotFound, "NoSuchKey"}
			}
			answers(t, nil, refusals)
			err := open(t, "s3://tuf", &storetest.Clock{}).Delete(t.Context(), "metadata/x", `"9dd4e461268c8034f5c8564e155c67a6"`)
			if want := !gone && said.status != http.StatusNotFound; errors.Is(err, publish.ErrChanged) != want || !want && err != nil {
				t.Errorf("%v, gone: %v: Delete gives %v", said, gone, err)
			}
		}
	}
}

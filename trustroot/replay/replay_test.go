package replay_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/tufops/tufops/trustroot/replay"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

const provenance = "sigstore.js@2.0.0-provenance.sigstore.json" // signed 2023-08-18

// mutated is production's trusted root, with something changed.
func mutated(t *testing.T, change func(o map[string]any)) []byte {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(trustroottest.SigstoreData(t, "trusted-roots/public-good.json"), &o); err != nil {
		t.Fatal(err)
	}
	change(o)
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// each calls f for every entry of a section.
func each(o map[string]any, section string, f func(entry map[string]any)) {
	for _, e := range o[section].([]any) {
		f(e.(map[string]any))
	}
}

// A real bundle flips with each change that takes something from it, and with no
// other.
func TestRun(t *testing.T) {
	good := trustroottest.SigstoreData(t, "trusted-roots/public-good.json")
	bundles := map[string][]byte{provenance: trustroottest.SigstoreData(t, "bundles/"+provenance)}
	closeLog := func(section, end string) func(map[string]any) {
		return func(o map[string]any) {
			each(o, section, func(e map[string]any) { e["publicKey"].(map[string]any)["validFor"].(map[string]any)["end"] = end })
		}
	}
	closeCA := func(end string) func(map[string]any) {
		return func(o map[string]any) {
			each(o, "certificateAuthorities", func(e map[string]any) { e["validFor"].(map[string]any)["end"] = end })
		}
	}
	for _, test := range []struct {
		name   string
		change func(map[string]any)
		broken bool
	}{
		{"nothing", func(map[string]any) {}, false},
		{"the log closes after it was used", closeLog("tlogs", "2023-08-19T00:00:00Z"), false},
		{"the log closes before", closeLog("tlogs", "2023-08-17T00:00:00Z"), true},
		{"the CT log closes before", closeLog("ctlogs", "2023-08-17T00:00:00Z"), true},
		{"the authority closes before", closeCA("2023-08-17T00:00:00Z"), true},
		{"the authority closes after", closeCA("2023-08-19T00:00:00Z"), false},
		{"no log", func(o map[string]any) { o["tlogs"] = []any{} }, true},
		{"no authority", func(o map[string]any) { o["certificateAuthorities"] = []any{} }, true},
		{"another log ID", func(o map[string]any) {
			each(o, "tlogs", func(e map[string]any) {
				e["logId"] = map[string]any{"keyId": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
			})
		}, true},
		{"a time without its T", func(o map[string]any) { closeLog("tlogs", "2030-01-01:00:00Z")(o) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := replay.Run(bundles, good, mutated(t, test.change))
			if len(got) != 1 || got[0].Before != nil || got[0].Broken() != test.broken || got[0].Idle() {
				t.Errorf("%+v, want broken %v", got, test.broken)
			}
			back := replay.Run(bundles, mutated(t, test.change), good)
			if back[0].Broken() || (back[0].Before != nil) != test.broken {
				t.Errorf("the other way: %+v", back)
			}
		})
	}
}

// What verifies with neither is idle: it never counts as held.
func TestRunIdle(t *testing.T) {
	good := trustroottest.SigstoreData(t, "trusted-roots/public-good.json")
	genuine := trustroottest.SigstoreData(t, "bundles/"+provenance)
	tampered := bytes.Replace(genuine, []byte(`"payload":"ey`), []byte(`"payload":"eY`), 1)
	if bytes.Equal(tampered, genuine) {
		tampered = bytes.Replace(genuine, []byte(`"payload": "ey`), []byte(`"payload": "eY`), 1)
	}
	if bytes.Equal(tampered, genuine) {
		t.Fatal("the bundle has no payload to tamper with")
	}
	for name, data := range map[string][]byte{
		"rubbish": []byte("{"), "tampered": tampered,
		"of a bare key": trustroottest.SigstoreData(t, "bundles/public-key-validity.sigstore.json"), "of another instance": trustroottest.SigstoreData(t, "bundles/othername.sigstore.json"),
	} {
		if got := replay.Run(map[string][]byte{name: data}, good, good); !got[0].Idle() || got[0].Broken() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

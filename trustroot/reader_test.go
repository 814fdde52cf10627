package trustroot_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tufops/tufops/trustroot"
	"github.com/tufops/tufops/trustroot/trustroottest"
)

// TestReader: what a Reader answers is what the functions answer that begin anew
// each time, whatever it was asked before.
func TestReader(t *testing.T) {
	files := corpus(t)
	r := new(trustroot.Reader)
	var ids []string
	for _, v := range versions {
		ids = append(ids, v.id)
	}
	for range 2 { // the second time all is known
		for i, v := range versions {
			in := v.input(t, files)
			if have, want := r.Lint(in), trustroot.Lint(in); !slices.Equal(have, want) {
				t.Errorf("%s: the reader finds\n%v\nwhat begins anew finds\n%v", v.id, have, want)
			}
			if have, want := r.Compare(in.Name, in.Before, in.Data, in.Now), trustroot.Compare(in.Name, in.Before, in.Data, in.Now); !reflect.DeepEqual(have, want) {
				t.Errorf("%s: the reader tells\n%v\nwhat begins anew tells\n%v", v.id, have.Lines(), want.Lines())
			}
			kind, _ := trustroot.KindOf(in.Name)
			_, have := r.Parse(kind, in.Data)
			_, want := trustroot.Parse(kind, in.Data)
			if !reflect.DeepEqual(have, want) {
				t.Errorf("%s: the reader says %v, what begins anew says %v", ids[i], have, want)
			}
		}
	}
}

// TestReaderReadsOnce: a text is read once, until so much is known that the rest
// is not kept.
func TestReaderReadsOnce(t *testing.T) {
	data := trustroottest.Bytes(trustroottest.Root())
	r := new(trustroot.Reader)
	parse := func(kind trustroot.Kind, data []byte) *trustroot.Document {
		d, _ := r.Parse(kind, bytes.Clone(data))
		return d
	}
	root := parse(trustroot.TrustedRoot, data)
	if root == nil || parse(trustroot.TrustedRoot, data) != root {
		t.Error("the same text is read twice")
	}
	if parse(trustroot.SigningConfig, data) != nil {
		t.Error("a trusted root is taken for a signing configuration, since it was read before")
	}
	fill := func(size int) []byte { return append(bytes.Clone(data), strings.Repeat(" ", size)...) }
	if large := parse(trustroot.TrustedRoot, fill(990_000)); large == nil || parse(trustroot.TrustedRoot, fill(990_000)) == large {
		t.Error("more is kept than a megabyte of text")
	}
	if parse(trustroot.TrustedRoot, data) != root {
		t.Error("a large text has pushed another out")
	}
	if small := parse(trustroot.TrustedRoot, fill(1)); small == nil || parse(trustroot.TrustedRoot, fill(1)) != small {
		t.Error("a text that fits is not kept, since one did not")
	}

	w := newWorld()
	in := trustroot.Input{Name: w.name, Data: data, Before: data, Now: now, Files: map[string][]byte{"signing_config.v0.2.json": trustroottest.Bytes(w.config)}}
	anew := testing.AllocsPerRun(3, func() { trustroot.Lint(in) })
	known := testing.AllocsPerRun(3, func() { r.Lint(in) })
	if known > anew/3 {
		t.Errorf("a known document is judged with %v allocations, an unknown one with %v: it is read again", known, anew)
	}
}

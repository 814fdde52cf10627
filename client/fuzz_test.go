package client_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

// hinted is what every error is that a client meets people with.
type hinted interface {
	error
	Hint() string
}

// The bounds of one update, whatever comes.
const (
	maxMemory = 256 << 20
	maxTime   = 30 * time.Second
)

// bounded runs f and fails if it panics, allocates more than a client may hold,
// takes too long, or ends in an error that does not say what to do.
func bounded(t *testing.T, what string, f func() error) (err error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	func() {
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("%s: panic: %v", what, p)
			}
		}()
		err = f()
	}()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if all := after.TotalAlloc - before.TotalAlloc; all > maxMemory { // more than it held at any time
		t.Errorf("%s: %d MiB were allocated", what, all>>20)
	}
	if took > maxTime {
		t.Errorf("%s: it took %v", what, took)
	}
	var e hinted
	if err != nil && (!errors.As(err, &e) || e.Hint() == "") {
		t.Errorf("%s: %v (%T) has no hint", what, err, err)
	}
	return err
}

// fuzzFile puts anything in the place of one role's file. Nobody signs it, so the
// client ends in an error, or it is the file itself.
func fuzzFile(f *testing.F, role string) {
	repo := mutable()
	anchor := repo.Files["metadata/1.root.json"]
	file := clienttest.File(role, repo.Roles[role].Version())
	for _, other := range mutableRoles {
		f.Add(repo.Current(other))
	}
	f.Add(bytes.Replace(repo.Files[file], []byte("2026"), []byte("2027"), 1))
	for _, text := range []string{"", "null", "{}", "[[[[[[", `{"signed":{},"signatures":[null]}`, `{"signed":{"_type":"` + role + `"}}`, "\xff\xfe", strings.Repeat(`{"a":`, 2000)} {
		f.Add([]byte(text))
	}
	want, _, err := metadata.ParseTree(repo.Files[file])
	if err != nil {
		f.Fatal(err)
	}
	canonical, err := metadata.Canonical(want.(metadata.Object)["signed"])
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		files := maps.Clone(repo.Files)
		files[file] = data
		var content string
		err := bounded(t, role, func() (err error) {
			content, err = verdict(files, anchor, clienttest.Now, "a/tool")
			return err
		})
		if err != nil {
			return
		}
		doc, err := metadata.Parse(data)
		if err != nil || content != "content" || !bytes.Equal(doc.Payload(), canonical) {
			t.Errorf("%q, which nobody signed, leads to %q", data, content)
		}
	})
}

func FuzzRoot(f *testing.F)      { fuzzFile(f, root) }
func FuzzTimestamp(f *testing.F) { fuzzFile(f, timestamp) }
func FuzzSnapshot(f *testing.F)  { fuzzFile(f, snapshot) }
func FuzzTargets(f *testing.F)   { fuzzFile(f, targets) }
func FuzzDelegated(f *testing.F) { fuzzFile(f, "C") }

// FuzzAnchor: a root to start from is usable or an error with a hint.
func FuzzAnchor(f *testing.F) {
	repo := mutable()
	f.Add(repo.Current(root))
	f.Add(repo.Current(targets))
	f.Add([]byte(`{"signed":{"_type":"root","roles":{"root":null},"keys":{"x":null}},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = bounded(t, "anchor", func() error {
			_, err := client.New(client.Options{Root: data, MetadataURL: "http://repo/metadata"})
			return err
		})
	})
}

// FuzzHTTP: a server may answer anything at all. Answers, as bytes on the wire,
// stand one after the other with a line of dashes between them; the server gives
// the last one again and again. Nothing on the wire is metadata, so every update
// ends in an error.
func FuzzHTTP(f *testing.F) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, s := range []string{
		"", "\r\n", "garbage", "HTTP/1.1", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 99999 OK\r\n\r\n",
		ok + "Content-Length: 10\r\n\r\n{}",                                             // truncated
		ok + "Content-Length: -1\r\n\r\n{}",                                             // wrong length
		ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",                         // two of them
		ok + "Content-Length: 99999999999\r\n\r\n{",                                     // endless, announced
		ok + "\r\n" + strings.Repeat(" ", 1<<16),                                        // until the connection ends
		ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nffffffffffffffff\r\n",        // a chunk of any size
		ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",                                 // of no size
		ok + "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",      // compressed
		ok + strings.Repeat("X: y\r\n", 5000) + "\r\n{}",                                // many headers
		ok + "X: " + strings.Repeat("y", 1<<16) + "\r\n\r\n{}",                          // a long one
		"HTTP/1.1 301 Moved\r\nLocation: /metadata/2.root.json\r\n\r\n",                 // a circle
		"HTTP/1.1 302 Found\r\nLocation: http://[::1]:1/\r\n\r\n",                       // elsewhere
		"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",                    // into this machine
		"HTTP/1.1 302 Found\r\n\r\n",                                                    // nowhere
		"HTTP/1.1 503 Busy\r\nRetry-After: 99999999999999999999\r\n\r\n",                // for ever
		"HTTP/1.1 429 Slow\r\nRetry-After: -5\r\n\r\n",                                  // never
		"HTTP/1.1 304 Not Modified\r\n\r\n",                                             // what was never asked
		"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/9\r\n\r\n{}",                  // a part
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + ok + "\r\n{}",       // in stages
		"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x00\x01",      // another protocol
		"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n\n----\n" + ok + "\r\n{\"signed\"", // the root is not there, and then
		"HTTP/1.1 404 No\r\nContent-Length: 99999\r\n\r\n",                              // a long no
	} {
		f.Add([]byte(s))
	}
	anchor := clienttest.New().Files["metadata/1.root.json"]
	f.Fuzz(func(t *testing.T, data []byte) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		answers := bytes.Split(data, []byte("\n----\n"))
		go func() {
			for n := 0; ; n++ {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				// One connection, one answer: what comes next is on another one.
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = conn.Write(answers[min(n, len(answers)-1)])
				}
				conn.Close()
			}
		}()
		transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
		defer transport.CloseIdleConnections()
		c, err := client.New(client.Options{Root: anchor, MetadataURL: "http://" + listener.Addr().String() + "/metadata",
			Fetcher: &client.HTTPFetcher{Client: &http.Client{Transport: transport}, Idle: 5 * time.Second}, Now: func() time.Time { return clienttest.Now }})
		if err != nil {
			t.Fatal(err)
		}
		c.SetSleep(func(context.Context, time.Duration) error { return nil })
		if err := bounded(t, "update", func() error { _, err := c.Refresh(t.Context()); return err }); err == nil {
			t.Errorf("an update from %q", data)
		}
	})
}

// Long files that are made to be dear to read. Kills: a reader whose memory or
// time grows faster than its input.
func TestLongFiles(t *testing.T) {
	longFiles(client.TargetsMaxLength/5, func(what string, update func() error) {
		if err := bounded(t, what, update); err == nil {
			t.Errorf("%s: no error", what)
		}
	})
}

// longFiles calls f with updates to files of a length.
func longFiles(length int, f func(what string, update func() error)) {
	repo := mutable()
	anchor := repo.Files["metadata/1.root.json"]
	fill := func(before, again, after string) func() []byte {
		return func() []byte {
			return []byte(before + strings.Repeat(again, (length-len(before)-len(after))/len(again)) + after)
		}
	}
	names := func(before, format, after string) func() []byte {
		return func() []byte {
			var b bytes.Buffer
			b.WriteString(before)
			for n := 0; b.Len() < length-200; n++ {
				fmt.Fprintf(&b, format, n, n)
			}
			b.WriteString(after)
			return b.Bytes()
		}
	}
	const signature = `{"keyid":"%064x","sig":"%0128x"},`
	for what, data := range map[string]func() []byte{
		"nested lists":    fill("", "[", ""),
		"nested objects":  fill("", `{"a":`, ""),
		"closed nesting":  func() []byte { return []byte(strings.Repeat("[", length/2) + strings.Repeat("]", length/2)) },
		"many numbers":    fill(`{"signed":[`, "1,", `1],"signatures":[]}`),
		"one number":      fill(`{"signed":`, "1", `,"signatures":[]}`),
		"many nulls":      fill(`{"signed":{"targets":[`, "null,", `null]},"signatures":[]}`),
		"many objects":    fill(`{"signed":{"targets":[`, "{},", `{}]},"signatures":[]}`),
		"one text":        fill(`{"signed":"`, `\u00e9`, `","signatures":[]}`),
		"one name again":  fill(`{"signed":{`, `"a":1,`, `"a":1},"signatures":[]}`),
		"many names":      names(`{"signed":{`, `"%d":%d,`, `"a":1},"signatures":[]}`),
		"many signatures": names(`{"signed":{"_type":"targets"},"signatures":[`, signature, `{"keyid":"a","sig":"00"}]}`),
		"blanks":          fill("", " ", ""),
	} {
		for _, role := range []string{targets, "C"} {
			f(what+" as "+role, func() error {
				files := maps.Clone(repo.Files)
				files[clienttest.File(role, repo.Roles[role].Version())] = data()
				_, err := verdict(files, anchor, clienttest.Now, "a/tool")
				return err
			})
		}
	}
}

// What somebody changes on the way leaves the cache directory as it was: the roles
// before the changed one as the repository has them, the others untouched. Some
// hundred changes, all with TUFOPS_SOAK. Kills: a client that stores first and
// verifies then, or that removes what it could not replace.
func TestUnsignedChangesLeaveTheCache(t *testing.T) {
	repo := mutable()
	old := repo.Clone()
	repo.AddTarget("C", "a/tool", "new content")
	repo.Publish(root, "A", "B", "C", targets)
	seed := uint64(1)
	if os.Getenv("TUFOPS_SOAK") != "" {
		seed = uint64(time.Now().UnixNano())
	}
	random := rand.New(rand.NewPCG(seed, 0))
	n := 0
	for _, role := range mutableRoles {
		file := clienttest.File(role, repo.Roles[role].Version())
		tree, _, err := metadata.ParseTree(repo.Files[file])
		if err != nil {
			t.Fatal(err)
		}
		for what, changed := range mutations(tree) {
			if os.Getenv("TUFOPS_SOAK") == "" && random.IntN(20) != 0 {
				continue
			}
			n++
			dir := t.TempDir()
			update := func(files map[string][]byte) error {
				c, err := client.New(client.Options{Root: old.Files["metadata/1.root.json"], MetadataURL: "http://repo/metadata", TargetsURL: "http://repo/targets",
					CacheDir: dir, Fetcher: filesFetcher(files), Now: func() time.Time { return clienttest.Now }})
				if err == nil {
					c.SetSync(func(*os.File) error { return nil })
					_, err = c.Target(t.Context(), "a/tool")
				}
				return err
			}
			if err := update(old.Files); err != nil {
				t.Fatal(err)
			}
			files := maps.Clone(repo.Files)
			files[file] = metadata.Write(changed)
			if err := bounded(t, role+what, func() error { return update(files) }); err == nil {
				t.Errorf("seed %d: %s%s: no error", seed, role, what)
			}
			before := true
			for _, r := range mutableRoles { // in the order in which a client gets there
				before = before && r != role
				want := old.Current(r)
				if before {
					want = repo.Current(r)
				}
				if got, err := os.ReadFile(filepath.Join(dir, r+".json")); err != nil || !bytes.Equal(got, want) {
					t.Errorf("seed %d: %s%s: %s in the cache is not as it was (%v)", seed, role, what, r, err)
				}
			}
		}
	}
	t.Logf("seed %d: %d changes", seed, n)
	if n < 50/everyNth {
		t.Errorf("only %d changes", n)
	}
}

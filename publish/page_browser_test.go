package publish_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tufops/tufops/internal/demo"
	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/trustroot"
)

// A viewer looks at pages in a chromium without a window, and writes down what
// they ask for and what the browser says of them.
type viewer struct {
	ctx context.Context

	mu       sync.Mutex
	requests []string
	console  []string
}

// open starts the browser. The test is skipped where there is none, unless
// TUFOPS_REQUIRE_BROWSER is set.
func open(t *testing.T) *viewer {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, err, "apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	v := &viewer{ctx: ctx}
	if err := chromedp.Listen(ctx, v.note); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return v
}

func missing(t *testing.T, err error, remedy string) {
	t.Helper()
	if os.Getenv("TUFOPS_REQUIRE_BROWSER") != "" {
		t.Fatalf("%v (TUFOPS_REQUIRE_BROWSER is set); %s", err, remedy)
	}
	t.Skipf("%v; to look at the status page as people do: %s", err, remedy)
}

func (v *viewer) note(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		v.requests = append(v.requests, e.Request.URL)
	case *log.EventEntryAdded:
		v.console = append(v.console, e.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		v.console = append(v.console, fmt.Sprint(e.Type))
	case *runtime.EventExceptionThrown:
		v.console = append(v.console, e.ExceptionDetails.Text)
	}
}

// sight is one page as it was opened: from which address, which requests it took,
// and what stood in the console then.
type sight struct {
	url      string
	requests []string
	console  []string
}

// look opens a page in a window of some width, in one of the two colour schemes.
func (v *viewer) look(t *testing.T, html string, width int64, scheme string) sight {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metadata/index.html" {
			w.WriteHeader(http.StatusNoContent) // an error would be one more line in the console
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, html)
	}))
	t.Cleanup(server.Close)
	v.mu.Lock()
	v.requests, v.console = nil, nil
	v.mu.Unlock()
	s := sight{url: server.URL + "/metadata/index.html"}
	_, err := chromedp.Call(v.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 800, DeviceScaleFactor: 1})
	if err == nil {
		err = v.media("", scheme)
	}
	if err == nil {
		err = chromedp.Do(v.ctx, chromedp.Navigate(s.url))
	}
	if err != nil {
		t.Fatal(err)
	}
	evaluate[any](t, v, drawnTwice)
	v.mu.Lock()
	defer v.mu.Unlock()
	s.requests, s.console = slices.Clone(v.requests), slices.Clone(v.console)
	return s
}

func (v *viewer) media(media, scheme string) error {
	_, err := chromedp.Call(v.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media,
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	return err
}

// evaluate runs a script in the page that is open, from outside: the page's own
// policy does not hold for it.
func evaluate[T any](t *testing.T, v *viewer, script string) T {
	t.Helper()
	got, err := chromedp.Run(v.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

const (
	// What a change of the page or of the window brings about is there with the
	// second frame after it.
	drawnTwice = `new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`
	unfold     = `document.querySelectorAll('details').forEach(d => d.open = true)`
	// How many pixels a reader would have to scroll to the right.
	beyond = `document.documentElement.scrollWidth - document.documentElement.clientWidth`
)

// violations are what axe-core finds in the page that is open, one line each, in
// one of the colour schemes.
func violations(t *testing.T, v *viewer, scheme string) []string {
	t.Helper()
	if err := v.media("", scheme); err != nil {
		t.Fatal(err)
	}
	if !evaluate[bool](t, v, `'axe' in window`) {
		evaluate[any](t, v, axe(t)+`;true`)
	}
	return evaluate[[]string](t, v, `axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html + ' ' + n.failureSummary).join('; ')))`)
}

// axe is axe-core, which `make axe` gets.
func axe(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../build/axe-core/axe.min.js")
	if err != nil {
		missing(t, err, "make axe")
	}
	return string(data)
}

// drawings are what is looked at, by name.
func drawings() map[string]func(testing.TB) *publish.Tree {
	all := map[string]func(testing.TB) *publish.Tree{"corpus": func(t testing.TB) *publish.Tree { return treeOf(t, corpus(t), nil) }}
	for name, draw := range map[string]func(testing.TB) drawn{
		"team": team, "expired-timestamp": expiredTimestamp, "unrest": unrest, "merged": merged, "single": single, "hostile": hostile,
		"large": func(t testing.TB) drawn {
			if full() {
				return large(t, 100, 10)
			}
			return large(t, 15, 3) // is folded as well
		},
	} {
		all[name] = func(t testing.TB) *publish.Tree { return draw(t).tree(t) }
	}
	return all
}

// full asks for pages of full size: make soak and make screenshots have the time.
func full() bool { return os.Getenv("TUFOPS_SOAK") != "" || os.Getenv("TUFOPS_SCREENSHOTS") != "" }

// TestPageInBrowser: a page is quiet, asks for nothing, is open to everybody, fits
// a phone, and shows all facts, also those that status.json leaves to the
// timestamp.
func TestPageInBrowser(t *testing.T) {
	v := open(t)
	draw := drawings()
	for _, name := range slices.Sorted(maps.Keys(draw)) {
		t.Run(name, func(t *testing.T) {
			tree := draw[name](t)
			html, facts := pagesIn(t, tree)
			s := v.look(t, html, 360, "light")
			if n := evaluate[int](t, v, beyond); n > 0 {
				t.Errorf("%d pixels do not fit a phone", n)
			}
			evaluate[any](t, v, unfold)
			if n := evaluate[int](t, v, beyond); n > 0 {
				t.Errorf("unfolded, %d pixels do not fit a phone", n)
			}
			says(t, v, facts)
			for _, shown := range evaluate[[][2]string](t, v, `[...document.querySelectorAll('time')].map(e => [e.dateTime, e.innerText])`) {
				at, err := time.Parse(time.RFC3339, shown[0])
				if err != nil || !strings.HasPrefix(at.Format("2 Jan 2006, 15:04"), strings.ReplaceAll(shown[1], " 0", ", 0")[:len(at.Format("2 Jan 2006"))]) {
					t.Errorf("%q is shown as %q", shown[0], shown[1])
				}
			}
			links(t, v, tree)
			markup(t, v)
			v.quiet(t, s)
			for _, scheme := range []string{"light", "dark"} {
				if found := violations(t, v, scheme); len(found) > 0 {
					t.Errorf("%s: axe-core finds\n%s", scheme, strings.Join(found, "\n"))
				}
			}
		})
	}
}

// quiet checks that the page that was opened has asked for itself alone, and that
// the browser had nothing to say, to the moment.
func (v *viewer) quiet(t *testing.T, s sight) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.console) > 0 || !slices.Equal(v.requests, []string{s.url}) {
		t.Errorf("it asked for %q, and the console has %q", v.requests, v.console)
	}
}

// says checks that the page that is open and unfolded says what the facts do.
func says(t *testing.T, v *viewer, facts string) {
	t.Helper()
	got, want := strings.Split(string(canonical(t, evaluate[json.RawMessage](t, v, readBack))), "\n"), strings.Split(expected(t, facts), "\n")
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("where the page says\n%s\nthe facts say\n%s", strings.Join(got[max(0, i-8):min(len(got), i+4)], "\n"), strings.Join(want[max(0, i-8):min(len(want), i+4)], "\n"))
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("the page says %d lines, the facts %d", len(got), len(want))
	}
}

// readBack makes of the page that is open and unfolded the facts, as far as eyes
// can see them: text that is shown, the moments behind dates and the files
// behind links.
const readBack = `(() => {
const all = (e, s) => [...e.querySelectorAll(s)];
const text = (e, s) => { const x = e.querySelector(s); return x ? x.innerText : undefined };
const number = (e, s) => { const x = text(e, s); return x === undefined ? undefined : Number(x) };
const time = (e, s) => { const x = e.querySelector(s + ' time'); return x && x.innerText ? x.dateTime : undefined };
const file = a => a ? decodeURIComponent(a.getAttribute('href')) : '';
const texts = (e, s) => { const x = all(e, s).map(y => y.innerText); return x.length ? x : undefined };
const next = document.querySelector('.next');
return {
  schema: 1,
  commit: text(document, 'footer .commit'),
  generated: time(document, 'footer'),
  health: {
    state: document.querySelector('.verdict').dataset.state,
    until_if_renewed: time(document, '.until'),
    role: text(document, '.until .role-name'),
    next_signing: next ? {role: text(next, '.role-name'), starts: time(next, 'dd')} : undefined,
  },
  roles: all(document, 'article.role').map(r => {
    const pill = text(r, '.pill'), online = !!text(r, '.online'), above = r.parentElement.parentElement.closest('li');
    return {
      role: text(r, 'h3 .role-name'), file: file(r.querySelector('h3 a')).replace('./', ''), commit: text(r, '.name .commit'), version: number(r, '.version'),
      issued: time(r, '.issued'), signing_starts: time(r, '.resign') || time(r, '.expires'), expires: time(r, '.expires'),
      signing: pill == (online ? 'renewal due' : 'signatures due'), expired: pill == 'expired', online,
      threshold: number(r, '.threshold'), signatures: number(r, '.signatures'),
      signers: all(r, '.signers li').map(s => ({name: text(s, '.signer'), signed: s.innerText.includes(' signed') || !!s.querySelector('.sr'),
        attested: {attested: true, 'not attested': false}[text(s, '.device')]})),
      delegator: above ? text(above, 'h3 .role-name') : undefined,
      expiry_period_days: number(r, '.expires .days') || 0, signing_period_days: number(r, '.resign .days') || 0,
      paths: texts(r, '.pattern'), path_hash_prefixes: texts(r, '.prefix'), terminating: text(r, '.terminating') ? true : undefined,
    };
  }),
  root_history: all(document, 'li.root').map(r => ({
    version: number(r, '.version'), file: file(r.querySelector('a')).replace('./', ''), issued: time(r, '.issued'), expires: time(r, '.expires'),
    threshold: number(r, '.threshold'), keys: number(r, '.keys'), signed_by: texts(r, '.by .signer') || [], changes: texts(r, '.changes [data-change]') || [],
  })).reverse(),
  artifacts: all(document, '.group').flatMap(g => all(g, '.artifact').map(a => ({
    path: text(a, '.path'), role: text(g, 'summary .role-name'), length: a.querySelector('data').innerText ? Number(a.querySelector('data').value) : undefined,
    hashes: Object.fromEntries(texts(a, '.hash').map(h => h.split(':'))), files: [file(a.querySelector('a')).replace('../targets/', '')],
  }))),
  materials: all(document, '.material').map(m => ({
    path: text(m, '.path'), file: file(m.querySelector('a')).replace('../targets/', ''), kind: {'trusted root': 'trusted-root', 'signing configuration': 'signing-config'}[text(m, '.kind')], problem: text(m, ':scope > .problem'), media_type: text(m, '.media-type') || '',
    instances: all(m, '.instance').map(i => {
      const subject = text(i, '.subject'), title = text(i, '.title');
      return {
        kind: i.dataset.kind, id: text(i, '.id'), url: title == (subject || 'without a name') ? undefined : title, subject, operator: text(i, '.operator'), api_version: number(i, '.api'),
        start: time(i, '.start'), end: time(i, '.end'), state: text(i, '.state'), key: text(i, '.kind-of-key'), log_id: text(i, '.log-id'), problem: text(i, '.problem'),
        certificates: i.querySelector('.certificate') ? all(i, '.certificate').map(c => ({
          subject: text(c, '.name'), sha256: text(c, '.sha256'), not_before: time(c, '.from'), not_after: time(c, '.to'),
        })) : undefined,
      };
    }),
    selectors: all(m, '.choice').map(c => ({kind: c.dataset.kind, selector: text(c, '.selector'), count: number(c, '.count')})),
  })),
  findings: all(document, '.findings .finding').map(f => ({
    rule: text(f, '.rule'), level: text(f, '.level'), gates: f.dataset.gates, role: text(f, '.role-name'), file: text(f, '.file'), message: text(f, '.message'), hint: text(f, '.hint'),
  })),
}})()`

// expected are the facts as the page shows them: text from strangers with what is
// invisible made visible, roles in the order of the tree, changes in words, trust
// material by itself, and of the files of an artifact the one that is linked.
func expected(t *testing.T, text string) string {
	t.Helper()
	var s publish.Status
	var doc map[string]any
	for _, into := range []any{&s, &doc} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range doc["root_history"].([]any) {
		changes := []any{}
		for _, c := range s.Roots[i].Changes {
			changes = append(changes, c.Text())
		}
		r.(map[string]any)["changes"] = changes
	}
	materials := map[any][]any{}
	for _, a := range doc["artifacts"].([]any) {
		a := a.(map[string]any)
		a["files"] = a["files"].([]any)[:1]
		if m, ok := a["sigstore"].(map[string]any); ok {
			m["path"], m["file"] = a["path"], a["files"].([]any)[0]
			materials[m["kind"]] = append(materials[m["kind"]], m)
			delete(a, "sigstore")
		}
	}
	doc["materials"] = append(append([]any{}, materials["trusted-root"]...), materials["signing-config"]...)
	below := map[any][]any{}
	for _, r := range doc["roles"].([]any) {
		by := r.(map[string]any)["delegator"]
		if r.(map[string]any)["role"] == "targets" { // which all that follows hangs on
			continue
		}
		below[by] = append(below[by], r)
	}
	below["root"] = append(below["root"], doc["roles"].([]any)[3])
	roles := []any{}
	var walk func(by any)
	walk = func(by any) {
		for _, r := range below[by] {
			roles = append(roles, r)
			walk(r.(map[string]any)["role"])
		}
	}
	walk(nil)
	doc["roles"] = roles
	out, err := json.Marshal(visible(doc, ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(canonical(t, out))
}

func visible(v any, name string) any {
	switch v := v.(type) {
	case string:
		if name == "file" || name == "files" { // behind a link
			return v
		}
		return escape.Terminal(v)
	case []any:
		for i := range v {
			v[i] = visible(v[i], name)
		}
	case map[string]any:
		_, finding := v["rule"]
		for key := range v {
			if finding && key == "file" {
				v[key] = visible(v[key], "")
				continue
			}
			v[key] = visible(v[key], key)
		}
	}
	return v
}

func canonical(t *testing.T, doc []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBrowserNotices: each check of a page finds a page that fails it.
func TestBrowserNotices(t *testing.T) {
	v := open(t)
	good, facts := pagesIn(t, team(t).tree(t))
	change := func(old, new string) string {
		t.Helper()
		if strings.Count(good, old) == 0 {
			t.Fatalf("the page has no %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	policy := good[strings.Index(good, "<meta http-equiv"):]
	policy = policy[:strings.Index(policy, ">")+1]
	s := v.look(t, change("<main>", `<main><img alt="" src="x.png">`), 360, "light")
	if !strings.Contains(strings.Join(s.console, "\n"), "Content Security Policy") {
		t.Errorf("an image, against the policy: the console has %q", s.console)
	}
	s = v.look(t, change("<main>", `<main><p style="color: red">x</p>`), 360, "light")
	if !strings.Contains(strings.Join(s.console, "\n"), "Content Security Policy") {
		t.Errorf("another style, against the policy: the console has %q", s.console)
	}
	s = v.look(t, strings.Replace(change("<main>", `<main><img alt="" src="x.png">`), policy, "", 1), 360, "light")
	if !strings.Contains(strings.Join(s.requests, "\n"), "/metadata/x.png") {
		t.Errorf("an image, without the policy: the requests are %q", s.requests)
	}
	s = v.look(t, strings.Replace(change("<main>", `<main><script>console.log("x")</script>`), policy, "", 1), 360, "light")
	if !slices.Equal(s.console, []string{"log"}) {
		t.Errorf("a script, without the policy: the console has %q", s.console)
	}
	v.look(t, change("<main>", "<main><pre>"+strings.Repeat("w", 100)+"</pre>"), 360, "light")
	if n := evaluate[int](t, v, beyond); n < 100 {
		t.Errorf("a wide page: %d pixels do not fit", n)
	}
	for _, other := range [][2]string{
		{"3</span> of 4", "2</span> of 4"}, {`<span class="device held">attested`, `<span class="device">not attested`},
		{`<span class="state">ended`, `<span class="state">active`}, {`<dt>Key</dt><dd class="kind-of-key">Ed25519`, `<dt>Key</dt><dd class="kind-of-key">ECDSA P-256`},
		{`<code class="sha256">`, `<code class="sha256">0`}, {`<span class="selector">ANY`, `<span class="selector">ALL`},
	} {
		v.look(t, change(other[0], other[1]), 360, "light")
		evaluate[any](t, v, unfold)
		if string(canonical(t, evaluate[json.RawMessage](t, v, readBack))) == expected(t, facts) {
			t.Errorf("%s in place of %s: the page says the same", other[1], other[0])
		}
	}
	v.look(t, good, 360, "light")
	const inside = `document.querySelector('details:not([open]) li.root').checkVisibility({contentVisibilityAuto: true}) && document.querySelector('details:not([open]) li.root').getBoundingClientRect().height > 0`
	if evaluate[bool](t, v, inside) {
		t.Error("what is folded can be seen")
	}
	if err := v.media("print", "light"); err != nil {
		t.Fatal(err)
	}
	evaluate[any](t, v, drawnTwice)
	if !evaluate[bool](t, v, inside) {
		t.Error("what is folded is not printed")
	}
	dim := strings.Replace(change("--paper: #10151a; --raised: #182027; --ink: #e8ecef", "--paper: #10151a; --raised: #182027; --ink: #444"), policy, "", 1)
	v.look(t, dim, 360, "light")
	for scheme, want := range map[string]bool{"light": false, "dark": true} {
		if found := violations(t, v, scheme); len(found) > 0 != want {
			t.Errorf("dark ink on dark paper, %s: axe-core finds %q", scheme, found)
		}
	}
}

// TestScreenshots draws the pages for people to look at, into the folder that
// TUFOPS_SCREENSHOTS names; `make screenshots` does.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("TUFOPS_SCREENSHOTS")
	if dir == "" {
		t.Skip("TUFOPS_SCREENSHOTS is not set; make screenshots draws the pages")
	}
	v := open(t)
	pages := map[string]string{}
	for name, draw := range drawings() {
		pages[name], _ = pagesIn(t, draw(t))
	}
	pages["demo"] = demoPage(t)
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		for _, width := range []int64{360, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				v.look(t, pages[name], width, scheme)
				v.shoot(t, filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), chromedp.FullScreenshot(100))
			}
		}
	}
	v.look(t, pages["team"], 1280, "light")
	height := evaluate[float64](t, v, `document.querySelector('#history').getBoundingClientRect().top`)
	if _, err := chromedp.Call(v.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 1280, Height: int64(height), DeviceScaleFactor: 1}); err != nil {
		t.Fatal(err)
	}
	v.shoot(t, filepath.Join(dir, "status-page.png"), chromedp.CaptureScreenshot())
}

// demoPage is the page that the demo leaves behind.
func demoPage(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	var told bytes.Buffer
	if err := demo.Road(t.Context(), demo.Options{Out: &told, Dir: dir, Now: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)}); err != nil {
		t.Fatalf("%v\n%s", err, told.String())
	}
	html, err := os.ReadFile(filepath.Join(dir, "published", "metadata", "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	return string(html)
}

func (v *viewer) shoot(t *testing.T, name string, action chromedp.Action[[]byte]) {
	t.Helper()
	png, err := chromedp.Run(v.ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// links checks that each link of the page that is open leads to a published file.
func links(t *testing.T, v *viewer, tree *publish.Tree) {
	t.Helper()
	published := map[string]bool{}
	for _, f := range tree.Files() {
		published["/"+publish.ObjectName(f)] = true
	}
	all := evaluate[[]string](t, v, `[...document.querySelectorAll('a')].map(a => a.href)`)
	for _, href := range all {
		u, err := url.Parse(href)
		if err != nil || !published[u.Path] || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("a link leads to %s, which is not published (%v)", href, err)
		}
	}
	p := tree.Published()
	materials := 0
	for _, a := range p.Artifacts() {
		if _, ok := trustroot.KindOf(a.Target); ok {
			materials++
		}
	}
	if want := len(p.Roots()) + len(p.Roles()) + len(p.Artifacts()) + materials + 5; len(all) != want { // root, timestamp, snapshot; status.json and timestamp.json as data
		t.Errorf("the page has %d links, want %d", len(all), want)
	}
}

// markup checks that the page that is open has only elements and attributes of
// ours: what a stranger wrote became none.
func markup(t *testing.T, v *viewer) {
	t.Helper()
	const ours = " html head meta title style body header main footer section article div p span ul ol li dl dt dd h1 h2 h3 h4 a code br time data details summary svg rect line " +
		" @lang @charset @http-equiv @content @name @class @id @href @datetime @value @open @role @aria-label @aria-labelledby @aria-hidden @viewBox @preserveAspectRatio " +
		" @width @height @x @y @x1 @x2 @y1 @y2 @data-state @data-change @data-hash @data-gates @data-version @data-kind @data-commit @data-generated @data-root @data-timestamp "
	for _, name := range evaluate[[]string](t, v, `[...new Set([...document.querySelectorAll('*')].flatMap(e => [e.localName, ...e.getAttributeNames().map(a => '@' + a)]))]`) {
		if !strings.Contains(ours, " "+name+" ") {
			t.Errorf("the page has %s, which the template has not", name)
		}
	}
}

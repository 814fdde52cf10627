// Command screenshot draws docs/images/pull-request.png: the status comment of a
// signing event, from the golden file that the tests hold current, in a page that
// looks like GitHub's. It needs chromium; see the target screenshot of the
// Makefile.
//
// It owns nothing but the picture, trusts the golden file, and never uses the
// network.
package main

import (
	"bytes"
	"fmt"
	"html/template"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: screenshot COMMENT.md PICTURE.png")
		os.Exit(2)
	}
	if err := draw(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "screenshot:", err)
		os.Exit(1)
	}
}

func draw(comment, picture string) error {
	source, err := os.ReadFile(comment)
	if err != nil {
		return err
	}
	source = bytes.ReplaceAll(source, []byte("COMMIT"), []byte("4f6c1d09a2be")) // the golden files leave commits out
	var body bytes.Buffer
	markdown := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithUnsafe()))
	if err := markdown.Convert(source, &body); err != nil {
		return fmt.Errorf("render %s: %w", comment, err)
	}
	dir, err := os.MkdirTemp("", "screenshot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	page := filepath.Join(dir, "page.html")
	f, err := os.Create(page)
	if err != nil {
		return err
	}
	if err := pageTemplate.Execute(f, template.HTML(body.String())); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if picture, err = filepath.Abs(picture); err != nil {
		return err
	}
	out, err := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=2",
		"--window-size=920,1000", "--user-data-dir="+filepath.Join(dir, "profile"), "--screenshot="+picture, "file://"+page).CombinedOutput()
	if err != nil {
		return fmt.Errorf("draw %s: %w\n%s", picture, err, out)
	}
	return nil
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<meta charset="utf-8">
<title>pull request comment</title>
<style>
body { margin: 0; padding: 24px; background: #fff; color: #1f2328; font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif, "Noto Color Emoji"; }
.box { margin-left: 56px; border: 1px solid #d1d9e0; border-radius: 6px; position: relative; }
.avatar { position: absolute; left: -56px; top: 0; width: 40px; height: 40px; border-radius: 6px; background: #1f2328; color: #fff; text-align: center; font: 600 20px/40px monospace; }
.head { padding: 8px 16px; background: #f6f8fa; border-bottom: 1px solid #d1d9e0; border-radius: 6px 6px 0 0; color: #59636e; }
.head b { color: #1f2328; } .head span { border: 1px solid #d1d9e0; border-radius: 2em; padding: 0 7px; font-size: 12px; }
.body { padding: 16px; }
.body > :first-child { margin-top: 0; } .body > :last-child { margin-bottom: 0; }
h3 { font-size: 17.5px; line-height: 1.25; margin: 24px 0 16px; } p, ul, pre, table, details { margin: 0 0 16px; } ul { padding-left: 2em; }
table { border-collapse: collapse; } th, td { border: 1px solid #d1d9e0; padding: 6px 13px; text-align: left; } th { font-weight: 600; }
tr:nth-child(2n) td { background: #f6f8fa; }
code { background: #818b981f; border-radius: 6px; padding: .2em .4em; font: 85% ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
pre { background: #f6f8fa; border-radius: 6px; padding: 16px; line-height: 1.45; } pre code { background: none; padding: 0; }
li + li { margin-top: .25em; } sub { font-size: 75%; vertical-align: baseline; color: #59636e; } summary { cursor: pointer; }
</style>
<div class="box"><div class="avatar">t</div>
<div class="head"><b>github-actions</b> <span>bot</span> commented · edited</div>
<div class="body">{{.}}</div></div>
`))

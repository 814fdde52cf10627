package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
)

func Example() {
	// A repository, for the example's sake. Its first root is what a program
	// embeds.
	repo := clienttest.New()
	repo.AddTarget("targets", "trusted_root.json", `{"hello": "world"}`)
	repo.Publish("root", "targets")
	server := httptest.NewServer(repo)
	defer server.Close()
	embedded := repo.Files["metadata/1.root.json"]

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	c, err := client.New(client.Options{
		Root:        embedded,
		MetadataURL: server.URL + "/metadata",
		TargetsURL:  server.URL + "/targets",
		CacheDir:    filepath.Join(dir, "metadata"),
		Now:         func() time.Time { return clienttest.Now }, // leave it out: the clock
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	result, err := c.Refresh(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result)

	d, err := c.Download(ctx, "trusted_root.json", filepath.Join(dir, "artifacts"))
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := d.ReadFile()
	fmt.Println(filepath.Base(d.File), "listed by", d.Role(), string(data), err)

	_, err = c.Target(ctx, "trustedroot.json")
	if missing := (*client.TargetNotFoundError)(nil); errors.As(err, &missing) {
		fmt.Println(missing)
		fmt.Println(missing.Hint())
	}

	// Output:
	// root 1 -> 2, timestamp v2, snapshot v2, targets v2
	// trusted_root.json listed by targets {"hello": "world"} <nil>
	// the repository has no artifact "trustedroot.json" (asked: targets)
	// check the spelling; names are case-sensitive and contain the directories
}

// Check is for those who publish: it says what is wrong, which is no error.
func ExampleCheck() {
	repo := clienttest.New()
	repo.Publish("root", "targets")
	delete(repo.Files, "metadata/2.targets.json")
	server := httptest.NewServer(repo)
	defer server.Close()

	report, err := client.Check(context.Background(), client.CheckOptions{
		MetadataURL: server.URL + "/metadata",
		Root:        repo.Files["metadata/1.root.json"],
		Now:         func() time.Time { return clienttest.Now }, // leave it out: the clock
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range report.Checks {
		fmt.Println(c.Check, c.Result)
	}
	fmt.Println(report.Err() != nil)

	// Output:
	// initial-root passed
	// roots passed
	// consistent passed
	// metadata failed
	// roles not-judged
	// valid not-judged
	// update not-judged
	// true
}

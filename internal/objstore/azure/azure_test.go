package azure_test

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/tufops/tufops/internal/objstore/azure"
	"github.com/tufops/tufops/internal/objstore/bucket"
	"github.com/tufops/tufops/publish"
	"github.com/tufops/tufops/publish/storetest"
)

// The account that Azurite has; its key is public.
const (
	account = "devstoreaccount1"
	key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

func environment(t *testing.T, endpoint string) string {
	t.Helper()
	text := fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=%s/%s;", account, key, endpoint, account)
	t.Setenv("AZURE_STORAGE_CONNECTION_STRING", text)
	return text
}

func open(t *testing.T, url string, clock *storetest.Clock) *azure.Store {
	t.Helper()
	at, err := bucket.Parse(url, 2)
	if err != nil {
		t.Fatal(err)
	}
	s, err := azure.Open(at, azure.Options{PageSize: storetest.PageSize(), Sleep: clock.Sleep})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// azurite starts Microsoft's own emulator, and returns where it is.
func azurite(t *testing.T) string {
	t.Helper()
	return storetest.Emulate(t, regexp.MustCompile(`successfully listens on (http://127\.0\.0\.1:\d+)`),
		"azurite-blob", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent")
}

// newContainer makes a container whose blobs everybody may read.
func newContainer(t *testing.T, connection, name string) {
	t.Helper()
	client, err := container.NewClientFromConnectionString(connection, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	access := container.PublicAccessTypeBlob
	if _, err := client.Create(t.Context(), &container.CreateOptions{Access: &access}); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	service := azurite(t)
	containers := 0
	storetest.Run(t, func(t *testing.T) storetest.Destination {
		way, clock := storetest.NewWay(t, service), &storetest.Clock{}
		connection := environment(t, way.URL)
		containers++
		name := fmt.Sprintf("tuf-%d", containers)
		newContainer(t, connection, name)
		return storetest.Destination{
			Open:    func() publish.Store { return open(t, "azblob://"+account+"/"+name+"/staging/new", clock) },
			Public:  storetest.OverHTTP(service + "/" + account + "/" + name + "/staging/new"),
			Digests: true,
			Way:     way,
			Clock:   clock,
			Secrets: []string{key},
		}
	})
	t.Run("Errors", func(t *testing.T) {
		connection := environment(t, service)
		s := open(t, "azblob://"+account+"/missing", &storetest.Clock{})
		_, err := s.List(t.Context(), "metadata/")
		wantKind(t, err, bucket.NoBucket)
		_, _, err = s.Get(t.Context(), "metadata/x")
		wantKind(t, err, bucket.NoBucket)
		wantKind(t, storetest.Put(t.Context(), s, "metadata/x", "x", ""), bucket.NoBucket)
		newContainer(t, connection, "forbidden")
		t.Setenv("AZURE_STORAGE_CONNECTION_STRING", regexp.MustCompile("AccountKey=....").ReplaceAllString(connection, "AccountKey=AAAA"))
		wantKind(t, storetest.Put(t.Context(), open(t, "azblob://"+account+"/forbidden", &storetest.Clock{}), "metadata/x", "x", ""), bucket.Denied)
	})
}

func wantKind(t *testing.T, err error, kind bucket.Kind) {
	t.Helper()
	var e *bucket.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Hint() == "" || errors.Is(err, publish.ErrChanged) {
		t.Errorf("got %v, want one of kind %d with a hint", err, kind)
	}
}

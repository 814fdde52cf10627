package sigstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/tufops/tufops/client"
	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/client/sigstore"
	"github.com/tufops/tufops/client/sigstore/sigstoretest"
)

// The trusted root comes from a TUF repository, verified, and says what counts as
// proof that somebody has signed an artifact.
func Example() {
	// An instance of Sigstore, its repository, and what somebody has signed, for the
	// example's sake.
	instance := sigstoretest.New("sigstore.example.org", clienttest.Now.AddDate(0, 0, -1))
	bundle := sigstoretest.JSON(instance.Sign(sigstoretest.Signing{
		Artifact: []byte("an artifact"), Identity: "release@example.com", Issuer: "https://accounts.example.com", At: clienttest.Now}))
	repo := clienttest.New()
	repo.AddTarget("targets", "trusted_root.json", string(instance.TrustedRoot()))
	repo.Publish("targets")
	server := httptest.NewServer(repo)
	defer server.Close()

	c, err := client.New(client.Options{
		Root:        repo.Files["metadata/1.root.json"], // sigstore.Lookup has those of Sigstore's own instances
		MetadataURL: server.URL + "/metadata",
		TargetsURL:  server.URL + "/targets",
		Now:         func() time.Time { return clienttest.Now }, // leave it out: the clock
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, trustedRoot, err := c.Read(context.Background(), "trusted_root.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := sigstore.New(trustedRoot)
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := sigstore.Policy{Identity: sigstore.Exactly("release@example.com"), Issuer: sigstore.Exactly("https://accounts.example.com")}
	for _, content := range []string{"an artifact", "another one"} {
		artifact, err := sigstore.Read(strings.NewReader(content))
		if err != nil {
			fmt.Println(err)
			return
		}
		proof, err := verifier.Verify(bundle, artifact, policy)
		if broken := (*sigstore.Error)(nil); errors.As(err, &broken) {
			fmt.Printf("%s: not proven, because of the %s\n", content, broken.Step)
			continue
		}
		fmt.Printf("%s: signed by %s, for whom %s vouches\n", content, proof.Signer.Identity, proof.Signer.Issuer)
	}

	// Output:
	// an artifact: signed by release@example.com, for whom https://accounts.example.com vouches
	// another one: not proven, because of the artifact
}
